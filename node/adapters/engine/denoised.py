"""The scheduler's own idea, at each step, of the latents that it will end with: what previews are made of.

Latents on their way are mostly noise. Schedulers work out the end that they expect and keep it to themselves where the
pipeline asks for the next latents only.
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import torch


class Scheduler(Protocol):
    """What every scheduler of diffusers has; flow-matching ones have the rest too."""

    step: Callable[..., Any]
    sigmas: torch.Tensor
    step_index: int


class Denoised:
    """Watches one scheduler, whose results stay as they are."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Watch from now on."""
        self.latents: torch.Tensor | None = None
        """The end that was expected at the last step, None where this scheduler does not say."""
        step = scheduler.step

        @functools.wraps(step)  # pipelines look at the signature
        def watched(
            output: torch.Tensor, timestep: object, sample: torch.Tensor, return_dict: bool = True, **named: object
        ) -> object:
            result = step(output, timestep, sample, return_dict=True, **named)
            expected = getattr(result, "pred_original_sample", None)
            if expected is None:
                expected = getattr(result, "denoised", None)
            if expected is None and "FlowMatch" in type(scheduler).__name__:
                # Straight flow from noise to picture: x_sigma = (1 - sigma) x_0 + sigma noise, output = noise - x_0.
                expected = sample - scheduler.sigmas[scheduler.step_index - 1] * output
            self.latents = expected
            return result if return_dict else (result.prev_sample,)

        scheduler.step = watched
