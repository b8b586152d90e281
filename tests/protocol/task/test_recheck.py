"""Who is the odd one out among several drawings of one task: SPEC.md §12.8."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.task.distance import ANOTHER_PICTURE, OTHER_NUMERICS, RE_ENCODED, SAME_NUMERICS
from protocol.task.recheck import (
    ENOUGH,
    LEAST_QUALITY,
    MOST_DRAWINGS,
    UNREADABLE,
    Judgement,
    judge_drawings,
    limit_between,
)
from tests.protocol.roles.frames import SPECIFICATION

FAR = ANOTHER_PICTURE + 1
NEAR = OTHER_NUMERICS


def judged(count: int, *, is_last: bool = True, **apart: int) -> Judgement:
    """Judge drawings that are alike but for those named, as ``_01=FAR``."""
    pairs = list(combinations(range(count), 2))
    distances = {(one, other): apart.get(f"_{one}{other}", NEAR) for one, other in pairs}
    return judge_drawings(count, distances, dict.fromkeys(pairs, OTHER_NUMERICS), is_last=is_last)


def test_judge_drawings__two_alike__agree() -> None:
    assert judged(2) == Judgement(True, frozenset({0, 1}))


def test_judge_drawings__two_that_differ__blame_nobody_and_want_a_third() -> None:
    assert judged(2, _01=FAR, is_last=False) == Judgement(False)


def test_judge_drawings__two_against_one__want_a_fourth_where_there_is_one() -> None:
    assert judged(3, _01=FAR, _02=FAR, is_last=False) == Judgement(False)
    far = {"_01": FAR, "_02": FAR, "_03": FAR}
    assert judged(4, is_last=False, **far) == Judgement(True, frozenset({1, 2, 3}), frozenset(), frozenset({0}))


def test_judge_drawings__two_against_two__end_it_and_blame_nobody() -> None:
    assert judged(4, _01=FAR, _02=FAR, _13=FAR, _23=FAR, is_last=False) == Judgement(True)


def test_judge_drawings__two_that_agree_against_two_that_do_not__are_no_majority() -> None:
    far = {f"_{one}{other}": FAR for one, other in combinations(range(4), 2) if (one, other) != (0, 1)}
    assert judged(4, **far) == Judgement(False)


@pytest.mark.parametrize("odd", range(3))
def test_judge_drawings__one_of_three_shows_something_else__is_the_odd_one(odd: int) -> None:
    far = {f"_{one}{other}": FAR for one, other in combinations(range(3), 2) if odd in (one, other)}
    assert judged(3, **far) == Judgement(True, frozenset(range(3)) - {odd}, frozenset(), frozenset({odd}))


def test_judge_drawings__one_of_three_differs_a_little__is_slightly_off() -> None:
    verdict = judged(3, _02=NEAR + 1, _12=FAR)
    assert verdict == Judgement(True, frozenset({0, 1}), frozenset({2}), frozenset())


def test_judge_drawings__third_is_like_both_of_two_that_differ__nobody_is_odd() -> None:
    assert judged(3, _01=FAR) == Judgement(True)


def test_judge_drawings__friends_picture_lies_between__more_are_asked_until_three_agree_without_it() -> None:
    cheat, friend = 0, 2
    for count in (3, 4):
        far = {f"_{cheat}{other}": NEAR + 1 for other in range(count) if other not in (cheat, friend)}
        assert judged(count, is_last=False, **far) == Judgement(False), "it ended here, and blamed nobody"
    far = {f"_{cheat}{other}": NEAR + 1 for other in (1, 3, 4)}
    assert judged(5, is_last=False, **far) == Judgement(True, frozenset({1, 3, 4}), frozenset({cheat}))


def test_judge_drawings__between_two_pairs_that_differ__nobody_is_odd() -> None:
    far = {f"_{one}{other}": FAR for one in (0, 1) for other in (2, 3)}
    assert judged(5, is_last=False, **far) == Judgement(True)


def test_judge_drawings__no_two_alike__go_on_up_to_a_limit() -> None:
    for count in range(2, MOST_DRAWINGS + 1):
        far = {f"_{one}{other}": FAR for one, other in combinations(range(count), 2)}
        assert judged(count, is_last=False, **far) == Judgement(count == MOST_DRAWINGS)
        assert judged(count, **far) == Judgement(count == MOST_DRAWINGS)


@given(st.integers(2, MOST_DRAWINGS), st.booleans(), st.data())
def test_judge_drawings__any_distances__blame_nobody_but_by_a_majority_that_agrees(
    count: int, is_last: bool, data: st.DataObject
) -> None:
    pairs = list(combinations(range(count), 2))
    apart = {pair: data.draw(st.sampled_from([0, NEAR, NEAR + 1, FAR, UNREADABLE])) for pair in pairs}
    verdict = judge_drawings(count, apart, dict.fromkeys(pairs, OTHER_NUMERICS), is_last=is_last)
    odd = verdict.slightly_off | verdict.far_off
    if odd:
        assert len(verdict.agreeing) > count // 2
        assert len(verdict.agreeing) >= (2 if is_last else ENOUGH)
        assert verdict.is_over
    for place in odd:
        alike = {other for pair in pairs if place in pair and apart[pair] <= NEAR for other in pair}
        assert not alike & verdict.agreeing
    assert not odd & verdict.agreeing


def test_limit_between__classes_of_arithmetic__are_held_against_what_may_honestly_differ() -> None:
    lossy = SPECIFICATION.model_copy(update={"output": "webp", "quality": 80, "version": 2})
    assert limit_between(SPECIFICATION, "float32-cpu", "float32-cpu") == SAME_NUMERICS
    assert limit_between(SPECIFICATION, "float32-cpu", "float32-cuda") == OTHER_NUMERICS
    assert limit_between(SPECIFICATION, "float32-cuda", "float32-cuda") == OTHER_NUMERICS
    assert limit_between(SPECIFICATION, "any", "any") == OTHER_NUMERICS
    assert limit_between(lossy, "float32-cpu", "float32-cpu") == RE_ENCODED


@pytest.mark.parametrize("quality", [1, LEAST_QUALITY - 1])
def test_limit_between__coarse_file_and_16_bit_numbers__is_held_against_what_it_shows_alone(quality: int) -> None:
    coarse = SPECIFICATION.model_copy(update={"output": "webp", "quality": quality, "version": 2})
    for one, other in (("bfloat16-cpu", "float32-cpu"), ("float16-cuda", "float16-cuda"), ("any", "any")):
        assert limit_between(coarse, one, other) == ANOTHER_PICTURE
        fine = coarse.model_copy(update={"quality": LEAST_QUALITY})
        assert limit_between(fine, one, other) == RE_ENCODED
    assert limit_between(coarse, "float32-cpu", "float32-cpu") == RE_ENCODED, "they round alike before"
