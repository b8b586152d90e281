"""Valid pictures of one colour from the standard library alone."""

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


def solid_webp(width: int, height: int, colour: bytes) -> bytes:
    """Give a WebP without loss of exactly this size in pixels, all of one colour (red, green, blue bytes).

    Each channel has a code of one symbol, so that the pixels take no bits at all.
    """
    red, green, blue = colour
    bits = (width - 1) | (height - 1) << 14
    place = 14 + 14 + 1 + 3 + 3  # size, alpha, version; no transform, no cache, one group of codes
    for symbol in (green, red, blue, 255, 0):  # the last two: opaque, and a distance that never occurs
        bits |= (0b101 | symbol << 3) << place  # a simple code, of one symbol, of eight bits
        place += 11
    body = b"\x2f" + bits.to_bytes((place + 7) // 8, "little")
    body += bytes(len(body) % 2)
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _chunk(name: bytes, data: bytes) -> bytes:
    """Frame one chunk: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
