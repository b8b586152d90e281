"""Checks that an artifact is a picture of the ordered size, without decoding it into memory.

A coordinator must not pay for bytes that are no picture, nor hand an app a file that hurts its decoder, nor let a
small file inflate without bound. Spec: SPEC.md §9.4; PNG: W3C "Portable Network Graphics", third edition.
"""

import zlib
from typing import Final

from protocol.errors import InvalidMessage
from protocol.params import MAX_ARTIFACT_BYTES
from protocol.task.webp import check_webp
from protocol.wire.specification import MediaType

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 6: 4}
"""Bytes of a pixel by PNG colour type, at 8 bits: gray, RGB, RGBA. Pipelines write nothing else."""
_FRAME_BYTES: Final = 12
"""Length, type and checksum of a chunk."""
_ANCILLARY_BYTES: Final = 64 * 1024
"""Most bytes of all chunks that a decoder may leave out: a picture, not a parcel."""
_BESIDE: Final = {b"tIME": 7, b"pHYs": 9, b"sRGB": 1}
"""What may stand beside the pixels with text, and its bytes: decoders refuse a file where these are cut off. By frames,
transparency or colours of its own (acTL, tRNS, gAMA, iCCP, …) a file would show people another picture than whoever
compares or reviews it sees."""
_KEYWORDS: Final = frozenset(
    {b"parameters", b"prompt", b"workflow", b"Title", b"Author", b"Description", b"Copyright"}
) | {b"Creation Time", b"Software", b"Disclaimer", b"Warning", b"Source", b"Comment"}
"""What text may be about: what engines write of a picture's making, and those of the standard. Pillow takes others, as
``interlace`` or ``transparency``, for what the file says of its pixels, and then shows no picture."""
_CHUNKS: Final = 16_384
"""Most chunks of a file: writers cut the data every 8 KiB at the least."""
_PIECE_BYTES: Final = 256 * 1024
"""Inflated at a time."""
_LARGEST_OVERHEAD: Final = _ANCILLARY_BYTES + _CHUNKS * _FRAME_BYTES + 1024
"""Most bytes of a file that are not pixels."""
_FILTERS: Final = 5
"""Filter types of a row are 0 … 4."""


def check_picture(data: bytes, media_type: MediaType, width: int, height: int) -> None:
    """Pass only a whole picture of this type and size (pixels).

    Raises:
        InvalidMessage: As ``check_png`` or ``check_webp`` says.
    """
    if media_type == "image/png":
        check_png(data, width, height)
    else:
        check_webp(data, width, height)


def largest_picture(width: int, height: int) -> int:
    """Give the most bytes (≥ any honest picture's) that a file of a picture of this size in pixels may have.

    Uncompressed RGBA rows, zlib's and the chunks' own overhead, and the side chunks that ``check_png`` admits; a WebP
    has no more.
    """
    rows = height * (1 + 4 * width)
    return min(rows + rows // 100 + _LARGEST_OVERHEAD, MAX_ARTIFACT_BYTES)


def check_png(data: bytes, width: int, height: int) -> None:
    """Pass only a whole, plain PNG file of this size.

    Args:
        data: The artifact.
        width: Ordered width (pixels).
        height: Ordered height (pixels).

    Raises:
        InvalidMessage: ``artifact.oversize``, ``artifact.signature`` (not PNG), ``artifact.chunk`` (a broken,
            unknown or misplaced chunk), ``artifact.header`` (not 8-bit gray, RGB or RGBA without interlace),
            ``artifact.size`` (other width or height), ``artifact.data`` (the pixels are not all there, or more
            than all), ``artifact.trailing`` (bytes after the end).
    """
    if len(data) > MAX_ARTIFACT_BYTES:
        raise InvalidMessage("artifact.oversize", f"{len(data)} bytes")
    if not data.startswith(_SIGNATURE):
        raise InvalidMessage("artifact.signature", "not a PNG file")
    header, compressed = _read_chunks(memoryview(data))
    row_bytes = _row_bytes(header, width, height)
    _check_pixels(compressed, row_bytes, height)


def _read_chunks(data: memoryview) -> tuple[bytes, list[memoryview]]:
    """Walk the chunks: give the header and the pieces of compressed pixels, in order."""
    header: bytes | None = None
    compressed: list[memoryview] = []
    position, ancillary, previous = len(_SIGNATURE), 0, b""
    for _ in range(_CHUNKS):
        kind, body = _chunk(data, position)
        position += _FRAME_BYTES + len(body)
        if (kind == b"IHDR") != (header is None):
            raise InvalidMessage("artifact.chunk", "the header is the first chunk and stands once")
        if kind == b"IHDR":
            header = bytes(body)
        elif kind == b"IDAT":
            if compressed and previous != b"IDAT":
                raise InvalidMessage("artifact.chunk", "pixels in two places")
            compressed.append(body)
        elif kind == b"IEND":
            if len(body) or position != len(data):
                raise InvalidMessage("artifact.trailing", "bytes after the end")
            return header or b"", compressed
        else:
            ancillary += len(body)
            if ancillary > _ANCILLARY_BYTES or not _may_stand_beside(kind, bytes(body)):
                raise InvalidMessage("artifact.chunk", "a chunk that no plain picture has, or too much beside it")
        previous = kind
    raise InvalidMessage("artifact.chunk", "too many chunks")


def _may_stand_beside(kind: bytes, body: bytes) -> bool:
    """Say whether every decoder passes over a chunk; compressed text, which may inflate without bound, is none."""
    keyword, _, text = body.partition(b"\0")
    if kind == b"tEXt":
        return keyword in _KEYWORDS
    if kind == b"iTXt":
        return keyword in _KEYWORDS and text.startswith(b"\0")
    return len(body) == _BESIDE.get(kind)


def _chunk(data: memoryview, position: int) -> tuple[bytes, memoryview]:
    """Read one chunk and check its checksum."""
    length = int.from_bytes(data[position : position + 4], "big")
    kind = bytes(data[position + 4 : position + 8])
    body = data[position + 8 : position + 8 + length]
    checksum = data[position + 8 + length : position + _FRAME_BYTES + length]
    if len(checksum) != 4 or not kind.isalpha():
        raise InvalidMessage("artifact.chunk", "cut off")
    if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(checksum, "big"):
        raise InvalidMessage("artifact.chunk", "wrong checksum")
    return kind, body


def _row_bytes(header: bytes, width: int, height: int) -> int:
    """Check the header and give the bytes of one row, its filter byte included."""
    if len(header) != 13:
        raise InvalidMessage("artifact.header", "wrong length")
    if (int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")) != (width, height):
        raise InvalidMessage("artifact.size", f"not {width} x {height}")
    depth, colour, compression, filtering, interlace = header[8:]
    if depth != 8 or colour not in _CHANNELS or compression or filtering or interlace:
        raise InvalidMessage("artifact.header", "not plain 8-bit gray, RGB or RGBA")
    return 1 + width * _CHANNELS[colour]


def _check_pixels(compressed: list[memoryview], row_bytes: int, height: int) -> None:
    """Inflate piece by piece, keeping nothing: exactly all rows, each with a filter type that exists."""
    expected = row_bytes * height
    inflater = zlib.decompressobj()
    inflated = 0
    try:
        for piece in compressed:
            if inflater.eof and len(piece):
                raise InvalidMessage("artifact.data", "bytes after the pixels")
            rest: bytes | memoryview = piece
            more = not inflater.eof
            while more:
                pixels = inflater.decompress(rest, _PIECE_BYTES)
                rest = inflater.unconsumed_tail
                more = len(pixels) == _PIECE_BYTES and not inflater.eof
                filters = pixels[-inflated % row_bytes :: row_bytes]
                inflated += len(pixels)
                if inflated > expected or (filters and max(filters) >= _FILTERS):
                    raise InvalidMessage("artifact.data", "too many pixels or an unknown row filter")
    except zlib.error:
        raise InvalidMessage("artifact.data", "does not inflate") from None
    if not inflater.eof or inflater.unused_data or inflated != expected:
        raise InvalidMessage("artifact.data", f"{inflated} of {expected} bytes")
