"""Tiny valid pictures, made with the standard library."""

import struct
import zlib


def png(width: int, height: int, seed: int = 0) -> bytes:
    """One-coloured RGB picture whose colour follows from the seed."""

    pixel = bytes([seed % 251, seed * 7 % 251, seed * 13 % 251])
    rows = (b"\x00" + pixel * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 1)) + _END


def with_remark(picture: bytes, remark: str) -> bytes:
    """The same pixels in another PNG file."""
    return picture.removesuffix(_END) + _chunk(b"tEXt", b"Comment\x00" + remark.encode()) + _END


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_END = _chunk(b"IEND", b"")


def jpeg(width: int, height: int, *, marker: int = 0xC0, before: bytes = b"") -> bytes:
    """What stands before the pixels of a JPEG; no decoder finds a picture in it."""

    def segment(kind: int, body: bytes) -> bytes:
        return bytes([0xFF, kind]) + struct.pack(">H", 2 + len(body)) + body

    frame = struct.pack(">BHHB", 8, height, width, 3) + b"\x01\x11\x00\x02\x11\x01\x03\x11\x01"
    return (
        b"\xff\xd8"
        + segment(0xE0, b"JFIF\x00")
        + before
        + segment(marker, frame)
        + segment(0xDA, b"\x01\x01\x00\x00?\x00")
    )


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP container of these chunks."""
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\x00" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def vp8l(width: int, height: int) -> tuple[bytes, bytes]:
    """The head of a picture without loss."""
    return b"VP8L", b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + b"\x00"


def vp8(width: int, height: int) -> tuple[bytes, bytes]:
    """The head of a picture with loss."""
    return b"VP8 ", b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)


def vp8x(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """An extended header."""
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
