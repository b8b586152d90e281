"""Schedulers that a catalog may offer, by the names of their classes in diffusers and by short ones.

Each takes the model's network once in a step, so that the price of a step is that of its work: Heun, KDPM2 and their
like take it twice, PNDM once more than asked, and are not here. Spec: SPEC.md §7.5.
"""

from collections.abc import Mapping
from typing import Final, Literal

SchedulerName = Literal[
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "UniPCMultistepScheduler",
]
"""Class names, as they stand in specifications."""

SHORT_NAMES: Final[Mapping[str, SchedulerName]] = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "deis": "DEISMultistepScheduler",
    "dpm++ 2m": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler a": "EulerAncestralDiscreteScheduler",
    "flow euler": "FlowMatchEulerDiscreteScheduler",
    "lcm": "LCMScheduler",
    "lms": "LMSDiscreteScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""What makers call them; upper and lower case are one."""


def class_name(name: str) -> str:
    """Give the class name of a scheduler by its short name; any other text is given back as it is."""
    return SHORT_NAMES.get(name.lower(), name)
