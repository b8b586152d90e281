"""The names under which AUTOMATIC1111's clients know schedulers."""

from collections.abc import Mapping
from typing import Final

from protocol.task.catalog import CatalogModel
from protocol.task.schedulers import SHORT_NAMES, class_name

OWN_SAMPLER: Final = "Default"
"""What a model draws with that names none."""
_SHOWN: Final[Mapping[str, str]] = {
    "DDIMScheduler": "DDIM",
    "DDPMScheduler": "DDPM",
    "DEISMultistepScheduler": "DEIS",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "EulerDiscreteScheduler": "Euler",
    "FlowMatchEulerDiscreteScheduler": "Flow Euler",
    "LCMScheduler": "LCM",
    "LMSDiscreteScheduler": "LMS",
    "UniPCMultistepScheduler": "UniPC",
}
"""Class in diffusers -> name of the sampler."""
assert {class_name(name) for name in SHORT_NAMES} == set(_SHOWN), "each has a name"


def sampler_name(scheduler: str | None, model: CatalogModel | None) -> str:
    """Name what was drawn with: a scheduler, or the model's own."""
    used = scheduler or (model.default_scheduler if model is not None else None)
    return _SHOWN.get(used or "", OWN_SAMPLER)


def scheduler_of(sampler: str | None, model: CatalogModel | None) -> str | None:
    """Give the class of a sampler, None where the model has no such one and draws with its own.

    Clients send the name that their user once chose for another program, so that refusing it would refuse them all.
    """
    if not sampler or model is None:
        return None
    wanted = class_name(sampler.removesuffix(" Karras"))
    return wanted if wanted in model.all_schedulers and wanted != model.default_scheduler else None


def sampler_views(models: list[CatalogModel]) -> list[dict[str, object]]:
    """List the samplers with which at least one of these models draws."""
    used = dict.fromkeys(name for model in models for name in model.all_schedulers)
    named = {OWN_SAMPLER: [], **{_SHOWN[name]: [name] for name in used if name in _SHOWN}}
    return [{"name": name, "aliases": aliases, "options": {}} for name, aliases in named.items()]
