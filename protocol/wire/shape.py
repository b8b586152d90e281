"""Looks over msgpack bytes without building anything: the guard in front of the decoder.

A few bytes of msgpack can announce millions of elements or nest a thousand deep. This scan walks the headers
only, in one pass, and refuses what no message of ours can be, before one object is made. It knows nothing of
kinds. The limits hold for every version of every message. Spec: SPEC.md §4.2 (message.malformed).
"""

from typing import Final

from protocol.errors import InvalidMessage

MAX_DEPTH: Final = 8
"""Containers inside each other; today's messages need 3."""
MAX_ITEMS: Final = 4096
"""Values in all containers of one message together: bounds the time of the scan. The largest bulletin has 2,400."""
MAX_MAP_ENTRIES: Final = 32
"""Entries of one map; the widest message has 12 fields."""
MAX_ARRAY_ITEMS: Final = 64
"""Elements of one array; the longest sequence of a message has 64."""
MAX_TEXT_BYTES: Final = 20 * 1024
"""Bytes of one string or byte string; the longest field is an encoded specification."""

_LENGTH_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""First bytes that are followed by a length or count, with its size in bytes."""


def _step(first: int) -> int:
    """Give the whole size of a value whose first byte says it, else 0."""
    if first <= 0x7F or first >= 0xE0 or first in {0xC0, 0xC2, 0xC3}:
        return 1
    if 0xA0 <= first <= 0xBF:
        return 1 + (first & 0x1F)
    return {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}.get(first, 0)


_STEPS: Final = tuple(_step(first) for first in range(256))


def _malformed(detail: str) -> InvalidMessage:
    return InvalidMessage("message.malformed", detail)


def check_shape(data: bytes) -> None:
    """Pass only bytes that are exactly one msgpack map within the limits of this module.

    Args:
        data: The bytes as received, of bounded length.

    Raises:
        InvalidMessage: ``message.malformed``: not msgpack, cut off, with bytes after its end, not a map, with
            extension types, too deep, too long or too many values.
    """
    if not data or not (0x80 <= data[0] <= 0x8F or data[0] in {0xDE, 0xDF}):
        raise _malformed("a message is a map")
    try:
        end = _walk(data)
    except IndexError:
        raise _malformed("cut off") from None
    if end != len(data):
        raise _malformed("cut off" if end > len(data) else "bytes after the end")


def _walk(data: bytes) -> int:
    """Walk one value and give the position after it, which may lie beyond the end of the data."""
    position = 0
    remaining = 1
    outer: list[int] = []
    items = 0
    while True:
        while remaining == 0:
            if not outer:
                return position
            remaining = outer.pop()
        remaining -= 1
        first = data[position]
        step = _STEPS[first]
        if step:
            position += step
            continue
        size, count, is_map = _header(data, position, first)
        position += size
        if count is None:
            continue
        outer.append(remaining)
        remaining = 2 * count if is_map else count
        items += remaining
        if count > (MAX_MAP_ENTRIES if is_map else MAX_ARRAY_ITEMS):
            raise _malformed("container too long")
        if len(outer) > MAX_DEPTH:
            raise _malformed("too deep")
        if items > MAX_ITEMS:
            raise _malformed("too many values")


def _header(data: bytes, position: int, first: int) -> tuple[int, int | None, bool]:
    """Give (bytes to pass over, entries or None for text, is it a map) of a value with a length."""
    if first <= 0x8F:
        return 1, first & 0x0F, True
    if first <= 0x9F:
        return 1, first & 0x0F, False
    width = _LENGTH_BYTES.get(first)
    if width is None:
        raise _malformed("extension types and reserved bytes are not used")
    body = position + 1 + width
    if body > len(data):
        raise _malformed("cut off")
    length = int.from_bytes(data[position + 1 : body], "big")
    if first >= 0xDC:
        return 1 + width, length, first >= 0xDE
    if length > MAX_TEXT_BYTES:
        raise _malformed("text too long")
    return 1 + width + length, None, False
