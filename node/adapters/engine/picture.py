"""A valid PNG of one colour from the standard library alone."""

import struct
import zlib
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
RGB: Final = 2
"""PNG colour type with three samples a pixel: one of those that the coordinator's check admits."""


def solid_png(width: int, height: int, colour: bytes) -> bytes:
    """Give a PNG of exactly this size in pixels, all of one colour (red, green, blue bytes)."""
    header = struct.pack(">IIBBBBB", width, height, 8, RGB, 0, 0, 0)
    rows = (b"\x00" + colour * width) * height
    pixels = zlib.compress(rows, level=1)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    """Frame one chunk: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
