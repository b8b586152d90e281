"""The miner's half of an award: the job, its progress, the commitment, and the receipt.

award -> StartJob -> progress* -> Persist(sign-once) -> Send(result) + artifact -> receipt. Spec: SPEC.md §9, §10.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, final

from protocol.crypto.typed_data import digest
from protocol.effects import CancelJob, CancelTimer, Lane, Persist, Send, SendArtifact, SendEncoded, StartJob
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.events import JobFailed, JobFinished, JobProgress, ModelState
from protocol.notes import NoteName
from protocol.records import ArtifactStored, Record, ResultCommitted, ResultSettled
from protocol.roles.core import Core
from protocol.roles.credit import PATIENCE, Credit
from protocol.roles.held_work import RESEND_MS, Delivery, Job
from protocol.roles.income import Income
from protocol.roles.input_waiting import InputWaiting
from protocol.roles.open_offers import OutstandingClaim
from protocol.roles.redeeming import RedeemPolicy
from protocol.stake.table import StakeRow
from protocol.task.receipt import check_redeemable
from protocol.task.specification import specification_digest
from protocol.units import PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.codec import RESULT_PLACE, SPECIFICATION_PLACE, decode, encode
from protocol.wire.messages import Abandon, Alive, Award, Preview, Receipt, Reject, Result, TaskSpecification
from protocol.wire.statements import AwardStatement, CommitmentStatement

ALIVE_PACE_MS: Final = 200
"""Least time (ms) between two ``alive`` of one job in one state: finer steps tell nobody more."""
LAST_RESEND_MS: Final = 80_000
"""The pause doubles up to this (ms): a coordinator that takes nothing does not fill our line for the others."""
RESULT_KEPT_MS: Final = 3_600_000
"""How long (ms) an unacknowledged result is kept and sent again."""
MAX_REFUSED: Final = 1024
"""Tasks remembered as refused by the owner's rules; the oldest is forgotten first."""
Refuses = Callable[[TaskSpecification], bool]
"""Says whether a miner's owner does not let this be drawn. It is quick, whatever an app wrote."""


def refuses_nothing(specification: TaskSpecification) -> bool:
    """The rule of an owner who has none."""
    del specification
    return False


@final
class Working:
    """Jobs at the engine, results on their way, vouchers held."""

    def __init__(
        self,
        core: Core,
        streams: dict[PeerId, StakingId],
        policy: RedeemPolicy,
        refuses: Refuses = refuses_nothing,
    ) -> None:
        """Share the open work streams of the miner core."""
        self._core = core
        self._refuses = refuses
        self._streams = streams
        self._jobs: dict[tuple[TaskId, int], Job] = {}
        self._deliveries: dict[tuple[TaskId, int], Delivery] = {}
        self.income = Income(core, policy, streams.values)
        self.earnings = self.income.earnings
        self._refused: dict[TaskId, None] = {}
        self._credit = Credit()
        self.inputs = InputWaiting(core, self._begin, self._give_up)

    def has(self, task: TaskId) -> bool:
        """Say whether we work on a task, have a result of it to deliver, or refused it: it is claimed but once."""
        if task in self._refused:
            return True
        for key in self._jobs:
            if key[0] == task:
                return True
        return any(key[0] == task for key in self._deliveries) if self._deliveries else False

    def is_in_debt(self, coordinator: StakingId) -> bool:
        """Say whether a coordinator owes us receipts for as much as we trust it with."""
        return self._credit.is_spent(coordinator, self._waiting(coordinator, PATIENCE), self._core.now)

    def may_owe_more(self, coordinator: StakingId) -> bool:
        """Say whether to claim more of a coordinator now: one that never paid us is waited for, however short it is."""
        patience_ms = PATIENCE if self._credit.has_paid(coordinator) else 0
        return not self._credit.is_spent(coordinator, self._waiting(coordinator, patience_ms), self._core.now)

    def _waiting(self, coordinator: StakingId, patience_ms: int) -> int:
        """Count the results that a coordinator has not answered for so long (ms)."""
        if not self._deliveries:
            return 0
        since = self._core.now - patience_ms
        sent = (delivery.committed for delivery in self._deliveries.values())
        return sum(one.coordinator == coordinator and one.committed_at <= since for one in sent)

    def room(self, coordinator: StakingId, claims: Iterable[OutstandingClaim]) -> int:
        """Give what a coordinator's escrow covers beyond its promises, and what we do for it or have claimed (wei)."""
        jobs = (job.award.statement.price for job in self._jobs.values() if job.coordinator == coordinator)
        sent = (one.committed for one in self._deliveries.values())
        waiting = (one.price or 0 for one in sent if one.coordinator == coordinator)
        claimed = (one.offer.price for one in claims if one.claim.statement.coordinator == coordinator)
        return self.income.coverage.room(coordinator) - sum(jobs) - sum(waiting) - sum(claimed)

    def busy(self) -> int:
        """Count the jobs at the engine."""
        return len(self._jobs)

    def undelivered(self) -> int:
        """Count the results that their coordinators have not acknowledged."""
        return len(self._deliveries)

    def give_back(self, reason: str) -> None:
        """Stop every job and give its attempt back by name."""
        for job in self._jobs.values():
            self._core.emit(CancelJob(job.task, job.attempt))
            self._core.note(NoteName.JOB_FAILED, job.task, reason=reason, attempt=job.attempt)
            self.abandon(job.peer, job.task, job.attempt, reason)
        self._jobs.clear()

    def restore(self, records: tuple[Record, ...], own: StakingId) -> None:
        """Take up undelivered results and vouchers of an earlier run."""
        for record in records:
            match record:
                case ResultCommitted():
                    self._deliveries[(record.task, record.attempt)] = Delivery(record)
                    # Also for a coordinator that never comes back: it is kept for an hour, not for ever.
                    self._core.set_timer(("resend", record.task, record.attempt), self._core.now + RESEND_MS)
                case _:
                    self.income.restore(record, own)

    # Awards

    def knows(self, award: AwardStatement) -> bool:
        """Say whether this very award is being worked on or delivered already."""
        key, named = (award.task, award.attempt), digest(self._core.identity.domain, award)
        job, delivery = self._jobs.get(key), self._deliveries.get(key)
        return (job is not None and job.award_digest == named) or (
            delivery is not None and delivery.committed.award == named
        )

    def on_award(
        self,
        peer: PeerId,
        coordinator: StakeRow,
        message: Award,
        claimed: OutstandingClaim,
        models: Mapping[str, ModelState],
    ) -> str | None:
        """Begin an awarded job that we claimed, or give the reason for which it must be given back.

        Raises:
            InvalidMessage: the award contradicts itself or what was offered, or is not signed by its coordinator.
        """
        core, statement = self._core, message.statement
        if statement.coordinator != coordinator.id or statement.miner != core.own_id():
            raise InvalidMessage("award.parties")
        core.check_signature(statement, message.signature, coordinator, "award.signature")
        if specification_digest(message.specification, message.salt) != statement.specification:
            raise InvalidMessage("award.specification")
        specification = decode(message.specification, SPECIFICATION_PLACE)
        self._check_as_offered(peer, statement, specification, claimed)
        core.note(NoteName.AWARD_RECEIVED, statement.task, attempt=statement.attempt, coordinator=coordinator.id)
        if specification.model not in models or core.identity.catalog.refusal(specification) is not None:
            return "not_served"
        if self._refuses(specification):
            self._refused[statement.task] = None
            if len(self._refused) > MAX_REFUSED:
                del self._refused[next(iter(self._refused))]
            core.note(NoteName.JOB_FAILED, statement.task, reason="content_policy", attempt=statement.attempt)
            return "content_policy"
        key = (statement.task, statement.attempt)
        if key in self._jobs or key in self._deliveries:
            # Another award for an attempt that we have: one of the two would be signed for the other's work.
            return "not_served"
        job = self._jobs[key] = Job(
            task=statement.task,
            attempt=statement.attempt,
            coordinator=coordinator.id,
            peer=peer,
            award=message,
            award_digest=digest(core.identity.domain, statement),
            specification=specification,
            awarded_at=core.now,
        )
        if specification.inputs:
            self.inputs.add(key, lambda: job.peer, claimed.claim, specification)
        else:
            self._begin(key, None, None)
        return None

    def _begin(self, key: tuple[TaskId, int], source: bytes | None, mask: bytes | None) -> None:
        """Give a job to the engine: all that it begins from is here."""
        specification = self._jobs[key].specification
        self._core.emit(StartJob(*key, specification, source, mask))
        self._core.note(NoteName.JOB_STARTED, key[0], attempt=key[1], model=specification.model)

    def _give_up(self, key: tuple[TaskId, int], reason: str) -> None:
        """Give back a job whose pictures did not come; its coordinator is trusted with less, as one that owes us."""
        job = self._jobs.pop(key)
        self._credit.unpaid(job.coordinator, self._core.now)
        self._core.note(NoteName.JOB_FAILED, job.task, reason=reason, attempt=job.attempt)
        self.abandon(job.peer, job.task, job.attempt, reason)

    def _check_as_offered(
        self, peer: PeerId, statement: AwardStatement, specification: TaskSpecification, claimed: OutstandingClaim
    ) -> None:
        """Pass only an award of the very offer that we claimed; give any other back."""
        offer = claimed.offer
        offered = (claimed.model, offer.work, offer.pixels, offer.pixel_steps)
        asked = (specification.model, specification.work, specification.pixels, specification.pixel_steps)
        broken = None
        if statement.offer != claimed.claim.statement.offer:
            broken = InvalidMessage("award.offer")
        elif statement.price != offer.price:
            broken = InvalidMessage("award.price")
        elif asked != offered:
            broken = InvalidMessage("award.work")
        if broken is not None:
            self.abandon(peer, statement.task, statement.attempt, "not_as_offered")
            raise broken

    def abandon(self, peer: PeerId, task: TaskId, attempt: int, reason: str) -> None:
        """Give an attempt back by name."""
        self._core.emit(Send(peer, Abandon(task=task, attempt=attempt, reason=reason)))

    def on_cancel(self, peer: PeerId, task: TaskId, attempt: int) -> None:
        """Stop a job that its coordinator no longer wants: the device is free at the next step."""
        job = self._jobs.get((task, attempt))
        if job is not None and job.peer == peer:
            del self._jobs[(task, attempt)]
            self.inputs.forget((task, attempt))
            self._core.emit(CancelJob(task, attempt))

    # The engine

    def on_progress(self, event: JobProgress) -> None:
        """Relay a sign of life: at most every ALIVE_PACE_MS, except when the state changes."""
        job = self._jobs.get((event.task, event.attempt))
        if job is None:
            return
        now = self._core.now
        job.preview = event.preview or job.preview
        state_changed = job.said[0] != event.state
        if not state_changed and now - job.said_at < ALIVE_PACE_MS:
            return
        job.said, job.said_at = (event.state, event.step), now
        wait = event.step_ms if event.state == "step" else self._wait_ms(job) if event.state == "queued" else 0
        alive = Alive(
            task=job.task,
            attempt=job.attempt,
            state=event.state,
            step=event.step,
            steps=event.steps,
            wait_ms=wait,
        )
        self._core.emit(Send(job.peer, alive, Lane.NORMAL))
        if job.preview is not None:
            self._core.emit(Send(job.peer, Preview(task=job.task, attempt=job.attempt, data=job.preview), Lane.NORMAL))
            job.preview = None
        if state_changed:
            self._core.note(NoteName.JOB_PROGRESS, job.task, state=event.state, attempt=job.attempt)

    def _wait_ms(self, job: Job) -> int:
        """How long (ms) the jobs before this one may still take: stated, and held against us if it is a lie."""
        before = [other for other in self._jobs.values() if other.awarded_at <= job.awarded_at and other is not job]
        return min(sum(other.specification.drawn_steps for other in before) * 1000 + 1000, 600_000)

    def on_finished(self, event: JobFinished) -> None:
        """Sign for the picture once, on disk, and send it."""
        job = self._jobs.pop((event.task, event.attempt), None)
        if job is None:
            return
        core = self._core
        own = core.own_id()
        if own is None:
            # We fell out of the table in the middle: nobody could check our signature.
            self.abandon(job.peer, job.task, job.attempt, "not_registered")
            return
        commitment = CommitmentStatement(
            award=job.award_digest,
            task=job.task,
            attempt=job.attempt,
            miner=own,
            specification=job.award.statement.specification,
            model=event.model,
            artifact=event.digest,
            fingerprint=event.fingerprint,
        )
        result = Result(
            version=1 if event.media_type == "image/png" else 2,
            commitment=commitment,
            signature=core.sign(commitment),
            media_type=event.media_type,
            size=len(event.data),
            generation_ms=event.generation_ms,
        )
        committed = ResultCommitted(
            job.award_digest,
            job.task,
            job.attempt,
            job.coordinator,
            event.digest,
            encode(result),
            core.now,
            job.award.statement.price,
        )
        delivery = self._deliveries[(job.task, job.attempt)] = Delivery(committed)
        core.emit(Persist((ArtifactStored(event.digest, event.data), committed)))
        core.note(NoteName.JOB_FINISHED, job.task, ms=event.generation_ms, attempt=job.attempt)
        self._send(job.peer, delivery)

    def on_failed(self, event: JobFailed) -> None:
        """Give an attempt back that the engine could not finish."""
        job = self._jobs.pop((event.task, event.attempt), None)
        if job is None:
            return
        self._core.note(NoteName.JOB_FAILED, job.task, reason=event.reason, attempt=job.attempt)
        self.abandon(job.peer, job.task, job.attempt, event.reason)

    # Results

    def _send(self, peer: PeerId, delivery: Delivery) -> None:
        core, sent = self._core, delivery.committed
        core.emit(SendArtifact(peer, sent.task, sent.attempt, sent.artifact), SendEncoded(peer, sent.result))
        core.set_timer(("resend", sent.task, sent.attempt), core.now + delivery.pause_ms)
        delivery.pause_ms = min(2 * delivery.pause_ms, LAST_RESEND_MS)
        core.note(NoteName.RESULT_SENT, sent.task, attempt=sent.attempt)

    def on_hello(self, peer: PeerId, coordinator: StakingId) -> None:
        """A coordinator is (back) on the line: it gets what it has not acknowledged, and hears of its jobs."""
        for job in self._jobs.values():
            if job.coordinator == coordinator:
                job.peer, job.said_at = peer, UnixMillis(0)
        for delivery in self._deliveries.values():
            if delivery.committed.coordinator == coordinator:
                self._send(peer, delivery)

    def on_timer(self, what: str, task: TaskId, attempt: int) -> None:
        """A result was not acknowledged (``resend``), or a picture did not come (``input``)."""
        if what == "input":
            self.inputs.on_timer((task, attempt))
        else:
            self._send_again(task, attempt)

    def _send_again(self, task: TaskId, attempt: int) -> None:
        """No receipt yet: send again while there is a stream, and give up after an hour."""
        delivery = self._deliveries.get((task, attempt))
        if delivery is None:
            return
        if self._core.now - delivery.committed.committed_at > RESULT_KEPT_MS:
            self._credit.unpaid(delivery.committed.coordinator, self._core.now)
            self._settle(delivery)
            return
        peer = next((peer for peer, id_ in self._streams.items() if id_ == delivery.committed.coordinator), None)
        if peer is not None:
            self._send(peer, delivery)
        else:
            self._core.set_timer(("resend", task, attempt), self._core.now + RESEND_MS)

    def on_receipt(self, coordinator: StakeRow, message: Receipt) -> None:
        """Take a receipt and its voucher, both signed by the coordinator and never less than before.

        Raises:
            InvalidMessage: a signature or figure is wrong.
            IgnoredMessage: it is about nothing that we wait for, or nobody is to blame that it pays nothing.
        """
        core, statement, voucher = self._core, message.statement, message.voucher
        delivery = self._deliveries.get((statement.task, statement.attempt))
        if delivery is None:
            raise IgnoredMessage("receipt.unknown")
        result = decode(delivery.committed.result, RESULT_PLACE)
        if statement.coordinator != coordinator.id or statement.miner != result.commitment.miner:
            raise InvalidMessage("receipt.parties")
        if statement.commitment != digest(core.identity.domain, result.commitment):
            raise InvalidMessage("receipt.commitment")
        if voucher.coordinator != coordinator.id or voucher.miner != statement.miner:
            raise InvalidMessage("receipt.voucher")
        core.check_signature(statement, message.signature, coordinator, "receipt.signature")
        core.check_signature(voucher, message.voucher_signature, coordinator, "receipt.voucher_signature")
        check_redeemable(voucher)
        if delivery.committed.price is not None and statement.price != delivery.committed.price:
            raise InvalidMessage("receipt.price")
        # The highest voucher covers all that was receipted: showing an old one again pays nothing.
        held = self.earnings.credit(coordinator, statement.price, voucher, message.voucher_signature)
        self._credit.paid(coordinator.id)
        self._forget(delivery)
        core.emit(Persist((ResultSettled(delivery.committed.award), held)))
        core.note(NoteName.RECEIPT_RECEIVED, statement.task, coordinator=coordinator.id, wei=statement.price)

    def on_reject(self, coordinator: StakingId, message: Reject) -> None:
        """The coordinator does not take the result: nothing is owed, and it is not sent again."""
        delivery = self._deliveries.get((message.task, message.attempt))
        if delivery is not None and delivery.committed.coordinator == coordinator:
            # Also where another was first: we cannot tell that from a lie, and the next receipt forgives it.
            self._credit.unpaid(coordinator, self._core.now)
            self._settle(delivery)
            self._core.note(NoteName.RESULT_REJECTED, message.task, reason=message.reason, attempt=message.attempt)

    def _settle(self, delivery: Delivery) -> None:
        self._forget(delivery)
        self._core.emit(Persist((ResultSettled(delivery.committed.award),)))

    def _forget(self, delivery: Delivery) -> None:
        del self._deliveries[(delivery.committed.task, delivery.committed.attempt)]
        self._core.emit(CancelTimer(("resend", delivery.committed.task, delivery.committed.attempt)))
