"""What a record proves: each check follows from signatures and arithmetic, and accuses nobody whose network is slow.

Times are the coordinator's own, as it signed them. Spec: SPEC.md §12.2.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from protocol.audit.history import Awarded, Conduct, History, Offered, Said
from protocol.audit.report import Proof
from protocol.params import Params
from protocol.stake.epoch import acceptable_epochs, epoch_at, epoch_start
from protocol.stake.lottery import task_id
from protocol.units import Epoch, TaskId, UnixMillis
from protocol.wire.statements import NO_RANK

FEW_BOOTS: Final = 3
"""Boots, or runs, of one coordinator in one epoch that bad luck may cost; each boot is one more draw for its tasks."""
SETTLED_MS: Final = 10_000
"""How long (ms) a coordinator must have gone on after a higher number before a lower one counts as left out: it may
wait on the board of another model."""
LISTED: Final = 8
"""Numbers that a proof lists; the rest is counted."""

MAX_SPAN: Final = 1_000_000
"""Numbers of one boot and epoch that are looked at: 1,600 tasks/s over ten minutes."""


def proofs_of(history: History, conduct: Conduct) -> list[Proof]:
    """Give all that is proven against one coordinator."""
    return [
        *_twins(conduct),
        *_names(history, conduct),
        *_redraws(history, conduct),
        *_contradictions(conduct),
        *_awards(conduct),
        *_numbers(history, conduct),
        *_boots(conduct),
        *_runs(history, conduct),
        *_declines(history, conduct),
    ]


def _twins(conduct: Conduct) -> Iterator[Proof]:
    """A sequence number names one message: with two, parts of the network hear different things."""
    for one, other in conduct.twins:
        yield Proof(
            "message.twice",
            conduct.coordinator,
            f"two different messages were signed under the sequence number {one.publication.sequence}",
            one.publication.digest.hex()[:16],
            other.publication.digest.hex()[:16],
            (one.name, other.name),
        )


def _names(history: History, conduct: Conduct) -> Iterator[Proof]:
    """A task's name follows from its number: else numbers could be tried until the draw pleases."""
    for offered in conduct.offered:
        offer = offered.offer
        name = task_id(history.head.network_id, conduct.coordinator, offer.accepted_epoch, offer.boot, offer.number)
        if offer.task != name:
            yield Proof(
                "offer.task",
                conduct.coordinator,
                f"number {offer.number} of boot {offer.boot} was offered under another task's name",
                name.hex()[:16],
                offer.task.hex()[:16],
                (offered.said.name,),
            )


def _redraws(history: History, conduct: Conduct) -> Iterator[Proof]:
    """A task is drawn from its epoch of acceptance as long as that is acceptable.

    Miners skip such an offer, and a coordinator whose chain node was down may make one: only with an award it counts.
    """
    winners = conduct.winners()
    for offered in conduct.offered:
        offer, bulletin = offered.offer, offered.said.bulletin
        award = winners.get((offer.task, offer.attempt))
        if offer.accepted_epoch == bulletin.epoch or award is None:
            continue
        still = offer.accepted_epoch in acceptable_epochs(bulletin.sent_at, history.head.params)
        if offer.accepted_epoch > bulletin.epoch or still:
            yield Proof(
                "early_redraw",
                conduct.coordinator,
                f"number {offer.number} of boot {offer.boot} was drawn again before its epoch was over, and awarded",
                f"drawn from epoch {offer.accepted_epoch}",
                f"drawn from epoch {bulletin.epoch} at {bulletin.sent_at}, awarded to miner {award.notice.winner}",
                (offered.said.name, award.said.name),
            )


def _contradictions(conduct: Conduct) -> Iterator[Proof]:
    """One task is one offer: what it costs and pays never changes, and an attempt is made public once in a run."""
    for attempts in conduct.attempts().values():
        first = attempts[0]
        for before, after in pairwise(attempts):
            if _terms(after) != _terms(first):
                yield _contradiction(
                    "offer.changed", "cost, price or deadline of a task changed", first, after, conduct
                )
            same_attempt = before.offer.attempt == after.offer.attempt and before.said.run == after.said.run
            if same_attempt and before.draw.digest != after.draw.digest:
                yield _contradiction("offer.twice", "one attempt was offered twice", before, after, conduct)


def _terms(offered: Offered) -> tuple[object, ...]:
    offer = offered.offer
    return offered.said.bulletin.model, offer.work, offer.pixels, offer.pixel_steps, offer.price, offer.deadline


def _contradiction(rule: str, what: str, one: Offered, other: Offered, conduct: Conduct) -> Proof:
    offer = one.offer
    return Proof(
        rule,
        conduct.coordinator,
        f"{what}: number {offer.number} of boot {offer.boot}, attempt {other.offer.attempt}",
        one.draw.digest.hex()[:16],
        other.draw.digest.hex()[:16],
        (one.said.name, other.said.name),
    )


def _awards(conduct: Conduct) -> Iterator[Proof]:
    """An attempt has one winner in a run: the next one may begin on an old copy of what was on disk.

    How soon a worse rank won proves nothing: its coordinator may have heard from the better ones that they cannot win.
    """
    winners: dict[tuple[TaskId, int, int], Awarded] = {}
    for award in conduct.awarded:
        notice, said = award.notice, award.said
        first = winners.setdefault((notice.task, notice.attempt, said.run), award)
        if first.notice.winner != notice.winner:
            yield Proof(
                "award.twice",
                conduct.coordinator,
                f"attempt {notice.attempt} of task {notice.task.hex()[:16]} was awarded to two miners",
                f"miner {first.notice.winner}",
                f"miner {notice.winner}",
                (first.said.name, said.name),
            )


@dataclass(frozen=True, slots=True)
class Numbers:
    """What became of the numbers of one boot in one epoch, as far as they can be judged."""

    epoch: Epoch
    boot: int
    accounted: int
    """Offered, awarded or closed."""
    missing: tuple[int, ...]
    is_whole: bool
    """Whether every message of that run was heard: only then does silence prove anything."""


def numbers_of(history: History, conduct: Conduct) -> Iterator[Numbers]:
    """Account for the numbers of each epoch and boot, between the first and the last that can be judged.

    What only a later run than theirs offers is accounted for too, and proves nothing: a crash may have left it.
    """
    by_place: dict[tuple[Epoch, int], dict[int, Said]] = defaultdict(dict)
    for offered in conduct.offered:
        offer = offered.offer
        by_place[(offer.accepted_epoch, offer.boot)].setdefault(offer.number, offered.said)
    told = {award.notice.task for award in conduct.awarded} | {closed.closure.task for closed in conduct.closed}
    for (epoch, boot), offers in sorted(by_place.items()):
        run = min(said.run for said in offers.values())
        in_run = [said for said in conduct.said if said.run == run]
        ends = max(said.bulletin.sent_at for said in in_run) - SETTLED_MS
        boards = _boards(in_run, history.head.params.max_offers_per_message)
        settled = [number for number, said in offers.items() if _is_judged(said.bulletin.sent_at, ends, boards)]
        begins = 0 if in_run[0].bulletin.sent_at < epoch_start(epoch, history.head.params) else min(offers)
        judged = range(begins, min(max(settled, default=begins - 1), begins + MAX_SPAN) + 1)
        left_over = [number for number, said in offers.items() if said.run != run]
        after = range(judged.stop, min(max(left_over, default=-1), judged.stop + MAX_SPAN) + 1)
        is_of_this_run = not _may_be_of_an_earlier_run(in_run[0], boot, epoch, history.head.params)
        place = (conduct.coordinator, epoch, boot)
        for span, is_whole in ((judged, is_of_this_run and run in conduct.whole_runs), (after, False)):
            missing = tuple(
                number
                for number in span
                if number not in offers and task_id(history.head.network_id, *place, number) not in told
            )
            if span:
                yield Numbers(epoch, boot, len(span) - len(missing), missing, is_whole)


def _may_be_of_an_earlier_run(first: Said, boot: int, epoch: Epoch, params: Params) -> bool:
    """Say whether tasks of this boot and epoch may be what an earlier run left: only some of them are offered again.

    Not where the run of the ``first`` message began before the epoch did: then it accepted all of them itself. Its
    sequence numbers began at its clock, and a clock may have been set in between.
    """
    began_s = first.publication.sequence // 10**9
    return boot + 1 < began_s and began_s >= epoch_start(epoch, params) // 1000 - params.boundary_tolerance_s


def _boards(in_run: list[Said], most: int) -> list[tuple[UnixMillis, UnixMillis]]:
    """Give, for each model of a run, when it was last spoken of, and when last all that waited was offered.

    The nearest deadline is offered first, so a task may wait as long as what goes out at once is all that it may be.
    """
    counts: dict[str, dict[UnixMillis, int]] = defaultdict(lambda: defaultdict(int))
    for said in in_run:
        counts[said.bulletin.model][said.bulletin.sent_at] += len(said.bulletin.offers)
    return [
        (max(times), max((at for at, count in times.items() if count < most), default=UnixMillis(-1)))
        for times in counts.values()
    ]


def _is_judged(offered_at: UnixMillis, ends: int, boards: list[tuple[UnixMillis, UnixMillis]]) -> bool:
    """Say whether what was accepted before a task that was offered then must have been offered by now."""
    return offered_at <= ends and all(emptied >= min(offered_at, last) for last, emptied in boards)


def _numbers(history: History, conduct: Conduct) -> Iterator[Proof]:
    """Numbers are consecutive: one that was never offered is a draw that did not please."""
    for numbers in numbers_of(history, conduct):
        missing, epoch, boot = numbers.missing, numbers.epoch, numbers.boot
        if not missing or not numbers.is_whole:
            continue
        shown = ", ".join(map(str, missing[:LISTED])) + (" …" if len(missing) > LISTED else "")
        around = [
            offered.said.name
            for offered in conduct.offered
            if (offered.offer.accepted_epoch, offered.offer.boot) == (epoch, boot)
        ]
        yield Proof(
            "sequence.gap",
            conduct.coordinator,
            f"{len(missing)} numbers of boot {boot} in epoch {epoch} were never offered nor closed",
            "every number, as no message of this run is missing in the record",
            f"missing: {shown}",
            (around[0], around[-1]),
        )


def boots_by_epoch(conduct: Conduct) -> dict[Epoch, set[int]]:
    """Give the boots under which tasks of each epoch were accepted."""
    boots: dict[Epoch, set[int]] = defaultdict(set)
    for offered in conduct.offered:
        boots[offered.offer.accepted_epoch].add(offered.offer.boot)
    return boots


def _boots(conduct: Conduct) -> Iterator[Proof]:
    """A boot begins numbers again: many of them are many draws to choose from."""
    for epoch, boots in sorted(boots_by_epoch(conduct).items()):
        if len(boots) > FEW_BOOTS:
            firsts = {offered.offer.boot: offered.said.name for offered in reversed(conduct.offered)}
            yield Proof(
                "boots.many",
                conduct.coordinator,
                f"{len(boots)} boots in epoch {epoch}, each of which draws its tasks anew",
                f"at most {FEW_BOOTS}",
                str(len(boots)),
                tuple(firsts[boot] for boot in sorted(boots)[:LISTED] if boot in firsts),
            )


def _runs(history: History, conduct: Conduct) -> Iterator[Proof]:
    """Silence proves nothing over the end of a run: who says often that it began anew hides what it left out."""
    firsts: dict[Epoch, dict[int, Said]] = defaultdict(dict)
    for said in conduct.said:
        firsts[epoch_at(said.bulletin.sent_at, history.head.params)].setdefault(said.run, said)
    for epoch, runs in sorted(firsts.items()):
        if len(runs) > FEW_BOOTS:
            yield Proof(
                "runs.many",
                conduct.coordinator,
                f"{len(runs)} runs in epoch {epoch}, by the jumps of its sequence numbers",
                f"at most {FEW_BOOTS}",
                str(len(runs)),
                tuple(said.name for said in list(runs.values())[:LISTED]),
            )


def _declines(history: History, conduct: Conduct) -> Iterator[Proof]:
    """The rank that a coordinator signs in a decline is the announced winner's, as everybody computes it."""
    winners = {(one.notice.task, one.notice.attempt, one.notice.winner) for one in conduct.awarded}
    for objected in history.objections:
        objection, offered, decline = objected.objection, objected.offered, objected.objection.decline
        announced = (decline.task, decline.attempt, decline.winner) in winners
        if decline.coordinator != conduct.coordinator or not announced:
            continue
        found = offered.draw.rank(decline.winner)
        rank = NO_RANK if found is None else found
        if decline.rank != rank:
            yield Proof(
                "decline.rank",
                conduct.coordinator,
                f"a decline signed for miner {objection.claim.miner} names a rank that miner {decline.winner} has not",
                _rank(rank),
                _rank(decline.rank),
                (offered.said.name, f"objection to task {decline.task.hex()[:16]}, attempt {decline.attempt}"),
            )


def _rank(rank: int) -> str:
    return "outside the field" if rank == NO_RANK else f"rank {rank}"


def epochs_seen(history: History, conduct: Conduct) -> int:
    """Count the epochs in which a coordinator said something."""
    return len({epoch_at(UnixMillis(said.bulletin.sent_at), history.head.params) for said in conduct.said})
