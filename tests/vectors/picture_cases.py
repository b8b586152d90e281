"""Pairs of pictures and steps of pictures that are published. Add new ones at the end; never change or remove one."""

import hashlib

from tests.vectors.families import Json


def _picture(width: int, height: int, right: int, down: int, power: int = 1) -> bytes:
    """Rows of pixels that rise by ``right`` and ``down`` from one to the next, and again from black when too bright."""
    places = ((x, y, channel) for y in range(height) for x in range(width) for channel in range(3))
    return bytes(((right * x + down * y) ** power + 40 * channel) % 256 for x, y, channel in places)


def _pair(width: int, height: int, one: bytes, other: bytes) -> Json:
    return {"width": width, "height": height, "one": one, "other": other}


DISTANCES: dict[str, Json] = {
    "equal": _pair(16, 16, _picture(16, 16, 9, 5), _picture(16, 16, 9, 5)),
    "black and white": _pair(8, 8, bytes(192), b"\xff" * 192),
    "little brighter": _pair(16, 16, _picture(16, 16, 3, 2), bytes(v + 2 for v in _picture(16, 16, 3, 2))),
    "other colours": _pair(16, 16, b"\xf0\x10\x10" * 256, b"\x10\x10\xf0" * 256),
    "flat and chequered": _pair(16, 16, b"\x80" * 768, _picture(16, 16, 128, 128)),
    "odd edges": _pair(21, 17, _picture(21, 17, 6, 4), _picture(21, 17, 5, 4)),
    "cells of several pixels": _pair(130, 9, _picture(130, 9, 1, 11, 2), _picture(130, 9, 2, 7)),
}


def _steps(count: int, opened: int) -> Json:
    """Steps whose numbers rise, the lowest and highest among them, and which one is opened."""
    return {
        "steps": [[-32_767 + 1040 * place + step for place in range(64)] for step in range(count)],
        "opened": opened,
        "beacon": hashlib.sha256(b"a beacon for vectors").digest(),
        "commitment": hashlib.sha256(b"a commitment for vectors").digest(),
    }


FINGERPRINTS: dict[str, Json] = {
    "one step": _steps(1, 0),
    "first of four": _steps(4, 0),
    "last of five": _steps(5, 4),
    "inner of eleven": _steps(11, 6),
}
