"""The engine's real child with faults that prompts ask for: ``python -m tests.support.faulty_engine``.

``poison`` makes the pipeline raise, ``greedy`` asks for more memory than there is for two pictures together, ``dark``
and ``nameless`` spoil one picture's pixels, ``endless`` never returns, ``ruinous`` is an error after which the device
computes nothing any more, and ``deadly`` ends the process as a driver does.
"""

import os
import signal
import time
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from node.adapters.engine import batch_runner, child

FITS = 2
"""Pictures together for which there is memory while one of them is greedy."""

draw = StableDiffusionPipeline.__call__


def faulty(self: Any, prompt: list[str], **options: Any) -> Any:
    """Draw as ever, but for what the prompts ask for."""
    words = {word for one in prompt for word in one.split()}
    if "deadly" in words:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "endless" in words:
        time.sleep(3600)
    if "ruinous" in words:
        batch_runner.is_healthy = lambda device: False
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if "poison" in words:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if "greedy" in words and len(prompt) > FITS:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    output = draw(self, prompt=prompt, **options)
    for place, one in enumerate(prompt):
        if "nameless" in one.split():
            output.images[place] = np.nan
        if "dark" in one.split():
            output.images[place] = 0
    return output


if __name__ == "__main__":
    StableDiffusionPipeline.__call__ = faulty
    child.main()
