"""Machines that cheat: real cores whose ears and hands are tampered with."""

from protocol.effects import Effect
from protocol.events import Event
from tests.sim.machine import Machine


class Behaviour:
    """An honest machine; adversaries override what they do otherwise."""

    def hears(self, machine: Machine, event: Event) -> bool:
        """Say whether the core hears an event."""
        del machine, event
        return True

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Give what is done, of what the core asks for."""
        del machine, event
        return effects

    def forwards(self, machine: Machine, publisher: Machine) -> bool:
        """Say whether gossip is handed on."""
        del machine, publisher
        return True
