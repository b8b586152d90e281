"""What the opened steps of several drawings say of their miners: SPEC.md §12.8."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.task.fingerprint import packed
from protocol.task.recheck import ENOUGH
from protocol.task.steps import (
    AGREED,
    AWAY,
    DECLINED,
    ODD,
    OPENED,
    OTHER_STEPS,
    ROOTLESS,
    SAME_STEPS,
    SILENT,
    UNASKED,
    WRONG,
    StepsShown,
    judge_steps,
    step_limit_between,
    steps_apart,
)

NAMES = (OPENED, WRONG, DECLINED, SILENT, AWAY, ROOTLESS, UNASKED)


def at(*values: int) -> tuple[bytes, ...]:
    """Steps, each all of one number."""
    return tuple(packed([value] * 64) for value in values)


def shown(offs: dict[int, int], *others: tuple[int, str]) -> dict[int, StepsShown]:
    opened = {place: StepsShown(OPENED, at(off, off, off)) for place, off in offs.items()}
    return opened | {place: StepsShown(name) for place, name in others}


def named(places: dict[int, StepsShown], numerics: str = "any") -> dict[int, str]:
    return dict.fromkeys(places, numerics)


def test_steps_apart__one_step_far_off__is_the_median_of_all() -> None:
    assert steps_apart(at(0, 0, 0), at(1024, 0, 0)) == 0
    assert steps_apart(at(0, 0, 0), at(1024, 1024, 0)) == 1_000_000
    assert steps_apart(at(0, 0), at(512, 1024)) == 500_000, "the lesser of two in the middle"


def test_step_limit_between__classes_of_arithmetic__are_held_against_what_may_honestly_differ() -> None:
    assert step_limit_between("float32-cpu", "float32-cpu") == SAME_STEPS
    for one, other in (("float32-cpu", "half-cuda"), ("half-cuda", "half-cuda"), ("any", "any")):
        assert step_limit_between(one, other) == OTHER_STEPS


def test_judge_steps__two_apart__blame_nobody_and_want_another() -> None:
    places = shown({0: 0, 1: 1024})
    judgement = judge_steps(places, named(places), is_last=False)
    assert not judgement.is_over
    assert set(judgement.names.values()) == {OPENED}
    assert not judgement.odd(must_open=True)
    assert judgement.worth(0) == judgement.worth(1) == 0.0


def test_judge_steps__three_against_one__name_the_odd_one() -> None:
    places = shown({0: 0, 1: 1024, 2: 1, 4: 2})
    judgement = judge_steps(places, named(places), is_last=False)
    assert judgement.is_over
    assert judgement.names == {0: AGREED, 1: ODD, 2: AGREED, 4: AGREED}
    assert judgement.odd(must_open=False) == {1}
    assert judgement.apart[1] == 1_000_000 * 1022 // 1024


def test_judge_steps__fewer_than_two_opened__compares_nothing_and_is_over() -> None:
    places = shown({0: 0}, (1, DECLINED), (2, AWAY), (3, WRONG))
    judgement = judge_steps(places, named(places), is_last=False)
    assert judgement.is_over
    assert judgement.wrong == {3}
    assert [judgement.worth(place) for place in range(3)] == [1.0, 0.5, 0.5]
    assert judgement.odd(must_open=False) == frozenset()
    assert judgement.odd(must_open=True) == {1}, "who was not there is never blamed"


def test_odd__where_steps_must_be_opened_and_nobody_opens__names_nobody() -> None:
    places = shown({}, (0, DECLINED), (1, SILENT), (2, ROOTLESS))
    assert judge_steps(places, named(places), is_last=False).odd(must_open=True) == frozenset()


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 40)), min_size=2, max_size=5),
    st.booleans(),
    st.sampled_from(["float32-cpu", "half-cuda"]),
)
def test_judge_steps__any_answers__blame_nobody_but_by_a_majority_that_agrees(
    answers: list[tuple[str, int]], is_last: bool, numerics: str
) -> None:
    places = {
        place: StepsShown(name, at(off, off, off) if name == OPENED else ())
        for place, (name, off) in enumerate(answers)
    }
    judgement = judge_steps(places, named(places, numerics), is_last=is_last)
    agreed = {place for place, name in judgement.names.items() if name == AGREED}
    odd = judgement.odd(must_open=False)
    assert judgement.wrong == {place for place, (name, _) in enumerate(answers) if name == WRONG}
    if odd:
        assert len(agreed) >= ENOUGH or (is_last and len(agreed) > len(odd))
    limit = step_limit_between(numerics, numerics)
    for one in agreed:
        assert all(steps_apart(places[one].fingerprints, places[other].fingerprints) <= limit for other in agreed)
    for one in odd:
        assert all(steps_apart(places[one].fingerprints, places[other].fingerprints) > limit for other in agreed)
    assert not odd & {place for place, (name, _) in enumerate(answers) if name != OPENED}
