from collections.abc import Sequence
from itertools import product
from math import inf

import pytest
import scipy
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol.audit.statistics import (
    binomial_tail,
    detectable,
    detectable_share,
    more_often_tail,
    weighted_tail,
)

SHARES = st.floats(0.01, 0.99)
VALUES = st.floats(-5, 5).filter(lambda value: value == 0 or abs(value) > 1e-3)


@given(st.integers(0, 60), st.integers(0, 60), SHARES)
def test_binomial_tail__any_count__is_what_scipy_says(successes: int, trials: int, chance: float) -> None:
    assume(successes <= trials)
    assert binomial_tail(successes, trials, chance) == pytest.approx(
        scipy.stats.binom.sf(successes - 1, trials, chance)
    )


def test_binomial_tail__impossible_and_certain__are_0_and_1() -> None:
    assert (binomial_tail(1, 5, 0.0), binomial_tail(5, 5, 1.0), binomial_tail(0, 0, 0.5)) == (0.0, 1.0, 1.0)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_more_often_tail__any_table__is_fishers(here: int, of: int, there: int, among: int) -> None:
    assume(here <= of and there <= among)
    table = [[here, of - here], [there, among - there]]
    expected = scipy.stats.fisher_exact(table, alternative="greater").pvalue
    assert more_often_tail(here, of, there, among) == pytest.approx(expected, abs=1e-9)


def exact_tail(values: Sequence[float], chances: Sequence[float], excess: float) -> float:
    """Twice the chance of at least so much on this side, by walking every outcome."""
    mean = sum(value * chance for value, chance in zip(values, chances, strict=True))
    total = 0.0
    for outcome in product((0, 1), repeat=len(values)):
        weight = 1.0
        for happened, chance in zip(outcome, chances, strict=True):
            weight *= chance if happened else 1 - chance
        reached = sum(value for value, happened in zip(values, outcome, strict=True) if happened) - mean
        is_there = reached >= excess - 1e-9 if excess > 0 else reached <= excess + 1e-9
        total += weight if is_there else 0.0
    return min(1.0, 2 * total)


@given(st.lists(st.tuples(VALUES, SHARES), min_size=1, max_size=8), st.data())
def test_weighted_tail__any_events__is_never_below_the_exact_chance(
    events: list[tuple[float, float]], data: st.DataObject
) -> None:
    values, chances = zip(*events, strict=True)
    happened = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    mean = sum(value * chance for value, chance in events)
    excess = sum(value for value, is_there in zip(values, happened, strict=True) if is_there) - mean
    assert weighted_tail(values, chances, excess) >= exact_tail(values, chances, excess) - 1e-9


def test_weighted_tail__many_alike__is_near_the_exact_chance() -> None:
    exact = scipy.stats.binom.sf(69, 200, 0.25) + scipy.stats.binom.cdf(30, 200, 0.25)
    bound = weighted_tail([1.0] * 200, [0.25] * 200, 70 - 50)
    assert exact < bound < 20 * exact


def test_weighted_tail__extremes__stay_between_0_and_1() -> None:
    assert weighted_tail([1.0], [0.5], 0.0) == 1.0
    assert weighted_tail([1.0] * 5000, [0.001] * 5000, 4995.0) < 1e-300
    assert 0.0 <= weighted_tail([1e30, 1.0], [0.5, 0.5], 5e29) <= 1.0
    assert weighted_tail([1.0], [1.0], 1e-12) == 1.0


def test_detectable__of_a_sum__is_found_in_nine_of_ten_normal_draws() -> None:
    threshold = 1e-4
    shift = detectable(1.0, threshold)
    least_seen = scipy.stats.norm.ppf(0.1, loc=shift)
    assert 2 * scipy.stats.norm.sf(least_seen) < threshold
    assert detectable(1.0, 1e-6) > shift
    assert shift < inf


def test_detectable_share__more_trials__is_smaller_and_none_for_few() -> None:
    assert detectable_share(5, 0.1, 1e-6) is None
    few, many = detectable_share(30, 0.1, 1e-4), detectable_share(3000, 0.1, 1e-4)
    assert few is not None
    assert many is not None
    assert 0.1 < many < 0.15 < few < 0.6
    drawn = scipy.stats.binom.ppf(0.1, 30, few)
    assert binomial_tail(int(drawn), 30, 0.1) < 2e-3
