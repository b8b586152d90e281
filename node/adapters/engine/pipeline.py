"""Draws batches with torch. It runs in the child alone, as do the files beside it that import torch or diffusers.

Rules for editors: nothing here knows frames, pipes or the node; nothing outside the child imports this module.
"""

import gc
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers.utils import logging as transformers_logging

from node.adapters.engine.choices import Wanted, numbers_on
from node.adapters.engine.describing import chosen_device, describe
from node.adapters.engine.loading import load_pipeline
from node.adapters.engine.precision import Numbers, Precision
from node.adapters.engine.preview import PreviewGuess
from node.adapters.engine.sources import SourceFault
from node.adapters.engine.styles import StyleFile
from node.adapters.engine.trace import Trace
from node.adapters.engine.variants import Variants
from node.adapters.engine.weights import ModelFault
from protocol.wire.specification import Work

Picture = Image.Image
FULL_VALUE: Final = 255
COLOURS: Final = 3
LEARNT: Final = 4
"""Pictures of a batch from which previews learn their colours."""
Preview = Callable[[int], bytes | None]
"""Gives a small WebP file of what the picture at this place of a batch may become, or None."""
CANNOT_ALLOCATE: Final = ("out of memory", "can't allocate memory", "not enough memory")
"""How torch words it where it raises a plain RuntimeError: CUDA libraries, the CPU allocator."""


class JobCancelled(Exception):
    """The step callback asked to stop."""


class JobFault(Exception):
    """No picture; ``reason`` is stable."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Name the reason; ``detail`` is for the log."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def prepare(device: str, threads: int) -> str:
    """Set torch up and give the device that it will use: ``cpu`` or ``cuda``.

    Args:
        device: ``auto`` (CUDA where there is some), or a torch device name.
        threads: Threads of CPU arithmetic, ≥ 1.
    """
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped upstream
    diffusers_logging.disable_progress_bar()
    # Their warnings quote prompts, as that of what a text encoder leaves out, and the node's log has what a child says.
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # as above
    diffusers_logging.set_verbosity_error()
    chosen = chosen_device(device)
    torch.empty(1, device=chosen)  # fails here, with torch's own text, where there is no such device
    return chosen


def use_threads(threads: int) -> None:
    """Compute with so many threads of a CPU from now on, ≥ 1."""
    torch.set_num_threads(threads)


def fault_reason(error: BaseException) -> str:
    """Give the stable name of what went wrong in a job."""
    if isinstance(error, JobFault | ModelFault):
        return error.reason
    if isinstance(error, SourceFault):
        return "input_invalid"
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "out_of_memory"
    if isinstance(error, RuntimeError) and any(text in str(error).lower() for text in CANNOT_ALLOCATE):
        return "out_of_memory"
    return "engine_error"


@dataclass(frozen=True, slots=True)
class Wish:
    """One picture of a batch."""

    prompt: str
    negative_prompt: str
    seed: int
    source: Picture | None = None
    """What to begin from, of the ordered size."""
    mask: Picture | None = None
    """White where to draw anew, of the same size."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How all pictures of a batch are drawn."""

    width: int
    height: int
    steps: int
    guidance: float
    work: Work = "text_to_image"
    strength: float = 1.0
    """How far sources are left behind."""
    scheduler: str = ""
    """Class name; empty is the model's own."""

    @property
    def drawn_steps(self) -> int:
        """Steps that are taken, as in ``TaskSpecification``."""
        return self.steps if self.work == "text_to_image" else max(1, int(self.steps * self.strength))


class Painter:
    """One loaded model on one device."""

    def __init__(
        self,
        folder: Path,
        device: str,
        precision: Precision,
        checkpoint: Path | None = None,
        wanted: Wanted = Wanted(),  # noqa: B008  it is frozen
        styles: Sequence[StyleFile] = (),
    ) -> None:
        """Load the pipeline from a folder whose digest is checked already, as ``load_pipeline`` says.

        Raises:
            ModelFault: ``model_corrupt``: the files are no pipeline that draws pictures from text.
        """
        self._variants = Variants(load_pipeline(folder, checkpoint, device, precision, wanted, styles))
        self.numbers: Numbers = numbers_on(describe(device), precision)
        """In which it draws: what "half" means is the device's."""
        self._guess = PreviewGuess()
        pipeline, _ = self._variants.choose("text_to_image", "")
        tokenizers = [part for name, part in pipeline.components.items() if name.startswith("tokenizer") and part]
        self._tokenizer = max(tokenizers, key=lambda one: one.model_max_length, default=None)
        """Of the text encoder that reads most of a prompt."""

    def count_tokens(self, prompt: str) -> int:
        """Count the tokens of a prompt, without those that every prompt begins and ends with; 0 without a tokenizer."""
        return 0 if self._tokenizer is None else len(self._tokenizer.tokenize(prompt))

    def sampler(self, scheduler: str) -> str:
        """Name the class of a scheduler that was drawn with; empty is the model's own."""
        return self._variants.sampler(scheduler)

    def draw(
        self,
        wishes: Sequence[Wish],
        manner: Manner,
        on_step: Callable[[int, int, Preview], bool],
        trace: Trace | None = None,
    ) -> list[Picture | JobFault]:
        """Draw pictures of exactly the asked size together, in the order of the wishes.

        The noise of each comes from a CPU generator with its own seed, so that it is the same on every device and in
        every batch. Either all wishes have a negative prompt or none has. ``on_step`` is told after each step how many
        are done and how long (ms) the last took, and may ask for previews meanwhile; False from it stops the batch.
        ``trace`` takes the latents of each step.

        Returns:
            For each wish its picture, or why there is none: ``nan_picture``, ``black_picture``.

        Raises:
            JobCancelled: ``on_step`` said so.
            JobFault: Pictures of another size or number (``engine_error``).
            ModelFault: The model has no pipeline for this work, or none with this scheduler.
        """
        # Any: what it can be asked depends on the files
        pipeline: Any
        pipeline, denoised = self._variants.choose(manner.work, manner.scheduler)
        denoised.latents = None
        width, height = manner.width, manner.height
        moment = time.perf_counter()
        latents: torch.Tensor | None = None

        def preview(place: int) -> bytes | None:
            seen = denoised.latents if denoised.latents is not None else latents
            return None if seen is None else self._guess.paint(_numbers(seen[place]), width, height)

        def after_step(pipeline: object, index: int, timestep: object, values: dict[str, Any]) -> dict[str, Any]:
            del pipeline, timestep
            nonlocal moment, latents
            latents = values.get("latents")
            if trace is not None and latents is not None:
                trace.take(latents)
            now = time.perf_counter()
            wanted = on_step(index + 1, round((now - moment) * 1000), preview)
            moment = now
            if not wanted:
                raise JobCancelled
            return values

        output = pipeline(
            prompt=[wish.prompt for wish in wishes],
            # None and "" are not the same to every pipeline, and None is what people mean by nothing.
            negative_prompt=[wish.negative_prompt for wish in wishes] if wishes[0].negative_prompt else None,
            num_inference_steps=manner.steps,
            guidance_scale=manner.guidance,
            generator=[torch.Generator("cpu").manual_seed(wish.seed) for wish in wishes],
            callback_on_step_end=after_step,
            output_type="np",
            **_beginning(pipeline, wishes, manner),
        )
        values = np.asarray(output.images)
        if values.shape != (len(wishes), height, width, COLOURS):
            wanted = f"{len(wishes)} of {width}x{height}"
            raise JobFault("engine_error", f"asked for {wanted}, the pipeline gave an array of {values.shape}")
        pictures = [_kept(_picture(one), wish) for one, wish in zip(values, wishes, strict=True)]
        for place, picture in enumerate(pictures[:LEARNT]):
            if latents is not None and not isinstance(picture, JobFault):
                self._guess.learn(_numbers(latents[place]), picture)
        return pictures


def _beginning(pipeline: Any, wishes: Sequence[Wish], manner: Manner) -> dict[str, Any]:  # noqa: ANN401  as above
    """Give what a pipeline takes of size, sources and masks: some work the size out of the source."""
    given: dict[str, Any] = {"width": manner.width, "height": manner.height}
    given = {name: value for name, value in given.items() if name in inspect.signature(pipeline.__call__).parameters}
    if manner.work != "text_to_image":
        given["image"] = [wish.source for wish in wishes]
        # Exactly so many steps: pipelines round steps x strength, some up and some down.
        given["strength"] = Fraction(manner.drawn_steps, manner.steps)
    if manner.work == "inpaint":
        given["mask_image"] = [wish.mask for wish in wishes]
    return given


def _kept(picture: Picture | JobFault, wish: Wish) -> Picture | JobFault:
    """Put back what was not to be drawn anew: latents keep it nearly, and people look."""
    if isinstance(picture, JobFault) or wish.source is None or wish.mask is None:
        return picture
    return Image.composite(picture, wish.source, wish.mask)


def _numbers(latents: torch.Tensor) -> "np.ndarray[Any, Any]":
    """Bring one picture's latents to where numpy can read them."""
    return latents.float().cpu().numpy()


def _picture(values: "np.ndarray[Any, Any]") -> Picture | JobFault:
    """Turn numbers from 0 to 1 into a picture, unless they are none."""
    if not np.isfinite(values).all():
        return JobFault("nan_picture")
    if not values.any():
        # What overflowed in half precision, or what a safety checker put in its place: never what was asked for.
        return JobFault("black_picture")
    return Image.fromarray((values * FULL_VALUE).round().astype(np.uint8), "RGB")


def is_healthy(device: str) -> bool:
    """Say whether a device still computes. After many a CUDA error it never does again in the process that met it."""
    if device == "cpu":
        return True
    try:
        return bool(torch.ones(8, device=device).sum().item() == 8)
    except RuntimeError:
        return False


def settle() -> None:
    """Let Python look no more through what is there for long: half a million objects of the libraries and a model.

    To look through them takes a quarter of a second, many times an hour, in which no step begins and no ping is
    answered: on a crowded machine a child was taken for frozen by it.
    """
    gc.collect()
    gc.freeze()


def forget_model() -> None:
    """Give the memory of a model that left back to the device, also where its parts hold each other."""
    gc.unfreeze()
    release_memory()
    gc.freeze()


def release_memory() -> None:
    """Give memory that torch keeps for later back to the device, after a batch that did not fit."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
