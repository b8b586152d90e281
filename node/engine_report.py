"""What a device is and does, as its owner sees it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """One model of a device, as its warm-up found it."""

    model: str
    in_memory: bool
    speeds: tuple[tuple[int, int], ...]
    """(pictures together, pixel-steps/s of all of them), smallest batch first."""


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What a device is and does, for its owner."""

    device: str
    """Empty while nobody knows it."""
    state: str
    """``up``, ``starting`` or ``resting``."""
    models: tuple[MeasuredModel, ...]
    faults: tuple[tuple[str, str], ...]
    """(model, stable reason) of those that could not be loaded."""
