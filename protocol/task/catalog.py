"""The model catalog: which models a network knows, what each can draw, and what is impossible.

Everybody checks a task against the same entry: the coordinator before it accepts, the miner before its engine runs.
The catalog is data (``configs/models.toml``, read by ``node.model_files.catalog``); here is only what it means.
Spec: SPEC.md §7.5.
"""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from protocol.task.model import BuiltinSource as BuiltinSource
from protocol.task.model import CatalogModel as CatalogModel
from protocol.task.model import CheckpointSource as CheckpointSource
from protocol.task.model import FolderSource as FolderSource
from protocol.task.model import HubRepository as HubRepository
from protocol.task.model import HuggingFaceSource as HuggingFaceSource
from protocol.task.model import ModelSource as ModelSource
from protocol.task.model import Style as Style
from protocol.task.model import StyleSource as StyleSource
from protocol.task.refusals import SEED_LIMIT as SEED_LIMIT
from protocol.task.refusals import Impossible as Impossible
from protocol.task.refusals import (
    refuse_fine,
    refuse_image_numbers,
    refuse_kind,
    refuse_numbers,
    refuse_output,
    refuse_text,
    rounded_guidance,
)
from protocol.task.schedulers import class_name
from protocol.units import Digest
from protocol.wire.fields import ANY_NUMERICS, Frozen, ModelName
from protocol.wire.messages import ServedModel
from protocol.wire.specification import Output, TaskSpecification, Work


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

    def pins(self, served: ServedModel) -> bool:
        """Say whether what a miner names is a model of this catalog, to its digest: with other files it serves none.

        Spec: SPEC.md §8.2 (capability.model)
        """
        known = self.models.get(served.model)
        return known is not None and known.digest == served.digest

    def resolve(self, name: str | None) -> CatalogModel | None:
        """Find a model by its name, an alias or, for None, as the default."""
        if name is None:
            return self.models[self.default]
        return self.models.get(self.aliases.get(name, name))

    def refusal(self, specification: TaskSpecification) -> Impossible | None:
        """Say why no miner does this, or None. ``model`` must be a catalog name: aliases end at the gateway.

        Spec: SPEC.md §7.5 (guidance_too_fine, and those of ``impossible``)
        """
        return self.impossible(specification) or refuse_fine(specification.guidance)

    def impossible(self, specification: TaskSpecification) -> Impossible | None:
        """Say why no engine can draw this, whoever asks for it, or None.

        Spec: SPEC.md §7.5 (unknown_model, model_not_pinned, work_not_offered, scheduler_not_offered,
        numerics_not_offered, size_not_offered, too_many_steps, guidance_too_high, strength_missing, strength_too_low)
        """
        model = self.models.get(specification.model)
        if model is None or model.digest is None:
            return self._not_offered(specification.model, model)
        size = (specification.width, specification.height)
        return (
            refuse_kind(model, specification.work, specification.scheduler, specification.numerics)
            or refuse_numbers(model, size, specification.steps, specification.guidance)
            or refuse_image_numbers(specification.work, specification.steps, specification.strength)
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
        source: Digest | None = None,
        mask: Digest | None = None,
        strength: float | None = None,
        scheduler: str | None = None,
        output: Output = "png",
        quality: int | None = None,
        embed_prompt: bool = False,
        sealed: bytes | None = None,
    ) -> TaskSpecification | Impossible:
        """Fill what an app left out with the model's defaults, or say what is wrong with what it gave.

        A ``model`` may be a catalog name or an alias, None is the default model; ``seed`` is 0 ≤ seed < 2^63, drawn
        by the caller where the app gave none; a ``scheduler`` is a class name or a short one, None the model's own.
        What the work is follows from ``source`` and ``mask``. A ``sealed`` body stands for the prompts, the seed and
        whether the file tells them: these are left empty then.

        Spec: SPEC.md §7.5 (prompt_empty, prompt_too_long, steps_out_of_range, guidance_out_of_range,
        strength_out_of_range, strength_unused, source_missing, quality_unused, quality_out_of_range,
        seed_out_of_range, and those of ``refusal``)
        """
        entry = self.resolve(model)
        if entry is None or entry.digest is None:
            return self._not_offered(model or "", entry)
        work: Work = "text_to_image" if source is None else "image_to_image" if mask is None else "inpaint"
        if source is None and mask is not None:
            return Impossible("source_missing", "a mask needs the picture that it is for")
        if source is not None and strength is None:
            strength = entry.default_strength
        chosen = size or entry.default_size
        chosen_steps = entry.default_steps if steps is None else steps
        chosen_guidance = rounded_guidance(entry.default_guidance if guidance is None else float(guidance))
        named = class_name(scheduler or "")
        wrong = (
            (refuse_text(prompt, negative_prompt) if sealed is None else None)
            or refuse_kind(entry, work, named, ANY_NUMERICS)
            or refuse_numbers(entry, chosen, chosen_steps, chosen_guidance)
            or refuse_image_numbers(work, chosen_steps, strength)
            or refuse_output(output, quality)
        )
        if wrong is not None:
            return wrong
        if not 0 <= seed < SEED_LIMIT:
            return Impossible("seed_out_of_range", "a seed is at least 0 and less than 2^63")
        common = {
            "work": work,
            "model": entry.name,
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "width": chosen[0],
            "height": chosen[1],
            "steps": chosen_steps,
            "guidance": chosen_guidance,
            "seed": seed,
            "source": source,
            "mask": mask,
            "strength": None if strength is None else float(strength),
            # Its own has one name, so that those who name it are drawn together with those who do not.
            "scheduler": "" if named == entry.default_scheduler else named,
        }
        # Only what says more than an earlier version can is of a later one: who reads that alone can do all others.
        more = {"output": output, "quality": quality, "embed_prompt": embed_prompt}
        if sealed is not None:
            return TaskSpecification.model_validate(common | more | {"version": 3, "sealed": sealed})
        if output == "png" and not embed_prompt:
            return TaskSpecification.model_validate(common)
        return TaskSpecification.model_validate(common | more | {"version": 2})

    def _not_offered(self, name: str, model: CatalogModel | None) -> Impossible:
        """Say why nobody may serve what goes by this name, and name the models that there are."""
        there_are = f"there are: {', '.join(self.offered())}"
        if model is None:
            return Impossible("unknown_model", f"there is no model {name[:64]!r}; {there_are}")
        nobody = f"nobody draws with {model.name} here: this network's catalog has no digest of it"
        return Impossible("model_not_pinned", f"{nobody}; {there_are}")
