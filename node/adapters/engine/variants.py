"""The pipelines of one loaded model, by kind of work and scheduler, over one set of weights.

Rules for editors: of the parts of a model there is one copy, whatever it is asked to do. Torch runs in the child alone.
"""

from types import SimpleNamespace
from typing import Any, Final

import diffusers

from node.adapters.engine.denoised import Denoised
from node.adapters.engine.families import made_for
from node.adapters.engine.weights import ModelFault
from protocol.wire.specification import Work

ORDINARY: Final = {"unet": 4, "transformer": 16}
"""Channels by which diffusers' inpainting pipelines know a network that was not made for inpainting."""


class Variants:
    """One text-to-image pipeline, and what is made of its parts when it is asked for."""

    def __init__(self, pipeline: Any) -> None:  # noqa: ANN401  what diffusers loads
        """Take over a pipeline that draws pictures from text."""
        pipeline.set_progress_bar_config(disable=True)
        self._pipelines: dict[Work, Any] = {"text_to_image": pipeline}
        self._schedulers: dict[str, Any] = {"": pipeline.scheduler}
        self._denoised = {"": Denoised(pipeline.scheduler)}

    def choose(self, work: Work, scheduler: str) -> tuple[Any, Denoised]:
        """Give the pipeline for this work, drawing with this scheduler (its class, empty for the model's own).

        Also what that scheduler expects to end with, for previews.

        Raises:
            ModelFault: ``work_not_possible`` or ``scheduler_not_possible``: the model has no such pipeline.
        """
        if work not in self._pipelines:
            self._pipelines[work] = self._made_for(work)
        if scheduler not in self._schedulers:
            made = self._made_like(scheduler)
            self._schedulers[scheduler] = made
            self._denoised[scheduler] = Denoised(made)
        pipeline = self._pipelines[work]
        if pipeline.scheduler is not self._schedulers[scheduler]:
            pipeline.scheduler = self._schedulers[scheduler]
        return pipeline, self._denoised[scheduler]

    def sampler(self, scheduler: str) -> str:
        """Name the class of a scheduler that ``choose`` has given."""
        return type(self._schedulers[scheduler]).__name__

    def _made_for(self, work: Work) -> Any:  # noqa: ANN401  as above
        try:
            made = made_for(self._pipelines["text_to_image"], work)
        except ValueError as error:
            raise ModelFault("work_not_possible", str(error)) from error
        made.set_progress_bar_config(disable=True)
        if work == "inpaint":
            _show_as_ordinary(made)
        return made

    def _made_like(self, scheduler: str) -> Any:  # noqa: ANN401  as above
        try:
            return getattr(diffusers, scheduler).from_config(self._schedulers[""].config)
        except (AttributeError, ValueError, TypeError) as error:
            raise ModelFault("scheduler_not_possible", f"{scheduler}: {error}") from error


class _Ordinary:
    """A network with a number of channels of its own, shown to an inpainting pipeline as one that it knows.

    It asks for nothing but whether the network takes mask and picture as further channels. One that takes just the
    channels of its latents does not, however many these are.
    """

    def __init__(self, network: Any, channels: int) -> None:  # noqa: ANN401  a module of torch
        self._network = network
        self.config = SimpleNamespace(**(dict(network.config) | {"in_channels": channels}))

    def __call__(self, *values: Any, **named: Any) -> Any:  # noqa: ANN401  handed on as they are
        return self._network(*values, **named)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  as above
        return getattr(self._network, name)


def _show_as_ordinary(pipeline: Any) -> None:  # noqa: ANN401  as above
    """Let an inpainting pipeline take a network with another number of latent channels than its authors had."""
    for part, channels in ORDINARY.items():
        network = getattr(pipeline, part, None)
        if network is None or network.config.in_channels != pipeline.vae.config.latent_channels:
            continue
        if network.config.in_channels != channels:
            # Past diffusers' own bookkeeping, which would look for the class in its library.
            object.__setattr__(pipeline, part, _Ordinary(network, channels))
