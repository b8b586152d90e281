"""What a WebP file says of itself, read without decoding it. Spec: SPEC.md §9.4, §9.8; format: RFC 9649.

Its pixels are not looked at: they cannot be without a decoder, and a coordinator runs none on what strangers send.
"""

from collections.abc import Iterator
from typing import Final

from protocol.errors import InvalidMessage
from protocol.params import MAX_ARTIFACT_BYTES

_HEAD_BYTES: Final = 12
"""``RIFF``, the size of the rest, ``WEBP``."""
_CHUNK_HEAD_BYTES: Final = 8
_CHUNKS: Final = 16
"""Most chunks of a still picture; there are six kinds."""
_ANCILLARY_BYTES: Final = 64 * 1024
"""Most bytes of all chunks that are no picture."""
_ANIMATED: Final = 0x02
"""Flag of the extended header."""
_PICTURES: Final = frozenset({b"VP8 ", b"VP8L"})
_ANCILLARY: Final = frozenset({b"EXIF", b"XMP "})
"""No colour profile: by it people would see another picture than whoever compares or reviews it."""


def is_webp(data: bytes) -> bool:
    """Say whether a file begins as WebP does."""
    return data[:4] == b"RIFF" and data[8:_HEAD_BYTES] == b"WEBP"


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Read (width, height) in pixels of a still picture; None where the header says no such thing, or of frames."""
    name, start = data[12:16], _HEAD_BYTES + _CHUNK_HEAD_BYTES
    if name == b"VP8X" and len(data) >= start + 10 and not data[start] & _ANIMATED:
        return 1 + int.from_bytes(data[start + 4 : start + 7], "little"), 1 + int.from_bytes(
            data[start + 7 : start + 10], "little"
        )
    return _picture_size(name, data[start : start + 10])


def _picture_size(name: bytes, head: bytes | memoryview) -> tuple[int, int] | None:
    """Read the size of the picture of a ``VP8`` or ``VP8L`` chunk, of whose body ``head`` is the first 10 bytes."""
    if name == b"VP8 " and len(head) == 10 and head[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    if name == b"VP8L" and len(head) >= 5 and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def check_webp(data: bytes, width: int, height: int) -> None:
    """Pass only a whole container with one still picture of this size (pixels) in it.

    Raises:
        InvalidMessage: ``artifact.oversize``, ``artifact.signature`` (no WebP), ``artifact.chunk`` (a broken or
            unknown chunk, or too much beside the picture), ``artifact.header`` (an animation, or another header),
            ``artifact.size`` (another width or height), ``artifact.data`` (no picture, or more than one),
            ``artifact.trailing`` (bytes after the end).
    """
    if len(data) > MAX_ARTIFACT_BYTES:
        raise InvalidMessage("artifact.oversize", f"{len(data)} bytes")
    if not is_webp(data):
        raise InvalidMessage("artifact.signature", "not a WebP file")
    if int.from_bytes(data[4:8], "little") != len(data) - 8:
        raise InvalidMessage("artifact.trailing", "the size in the header is not the file's")
    if webp_size(data) is None:
        raise InvalidMessage("artifact.header", "no still picture")
    sizes, ancillary = [webp_size(data)], 0
    for place, (name, body) in enumerate(_chunks(memoryview(data))):
        if name in _PICTURES:
            sizes.append(_picture_size(name, body[:10]))
        elif name in _ANCILLARY:
            ancillary += len(body)
        elif name != b"VP8X" or place > 0:
            raise InvalidMessage("artifact.chunk", "a chunk that no plain picture has")
    if any(size != (width, height) for size in sizes):
        raise InvalidMessage("artifact.size", f"not {width} x {height}")
    if ancillary > _ANCILLARY_BYTES:
        raise InvalidMessage("artifact.chunk", "too much beside the picture")
    if len(sizes) != 2:
        raise InvalidMessage("artifact.data", f"{len(sizes) - 1} pictures")


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Walk the chunks of a file: name and body of each."""
    position = _HEAD_BYTES
    for _ in range(_CHUNKS):
        if position == len(data):
            return
        body = position + _CHUNK_HEAD_BYTES
        length = int.from_bytes(data[position + 4 : body], "little")
        if body + length + length % 2 > len(data):
            raise InvalidMessage("artifact.chunk", "cut off")
        yield bytes(data[position : position + 4]), data[body : body + length]
        position = body + length + length % 2
    raise InvalidMessage("artifact.chunk", "too many chunks")
