"""Fingerprints of the steps of a picture, the root that a commitment carries, and how single steps are opened.

A miner that skips steps has no latents of them. It commits to one fingerprint for each step before anybody knows which
will be asked for; a later beacon chooses, the miner opens, and whoever draws the task again compares.
Spec: SPEC.md §12.7.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.errors import InvalidMessage
from protocol.units import Digest

VALUES: Final = 64
"""Numbers of a fingerprint: means of as many runs of the latents, in the order in which they lie in memory."""
SCALE: Final = 1024
"""A number is its mean times this, rounded to the nearest, half to even."""
LARGEST: Final = 2**15 - 1
"""Numbers are cut to this and its negative: means of up to 32 fit, beyond which not even scaled-up noise goes often."""
FINGERPRINT_BYTES: Final = 2 * VALUES
MAX_STEPS: Final = 200
"""As in a specification."""
_FORMAT: Final = f">{VALUES}h"
_LEAF: Final = b"cuckoo/1/fingerprint/leaf"
_NODE: Final = b"cuckoo/1/fingerprint/node"
_ROOT: Final = b"cuckoo/1/fingerprint/root"
_DRAW: Final = b"cuckoo/1/fingerprint/draw"


NO_FINGERPRINT: Final = Digest(bytes(32))
"""In the place of the root: the engine has no latents to take fingerprints of, or cannot see them."""


@dataclass(frozen=True, slots=True)
class Opening:
    """One step's fingerprint, and what ties it to the root."""

    step: int
    """From 0."""
    fingerprint: bytes
    path: tuple[Digest, ...]
    """The hash beside the way to the root at each level, from the leaf on."""


def packed(values: Sequence[int]) -> bytes:
    """Write a fingerprint: 64 signed numbers of 16 bits, the high byte first.

    Raises:
        struct.error: Other numbers than these: a fault of the engine.
    """
    return struct.pack(_FORMAT, *values)


def fingerprint_root(fingerprints: Sequence[bytes]) -> Digest:
    """Bind the fingerprints of all steps, the first first.

    Raises:
        ValueError: No step, more than ``MAX_STEPS``, or one of another length: a fault of the engine.
    """
    if not 1 <= len(fingerprints) <= MAX_STEPS or any(len(one) != FINGERPRINT_BYTES for one in fingerprints):
        raise ValueError(f"{len(fingerprints)} fingerprints, or one that is not {FINGERPRINT_BYTES} bytes")
    return _root(len(fingerprints), _levels(fingerprints)[-1][0])


def opened(fingerprints: Sequence[bytes], step: int) -> Opening:
    """Open one step (from 0) of the fingerprints that ``fingerprint_root`` bound."""
    return all_opened(fingerprints, (step,))[0]


def all_opened(fingerprints: Sequence[bytes], steps: Sequence[int]) -> tuple[Opening, ...]:
    """Open some steps, as ``opened`` does each, and hash what they share but once."""
    levels = _levels(fingerprints)[:-1]
    return tuple(Opening(step, fingerprints[step], _path(levels, step)) for step in steps)


def _path(levels: Sequence[Sequence[Digest]], step: int) -> tuple[Digest, ...]:
    path, place = [], step
    for level in levels:
        if place ^ 1 < len(level):
            path.append(level[place ^ 1])
        place //= 2
    return tuple(path)


def check_opening(root: Digest, count: int, opening: Opening) -> None:
    """Pass only an opening of a step of the root over ``count`` fingerprints.

    Raises:
        InvalidMessage: ``fingerprint.opening``.
    """
    if not 0 <= opening.step < count <= MAX_STEPS or len(opening.fingerprint) != FINGERPRINT_BYTES:
        raise InvalidMessage("fingerprint.opening", "no step of this picture")
    here, place, width, path = _leaf(opening.step, opening.fingerprint), opening.step, count, list(opening.path)
    while width > 1:
        if place ^ 1 < width:
            if not path:
                raise InvalidMessage("fingerprint.opening", "the path is too short")
            beside = path.pop(0)
            here = _node(beside, here) if place & 1 else _node(here, beside)
        place, width = place // 2, (width + 1) // 2
    if path or _root(count, here) != root:
        raise InvalidMessage("fingerprint.opening", "leads to another root")


def steps_to_open(beacon: Digest, secret: Digest, count: int, wanted: int) -> tuple[int, ...]:
    """Choose steps (from 0, in rising order) that nobody could know when the commitments were signed.

    Args:
        beacon: Of an epoch that was accepted after the last commitment.
        secret: 32 bytes that nobody knows but who asks: of a commitment they would tell its miner whether its picture
            was the first one.
        count: Steps of the picture.
        wanted: How many to open; all when there are no more.
    """
    seed = hashlib.sha256(_DRAW + beacon + secret).digest()
    order = sorted(range(count), key=lambda step: hashlib.sha256(seed + step.to_bytes(2, "big")).digest())
    return tuple(sorted(order[:wanted]))


def fingerprint_distance(one: bytes, other: bytes) -> int:
    """Give the mean difference of two fingerprints' numbers, in millionths of a latent's unit, rounded down."""
    pairs = zip(struct.unpack(_FORMAT, one), struct.unpack(_FORMAT, other), strict=True)
    apart: int = sum(abs(mine - theirs) for mine, theirs in pairs)
    return 1_000_000 * apart // (SCALE * VALUES)


def _leaf(step: int, fingerprint: bytes) -> Digest:
    return Digest(hashlib.sha256(_LEAF + step.to_bytes(2, "big") + fingerprint).digest())


def _node(left: Digest, right: Digest) -> Digest:
    return Digest(hashlib.sha256(_NODE + left + right).digest())


def _root(count: int, top: Digest) -> Digest:
    return Digest(hashlib.sha256(_ROOT + count.to_bytes(2, "big") + top).digest())


def _levels(fingerprints: Sequence[bytes]) -> list[list[Digest]]:
    """Build the tree from the leaves up; a hash without a neighbour goes up as it is."""
    levels = [[_leaf(step, one) for step, one in enumerate(fingerprints)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = [_node(*below[place : place + 2]) for place in range(0, len(below) - 1, 2)]
        levels.append(pairs + ([below[-1]] if len(below) % 2 else []))
    return levels
