"""What pictures a task may begin from, told by their headers: they are decoded in the engine's child process alone.

A coordinator must not keep, nor a miner take, a file that no picture can come of, nor one that unpacks to more than
its size says. Spec: SPEC.md §9.8.
"""

from collections.abc import Mapping
from typing import Final

from protocol.errors import InvalidMessage
from protocol.params import MAX_INPUT_BYTES, MAX_INPUT_EDGE
from protocol.task.webp import is_webp, webp_size
from protocol.units import Digest
from protocol.wire.specification import TaskSpecification

LEAST_EDGE: Final = 16
"""Shortest edge (pixels), as of pictures that are drawn."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_PARTS: Final = 1000
"""Chunks or segments before the picture that are looked at: cameras write a few dozen."""
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
"""JPEG markers of frames that decoders know: baseline, extended, progressive."""
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
"""JPEG markers without a body."""
_SCAN: Final = 0xDA
MAX_SCANS: Final = 128
"""Scans of one JPEG, its preview's too: encoders write some ten, and each may cost a decoder a pass over all pixels for
34 bytes, so that a megabyte of them would keep an engine busy for longer than one that hangs."""

Size = tuple[int, int]
"""(width, height) in pixels, as stored: a camera's note to turn the picture is not read here."""


def check_input(data: bytes) -> Size:
    """Pass only a still PNG, JPEG or WebP file within the limits, by its header; give its size.

    Raises:
        InvalidMessage: ``input.oversize`` (more than ``MAX_INPUT_BYTES``), ``input.format`` (none of these formats,
            or several frames), ``input.pixels`` (an edge is too long or too short).
    """
    if len(data) > MAX_INPUT_BYTES:
        raise InvalidMessage("input.oversize", f"{len(data)} bytes, at most {MAX_INPUT_BYTES} are taken")
    size: Size | None = None
    if data.startswith(_PNG):
        size = _png_size(data)
    elif data.startswith(_JPEG):
        size = _jpeg_size(data)
    elif is_webp(data):
        size = webp_size(data)
    if size is None:
        raise InvalidMessage("input.format", "not a still picture in PNG, JPEG or WebP")
    if min(size) < LEAST_EDGE or max(size) > MAX_INPUT_EDGE:
        raise InvalidMessage(
            "input.pixels", f"{size[0]}x{size[1]} pixels, each edge must have {LEAST_EDGE} to {MAX_INPUT_EDGE}"
        )
    return size


def check_inputs(specification: TaskSpecification, inputs: Mapping[Digest, bytes]) -> None:
    """Pass only exactly the pictures that a specification names, a mask of the same size as its source.

    ``inputs`` are by SHA-256, which is checked already.

    Raises:
        InvalidMessage: ``input.missing``, ``input.unexpected``, ``input.mask`` (another size), or as ``check_input``.
    """
    if inputs.keys() - set(specification.inputs):
        raise InvalidMessage("input.unexpected", "a picture that the task does not name")
    missing = set(specification.inputs) - inputs.keys()
    if missing:
        raise InvalidMessage("input.missing", "the source or the mask is not there")
    sizes = {digest: check_input(data) for digest, data in inputs.items()}
    source, mask = specification.source, specification.mask
    if source is not None and mask is not None and sorted(sizes[source]) != sorted(sizes[mask]):
        # Either way round: a camera may have noted that the source is to be turned, and a mask is drawn turned.
        drawn, over = sizes[source], sizes[mask]
        raise InvalidMessage("input.mask", f"the mask has {over[0]}x{over[1]} pixels, its source {drawn[0]}x{drawn[1]}")


def _png_size(data: bytes) -> Size | None:
    """Read the size of a PNG; None without a header in its place, and of an animation."""
    if data[12:16] != b"IHDR":
        return None
    position = len(_PNG)
    for _ in range(_PARTS):
        name = data[position + 4 : position + 8]
        if name == b"IDAT":
            return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        if len(name) < 4 or name == b"acTL":
            return None
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return None


def _jpeg_size(data: bytes) -> Size | None:
    """Read the size of a JPEG of 8 bits; None where no frame that decoders know comes before the first scan.

    Also None with too many scans. Within one these two bytes do not occur, and elsewhere seldom by chance.
    """
    if data.count(bytes([0xFF, _SCAN])) > MAX_SCANS:
        return None
    position = 2
    for _ in range(_PARTS):
        while data[position : position + 2] == b"\xff\xff" and position < 64 * 1024:
            position += 1  # filling
        if len(data) < position + 9 or data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker in _FRAMES:
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            return (width, height) if data[position + 4] == 8 else None
        if marker == _SCAN:
            return None
        position += 2 if marker in _BARE else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None
