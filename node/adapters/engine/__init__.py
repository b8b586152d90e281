"""Devices that make pictures: one child process each, and an instant stand-in without a device."""

from node.adapters.engine.settings import EngineSettings
from node.ports import Clock, Engine, Journal
from protocol.task.catalog import Catalog

__all__ = ["EngineSettings", "build_engine"]


def build_engine(settings: EngineSettings, catalog: Catalog, clock: Clock, journal: Journal) -> Engine:
    """Build the engine that the settings name, without starting anything.

    Raises:
        ConfigError: A model is unknown, its folder is missing, or its libraries are not installed.
    """
    if settings.kind == "instant":
        from node.adapters.engine.instant import InstantEngine

        return InstantEngine(settings, catalog, clock, journal)
    from node.adapters.engine.diffusion import DiffusionEngine

    return DiffusionEngine(settings, catalog, clock, journal)
