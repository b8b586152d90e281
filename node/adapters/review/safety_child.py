"""The process that looks at pictures: ``python -m node.adapters.review.safety_child FOLDER``.

It alone imports torch. It ends when its standard input does; what libraries print goes to standard error.
"""

import io
import os
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPImageProcessor

from node.adapters.review.safety import CHECKER, FEATURES, LENGTH_BYTES, READY

SHOWN: Final = b"0"
REFUSED: Final = b"1"
UNREADABLE: Final = b"2"
FORMATS: Final = ("PNG", "WEBP")
"""What artifacts are; other decoders are not even tried."""


class Checker:
    """The safety checker that comes with Stable Diffusion: a CLIP and what it must not see."""

    def __init__(self, folder: Path) -> None:
        """Load it; only safetensors are read, and no network is asked."""
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        self._features: Any = CLIPImageProcessor.from_pretrained(folder / FEATURES, local_files_only=True)
        self._checker: Any = StableDiffusionSafetyChecker.from_pretrained(
            folder / CHECKER, use_safetensors=True, local_files_only=True
        )

    def verdict(self, data: bytes) -> bytes:
        """Give the byte for a picture's file."""
        try:
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
            if opened.has_transparency_data and opened.convert("RGBA").getchannel("A").getextrema() != (255, 255):
                return UNREADABLE  # what people see is not what its pixels say
            picture = opened.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return UNREADABLE
        seen = self._features(picture, return_tensors="pt").pixel_values
        # Its copy of the picture would be blackened; only what it says of it is asked for.
        _, found = self._checker(images=np.zeros((1, 1, 1, 3), dtype=np.float32), clip_input=seen)
        return REFUSED if found[0] else SHOWN


def main() -> None:
    """Serve until standard input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)
    checker = Checker(Path(sys.argv[1]))
    os.write(answers, READY)
    while length := sys.stdin.buffer.read(LENGTH_BYTES):
        os.write(answers, checker.verdict(sys.stdin.buffer.read(int.from_bytes(length, "big"))))


if __name__ == "__main__":
    main()
