"""What a person chooses about an engine, and the checks that need no device."""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from node.adapters.engine.choices import Attention, Offload, Switch, Wanted
from node.adapters.engine.ipc import Load, StyleOrder
from node.adapters.engine.places import ModelPlace
from node.adapters.engine.precision import Numbers, Precision
from protocol.effects import StartJob
from protocol.errors import ConfigError
from protocol.task.catalog import Catalog, CatalogModel

LIBRARIES: Final = ("torch", "diffusers", "transformers", "safetensors", "PIL")
"""What the child imports; all come with the extra ``miner``."""

GIGA: Final = 10**9

QUEUE_BEYOND_PLACES: Final = 3
"""Jobs that may wait beyond the device's places. A miner's core claims one beyond its places; the rest covers
awards that cross a cancellation."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """One device of one miner."""

    kind: Literal["diffusion", "instant"] = "diffusion"
    models: tuple[str, ...] = ("pocket-emoji",)
    """Models of the catalog to serve."""
    model_folders: Mapping[str, Path] = field(default_factory=dict)
    """Folder of a model in diffusers layout, by its name, in place of the catalog's source."""
    pulled_models: Path | None = None
    """Folder of pulled models, each under its name; None for the one under the user's home."""
    threads: int = 0
    """CPU threads of the child; 0 for cores ÷ ``engines_on_machine``, or 1 for models that more make no faster."""
    engines_on_machine: int = 1
    """Engines that share this machine's cores."""
    device: str = "auto"
    """``auto`` is CUDA where there is some, else the CPU; or a torch device name."""
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """``diffusion`` only: numbers in which models draw; ``auto`` is the catalog's for a GPU, and float32 on a CPU."""
    channels_last: Switch = "auto"
    compile: Switch = "auto"
    attention: Attention = "auto"
    offload: Offload = "auto"
    """How ``diffusion`` lays models out, as ``node.adapters.engine.choices`` says."""
    memory_limit_gb: float = 0.0
    """``diffusion`` only: most memory (GB) of a GPU for all models; 0 for all that is free."""
    models_in_memory: int = 0
    """``diffusion`` only: most models on the device at once; 0 for as many as fit."""
    batch: int = 0
    """``diffusion`` only: pictures drawn together, 1 to 64; 0 finds out what pays when a model is loaded."""
    places: int = 1
    """``instant`` only: pictures at once, 1 to 64."""
    delay_ms: int = 0
    """``instant`` only: how long a picture takes (ms)."""

    def resolved_threads(self) -> int:
        """Give the most threads of the child, ≥ 1.

        Three engines with two threads each on two cores were measured at 40 s for what one thread each does in 1 s.
        """
        if self.threads > 0:
            return self.threads
        return max(1, len(os.sched_getaffinity(0)) // max(1, self.engines_on_machine))

    @property
    def wanted(self) -> Wanted:
        """What a person chose of how models are laid out."""
        return Wanted(
            channels_last=self.channels_last,
            compile=self.compile,
            attention=self.attention,
            offload=self.offload,
            memory_limit_bytes=round(self.memory_limit_gb * GIGA),
        )


def load_command(
    model: CatalogModel, place: ModelPlace, settings: EngineSettings, device: str, batches: tuple[int, ...]
) -> Load:
    """Say to a child how a model is loaded.

    Args:
        model: The model.
        place: Where its files are.
        settings: What a person chose.
        device: The torch device that the child has.
        batches: Batches to measure.
    """
    return Load(
        model=model.name,
        folder=str(place.folder),
        checkpoint=str(place.checkpoint or ""),
        styles=tuple(
            StyleOrder(path=str(style.path), digest=style.digest, weight=style.weight) for style in place.styles
        ),
        digest=model.pinned_digest,
        precision=precision_of(model, settings, device),
        width=model.default_size[0],
        height=model.default_size[1],
        steps=model.default_steps,
        guidance=model.default_guidance,
        batches=batches,
        measure_all=settings.batch > 0,
        max_prompt_tokens=model.max_prompt_tokens or 0,
        fewer_threads=settings.threads == 0 and device == "cpu",
        wanted=settings.wanted,
        in_memory=settings.models_in_memory,
    )


def served_models(settings: EngineSettings, catalog: Catalog) -> dict[str, CatalogModel]:
    """Find the models to serve in the catalog.

    Raises:
        ConfigError: None is named, or one is not in the catalog, or the catalog has no digest of it.
    """
    if not settings.models:
        raise ConfigError("engine.models: name at least one model of the catalog")
    served: dict[str, CatalogModel] = {}
    for name in settings.models:
        model = catalog.models.get(name)
        if model is None:
            known = ", ".join(sorted(catalog.models))
            raise ConfigError(f"engine.models: there is no model {name!r} in the catalog; there are: {known}")
        if model.digest is None:
            raise ConfigError(
                f"engine.models: the catalog names no digest of {name}, against which its pictures could be checked: "
                f"cuckoo models pull {name} prints what this network's operator adds to it"
            )
        served[name] = model
    return served


def numerics_of(numbers: Numbers, device: str) -> str:
    """Name the class of arithmetic in which a device draws a model: its numbers, and its kind.

    It takes what the device draws in, not what was asked for: "half" is bfloat16 on one card and float16 on an older
    one, which are as far from each other as either is from float32.
    """
    return f"{numbers}-{device.partition(':')[0]}"


def precision_of(model: CatalogModel, settings: EngineSettings, device: str) -> Precision:
    """Give the numbers in which a model draws here. A CPU has no use for halves: it is slower with them."""
    if settings.precision != "auto":
        return settings.precision
    return "half" if model.half_precision and device != "cpu" else "float32"


def require_libraries() -> None:
    """Make sure that the child will find its libraries, without importing them here.

    Raises:
        ConfigError: One is not installed.
    """
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            raise ConfigError(
                f"engine.kind: diffusion needs {library}, which is not installed: pip install 'cuckoo-overlay[miner]'"
            )


def job_refusal(job: StartJob, served: Mapping[str, CatalogModel], catalog: Catalog) -> str | None:
    """Give the reason for which a job must not reach a device, or None."""
    if job.specification.model not in served:
        return "unknown_model"
    impossible = catalog.impossible(job.specification)
    return None if impossible is None else impossible.code
