"""The only file that imports torch and diffusers. It runs in the engine's child process alone.

Rules for editors: nothing here knows frames, pipes or the node; nothing outside the child imports this module.
"""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers.pipelines.auto_pipeline import AutoPipelineForText2Image
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers.utils import logging as transformers_logging

from node.adapters.engine.weights import ModelFault

FULL_VALUE: Final = 255
COLOURS: Final = 3
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
    chosen = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    torch.empty(1, device=chosen)  # fails here, with torch's own text, where there is no such device
    return chosen


def fault_reason(error: BaseException) -> str:
    """Give the stable name of what went wrong in a job."""
    if isinstance(error, JobFault | ModelFault):
        return error.reason
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "out_of_memory"
    if isinstance(error, RuntimeError) and any(text in str(error).lower() for text in CANNOT_ALLOCATE):
        return "out_of_memory"
    return "engine_error"


class Painter:
    """One loaded text-to-image pipeline on one device."""

    def __init__(self, folder: Path, device: str) -> None:
        """Load the pipeline from a folder whose digest is checked already.

        Only safetensors are read, no code from the folder runs and no network is asked. Arithmetic is float32 on
        every device, so that honest machines agree as closely as they can.

        Raises:
            ModelFault: ``model_corrupt``: the files are no pipeline that draws pictures from text.
        """
        try:
            # Any: what diffusers gives depends on the files
            self._pipeline: Any = AutoPipelineForText2Image.from_pretrained(  # type: ignore[no-untyped-call]
                str(folder), dtype=torch.float32, use_safetensors=True, local_files_only=True
            ).to(device)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFault("model_corrupt", f"{folder}: {error}") from error
        except Exception as error:
            if type(error).__name__ != "SafetensorError":  # compiled without a public base class
                raise
            raise ModelFault("model_corrupt", f"{folder}: {error}") from error
        self._pipeline.set_progress_bar_config(disable=True)

    def draw(
        self,
        *,
        prompt: str,
        negative_prompt: str,
        width: int,
        height: int,
        steps: int,
        guidance: float,
        seed: int,
        on_step: Callable[[int, int], bool],
    ) -> Image.Image:
        """Draw one picture of exactly the asked size.

        The noise comes from a CPU generator with this seed, so that it is the same on every device. ``on_step`` is
        told after each step how many are done and how long (ms) the last took; False from it stops the job.

        Raises:
            JobCancelled: ``on_step`` said so.
            JobFault: ``nan_picture``, or a picture of another size (``engine_error``).
        """
        moment = time.perf_counter()

        def after_step(pipeline: object, index: int, timestep: object, values: dict[str, object]) -> dict[str, object]:
            del pipeline, timestep
            nonlocal moment
            now = time.perf_counter()
            wanted = on_step(index + 1, round((now - moment) * 1000))
            moment = now
            if not wanted:
                raise JobCancelled
            return values

        output = self._pipeline(
            prompt=prompt,
            negative_prompt=negative_prompt or None,
            width=width,
            height=height,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator("cpu").manual_seed(seed),
            callback_on_step_end=after_step,
            output_type="np",
        )
        values = np.asarray(output.images[0])
        if not np.isfinite(values).all():
            raise JobFault("nan_picture", f"seed {seed}, {steps} steps, guidance {guidance}")
        if values.shape != (height, width, COLOURS):
            raise JobFault("engine_error", f"asked for {width}x{height}, the pipeline gave an array of {values.shape}")
        return Image.fromarray((values * FULL_VALUE).round().astype(np.uint8), "RGB")


def encode_png(picture: Image.Image) -> bytes:
    """Give the picture as PNG bytes that hold pixels only: no prompt, no date, no maker."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
