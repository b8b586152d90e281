"""Builds the engine that a miner's settings name."""

from node.adapters.engine import build_engine
from node.adapters.engine.settings import EngineSettings
from node.ports import Clock, Engine, Journal
from node.settings import Settings
from protocol.task.catalog import Catalog


def build_miner_engine(settings: Settings, catalog: Catalog, clock: Clock, journal: Journal) -> Engine:
    """Build the miner's generator. Torch is loaded in the child process of the diffusion engine only."""
    return build_engine(engine_settings(settings), catalog, clock, journal)


def engine_settings(settings: Settings) -> EngineSettings:
    """Give what a miner's settings say of its engine."""
    section = settings.engine
    return EngineSettings(
        kind=section.kind,
        models=section.models,
        model_folders=section.model_folders,
        pulled_models=section.pulled_models,
        threads=section.threads,
        engines_on_machine=section.engines_on_machine,
        device=section.device,
        precision=section.precision,
        channels_last=section.channels_last,
        compile=section.compile,
        attention=section.attention,
        offload=section.offload,
        memory_limit_gb=section.memory_limit_gb,
        models_in_memory=section.models_in_memory,
        batch=section.batch,
        delay_ms=section.delay_ms,
        places=section.places,
    )
