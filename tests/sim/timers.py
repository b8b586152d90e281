"""Timers of the simulated machines."""

from itertools import count
from typing import TYPE_CHECKING, Final

from protocol.effects import CancelTimer, SetTimer, TimerKey
from protocol.events import TimerFired
from protocol.units import UnixMillis
from tests.sim.machine import Machine

if TYPE_CHECKING:
    from tests.sim.world import World

TIMERS: Final = 0
"""First rank of timers: within a millisecond they come first, by machine."""


class Timers:
    """Those of all machines; each holds its own, and forgets them when it dies."""

    def __init__(self, world: "World") -> None:
        """Start with none set."""
        self._world = world
        self._numbers = count()

    def set(self, machine: Machine, effect: SetTimer) -> None:
        """Have a machine be told at a moment of its own clock; a timer of the same key is set anew."""
        world, key, at = self._world, effect.key, effect.at
        machine.timers[key] = at
        rank = (TIMERS, machine.index, next(self._numbers))
        world.first_at(max(at - machine.skew_ms - world.now, 0), rank, self._fire, machine, key, at, machine.life)

    @staticmethod
    def cancel(machine: Machine, effect: CancelTimer) -> None:
        """Have a machine not be told."""
        machine.timers.pop(effect.key, None)

    def _fire(self, machine: Machine, key: TimerKey, at: UnixMillis, life: int) -> None:
        self._world.gossip.catch_up(machine, with_now=False)  # what it has heard may have cancelled this very timer
        if machine.life == life and machine.core is not None and machine.timers.get(key) == at:
            del machine.timers[key]
            self._world.take(machine, TimerFired(key))
