"""The miner's half of an award: the job, its progress, and the commitment; ``delivering`` brings the result home.

award -> StartJob -> progress* -> Persist(sign-once) -> delivering. Spec: SPEC.md §9, §10.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, final

from protocol.crypto.sealing import KEY_BYTES, seal_picture
from protocol.crypto.typed_data import digest
from protocol.effects import CancelJob, Lane, Persist, Send, StartJob
from protocol.errors import InvalidMessage
from protocol.events import JobFailed, JobFinished, JobProgress, ModelState
from protocol.justice.evidence import Signed
from protocol.notes import NoteName
from protocol.params import MAX_ARTIFACT_BYTES
from protocol.records import ArtifactStored, PayerKept, Record, ResultCommitted, StepsKept
from protocol.roles.abandon_reasons import CONTENT_POLICY
from protocol.roles.core import Core
from protocol.roles.miner.delivering import Delivering
from protocol.roles.miner.held_work import Job
from protocol.roles.miner.income import Income
from protocol.roles.miner.input_waiting import InputWaiting
from protocol.roles.miner.kept_steps import KeptSteps
from protocol.roles.miner.open_offers import OutstandingClaim
from protocol.roles.miner.owner_rule import OwnerRule, Refuses, refuses_nothing
from protocol.roles.miner.redeeming import RedeemPolicy
from protocol.roles.miner.sealed_work import SealedWork
from protocol.roles.prosecution import Prosecution
from protocol.stake.table import StakeRow
from protocol.task.fingerprint import NO_FINGERPRINT
from protocol.task.specification import specification_digest
from protocol.units import Digest, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.codec import SPECIFICATION_PLACE, decode, encode
from protocol.wire.messages import Abandon, Alive, Award, Cancel, Preview, Result, TaskSpecification
from protocol.wire.statements import AwardStatement, CommitmentStatement

ALIVE_PACE_MS: Final = 200
"""Least time (ms) between two ``alive`` of one job in one state: finer steps tell nobody more."""


@final
class Working:
    """Jobs at the engine, from their award to the signed result."""

    def __init__(
        self,
        core: Core,
        streams: dict[PeerId, StakingId],
        policy: RedeemPolicy,
        prosecution: Prosecution,
        refuses: Refuses = refuses_nothing,
    ) -> None:
        """Share the open work streams of the miner core, and what it knows of evidence."""
        self._core = core
        self._prosecution = prosecution
        self._rule = OwnerRule(refuses)
        self._jobs: dict[tuple[TaskId, int], Job] = {}
        self._at_engine: set[tuple[TaskId, int]] = set()
        """Attempts that the engine has begun and not ended, also those that nobody wants any more."""
        self.income = Income(core, policy, streams.values, prosecution, self._fell_short)
        self.earnings = self.income.earnings
        self.delivering = Delivering(core, streams, self.earnings, prosecution)
        self.steps = KeptSteps(core)
        self.inputs = InputWaiting(core, self._begin, self._give_up)
        self.sealed = SealedWork(core, self._begin_opened, self._give_back_unread)

    def has(self, task: TaskId) -> bool:
        """Say whether we work on a task, have a result of it to deliver, or refused it: it is claimed but once."""
        if self._rule.has_refused(task):
            return True
        for key in self._jobs:
            if key[0] == task:
                return True
        return self.delivering.has(task)

    def room(self, coordinator: StakingId, claims: Iterable[OutstandingClaim]) -> int | None:
        """Give up to which price (wei) to claim: what its escrow covers beside its promises, our jobs and our claims.

        At most what we trust it with beside the receipts that it owes, however short they are due; None if nothing.
        """
        if not (trust := self.delivering.trust_now(coordinator)):
            return None
        jobs = (job.award.statement.price for job in self._jobs.values() if job.coordinator == coordinator)
        claimed = (one.offer.price for one in claims if one.claim.statement.coordinator == coordinator)
        promised = sum(jobs) + self.delivering.price(coordinator) + sum(claimed)
        return min(self.income.coverage.room(coordinator) - promised, trust)

    def busy(self) -> int:
        """Count the jobs at the engine."""
        return len(self._jobs)

    def give_back(self, reason: str) -> None:
        """Stop every job and give its attempt back by name."""
        for job in self._jobs.values():
            self._stop((job.task, job.attempt))
            self._core.note(NoteName.JOB_FAILED, job.task, reason=reason, attempt=job.attempt)
            self.abandon(job.peer, job.task, job.attempt, reason)
        self._jobs.clear()

    def restore(self, records: tuple[Record, ...], own: StakingId) -> None:
        """Take up undelivered results and vouchers of an earlier run."""
        for record in records:
            match record:
                case ResultCommitted():
                    self.delivering.restore(record)
                case StepsKept():
                    self.steps.restore(record)
                case PayerKept():
                    self.delivering.payers.restore(record, self._core.now)
                case _:
                    self.income.restore(record, own)

    # Awards

    def knows(self, award: AwardStatement) -> bool:
        """Say whether this very award is being worked on or delivered already."""
        key, named = (award.task, award.attempt), digest(self._core.identity.domain, award)
        job = self._jobs.get(key)
        return (job is not None and job.award_digest == named) or self.delivering.award(key) == named

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
        named = core.check_signature(statement, message.signature, coordinator, "award.signature")
        self._prosecution.verified(Signed(statement, message.signature))
        if specification_digest(message.specification, message.salt) != statement.specification:
            raise InvalidMessage("award.specification")
        specification = decode(message.specification, SPECIFICATION_PLACE)
        self._check_as_offered(peer, statement, specification, claimed)
        core.note(NoteName.AWARD_RECEIVED, statement.task, attempt=statement.attempt, coordinator=coordinator.id)
        if message.sealed_key is not None and specification.sealed is None:
            return "sealed"  # a key, and nothing that it could open
        if specification.model not in models or core.identity.catalog.refusal(specification) is not None:
            return "not_served"
        if specification.sealed is None and self._rule.refuses(statement.task, specification):
            core.note(NoteName.JOB_FAILED, statement.task, reason=CONTENT_POLICY, attempt=statement.attempt)
            return CONTENT_POLICY
        key = (statement.task, statement.attempt)
        if key in self._jobs or key in self._at_engine or self.delivering.award(key) is not None:
            # Another award for an attempt that we have, or had and the engine is not rid of: one of the two would be
            # signed for the other's work, or sealed to the other's app, or not at all.
            return "not_served"
        job = self._jobs[key] = Job(
            task=statement.task,
            attempt=statement.attempt,
            coordinator=coordinator.id,
            peer=peer,
            award=message,
            award_digest=named,
            specification=specification,
            awarded_at=core.now,
        )
        if specification.inputs:
            self.inputs.add(key, lambda: job.peer, claimed.claim, specification)
        elif specification.sealed is not None:
            self.sealed.add(key, lambda: job.peer, claimed.claim, specification, job.award_digest)
            self.take_key(peer, message)
        else:
            self._begin(key, None, None)
        return None

    def take_key(self, peer: PeerId, message: Award) -> None:
        """Take the key that an award which we have brings along, if any."""
        if message.sealed_key is not None:
            self.sealed.on_key(peer, (message.statement.task, message.statement.attempt), message.sealed_key)

    def _begin_opened(self, key: tuple[TaskId, int], specification: TaskSpecification, content_key: bytes) -> None:
        """Begin a sealed job that can be read now, unless the owner does not let that be drawn."""
        job = self._jobs[key]
        if self._rule.refuses(job.task, specification):
            del self._jobs[key]
            self._core.note(NoteName.JOB_FAILED, job.task, reason=CONTENT_POLICY, attempt=job.attempt)
            self.abandon(job.peer, job.task, job.attempt, CONTENT_POLICY)
            return
        job.specification, job.content_key = specification, content_key
        self._begin(key, None, None)

    def _begin(self, key: tuple[TaskId, int], source: bytes | None, mask: bytes | None) -> None:
        """Give a job to the engine: all that it begins from is here."""
        specification = self._jobs[key].specification
        self._at_engine.add(key)
        self._core.emit(StartJob(*key, specification, source, mask))
        self._core.note(NoteName.JOB_STARTED, key[0], attempt=key[1], model=specification.model)

    def _give_up(self, key: tuple[TaskId, int], reason: str) -> None:
        """Give back a job whose pictures did not come; its coordinator is trusted with less, as one that owes us."""
        award = self._jobs[key].award.statement
        self.delivering.payers.withheld(award.coordinator, award.price, self._core.now)
        self._keep(award.coordinator)
        self._give_back_unread(key, reason)

    def _give_back_unread(self, key: tuple[TaskId, int], reason: str) -> None:
        """Give back a job that cannot begin: a key that does not come, or opens nothing, may be its app's doing."""
        job = self._jobs.pop(key)
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

    def on_cancel(self, peer: PeerId, message: Cancel) -> None:
        """Stop a job that its coordinator no longer wants: the device is free at the next step."""
        key, core = (message.task, message.attempt), self._core
        job = self._jobs.get(key)
        if job is not None and job.peer == peer:
            del self._jobs[key]
            self._stop(key)
            if message.reason == "lease_expired" and core.now - job.said_at < core.params.lease_ms:
                self.delivering.payers.took_back(job.coordinator, core.now)
                self._keep(job.coordinator)

    def _fell_short(self, coordinator: StakingId) -> None:
        """An escrow does not cover any more what its coordinator has promised us."""
        self.delivering.payers.fell_short(coordinator, self._core.now)
        self._keep(coordinator)

    def _keep(self, coordinator: StakingId) -> None:
        self._core.emit(Persist((self.delivering.payers.record(coordinator, self._core.now),)))

    def _stop(self, key: tuple[TaskId, int]) -> None:
        """Wait for nothing more of a job, and let the engine have none of it."""
        self.inputs.forget(key)
        self.sealed.forget(key)
        self._core.emit(CancelJob(*key))

    # The engine

    def on_progress(self, event: JobProgress) -> None:
        """Relay a sign of life: at most every ALIVE_PACE_MS, except when the state changes."""
        job = self._jobs.get((event.task, event.attempt))
        if job is None:
            return
        now = self._core.now
        job.preview = None if job.content_key is not None else event.preview or job.preview
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
        job = self._ended((event.task, event.attempt))
        if job is None:
            return
        core = self._core
        own = core.own_id()
        if own is None:
            # We fell out of the table in the middle: nobody could check our signature.
            self.abandon(job.peer, job.task, job.attempt, "not_registered")
            return
        data, named, fingerprint = event.data, event.digest, event.fingerprint
        if job.content_key is not None:
            data = seal_picture(job.content_key, job.award_digest, data, core.identity.entropy(KEY_BYTES))
            # By a root over its steps, whoever draws what he guesses would know that it is it.
            named, fingerprint = Digest(hashlib.sha256(data).digest()), NO_FINGERPRINT
        if len(data) > MAX_ARTIFACT_BYTES:
            core.note(NoteName.JOB_FAILED, job.task, reason="too_large", attempt=job.attempt)
            self.abandon(job.peer, job.task, job.attempt, "too_large")
            return
        commitment = CommitmentStatement(
            award=job.award_digest,
            task=job.task,
            attempt=job.attempt,
            miner=own,
            specification=job.award.statement.specification,
            model=event.model,
            artifact=named,
            fingerprint=fingerprint,
        )
        signed, signature = core.sign_named(commitment)
        result = Result(
            version=1 if event.media_type == "image/png" else 2,
            commitment=commitment,
            signature=signature,
            media_type=event.media_type,
            size=len(data),
            generation_ms=event.generation_ms,
        )
        committed = ResultCommitted(
            job.award_digest,
            job.task,
            job.attempt,
            job.coordinator,
            named,
            encode(result),
            core.now,
            job.award.statement.price,
        )
        shown = b"" if job.content_key is not None else event.fingerprints
        steps = self.steps.keep(job.task, job.attempt, job.coordinator, signed, fingerprint, shown)
        core.emit(Persist((ArtifactStored(named, data), committed, *steps)))
        core.note(NoteName.JOB_FINISHED, job.task, ms=event.generation_ms, attempt=job.attempt)
        self.delivering.begin(job.peer, committed, (own, signed))

    def on_failed(self, event: JobFailed) -> None:
        """Give an attempt back that the engine could not finish."""
        job = self._ended((event.task, event.attempt))
        if job is None:
            return
        self._core.note(NoteName.JOB_FAILED, job.task, reason=event.reason, attempt=job.attempt)
        self.abandon(job.peer, job.task, job.attempt, event.reason)

    def _ended(self, key: tuple[TaskId, int]) -> Job | None:
        """Take a job that the engine has ended; None for what it was not given, or nobody wants any more."""
        if key not in self._at_engine:
            return None
        self._at_engine.remove(key)
        return self._jobs.pop(key, None)

    # The coordinator and time

    def on_hello(self, peer: PeerId, coordinator: StakingId) -> None:
        """A coordinator is (back) on the line: it gets what it has not acknowledged, and hears of its jobs."""
        for job in self._jobs.values():
            if job.coordinator == coordinator:
                job.peer, job.said_at = peer, UnixMillis(0)
        self.delivering.on_hello(peer, coordinator)

    def on_timer(self, what: str, task: TaskId, attempt: int) -> None:
        """A result was not acknowledged (``resend``), or a picture (``input``) or ``key`` did not come."""
        if what == "input":
            self.inputs.on_timer((task, attempt))
        elif what == "key":
            self.sealed.on_timer((task, attempt))
        else:
            self.delivering.on_timer((task, attempt))
