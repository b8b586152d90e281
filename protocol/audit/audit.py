"""From a record to a report: all proofs, all estimates, and what they could have found.

Pure: the same record always gives the same report. Spec: SPEC.md §12.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from protocol.audit.conduct_tests import FEWEST, Comparison, ConductTest, conduct_tests, estimate_conduct
from protocol.audit.draw_tests import (
    FEWEST_TASKS,
    DrawTest,
    Drift,
    draw_power,
    draw_tests,
    drifts,
    estimate_draws,
)
from protocol.audit.history import Conduct, History, Offered, history_of
from protocol.audit.proofs import boots_by_epoch, epochs_seen, numbers_of, proofs_of
from protocol.audit.record import Entry, RecordHead
from protocol.audit.report import Facts, Power, Report, Share
from protocol.audit.statistics import detectable_share
from protocol.stake.table import EpochView
from protocol.units import Epoch, StakingId

ERROR: Final = 0.01
"""Chance that an audit of honest coordinators finds anything by its estimates: shared out among all its tests."""


LEAST_SHARE: Final = 0.02
"""Share that is allowed for where others show less, as many as the ticket drops from a field."""


def audit(head: RecordHead, entries: Iterable[Entry], chain: Mapping[Epoch, EpochView] | None = None) -> Report:
    """Say what a record shows of every coordinator in it.

    Args:
        head: Of which network.
        entries: In any order, of one or several recorders.
        chain: Tables and beacons that were read from the chain again; without them the record's are believed.
    """
    history = history_of(head, entries, chain)
    conducts = list(history.conducts.values())
    drawn = [
        (conduct, test, drifts(test, firsts), firsts)
        for conduct in conducts
        for firsts in [_drawn(conduct)]
        for test in draw_tests(conduct, firsts)
    ]
    compared = conduct_tests(history)
    tests = sum(len(found) for _, _, found, _ in drawn) + sum(len(list(test.comparisons())) for test in compared)
    threshold = ERROR / max(tests, 1)
    estimates = [
        one for conduct, test, found, firsts in drawn for one in estimate_draws(conduct, test, firsts, found, threshold)
    ]
    estimates += [one for test in compared for one in estimate_conduct(test, threshold)]
    return Report(
        faults=tuple(history.faults),
        facts=tuple(_facts(history, conduct) for conduct in conducts),
        proofs=tuple(proof for conduct in conducts for proof in proofs_of(history, conduct)),
        estimates=tuple(sorted(estimates, key=lambda one: (not one.is_finding, one.chance))),
        powers=tuple(_powers(conducts, [one[:3] for one in drawn], compared, threshold)),
        shares=tuple(share for conduct in conducts for share in _shares(history, conduct)),
        tests=tests,
        span_ms=history.span_ms,
        views=len(history.views),
        views_of_chain=len(chain or {}),
    )


def _drawn(conduct: Conduct) -> list[Offered]:
    """Give the first attempts that could be drawn: those with somebody in the field."""
    return [one for one in conduct.first_attempts() if one.draw.ranking]


def _powers(
    conducts: list[Conduct],
    drawn: list[tuple[Conduct, DrawTest, list[Drift]]],
    compared: list[ConductTest],
    threshold: float,
) -> Iterable[Power]:
    """Say for each test of each coordinator what it would have found."""
    tested = {conduct.coordinator for conduct, _, _ in drawn}
    for conduct in conducts:
        if conduct.coordinator not in tested:
            few = len(_drawn(conduct))
            why = f"draws need {FEWEST_TASKS} tasks of one coordinator"
            yield Power("draw.count", conduct.coordinator, few, None, why)
    for conduct, test, found in drawn:
        yield draw_power(conduct, test, found, threshold)
    for comparison in compared:
        yield from _powers_of(conducts, comparison, threshold)


def _powers_of(conducts: list[Conduct], test: ConductTest, threshold: float) -> Iterable[Power]:
    """Say what a comparison with others would have found, for half of the miners at least."""
    pairs: dict[StakingId, list[Comparison]] = defaultdict(list)
    for one in test.comparisons():
        pairs[one.coordinator].append(one)
    for conduct in conducts:
        seen = sorted(pairs.get(conduct.coordinator, ()), key=lambda one: one.here.of)
        if not seen:
            others = "another coordinator" if test.fewest_others == 1 else f"{test.fewest_others} other coordinators"
            why = f"{test.rule} needs {FEWEST} observations here and at {others}"
            yield Power(test.rule, conduct.coordinator, 0, None, why)
            continue
        usual = seen[len(seen) // 2]
        least = detectable_share(usual.here.of, max(usual.usual, LEAST_SHARE), threshold)
        effect = max(least - usual.usual, test.least_difference) if least is not None else None
        yield Power(test.rule, conduct.coordinator, usual.here.of, effect)


def _facts(history: History, conduct: Conduct) -> Facts:
    """Count what is in order."""
    numbers = list(numbers_of(history, conduct))
    offers = {(one.offer.task, one.offer.attempt): one for one in conduct.offered}
    checked = [(award.notice.winner, offers[key].draw) for key, award in conduct.winners().items() if key in offers]
    return Facts(
        coordinator=conduct.coordinator,
        messages=len(conduct.said),
        missed=conduct.missed,
        runs=conduct.runs,
        boots=len({boot for boots in boots_by_epoch(conduct).values() for boot in boots}),
        epochs=epochs_seen(history, conduct),
        tasks=len(conduct.attempts()),
        offers=len(conduct.offered),
        numbers_complete=sum(one.accounted for one in numbers),
        numbers_unknown=sum(len(one.missing) for one in numbers if not one.is_whole),
        awards_checked=len(checked),
        awards_in_field=sum(draw.rank(winner) is not None for winner, draw in checked),
        awards_first=sum(winner == draw.first for winner, draw in checked),
    )


def _shares(history: History, conduct: Conduct) -> Iterable[Share]:
    """Give what each miner got, by count and by value."""
    firsts = _drawn(conduct)
    if not firsts:
        return
    expected: Counter[StakingId] = Counter()
    stakes: Counter[StakingId] = Counter()
    drawn: Counter[StakingId] = Counter()
    for one in firsts:
        miners = history.views[one.said.bulletin.epoch].table.miners
        total = sum(row.stake for row in miners) or 1
        for row in miners:
            stakes[row.id] += row.stake / total  # type: ignore[assignment]  # a Counter of floats
        for miner, chance in one.draw.chances().items():
            expected[miner] += chance  # type: ignore[assignment]
        if one.draw.first is not None:
            drawn[one.draw.first] += 1
    prices = {one.offer.task: float(one.offer.price) for one in conduct.offered}
    winners = conduct.winners()
    won = Counter(award.notice.winner for award in winners.values())
    value: Counter[StakingId] = Counter()
    for (task, _), award in winners.items():
        value[award.notice.winner] += prices.get(task, 0.0)  # type: ignore[assignment]
    awards, worth = sum(won.values()), sum(value.values())
    for miner in sorted(stakes):
        yield Share(
            conduct.coordinator,
            miner,
            stakes[miner] / len(firsts),
            expected[miner] / len(firsts),
            drawn[miner] / len(firsts),
            won[miner] / awards if awards else 0.0,
            value[miner] / worth if worth else 0.0,
            len(firsts),
            awards,
        )
