"""The model catalog: which models a network knows, what each can draw, and what is impossible.

Everybody checks a task against the same entry: the coordinator before it accepts, the miner before its engine runs.
The catalog is data (``configs/models.toml``, read by ``node.catalog``); here is only what it means.
Spec: SPEC.md §7.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from protocol.params import MAX_PROMPT_CHARACTERS
from protocol.units import Digest
from protocol.wire.fields import Frozen, ModelName
from protocol.wire.messages import TaskSpecification

DIGEST_BYTES: Final = 32
SEED_LIMIT: Final = 2**63
"""Seeds are 0 ≤ seed < this, the range of a torch generator without its sign."""


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


class HuggingFaceSource(Frozen):
    """The weights are published on the Hugging Face hub; a revision is a commit, never a moving branch."""

    kind: Literal["hugging_face"]
    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,96}/[A-Za-z0-9_.-]{1,96}$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


ModelSource = Annotated[
    BuiltinSource | FolderSource | CheckpointSource | HuggingFaceSource, Field(discriminator="kind")
]


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
    max_prompt_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Tokens that its text encoder reads; what follows them does not change the picture."""
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
    def sizes_text(self) -> str:
        """The sizes as people read them: ``128x128, 256x128``."""
        return ", ".join(f"{width}x{height}" for width, height in self.sizes)


@dataclass(frozen=True, slots=True)
class Impossible:
    """A task that no miner can do: ``code`` is stable, ``detail`` says what would be possible."""

    code: str
    detail: str


class Catalog(Frozen):
    """All models that this node knows."""

    models: Mapping[ModelName, CatalogModel]
    default: ModelName
    """The model of a request that names none."""
    aliases: Mapping[Annotated[str, Field(min_length=1, max_length=64)], ModelName] = Field(default_factory=dict)
    """Names that foreign clients send, such as ``dall-e-3``, and the model that stands in for each."""

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        """Refuse a default or an alias that leads nowhere, and an entry filed under another name."""
        for key, model in self.models.items():
            if model.name != key:
                raise ValueError(f"models.{key}: its name is {model.name!r}")
        if self.default not in self.models:
            raise ValueError(f"default: there is no model {self.default!r}")
        if self.models[self.default].digest is None:
            raise ValueError(f"default: {self.default} has no digest, so that nobody may serve it")
        for alias, target in self.aliases.items():
            if target not in self.models:
                raise ValueError(f"aliases.{alias}: there is no model {target!r}")
            if alias in self.models:
                raise ValueError(f"aliases.{alias}: is the name of a model")
        return self

    def offered(self) -> tuple[str, ...]:
        """Name the models that may be served and asked for, sorted: those whose digest the network has pinned.

        Spec: SPEC.md §7.5 (model_not_pinned)
        """
        return tuple(name for name, model in sorted(self.models.items()) if model.digest is not None)

    def resolve(self, name: str | None) -> CatalogModel | None:
        """Find a model by its name, an alias or, for None, as the default."""
        if name is None:
            return self.models[self.default]
        return self.models.get(self.aliases.get(name, name))

    def refusal(self, specification: TaskSpecification) -> Impossible | None:
        """Say why no miner can do this, or None. ``model`` must be a catalog name: aliases end at the gateway.

        Spec: SPEC.md §7.5 (unknown_model, model_not_pinned, work_not_offered, scheduler_not_offered,
        numerics_not_offered, size_not_offered, too_many_steps, guidance_too_high)
        """
        model = self.models.get(specification.model)
        if model is None or model.digest is None:
            return self._not_offered(specification.model, model)
        size = (specification.width, specification.height)
        return _refuse_kind(model, specification) or _refuse_numbers(
            model, size, specification.steps, specification.guidance
        )

    def complete(
        self,
        prompt: str,
        *,
        seed: int,
        model: str | None = None,
        negative_prompt: str = "",
        size: tuple[int, int] | None = None,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> TaskSpecification | Impossible:
        """Fill what an app left out with the model's defaults, or say what is wrong with what it gave.

        A ``model`` may be a catalog name or an alias, None is the default model; ``seed`` is 0 ≤ seed < 2^63, drawn
        by the caller where the app gave none.

        Spec: SPEC.md §7 (prompt_empty, prompt_too_long, steps_out_of_range, guidance_out_of_range,
        seed_out_of_range, and those of ``refusal``)
        """
        entry = self.resolve(model)
        if entry is None or entry.digest is None:
            return self._not_offered(model or "", entry)
        chosen = size or entry.default_size
        chosen_steps = entry.default_steps if steps is None else steps
        chosen_guidance = entry.default_guidance if guidance is None else float(guidance)
        wrong = _refuse_text(prompt, negative_prompt) or _refuse_numbers(entry, chosen, chosen_steps, chosen_guidance)
        if wrong is not None:
            return wrong
        if not 0 <= seed < SEED_LIMIT:
            return Impossible("seed_out_of_range", "a seed is at least 0 and less than 2^63")
        return TaskSpecification(
            model=entry.name,
            prompt=prompt,
            negative_prompt=negative_prompt,
            width=chosen[0],
            height=chosen[1],
            steps=chosen_steps,
            guidance=chosen_guidance,
            seed=seed,
        )

    def _not_offered(self, name: str, model: CatalogModel | None) -> Impossible:
        """Say why nobody may serve what goes by this name, and name the models that there are."""
        there_are = f"there are: {', '.join(self.offered())}"
        if model is None:
            return Impossible("unknown_model", f"there is no model {name[:64]!r}; {there_are}")
        return Impossible("model_not_pinned", f"this network's catalog names no digest of {model.name}; {there_are}")


def _refuse_kind(model: CatalogModel, specification: TaskSpecification) -> Impossible | None:
    """Check what the wire format can name and no model of a present catalog does."""
    if specification.work != "text_to_image":
        return Impossible("work_not_offered", f"{model.name} does text_to_image, not {specification.work}")
    if specification.scheduler not in ("", model.default_scheduler):
        own = model.default_scheduler or "its own"
        return Impossible("scheduler_not_offered", f"{model.name} draws with {own}, not {specification.scheduler}")
    if specification.numerics != "any":
        return Impossible("numerics_not_offered", f"{model.name} offers the class any, not {specification.numerics}")
    return None


def _refuse_text(prompt: str, negative_prompt: str) -> Impossible | None:
    """Check what ``TaskSpecification`` would only call invalid."""
    if not prompt.strip():
        return Impossible("prompt_empty", "a prompt needs at least one word")
    longest = max(len(prompt), len(negative_prompt))
    if longest > MAX_PROMPT_CHARACTERS:
        return Impossible(
            "prompt_too_long", f"a prompt has at most {MAX_PROMPT_CHARACTERS} characters, this one has {longest}"
        )
    return None


def _refuse_numbers(model: CatalogModel, size: tuple[int, int], steps: int, guidance: float) -> Impossible | None:
    """Check the numbers against the model's limits, also those that ``TaskSpecification`` could not hold."""
    if size not in model.sizes:
        return Impossible(
            "size_not_offered", f"{model.name} does not draw {size[0]}x{size[1]}; it offers {model.sizes_text}"
        )
    if steps < 1:
        return Impossible("steps_out_of_range", f"{model.name} takes 1 to {model.max_steps} steps, not {steps}")
    if steps > model.max_steps:
        return Impossible("too_many_steps", f"{model.name} takes at most {model.max_steps} steps, not {steps}")
    if not 0 <= guidance <= model.max_guidance:
        code = "guidance_too_high" if guidance > model.max_guidance else "guidance_out_of_range"
        return Impossible(code, f"{model.name} takes a guidance of at most {model.max_guidance:g}, not {guidance:g}")
    return None
