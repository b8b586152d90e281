"""Puts together what opens and closes a miner, from its settings and its card."""

import os

import trio

from node.availability import Doorkeeper, Limits, Thermometer, no_thermometer
from node.hours import parse_hours
from node.ports import Engine, Ports
from node.settings import Settings
from protocol.errors import ConfigError
from protocol.roles.miner.miner import MinerCore


async def build_doorkeeper(core: MinerCore, engine: Engine, settings: Settings, ports: Ports) -> Doorkeeper:
    """Build what opens and closes a miner.

    Raises:
        ConfigError: A ceiling of heat is set for a card whose heat nobody can tell.
    """
    section = settings.miner
    limits = Limits(
        tuple(span for text in section.hours for span in parse_hours(text)), max_celsius=section.max_temperature_c
    )
    thermometer = no_thermometer if limits.max_celsius is None else await _thermometer(settings.engine.device)
    return Doorkeeper(core.load, engine, limits, settings.data, ports.clock, ports.journal, thermometer)


async def _thermometer(device: str) -> Thermometer:
    """Find the card of an engine's device, and give what tells how hot it is."""
    from node.adapters.device.nvidia import CardUnknown, card_of, read_card

    which = card_of(device, os.environ.get("CUDA_VISIBLE_DEVICES"))

    async def celsius() -> int | None:
        try:
            return (await trio.to_thread.run_sync(read_card, which)).celsius
        except CardUnknown:  # while a driver is replaced
            return None

    try:
        await trio.to_thread.run_sync(read_card, which)
    except CardUnknown as error:
        raise ConfigError(
            f"miner.max_temperature_c: nobody can tell how hot {device} is: {error}; leave it out"
        ) from error
    return celsius


async def stop_when_drained(doorkeeper: Doorkeeper, scope: trio.CancelScope) -> None:
    """Stop the node once a drained miner has nothing left."""
    await doorkeeper.drained.wait()
    scope.cancel("drained")
