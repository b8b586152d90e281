"""Who is the odd one out when several miners drew one task.

A coordinator has a finished task drawn again by another miner and compares the pictures. Two that agree end it; two
that do not are joined by others until three agree, or nobody is left to ask. Pure arithmetic on distances.
Spec: SPEC.md §12.8.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from protocol.task.distance import ANOTHER_PICTURE, OTHER_NUMERICS, RE_ENCODED, SAME_NUMERICS
from protocol.wire.specification import TaskSpecification

EXACT_NUMERICS: Final = frozenset({"float32-cpu"})
"""Classes of arithmetic within which honest pictures were seen to differ by the order of additions alone. Miners of
every other class, and of two classes, are given the distance of 16-bit numbers."""
MOST_DRAWINGS: Final = 5
"""Drawings of one task that are compared at most, the first one with them."""
ENOUGH: Final = 3
"""Drawings that have to agree before another one is blamed: a miner that cheats needs two friends among the first three
that are drawn after it to have an honest one blamed in its place."""
LEAST_QUALITY: Final = 70
"""Of files with loss: a coarser one makes more of what 16-bit numbers change, up to every honest picture (see
tests/bench/DISTANCE.md). An app that orders such files has them compared for what they show alone."""
UNREADABLE: Final = 2_000_001
"""In the place of the distance to a picture that no decoder reads: more than any two pictures are apart."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What so many drawings of one task say."""

    is_over: bool
    """No further drawing is needed, or would help."""
    agreeing: frozenset[int] = frozenset()
    """Places of the drawings that show the same; none while nothing is decided."""
    slightly_off: frozenset[int] = frozenset()
    """Places of those that differ, within what an honest picture was once seen to."""
    far_off: frozenset[int] = frozenset()
    """Places of those that show something else."""


def limit_between(specification: TaskSpecification, one: str, other: str) -> int:
    """Give how far apart (parts per million) honest pictures of one task may be.

    Args:
        specification: What was ordered: a file with loss is compared less strictly.
        one: The class of arithmetic that the one miner says it draws in.
        other: And the other.
    """
    is_exact = one == other and one in EXACT_NUMERICS
    if specification.quality is None:
        return SAME_NUMERICS if is_exact else OTHER_NUMERICS
    return RE_ENCODED if is_exact or specification.quality >= LEAST_QUALITY else ANOTHER_PICTURE


def judge_drawings(
    count: int, apart: Mapping[tuple[int, int], int], limits: Mapping[tuple[int, int], int], *, is_last: bool
) -> Judgement:
    """Say whether so many drawings are enough, and which of them differ from those that agree.

    Nobody is blamed by fewer than ``ENOUGH`` that agree, but by a majority where nobody else is there to ask. Where one
    picture agrees with both of two that do not, it speaks for neither, and more are asked: a friend of whoever cheats
    must not end it by one that lies between.

    Args:
        count: How many drawings there are, at least two.
        apart: The distance of each two, by their places, the lesser first.
        limits: How far apart these may be.
        is_last: No miner is left that could draw it too.
    """
    pairs = list(combinations(range(count), 2))
    alike = {pair for pair in pairs if apart[pair] <= limits[pair]}
    agreeing = frozenset(place for pair in alike for place in pair)
    if any(pair not in alike for pair in combinations(sorted(agreeing), 2)):
        return _judge_between(count, apart, alike, is_last=is_last)
    odd = frozenset(range(count)) - agreeing
    if odd and len(agreeing) < ENOUGH and not (is_last and len(agreeing) > len(odd)):
        return Judgement(is_over=count >= MOST_DRAWINGS)
    return _blamed(odd, agreeing, apart)


def _judge_between(
    count: int, apart: Mapping[tuple[int, int], int], alike: AbstractSet[tuple[int, int]], *, is_last: bool
) -> Judgement:
    """Judge drawings that fall into no two groups, or into two that agree each."""
    near = {place: {other for pair in alike if place in pair for other in pair} for place in range(count)}
    if not any(near[one] != near[other] for one, other in alike):
        return Judgement(is_over=True)  # group against group
    if is_last or count < MOST_DRAWINGS:
        return Judgement(is_over=is_last)
    for size in range(count - 1, ENOUGH - 1, -1):
        for agreeing in map(frozenset, combinations(range(count), size)):
            odd = frozenset(place for place in range(count) if not near[place] & agreeing)
            if odd and all(pair in alike for pair in combinations(sorted(agreeing), 2)):
                return _blamed(odd, agreeing, apart)
    return Judgement(is_over=True)


def _blamed(odd: frozenset[int], agreeing: frozenset[int], apart: Mapping[tuple[int, int], int]) -> Judgement:
    far_off = frozenset(
        place
        for place in odd
        if all(apart[min(place, other), max(place, other)] > ANOTHER_PICTURE for other in agreeing)
    )
    return Judgement(True, agreeing, odd - far_off, far_off)
