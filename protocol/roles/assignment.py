"""From a public offer to a miner at work: claims by slot, the award, and the two clocks.

Spec: SPEC.md §7 (lottery and slots), §9 (attempts), §10 (clocks).
"""

from math import ceil
from typing import Final, final

from protocol.crypto.typed_data import digest
from protocol.effects import CancelTimer, Deliver, Persist, Send, Stage, Update
from protocol.errors import InvalidMessage
from protocol.notes import NoteName
from protocol.records import TaskAwarded
from protocol.roles.core import Core
from protocol.roles.offering import Offering
from protocol.roles.roster import FALSE_WARM_MS, Roster
from protocol.roles.settlement import Settlement
from protocol.stake.lottery import award_at, outside_place, slot_ms
from protocol.task.artifact import largest_png
from protocol.task.specification import specification_digest
from protocol.task.states import AwardedAttempt, OpenAttempt, PendingClaim, Task, TaskState
from protocol.units import Digest, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.codec import encode
from protocol.wire.messages import Alive, Award, Cancel, Claim, Decline
from protocol.wire.statements import AwardStatement, DeclineStatement

NO_CLAIM: Final = "no_claim"
"""Reason of an ``abandon``: the award is for no claim that binds the miner now."""
NO_RANK: Final = 2**32 - 1
"""Rank on a decline when nobody won, or the winner was outside the field."""
RECONNECT_GRACE_MS: Final = 1000
"""How long (ms) a miner whose stream broke may take to come back before its task is offered again."""


MAX_WAIT_MS: Final = 60_000
"""Longest wait (ms) in a miner's queue that we believe: with one job ahead it is one job's time."""
MAX_STEP_MS: Final = 30_000
"""Longest step (ms) that we believe: minutes for a picture are no paid service."""
SLOWEST_BYTES_PER_S: Final = 200 * 1024
"""How fast (bytes/s) a picture comes at least: 1.7 Mbit/s, at which the transport gives the largest its two minutes."""
STATES: Final = ("awarded", "queued", "loading", "step", "encoding")
"""States of an attempt in the order in which it goes through them."""


def _place_in_work(progress: tuple[str, int]) -> tuple[int, int]:
    """Give how far an attempt is: only what is further than before counts as progress."""
    return STATES.index(progress[0]), progress[1]


@final
class Assignment:
    """Brings tasks to miners, one lease at a time."""

    def __init__(
        self, core: Core, tasks: dict[TaskId, Task], roster: Roster, settlement: Settlement, offering: Offering
    ) -> None:
        """Share the coordinator's tasks and miners."""
        self._core = core
        self._tasks = tasks
        self._roster = roster
        self._settlement = settlement
        self._offering = offering

    # Claims and awards

    def on_claim(self, peer: PeerId, claim: Claim, claim_row_id: StakingId) -> None:
        """Weigh a claim whose signature is checked: award, hold for a better rank, or decline with the reason.

        Raises:
            InvalidMessage: it names another offer than the one that we published.
        """
        core, statement = self._core, claim.statement
        claimed = digest(core.identity.domain, statement)
        task = self._tasks.get(statement.task)
        core.note(NoteName.CLAIM_RECEIVED, statement.task, miner=claim_row_id, attempt=statement.attempt)
        if task is None:
            self._decline(peer, claim, claimed, "closed")
            return
        attempt = task.open
        if task.state is not TaskState.OFFERED or attempt is None or statement.attempt != task.attempt:
            repeated = task.awards.get(statement.attempt)
            if repeated is not None and repeated.award.statement.claim == claimed:
                core.emit(Send(peer, repeated.award))
                return
            self._decline(peer, claim, claimed, "awarded" if task.holder else "stale", task)
            return
        if statement.offer != attempt.offer:
            if task.boot == self._settlement.boot:
                raise InvalidMessage("claim.offer")
            # Attempts that nobody was awarded are not on disk: an earlier run may have published this number too.
            self._decline(peer, claim, claimed, "stale", task)
            return
        if claim_row_id in task.excluded or claim_row_id in attempt.too_early:
            self._decline(peer, claim, claimed, "excluded", task)
            return
        if not self._has_room(claim_row_id):
            self._decline(peer, claim, claimed, "no_place", task)
            return
        rank = attempt.order.index(claim_row_id) if claim_row_id in attempt.order else None
        place = rank if rank is not None else self._outside(attempt, claim_row_id)
        slot = attempt.published_at + slot_ms(place, attempt.slot_step_ms)
        if core.now < slot - core.params.early_tolerance_ms:
            attempt.too_early.add(claim_row_id)
            self._decline(peer, claim, claimed, "early", task)
            return
        if rank == 0:
            self._offering.slot_pace.heard_best(core.now - attempt.published_at)
        attempt.claims[claim_row_id] = PendingClaim(peer, claim, claimed, rank, place)
        self.award_if_due(task)

    @staticmethod
    def _outside(attempt: OpenAttempt, miner: StakingId) -> float:
        return outside_place(len(attempt.order), attempt.ticket, miner, attempt.table)

    def award_if_due(self, task: Task) -> None:
        """Award the best claim so far once no better rank is waited for."""
        attempt = task.open
        if attempt is None or not attempt.claims:
            return
        best = min(attempt.claims.values(), key=lambda claim: claim.place)
        waited_for = self._waited_for(task, attempt, best)
        if waited_for <= self._core.now:
            if not self._has_room(best.claim.statement.miner):
                # It won another of our tasks since it claimed this one.
                del attempt.claims[best.claim.statement.miner]
                self._decline(best.peer, best.claim, best.digest, "no_place", task)
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
        """A miner said that it has no place (any more): whoever claimed behind it waits for it no longer."""
        for task in list(self._tasks.values()):
            if task.open is not None and task.open.claims and miner in task.open.order:
                self.award_if_due(task)

    def _has_room(self, miner: StakingId) -> bool:
        known = self._roster.id(miner)
        return known is not None and known.has_room()

    def _award(self, task: Task, attempt: OpenAttempt, won: PendingClaim) -> None:
        """Give the attempt away: on disk first, so that one claim never gets two awards."""
        core, now = self._core, self._core.now
        claim = won.claim.statement
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
        message = Award(statement=statement, signature=core.sign(statement), specification=task.encoded, salt=task.salt)
        awarded = AwardedAttempt(
            attempt=task.attempt,
            miner=claim.miner,
            peer=won.peer,
            award=message,
            award_digest=digest(core.identity.domain, statement),
            awarded_at=now,
            rank=won.rank,
            last_alive=now,
            progress_deadline=UnixMillis(now + core.identity.catalog.models[task.specification.model].loading_limit_ms),
        )
        task.awards[task.attempt] = awarded
        task.open = None
        task.rounds = 0
        task.move(TaskState.AWARDED)
        record = TaskAwarded(task.id, task.attempt, claim.miner, won.digest, encode(message), now)
        core.emit(Persist((record,)), Send(won.peer, message))
        self._hold(task.id, claim.miner)
        for loser in attempt.claims.values():
            if loser is not won:
                self._decline(loser.peer, loser.claim, loser.digest, "awarded", task)
        core.emit(CancelTimer(("offer", task.id, 0)), CancelTimer(("award", task.id, 0)))
        core.set_timer(("lease", task.id, 0), now + core.params.lease_ms)
        core.emit(Deliver(task.id, Update(Stage.CLAIMED, now, task.attempt, claim.miner)))
        rank = NO_RANK if won.rank is None else won.rank
        waited = now - attempt.published_at
        core.note(NoteName.TASK_AWARDED, task.id, miner=claim.miner, attempt=task.attempt, rank=rank, ms=waited)
        self._offering.announce_award(task, claim.miner)

    def _decline(self, peer: PeerId, claim: Claim, claimed: Digest, reason: str, task: Task | None = None) -> None:
        """Say no, signed, with the winner if there is one."""
        core = self._core
        holder = task.holder if task is not None else None
        statement = DeclineStatement(
            claim=claimed,
            task=claim.statement.task,
            attempt=claim.statement.attempt,
            coordinator=claim.statement.coordinator,
            winner=holder.miner if holder is not None else StakingId(0),
            rank=NO_RANK if holder is None or holder.rank is None else holder.rank,
            reason=reason,
        )
        if task is not None:
            task.count(reason)
        core.emit(Send(peer, Decline(statement=statement, signature=core.sign(statement))))
        core.note(NoteName.CLAIM_DECLINED, claim.statement.task, reason=reason, miner=claim.statement.miner)

    # The two clocks

    def on_alive(self, task: Task, award: AwardedAttempt, message: Alive) -> None:
        """Renew the lease; a new state or step also moves the progress deadline."""
        core, now = self._core, self._core.now
        award.last_alive = now
        progress = (message.state, min(message.step, task.specification.steps))
        if _place_in_work(progress) > _place_in_work(award.progress):
            award.progress = progress
            award.progress_deadline = UnixMillis(now + self._progress_limit_ms(task, message))
            update = Update(
                Stage.PROGRESS, now, award.attempt, award.miner, message.step, message.steps, reason=message.state
            )
            core.emit(Deliver(task.id, update))
        self._set_lease_timer(task, award)

    def _progress_limit_ms(self, task: Task, message: Alive) -> int:
        """How long (ms) the stated state may last before the miner counts as hung."""
        params = self._core.params
        match message.state:
            case "queued":
                return 2 * min(message.wait_ms, MAX_WAIT_MS) + params.lease_ms
            case "loading":
                return self._core.identity.catalog.models[task.specification.model].loading_limit_ms
            case "step":
                return 4 * min(message.wait_ms, MAX_STEP_MS) + params.step_grace_ms
            case "encoding":
                return params.step_grace_ms + params.lease_ms

    def _set_lease_timer(self, task: Task, award: AwardedAttempt) -> None:
        at = min(award.last_alive + self._core.params.lease_ms, award.progress_deadline)
        self._core.set_timer(("lease", task.id, 0), at)

    def on_lease_timer(self, task: Task) -> None:
        """Take the task from a miner that is silent or hangs."""
        award = task.holder
        if award is None:
            return
        now = self._core.now
        if now < award.last_alive + self._core.params.lease_ms and now < award.progress_deadline:
            self._set_lease_timer(task, award)
            return
        silent = now >= award.last_alive + self._core.params.lease_ms
        self._core.note(
            NoteName.TASK_LEASE_EXPIRED,
            task.id,
            miner=award.miner,
            attempt=award.attempt,
            reason="silent" if silent else f"stuck_{award.progress[0]}",
        )
        self.take_back(task, award, "lease_expired")

    def on_result(self, task: Task, award: AwardedAttempt, size: int) -> None:
        """The commitment is here and ``size`` bytes are on their way: one more lease, and the time that they take."""
        most = largest_png(task.specification.width, task.specification.height)
        award.last_alive = UnixMillis(self._core.now + 1000 * min(size, most) // SLOWEST_BYTES_PER_S)
        award.progress_deadline = max(
            award.progress_deadline, UnixMillis(award.last_alive + self._core.params.lease_ms)
        )
        self._set_lease_timer(task, award)
        known = self._roster.id(award.miner)
        if known is not None:
            known.deliver(task.id)

    def on_miner_gone(self, miner: StakingId) -> None:
        """A work stream broke: its claims bind nobody, its tasks are taken back soon unless it returns."""
        for task in list(self._tasks.values()):
            if task.open is not None:
                task.open.claims.pop(miner, None)
            award = task.holder
            if award is not None and award.miner == miner:
                grace = self._core.now + RECONNECT_GRACE_MS - self._core.params.lease_ms
                award.last_alive = UnixMillis(min(award.last_alive, grace))
                self._set_lease_timer(task, award)

    def on_miner_back(self, miner: StakingId, peer: PeerId) -> None:
        """A work stream opened: the miner's tasks speak through it from now on."""
        for task in self._tasks.values():
            for award in task.awards.values():
                if award.miner == miner:
                    award.peer = peer
            holder = task.holder
            if holder is not None and holder.miner == miner:
                self._hold(task.id, miner)
                # It has time for its next sign of life, and all together no more than a lease.
                grace = self._core.now + 2 * self._core.params.alive_interval_ms - self._core.params.lease_ms
                holder.last_alive = max(holder.last_alive, UnixMillis(grace))
                self._set_lease_timer(task, holder)

    def cancel(self, task: Task, award: AwardedAttempt, reason: str) -> None:
        """Stop a miner whose work is no longer wanted. One that is not on the line hears it when it speaks again."""
        self.release(task.id, award.miner)
        if self._roster.id(award.miner) is not None:
            self.stop(award.peer, task.id, award.attempt, reason)

    def stop(self, peer: PeerId, task: TaskId, attempt: int, reason: str) -> None:
        """Tell a miner that this attempt is not wanted (any more)."""
        self._core.emit(Send(peer, Cancel(task=task, attempt=attempt, reason=reason)))

    def close_claims(self, task: Task) -> None:
        """The task ends before it was awarded: whoever waits for an answer is free."""
        if task.open is not None:
            for claim in task.open.claims.values():
                self._decline(claim.peer, claim.claim, claim.digest, "closed")

    def on_abandoned(self, task: Task, award: AwardedAttempt, reason: str) -> None:
        """A miner gives its attempt back. What it does not hold it cannot give back."""
        if award is not task.holder:
            return
        if reason == NO_CLAIM and award.miner not in task.forgiven:
            # Its claim had expired when the award came: it is not to blame, and may claim again.
            task.forgiven |= {award.miner}
            self.cancel(task, award, reason)
            task.count(reason)
            self._offer_again(task, reason)
        else:
            self.take_back(task, award, reason)

    def take_back(self, task: Task, award: AwardedAttempt, reason: str) -> None:
        """End a lease, leave its miner out for this task, and offer it again, or fail it after too many."""
        core, holder = self._core, task.holder
        award.artifact = award.artifact_digest = None  # it comes again with its result, if ever
        task.count(reason)
        task.excluded |= {award.miner}
        known = self._roster.id(award.miner)
        if known is not None and award.progress[0] in {"awarded", "loading"}:
            known.counts_as_cold_until = UnixMillis(core.now + FALSE_WARM_MS)
        if award is not holder:
            self.stop(award.peer, task.id, award.attempt, reason)
            return
        self.cancel(task, award, reason)
        task.failures += 1
        if task.failures >= core.params.max_attempts:
            self._settlement.fail(task, "attempts_exhausted")
            self._offering.announce_end(task, "failed")
            return
        self._offer_again(task, reason)

    def _offer_again(self, task: Task, reason: str) -> None:
        """The lease has ended: the task waits for its next offer."""
        core = self._core
        core.emit(CancelTimer(("lease", task.id, 0)))
        self._offering.requeue(task)
        core.emit(Deliver(task.id, Update(Stage.QUEUED, core.now, task.attempt, reason=reason)))
        self._offering.offer(task)

    def _hold(self, task: TaskId, miner: StakingId) -> None:
        known = self._roster.id(miner)
        if known is not None:
            known.begin(task)

    def release(self, task: TaskId, miner: StakingId) -> None:
        """Count a miner's place as free again."""
        known = self._roster.id(miner)
        if known is not None:
            known.release(task)
