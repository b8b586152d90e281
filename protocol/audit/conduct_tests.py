"""Is a miner treated worse here than elsewhere? One coordinator's doings against the others', for the same miners.

A miner that is slow or away is so everywhere; so each test compares with what other coordinators show of the same
miner at the same time, and finds something only where the difference is large. Spec: SPEC.md §12.4.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.audit.history import FIRST_ATTEMPT, Conduct, History
from protocol.audit.report import Estimate
from protocol.audit.statistics import more_often_tail
from protocol.stake.table import StakeTable
from protocol.units import Digest, Role, StakingId, TaskId, UnixMillis

FEWEST: Final = 10
"""Observations of a coordinator, and of the others, below which nothing is compared."""
LEAST_DIFFERENCE: Final = 0.15
"""Difference of two shares below which nothing is held against anybody: distance and luck make as much."""
WITHIN_MS: Final = 3000
"""How near (ms) in time two coordinators' fields must be to be compared."""
APART_MS: Final = 1000
"""Least time (ms) between two fields of one coordinator that are looked at: nearer ones say the same."""
MOST_COORDINATORS: Final = 16
"""Coordinators that a miner keeps a stream with: where there are more, its absence may be its own choice."""
GIVEN_UP_MS: Final = 30_000
"""How long (ms) a task must have been on offer to count as never awarded."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something happened."""

    times: int = 0
    of: int = 0

    def plus(self, *, happened: bool) -> "Tally":
        """Count one more observation."""
        return Tally(self.times + happened, self.of + 1)

    @property
    def share(self) -> float:
        """How often, of all times."""
        return self.times / self.of if self.of else 0.0


Subject = tuple[StakingId, StakingId | None]
"""A coordinator, and the miner that it is about; None: about all of them."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is counted at one coordinator, and the same at each other one."""

    coordinator: StakingId
    miner: StakingId | None
    here: Tally
    elsewhere: tuple[Tally, ...]

    @property
    def usual(self) -> float:
        """How often it happens at the other coordinator where it happens most."""
        return max(tally.share for tally in self.elsewhere)


@dataclass(frozen=True, slots=True)
class ConductTest:
    """One thing that is counted for each coordinator and miner."""

    rule: str
    what: str
    """What happened more often than elsewhere, as a person reads it."""
    tallies: Mapping[Subject, Tally]
    fewest_others: int = 2
    """Other coordinators that are needed: with one alone, its word would stand against this one's."""
    same_miner: bool = True
    """Compare with the same miner elsewhere; else with all miners there."""
    least_difference: float = LEAST_DIFFERENCE
    least_ratio: float = 1.0
    """How many times as often as elsewhere it must happen."""

    def comparisons(self) -> Iterator[Comparison]:
        """Give every subject that can be compared, with each other coordinator that shows enough."""
        controls: dict[StakingId | None, dict[StakingId, Tally]] = defaultdict(lambda: defaultdict(Tally))
        for (coordinator, miner), tally in self.tallies.items():
            known = controls[self._control(miner)][coordinator]
            controls[self._control(miner)][coordinator] = Tally(known.times + tally.times, known.of + tally.of)
        for (coordinator, miner), here in sorted(self.tallies.items(), key=lambda one: (one[0][0], one[0][1] or 0)):
            others = tuple(
                tally
                for other, tally in sorted(controls[self._control(miner)].items())
                if other != coordinator and tally.of >= FEWEST
            )
            if here.of >= FEWEST and len(others) >= self.fewest_others:
                yield Comparison(coordinator, miner, here, others)

    def _control(self, miner: StakingId | None) -> StakingId | None:
        return miner if self.same_miner else None

    def is_large(self, comparison: Comparison) -> bool:
        """Say whether a difference is more than distance and luck make."""
        here, usual = comparison.here.share, comparison.usual
        return here - usual >= self.least_difference and here >= self.least_ratio * usual


def estimate_conduct(test: ConductTest, threshold: float) -> Iterator[Estimate]:
    """Say where something happens more often than at every other coordinator, beyond chance and distance.

    One crooked coordinator may keep a miner busy, so that it passes over the offers of some others: whoever treats it
    no worse than another one does is not accused.
    """
    for one in test.comparisons():
        if one.here.share <= one.usual:
            continue
        chance = max(more_often_tail(one.here.times, one.here.of, other.times, other.of) for other in one.elsewhere)
        found = chance < threshold and test.is_large(one)
        yield Estimate(
            test.rule,
            one.coordinator,
            one.miner,
            test.what,
            one.here.of,
            one.here.share,
            one.usual,
            chance,
            threshold,
            found,
        )


def conduct_tests(history: History) -> list[ConductTest]:
    """Count everything that is compared between coordinators."""
    conducts = list(history.conducts.values())
    omitted = "left out of the field while most others had it in theirs just before and just after"
    objected = "awards to which a miner of a better rank objected with the coordinator's own decline"
    never = "tasks were long on offer and awarded to nobody"
    return [
        ConductTest("field.omitted", omitted, _omissions(history), same_miner=False),
        ConductTest("claims.passed_over", "drawn first and in the field, yet another won", _passed_over(conducts)),
        ConductTest(
            "claims.objected", objected, _objections(history), fewest_others=1, least_difference=0.0, least_ratio=3.0
        ),
        ConductTest("leases.lost", "lost the task that it was awarded", _lost_leases(conducts)),
        ConductTest("tasks.never_awarded", never, _never_awarded(conducts), fewest_others=1),
    ]


@dataclass(frozen=True, slots=True)
class _Fields:
    """Fields of one coordinator for one model and table, by the time at which it signed them."""

    table: StakeTable
    times: list[UnixMillis]
    members: list[int]
    """As bits: the lowest is the table's first active miner."""


def _omissions(history: History) -> dict[Subject, Tally]:
    """Count where a miner was not in a field although most others had it in theirs just before and just after.

    A miner that is busy leaves every field and comes back to every field; between two fields of others that have it,
    at most ``WITHIN_MS`` away, it was free.
    """
    tallies: dict[Subject, Tally] = defaultdict(Tally)
    timelines = {coordinator: _fields_of(conduct) for coordinator, conduct in history.conducts.items()}
    for coordinator, timeline in timelines.items():
        for key, fields in timeline.items():
            others = [other[key] for name, other in timelines.items() if name != coordinator and key in other]
            last = -APART_MS
            for at, members in zip(fields.times, fields.members, strict=True):
                if at - last < APART_MS:
                    continue
                last = at
                for place in _free_by_most(others, at):
                    subject = (coordinator, fields.table.miners[place].id)
                    tallies[subject] = tallies[subject].plus(happened=not members >> place & 1)
    if max((_coordinators(view.table) for view in history.views.values()), default=0) > MOST_COORDINATORS:
        return {subject: tally for subject, tally in tallies.items() if tally.times < tally.of}
    return tallies


def _coordinators(table: StakeTable) -> int:
    return sum(row.active and row.role is Role.COORDINATOR for row in table.rows)


def _fields_of(conduct: Conduct) -> dict[tuple[str, Digest], _Fields]:
    """Give the fields that came with offers of tasks which nobody had failed: other miners are left out by right.

    By model and kind of work, since miners that do not do it are left out by right, too.
    """
    found: dict[tuple[str, Digest], dict[UnixMillis, int]] = defaultdict(dict)
    tables: dict[Digest, StakeTable] = {}
    failed = {award.notice.task for award in conduct.awarded}
    for offered in conduct.offered:
        if offered.offer.attempt == FIRST_ATTEMPT or offered.offer.task not in failed:
            bulletin = offered.said.bulletin
            tables[bulletin.root] = offered.draw.table
            kind = f"{bulletin.model} {offered.offer.work}"
            found[(kind, bulletin.root)].setdefault(bulletin.sent_at, offered.draw.members)
    return {
        (kind, root): _Fields(tables[root], sorted(seen), [seen[at] for at in sorted(seen)])
        for (kind, root), seen in found.items()
    }


def _free_by_most(others: list[_Fields], at: UnixMillis) -> list[int]:
    """Give the places of the miners that most of the others had in both their fields just before and just after."""
    votes: dict[int, int] = defaultdict(int)
    voters = 0
    for fields in others:
        after = bisect_left(fields.times, at)
        if 0 < after < len(fields.times) and fields.times[after] - fields.times[after - 1] <= WITHIN_MS:
            voters += 1
            both = fields.members[after - 1] & fields.members[after]
            for place in range(both.bit_length()):
                if both >> place & 1:
                    votes[place] += 1
    return sorted(place for place, count in votes.items() if 2 * count > voters)


def _passed_over(conducts: list[Conduct]) -> dict[Subject, Tally]:
    """Count where the drawn first, free as its coordinator says, did not win the attempt."""
    tallies: dict[Subject, Tally] = defaultdict(Tally)
    for conduct in conducts:
        winners = conduct.winners()
        for offered in conduct.offered:
            won = winners.get((offered.offer.task, offered.offer.attempt))
            first = offered.draw.first
            if won is not None and first is not None:
                subject = (conduct.coordinator, first)
                tallies[subject] = tallies[subject].plus(happened=won.notice.winner != first)
    return tallies


def _objections(history: History) -> dict[Subject, Tally]:
    """Count, of all awards, those to which a miner of a better rank objected with the coordinator's own decline."""
    tallies: dict[Subject, Tally] = {}
    for coordinator, conduct in history.conducts.items():
        objected: set[tuple[TaskId, int]] = set()
        for one in history.objections:
            objection, draw = one.objection, one.offered.draw
            if objection.decline.coordinator != coordinator:
                continue
            own, winners = draw.rank(objection.claim.miner), draw.rank(objection.decline.winner)
            if own is not None and (winners is None or own < winners):
                objected.add((objection.claim.task, objection.claim.attempt))
        tallies[(coordinator, None)] = Tally(len(objected), max(len(conduct.winners()), len(objected)))
    return tallies


def _lost_leases(conducts: list[Conduct]) -> dict[Subject, Tally]:
    """Count awards after which the same task was offered again, for each miner and for all together."""
    tallies: dict[Subject, Tally] = defaultdict(Tally)
    for conduct in conducts:
        last = {task: attempts[-1].offer.attempt for task, attempts in conduct.attempts().items()}
        for (task, attempt), award in conduct.winners().items():
            for miner in (award.notice.winner, None):
                subject = (conduct.coordinator, miner)
                tallies[subject] = tallies[subject].plus(happened=last.get(task, 0) > attempt)
    return tallies


def _never_awarded(conducts: list[Conduct]) -> dict[Subject, Tally]:
    """Count tasks that were on offer for long, in fields that had miners, and that no miner ever got."""
    tallies: dict[Subject, Tally] = defaultdict(Tally)
    for conduct in conducts:
        ends = max(said.bulletin.sent_at for said in conduct.said)
        awarded = {award.notice.task for award in conduct.awarded}
        closed = {one.closure.task for one in conduct.closed}
        for task, attempts in conduct.attempts().items():
            was_long = ends - attempts[0].said.bulletin.sent_at >= GIVEN_UP_MS
            if was_long and any(one.draw.ranking for one in attempts) and (task in awarded or task not in closed):
                subject: Subject = (conduct.coordinator, None)
                tallies[subject] = tallies[subject].plus(happened=task not in awarded)
    return tallies
