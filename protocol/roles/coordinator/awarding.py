"""Claims by slot, and the award: from a public offer to one miner that has the task. Spec: SPEC.md §7.4, §9.3."""

from math import ceil
from typing import Final, final

from protocol.effects import CancelTimer, Deliver, Offence, Persist, Send, Stage, Update
from protocol.errors import InvalidMessage
from protocol.notes import NoteName
from protocol.records import TaskAwarded
from protocol.roles.coordinator.award_showing import KEY_MS, show_award
from protocol.roles.coordinator.input_sending import send_inputs
from protocol.roles.coordinator.offering import Offering
from protocol.roles.coordinator.roster import Roster
from protocol.roles.coordinator.settlement import Settlement
from protocol.roles.core import Core
from protocol.stake.lottery import award_at, outside_place, slot_ms
from protocol.stake.table import StakeRow
from protocol.task.specification import specification_digest
from protocol.task.states import AwardedAttempt, OpenAttempt, PendingClaim, Task, TaskState
from protocol.units import Digest, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.codec import encode
from protocol.wire.messages import Award, Claim, Decline
from protocol.wire.statements import NO_RANK, AwardStatement, DeclineStatement

PLACES_PACE_MS: Final = 100
"""Least time (ms) between two passes over all claims that wait, because one miner has no place: it may say so often."""


@final
class Awarding:
    """Hears claims, and gives each attempt to the best of them."""

    def __init__(
        self, core: Core, tasks: dict[TaskId, Task], roster: Roster, settlement: Settlement, offering: Offering
    ) -> None:
        """Share the coordinator's tasks and miners."""
        self._core = core
        self._tasks = tasks
        self._roster = roster
        self._settlement = settlement
        self._offering = offering
        self._contested: dict[TaskId, None] = {}
        """Tasks with claims that wait for a better rank; some that were offered again since."""

    def on_claim(self, peer: PeerId, claim: Claim, row: StakeRow) -> None:
        """Weigh a claim of the miner of ``row``: award, hold for a better rank, or decline with the reason.

        Raises:
            InvalidMessage: it names another offer than the one that we published, or is not signed by the miner.
        """
        core, statement = self._core, claim.statement
        task = self._tasks.get(statement.task)
        early = self._is_early(task, claim)
        if self._leaves_unanswered(peer, claim, early=early, task=task):
            return
        claimed = core.check_signature(statement, claim.signature, row, "claim.signature")
        core.note(NoteName.CLAIM_RECEIVED, statement.task, miner=row.id, attempt=statement.attempt)
        if task is None:
            self._decline(peer, claim, claimed, "closed")
            return
        repeated = task.awards.get(statement.attempt)
        if repeated is not None and repeated.award.statement.claim == claimed:
            core.emit(Send(peer, repeated.message()))
            send_inputs(core, task, repeated, peer)
            return
        if early:
            self._on_early(peer, claim, claimed, task)
            return
        reason = self._reason_to_decline(task, claim)
        holder = task.holder if task.offered is not None else None
        if reason == "awarded" and holder is not None and holder is self._award_of(task, claim):
            self._offering.slot_pace.heard_in_vain(row.id, core.now - holder.awarded_at)
        attempt = task.open
        if reason is not None or attempt is None:
            self._decline(peer, claim, claimed, reason or "stale", task)
            return
        rank, place = self._place(attempt, row.id)
        self._time(attempt, rank, place)
        attempt.claims[row.id] = PendingClaim(peer, claim, claimed, rank, place)
        self._contested[task.id] = None
        if len(self._contested) > len(self._tasks):
            self._with_claims()
        self.award_if_due(task)

    def _time(self, attempt: OpenAttempt, rank: int | None, place: float) -> None:
        """Let slots follow how long a claim that is no earlier than its slot took."""
        after_slot = self._core.now - attempt.published_at - slot_ms(place, attempt.slot_step_ms)
        if rank == 0:
            self._offering.slot_pace.heard_best(after_slot)
        elif rank is not None:
            self._offering.slot_pace.heard_other(max(after_slot, 0))

    def _is_early(self, task: Task | None, claim: Claim) -> bool:
        """Say whether a claim of the last offer comes before its slot, whether or not the offer is open still."""
        attempt = task.offered if task is not None else None
        if task is None or attempt is None:
            return False
        if claim.statement.attempt != task.attempt or claim.statement.offer != attempt.offer:
            return False
        if attempt.clock_set_back != self._core.clock_set_back:
            return False  # every claim looks early then, and it is our own clock
        _, place = self._place(attempt, claim.statement.miner)
        slot = attempt.published_at + slot_ms(place, attempt.slot_step_ms)
        return self._core.now < slot - self._core.params.early_tolerance_ms

    def _leaves_unanswered(self, peer: PeerId, claim: Claim, *, early: bool, task: Task | None) -> bool:
        """Say whether a claim is not worth the check of its signature: its miner is paused, and knows it."""
        core, conduct, miner = self._core, self._roster.conduct, claim.statement.miner
        if task is None or not conduct.is_paused(miner, core.now):
            return False
        if early:
            core.note(NoteName.MESSAGE_IGNORED, claim.statement.task, rule="slot.early", miner=miner)
            if conduct.is_deliberate(miner, core.now) and self._is_left_out(task, miner):
                # Where all claim early, a ban would leave nobody to serve.
                core.judge_peer(peer, Offence.MINOR, "slot.early")
            return True
        if not self._is_left_out(task, miner) or not conduct.was_told(miner):
            return False
        core.note(NoteName.MESSAGE_IGNORED, claim.statement.task, rule="claim.paused", miner=miner)
        return True

    def _on_early(self, peer: PeerId, claim: Claim, claimed: Digest, task: Task) -> None:
        """Whoever claims before its slot is out for this attempt, and if it does so again and again, for a while."""
        core, miner = self._core, claim.statement.miner
        if task.open is not None:
            task.open.too_early.add(miner)
        self._decline(peer, claim, claimed, "early", task)
        pause_ms = self._roster.conduct.claimed_early(miner, core.now)
        if pause_ms:
            core.note(NoteName.MINER_PAUSED, miner=miner, reason="early", ms=pause_ms)

    def _reason_to_decline(self, task: Task, claim: Claim) -> str | None:
        """Say why a claim that is not early cannot win, None when it may.

        Raises:
            InvalidMessage: it names another offer than the one that we published.
        """
        attempt, statement = task.open, claim.statement
        if attempt is None or statement.attempt != task.attempt:
            return "stale" if self._award_of(task, claim) is None else "awarded"
        if statement.offer != attempt.offer:
            if task.boot == self._settlement.boot:
                raise InvalidMessage("claim.offer")
            # Attempts that nobody was awarded are not on disk: an earlier run may have published this number too.
            return "stale"
        if statement.miner in task.excluded or statement.miner in attempt.too_early:
            return "excluded"
        if self._is_left_out(task, statement.miner):
            self._roster.conduct.tell(statement.miner)
            return "paused"
        return self._why_unfit(task, statement.miner)

    def _why_unfit(self, task: Task, miner: StakingId) -> str | None:
        """Say why a miner cannot have a task by what it says now and has of us, None when it can."""
        known = self._roster.id(miner)
        if known is None or known.serves(task.specification.model, self._core.now) is None:
            return "not_served"  # for that word it answers in a dispute
        if task.specification.sealed is not None and not known.takes_sealed():
            return "no_sealing_key"
        return None if known.has_room() else "no_place"

    @staticmethod
    def _award_of(task: Task, claim: Claim) -> AwardedAttempt | None:
        """Give the award of the very offer that a claim names, if we know its winner's rank.

        What we sign of a winner is compared with the draw of that offer, not of a later attempt or an earlier run's.
        """
        award = task.awards.get(claim.statement.attempt)
        if award is None or award.rank is None or award.award.statement.offer != claim.statement.offer:
            return None
        return award

    def _is_left_out(self, task: Task, miner: StakingId) -> bool:
        """Say whether a miner is paused while others serve the model of a task."""
        now = self._core.now
        return self._roster.conduct.is_paused(miner, now) and miner in self._roster.left_out(
            task.specification.model, now
        )

    @staticmethod
    def _place(attempt: OpenAttempt, miner: StakingId) -> tuple[int | None, float]:
        """Give (rank or None outside the order, place)."""
        if miner in attempt.order:
            rank = attempt.order.index(miner)
            return rank, rank
        return None, outside_place(len(attempt.order), attempt.ticket, miner, attempt.table)

    def award_if_due(self, task: Task) -> None:
        """Award the best claim so far once no better rank is waited for."""
        attempt = task.open
        if attempt is None or not attempt.claims or task.ready is not None:
            return
        best = min(attempt.claims.values(), key=lambda claim: claim.place)
        waited_for = self._waited_for(task, attempt, best)
        if waited_for <= self._core.now:
            winner = best.claim.statement.miner
            unfit = self._why_unfit(task, winner)
            if unfit is not None:
                # It won another of our tasks since it claimed this one, or says less than it said then.
                del attempt.claims[winner]
                self._decline(best.peer, best.claim, best.digest, unfit, task)
                self.award_if_due(task)
                return
            self._award(task, attempt, best)
        else:
            self._core.set_timer(("award", task.id, 0), waited_for)

    def _waited_for(self, task: Task, attempt: OpenAttempt, best: PendingClaim) -> UnixMillis:
        """Give until when a better rank may still be heard: not of a miner that said that it has no place."""
        for rank in range(min(ceil(best.place), len(attempt.order)) - 1, -1, -1):
            miner = self._roster.id(attempt.order[rank])
            if miner is None or not miner.has_place() or miner.id in task.excluded | attempt.too_early:
                continue
            return award_at(rank + 1, self._core.now, attempt.published_at, attempt.slot_step_ms, attempt.allowance_ms)
        return self._core.now

    def on_no_place(self, miner: StakingId) -> None:
        """A miner said that it has no place (any more): whoever claimed behind it waits for it no longer.

        A pass goes through all claims that wait, so it comes at most once in PLACES_PACE_MS for each miner.
        """
        core, known = self._core, self._roster.id(miner)
        if known is None:
            return
        due = known.waited_for_from + PLACES_PACE_MS
        if core.now < due:
            core.set_timer(("places", miner.to_bytes(8, "big"), 0), due)
            return
        known.waited_for_from = core.now
        for task, attempt in self._with_claims():
            if miner in attempt.order:
                self.award_if_due(task)

    def on_miner_gone(self, miner: StakingId) -> None:
        """A work stream broke: its claims bind nobody."""
        for _, attempt in self._with_claims():
            attempt.claims.pop(miner, None)

    def _with_claims(self) -> list[tuple[Task, OpenAttempt]]:
        """List the tasks with claims that wait, and forget those that have none any more."""
        found = []
        for name in list(self._contested):
            task = self._tasks.get(name)
            if task is None or task.open is None or not task.open.claims:
                del self._contested[name]
            else:
                found.append((task, task.open))
        return found

    def _award(self, task: Task, attempt: OpenAttempt, won: PendingClaim) -> None:
        """Give the attempt away: on disk first, so that one claim never gets two awards."""
        core, now = self._core, self._core.now
        claim = won.claim.statement
        rank = NO_RANK if won.rank is None else won.rank
        statement = AwardStatement(
            claim=won.digest,
            task=task.id,
            attempt=task.attempt,
            coordinator=claim.coordinator,
            miner=claim.miner,
            offer=attempt.offer,
            specification=specification_digest(task.encoded, task.salt),
            price=task.price,
        )
        named, signature = core.sign_named(statement)
        message = Award(statement=statement, signature=signature, specification=task.encoded, salt=task.salt)
        said, numerics = self._roster.word_of(claim.miner, task.specification.model, now)
        awarded = AwardedAttempt(
            attempt=task.attempt,
            miner=claim.miner,
            peer=won.peer,
            award=message,
            award_digest=named,
            awarded_at=now,
            rank=rank,
            last_alive=now,
            progress_deadline=UnixMillis(now + core.identity.catalog.models[task.specification.model].loading_limit_ms),
            said=said,
            numerics=numerics,
        )
        task.awards[task.attempt] = awarded
        self._settlement.holdings.add(claim.miner, task.id)
        self._contested.pop(task.id, None)
        task.rounds = 0
        task.move(TaskState.AWARDED)
        record = TaskAwarded(task.id, task.attempt, claim.miner, won.digest, encode(message), now)
        core.emit(Persist((record,)), Send(won.peer, message))
        self._roster.hold(task.id, claim.miner)
        for loser in attempt.claims.values():
            if loser is not won:
                self._decline(loser.peer, loser.claim, loser.digest, "awarded", task)
        core.emit(CancelTimer(("offer", task.id, 0)), CancelTimer(("award", task.id, 0)))
        core.set_timer(("lease", task.id, 0), now + core.params.lease_ms)
        shown = show_award(core, self._roster, attempt, won, message)
        if shown is not None:
            core.set_timer(("key", task.id, 0), now + KEY_MS)
        core.emit(Deliver(task.id, Update(Stage.CLAIMED, now, task.attempt, claim.miner, award=shown)))
        waited = now - attempt.published_at
        core.note(NoteName.TASK_AWARDED, task.id, miner=claim.miner, attempt=task.attempt, rank=rank, ms=waited)
        self._offering.announce_award(task, claim.miner)

    def _decline(self, peer: PeerId, claim: Claim, claimed: Digest, reason: str, task: Task | None = None) -> None:
        """Say no, signed, with the winner of the attempt if there is one."""
        core = self._core
        award = self._award_of(task, claim) if task is not None else None
        statement = DeclineStatement(
            claim=claimed,
            task=claim.statement.task,
            attempt=claim.statement.attempt,
            coordinator=claim.statement.coordinator,
            winner=StakingId(0) if award is None else award.miner,
            rank=NO_RANK if award is None or award.rank is None else award.rank,
            reason=reason,
        )
        if task is not None:
            task.count(reason)
        core.emit(Send(peer, Decline(statement=statement, signature=core.sign(statement))))
        core.note(NoteName.CLAIM_DECLINED, claim.statement.task, reason=reason, miner=claim.statement.miner)

    def close_claims(self, task: Task) -> None:
        """The task ends before it was awarded: whoever waits for an answer is free."""
        self._contested.pop(task.id, None)
        if task.open is not None:
            for claim in task.open.claims.values():
                self._decline(claim.peer, claim.claim, claim.digest, "closed")
