"""A valid PNG of one colour from the standard library alone."""

import functools
import struct
import zlib
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
INDEXED_COLOUR: Final = 3
"""PNG colour type with a palette: one bit a pixel, so that the largest size costs 2 MiB of zeros and not 48."""
BITS_PER_BYTE: Final = 8


def solid_png(width: int, height: int, colour: bytes) -> bytes:
    """Give a PNG of exactly this size in pixels, all of one colour (red, green, blue bytes)."""
    header = struct.pack(">IIBBBBB", width, height, 1, INDEXED_COLOUR, 0, 0, 0)
    return (
        SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"PLTE", colour)
        + _chunk(b"IDAT", _pixels(width, height))
        + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    """Frame one chunk: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@functools.lru_cache(maxsize=64)
def _pixels(width: int, height: int) -> bytes:
    """Compress rows of palette index 0, each after its filter byte 0."""
    row = 1 + (width + BITS_PER_BYTE - 1) // BITS_PER_BYTE
    return zlib.compress(bytes(row * height), 9)
