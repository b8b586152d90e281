"""The child that decodes: ``python -m node.adapters.pictures.child`` reads two files and prints their distance.

Standard input is the length of the first file (4 bytes, big-endian), its bytes, and those of the second.
"""

import os
import resource
import sys
from io import BytesIO
from typing import Final

from PIL import Image

from protocol.task.distance import Raster, Sketch, distance, sketch_of
from protocol.task.recheck import UNREADABLE

MEMORY_BYTES: Final = 3 * 2**30
"""Most memory: of 4096x4096 pixels, rows of three bytes and lists of their numbers, twice over."""
CPU_S: Final = 170
FORMATS: Final = ("PNG", "WEBP")
"""What artifacts are; other decoders are not even tried."""
NICE: Final = 10
"""How much less urgent than the node that asks."""


def sketched(data: bytes) -> Sketch | None:
    """Decode one file and reduce it; None where no decoder reads it, or something shows through it."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            pixels = None if shows_through(picture) else picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises for broken files
        return None
    return None if pixels is None else sketch_of(Raster(pixels.width, pixels.height, pixels.tobytes()))


def shows_through(picture: Image.Image) -> bool:
    """Say whether any pixel is transparent: what people see then is not what the pixels say."""
    return picture.has_transparency_data and picture.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def apart(one: bytes, other: bytes) -> int:
    """Give the distance of two files, ``UNREADABLE`` where one shows no picture or they differ in size."""
    first, second = sketched(one), sketched(other)
    if first is None or second is None or (first.width, first.height) != (second.width, second.height):
        return UNREADABLE
    return distance(first, second).total


def main() -> None:
    """Read, compare, print."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a decoder that breaks leaves no picture behind on the disk
    os.nice(NICE)
    given = sys.stdin.buffer.read()
    end = 4 + int.from_bytes(given[:4], "big")
    sys.stdout.write(f"{apart(given[4:end], given[end:])}\n")


if __name__ == "__main__":
    main()
