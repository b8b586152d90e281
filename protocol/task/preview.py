"""Checks that a preview is a small picture, without decoding it. Spec: SPEC.md §10.

An app's browser decodes what a stranger's machine sends: few bytes must not ask for millions of pixels.
"""

from typing import Final

from protocol.errors import InvalidMessage

MAX_PREVIEW_EDGE: Final = 128
"""Longest edge (pixels)."""
PREVIEW_PACE_MS: Final = 200
"""Least time (ms) between two previews of a task: an honest miner speaks no faster."""
_HEADER_BYTES: Final = 30
_START_CODE: Final = b"\x9d\x01\x2a"
_EDGE_BITS: Final = 0x3FFF
"""An edge is 14 bits; the two above them ask for scaling."""


def check_preview(data: bytes) -> None:
    """Pass only a WebP file of one lossy frame (RFC 9649 §2.5, RFC 6386 §9.1) with edges of 1 to 128 pixels.

    Raises:
        InvalidMessage: ``preview.picture``.
    """
    is_frame = (
        len(data) >= _HEADER_BYTES
        and data[:4] == b"RIFF"
        and int.from_bytes(data[4:8], "little") == len(data) - 8
        and data[8:16] == b"WEBPVP8 "
        and data[23:26] == _START_CODE
    )
    if not is_frame:
        raise InvalidMessage("preview.picture", "not a lossy WebP frame")
    edges = [int.from_bytes(data[place : place + 2], "little") & _EDGE_BITS for place in (26, 28)]
    if not all(1 <= edge <= MAX_PREVIEW_EDGE for edge in edges):
        raise InvalidMessage("preview.picture", f"{edges[0]}x{edges[1]} pixels")
