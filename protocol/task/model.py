"""One entry of the catalog: what a model is called, what it can draw, and whose files. Spec: SPEC.md §7.5."""

from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from protocol.task.schedulers import SchedulerName
from protocol.units import Digest
from protocol.wire.fields import Frozen, ModelName
from protocol.wire.specification import Work

DIGEST_BYTES: Final = 32
MAX_STYLES: Final = 4
"""LoRAs of one entry."""


def _digest_from_hex(value: object) -> object:
    """Turn 64 hexadecimal digits into bytes; anything else goes on to the strict check."""
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            raise ValueError("a digest is 64 hexadecimal digits") from None
    return value


HexDigest = Annotated[
    Digest, BeforeValidator(_digest_from_hex), Field(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)
]
Edge = Annotated[int, Field(ge=16, le=4096)]
"""One side of a picture in pixels, as in ``TaskSpecification``."""
Size = tuple[Edge, Edge]
"""(width, height) in pixels."""


class BuiltinSource(Frozen):
    """The weights come with this package."""

    kind: Literal["builtin"]
    folder: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    """Folder under ``node/models``."""


def _check_absolute(path: str) -> str:
    """Refuse a relative path: it would mean another place in each working directory."""
    if not PurePosixPath(path).is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _check_inside(path: str) -> str:
    """Refuse a path that leads out of where it begins."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError("must be a path inside the repository")
    return path


def _check_safetensors(path: str) -> str:
    """Refuse weights that can run code when they are read."""
    if not path.endswith(".safetensors"):
        raise ValueError("must be a .safetensors file: no other weights are opened")
    return path


AbsolutePath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_check_absolute)]


class FolderSource(Frozen):
    """The weights lie in a folder of this machine, in diffusers layout."""

    kind: Literal["folder"]
    path: AbsolutePath | None = None
    """None when each miner names its own in its settings."""


class CheckpointSource(Frozen):
    """The weights are one ``.safetensors`` file; a folder in diffusers layout says what they are.

    The folder holds the index, each part's configuration, the tokenizers and the scheduler's numbers, and no weights:
    a checkpoint does not say these things of itself, and nothing is fetched when a model is loaded.
    """

    kind: Literal["checkpoint"]
    file: Annotated[AbsolutePath, AfterValidator(_check_safetensors)] | None = None
    """None when it is the ``checkpoint.safetensors`` in the folder that each miner names in its settings."""
    configuration: AbsolutePath | None = None
    """Folder in diffusers layout; None with ``file``."""

    @model_validator(mode="after")
    def _check_both(self) -> Self:
        """Refuse half of what is needed."""
        if (self.file is None) != (self.configuration is None):
            raise ValueError("give both file and configuration, or neither")
        return self


class HubRepository(Frozen):
    """A repository of the Hugging Face hub at one revision, which is a commit, never a moving branch."""

    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,96}/[A-Za-z0-9_.-]{1,96}$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class HuggingFaceSource(HubRepository):
    """The weights are published on the Hugging Face hub."""

    kind: Literal["hugging_face"]


ModelSource = Annotated[
    BuiltinSource | FolderSource | CheckpointSource | HuggingFaceSource, Field(discriminator="kind")
]


class StyleSource(HubRepository):
    """A LoRA is published on the Hugging Face hub."""

    file: Annotated[
        str, Field(min_length=1, max_length=512), AfterValidator(_check_inside), AfterValidator(_check_safetensors)
    ]
    """Its path in the repository."""


class Style(Frozen):
    """A LoRA: a file that changes what a model draws. The model with it is a model of its own, under its own name."""

    file: Annotated[AbsolutePath, AfterValidator(_check_safetensors)] | None = None
    """None when it is ``<digest>.safetensors`` in the folder ``styles`` beside the pulled models."""
    source: StyleSource | None = None
    """Where ``cuckoo models pull`` has it from; None with ``file``, or when each miner puts it there."""
    digest: HexDigest
    """SHA-256 of the file."""
    weight: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] = 1.0
    """How much of it counts, in thousandths: finer differences are none."""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        """Refuse a file of this machine that is to be pulled."""
        if self.file is not None and self.source is not None:
            raise ValueError("give file or source, not both")
        return self


class CatalogModel(Frozen):
    """One model: what it is called, what it can draw, and what its files are."""

    name: ModelName
    title: Annotated[str, Field(min_length=1, max_length=120)]
    sizes: Annotated[tuple[Size, ...], Field(min_length=1, max_length=64)]
    """(width, height) in pixels that it draws well; others are refused, not tried."""
    default_size: Size
    default_steps: Annotated[int, Field(ge=1, le=200)]
    max_steps: Annotated[int, Field(ge=1, le=200)]
    default_guidance: Annotated[float, Field(ge=0, le=50)]
    max_guidance: Annotated[float, Field(ge=0, le=50)]
    default_scheduler: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,64}$")] | None = None
    """Class name of the diffusers scheduler that its own configuration names; for people to read."""
    schedulers: Annotated[tuple[SchedulerName, ...], Field(max_length=16)] = ()
    """Others that an app may ask for."""
    works: Annotated[tuple[Work, ...], Field(min_length=1, max_length=3)] = ("text_to_image",)
    """What it does."""
    default_strength: Annotated[float, Field(gt=0, le=1)] = 0.7
    """How far a source is left behind where the app does not say."""
    max_prompt_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Tokens that its text encoder reads; what follows them does not change the picture, whose file then says so."""
    loading_limit_ms: Annotated[int, Field(ge=1000, le=3_600_000)]
    """Longest time (ms) in the state ``loading`` before the attempt counts as lost."""
    half_precision: bool = False
    """Whether GPUs draw it in 16 bits unless their owner says otherwise: models of today are published for that."""
    digest: HexDigest | None = None
    """SHA-256 over its files' names and digests, as ``node.adapters.engine.weights`` computes it. A model without one
    is known but neither served nor offered: results are checked against it."""
    licence: Annotated[str, Field(min_length=1, max_length=120)]
    """SPDX expression of the weights' licence."""
    source: ModelSource
    styles: Annotated[tuple[Style, ...], Field(max_length=MAX_STYLES)] = ()
    """LoRAs that are put into the weights when it is loaded, in this order."""

    @model_validator(mode="after")
    def _check_defaults(self) -> Self:
        """Refuse defaults that the entry's own limits forbid."""
        if self.default_size not in self.sizes:
            raise ValueError("default_size must be one of sizes")
        if self.default_steps > self.max_steps:
            raise ValueError("default_steps must not exceed max_steps")
        if self.default_guidance > self.max_guidance:
            raise ValueError("default_guidance must not exceed max_guidance")
        return self

    @property
    def pinned_digest(self) -> Digest:
        """The digest of a model that is offered. Ask for no other's: that is a fault of ours."""
        assert self.digest is not None, f"{self.name} has no digest"
        return self.digest

    @property
    def all_schedulers(self) -> tuple[str, ...]:
        """The class names of its schedulers, its own first where the entry names it."""
        own = (self.default_scheduler,) if self.default_scheduler is not None else ()
        return tuple(dict.fromkeys((*own, *self.schedulers)))

    @property
    def sizes_text(self) -> str:
        """The sizes as people read them: ``128x128, 256x128``."""
        return ", ".join(f"{width}x{height}" for width, height in self.sizes)
