"""Chances, exactly or as upper bounds: an honest coordinator is accused no more often than is said.

No sampling and no seed: the same record always gives the same numbers. Spec: SPEC.md §12.3.
"""

from collections.abc import Sequence
from math import exp, lgamma, log, log1p, sqrt
from typing import Final

NINE_IN_TEN: Final = 1.2816
"""Standard deviations above the threshold at which an effect is found in nine of ten records."""
STEEPEST: Final = 300.0
"""Largest slope that is tried: with one more, e to its power would near the largest number that there is."""
_STEPS: Final = 60


def binomial_tail(successes: int, trials: int, chance: float) -> float:
    """Give the chance of at least so many successes."""
    if successes <= 0:
        return 1.0
    if chance <= 0.0:
        return 0.0
    if chance >= 1.0:
        return 1.0
    terms = (
        _log_choose(trials, count) + count * log(chance) + (trials - count) * log1p(-chance)
        for count in range(successes, trials + 1)
    )
    return min(1.0, sum(exp(term) for term in terms))


def more_often_tail(successes: int, trials: int, others_successes: int, others_trials: int) -> float:
    """Give the chance of at least so many of all successes in these trials, were both kinds alike (Fisher)."""
    every, both = others_successes + successes, others_trials + trials
    whole = _log_choose(both, every)
    most = min(trials, every)
    terms = (
        _log_choose(trials, count) + _log_choose(others_trials, every - count) - whole
        for count in range(successes, most + 1)
        if every - count <= others_trials
    )
    return min(1.0, sum(exp(term) for term in terms))


def _log_choose(many: int, few: int) -> float:
    return lgamma(many + 1) - lgamma(few + 1) - lgamma(many - few + 1)


def weighted_tail(values: Sequence[float], chances: Sequence[float], sum_seen: float) -> float:
    """Bound twice the chance that a sum of independent events lies as far from its mean as was seen, on that side.

    Twice, since either side would have been taken. Each event has its own chance and counts with its own value when it
    happens. The bound is Chernoff's, from the exact distribution: it holds for any number of events and any values,
    which a normal approximation does not.

    Args:
        values: What each event counts.
        chances: The chance of each.
        sum_seen: Sum of the values of those that happened, less the mean of that sum.
    """
    largest = max((abs(value) for value in values), default=0.0)
    if sum_seen == 0.0 or largest == 0.0:
        return 1.0
    scale = largest if sum_seen > 0 else -largest
    events = [(value / scale, p) for value, p in zip(values, chances, strict=True) if value and 0.0 < p < 1.0]
    if not events:
        return 1.0  # nothing was left to chance, so what was seen is rounding
    return min(1.0, 2.0 * exp(_least_exponent(events, abs(sum_seen) / largest)))


def _least_exponent(events: Sequence[tuple[float, float]], excess: float) -> float:
    """Give the least log of the bound over all slopes; it is convex in the slope, so a golden search finds it.

    Args:
        events: What each counts, at most 1 either way, and its chance.
        excess: Of their sum over its mean, above 0.
    """
    deviation = sqrt(sum(value * value * p * (1 - p) for value, p in events))
    low, high = 0.0, min(8.0 * excess / deviation**2 + 8.0 / deviation, STEEPEST)

    def exponent(slope: float) -> float:
        total = -slope * excess
        for value, p in events:
            total += log1p(p * (exp(slope * value) - 1.0)) - slope * value * p
        return total

    ratio = (sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = exponent(left), exponent(right)
    for _ in range(_STEPS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = exponent(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = exponent(right)
    return min(at_left, at_right, 0.0)


def detectable(deviation: float, threshold: float) -> float:
    """Give the smallest shift of such a sum that is found in nine of ten records, in the sum's unit."""
    return (sqrt(2.0 * log(2.0 / threshold)) + NINE_IN_TEN) * deviation


def detectable_share(trials: int, chance: float, threshold: float) -> float | None:
    """Give the smallest share of successes that is found in nine of ten records, None when no share is."""
    for percent in range(max(1, round(100 * chance)), 101):
        share = percent / 100
        # What nine of ten records have at least.
        successes = int(trials * share - NINE_IN_TEN * sqrt(trials * share * (1 - share)))
        if binomial_tail(successes, trials, chance) < threshold:
            return share
    return None
