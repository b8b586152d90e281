"""Was the draw steered? The tickets of honest tasks are independent of what the tasks are worth.

For each miner: how often it was drawn first, and with how much value, against the chances that its stake gave it in
the fields as they were published. Values are not shuffled among tasks: in an honest network dear tasks may come while
certain miners are busy, and a shuffle would take that for steering. Given the fields, only tickets are left to chance,
and their distribution is known exactly. Spec: SPEC.md §12.3.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Final

from protocol.audit.history import Conduct, Offered
from protocol.audit.report import Estimate, Power
from protocol.audit.statistics import detectable, weighted_tail
from protocol.units import StakingId, TaskId

FEWEST_TASKS: Final = 30
"""Tasks of one coordinator below which nothing is said of its draws."""
SUSPECT: Final = 2.0
"""Standard deviations below which a sum is not looked at closer: its bound would be above any threshold."""


@dataclass(frozen=True, slots=True)
class DrawTest:
    """One value of a task that has to be independent of who was drawn first."""

    rule: str
    what: str
    """What the drawn first has too much or too little of."""
    values: tuple[float, ...]
    """For each first attempt; centred but for the count."""
    total: float
    """Sum of the values as they are: what a share is of."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one miner's sum is from its mean."""

    miner: StakingId
    excess: float
    deviation: float


def draw_tests(conduct: Conduct, firsts: list[Offered]) -> list[DrawTest]:
    """Give the tests that these first attempts allow."""
    if len(firsts) < FEWEST_TASKS:
        return []
    cancelled = cancelled_early(conduct)
    columns: list[tuple[str, str, Callable[[Offered], float]]] = [
        ("draw.price", "price", lambda one: float(one.offer.price)),
        ("draw.cancelled", "cancelled tasks", lambda one: float(one.offer.task in cancelled)),
    ]
    sample = firsts[0].offer
    if any(one.offer.price * sample.pixel_steps != sample.price * one.offer.pixel_steps for one in firsts):
        columns.append(("draw.cost", "work", lambda one: float(one.offer.pixel_steps)))
    else:
        columns[0] = ("draw.price", "price (and work, which goes with it)", columns[0][2])
    tests = [DrawTest("draw.count", "first places", (1.0,) * len(firsts), float(len(firsts)))]
    for rule, what, value in columns:
        values = [value(one) for one in firsts]
        mean = sum(values) / len(values)
        if max(values) > min(values):
            tests.append(DrawTest(rule, what, tuple(one - mean for one in values), sum(values)))
    return tests


def cancelled_early(conduct: Conduct) -> set[TaskId]:
    """Give the tasks that were cancelled before any award: later the miner may be the reason."""
    awarded = {award.notice.task for award in conduct.awarded}
    ended = {closed.closure.task for closed in conduct.closed if closed.closure.reason == "cancelled"}
    return ended - awarded


def drifts(test: DrawTest, firsts: list[Offered]) -> list[Drift]:
    """Give the sum of each miner that could be drawn first in some task."""
    excess: dict[StakingId, float] = defaultdict(float)
    variance: dict[StakingId, float] = defaultdict(float)
    for value, one in zip(test.values, firsts, strict=True):
        for miner, chance in one.draw.chances().items():
            excess[miner] += value * ((one.draw.first == miner) - chance)
            variance[miner] += value * value * chance * (1 - chance)
    return [Drift(miner, excess[miner], sqrt(variance[miner])) for miner in sorted(excess) if variance[miner] > 0]


def estimate_draws(
    conduct: Conduct, test: DrawTest, firsts: list[Offered], found: list[Drift], threshold: float
) -> Iterator[Estimate]:
    """Say which miners' sums chance does not explain."""
    for drift in found:
        if abs(drift.excess) < SUSPECT * drift.deviation:
            continue
        chances = [one.draw.chances().get(drift.miner, 0.0) for one in firsts]
        chance = weighted_tail(test.values, chances, drift.excess)
        share = drift.excess / test.total if test.total else 0.0
        way = "more" if share > 0 else "less"
        points = f"{100 * abs(share):.1f} points {way}"
        yield Estimate(
            test.rule,
            conduct.coordinator,
            drift.miner,
            f"drawn first with {points} of all {test.what} than its stake gives it",
            len(test.values),
            share,
            0.0,
            chance,
            threshold,
            chance < threshold,
        )


def draw_power(conduct: Conduct, test: DrawTest, found: list[Drift], threshold: float) -> Power:
    """Say which shift of value to or from one miner would have been found, whichever miner it is."""
    widest = max((drift.deviation for drift in found), default=0.0)
    least = detectable(widest, threshold) / test.total if test.total and widest else None
    if least is not None and least > 1:
        least = None
    return Power(test.rule, conduct.coordinator, len(test.values), least)
