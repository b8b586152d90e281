"""What miners send for an award: commitment and bytes, in any order, until they make a picture or cost the task.

Spec: SPEC.md §9.3, §9.4.
"""

from typing import final

from protocol.crypto.keys import address_of_peer_id
from protocol.effects import Offence
from protocol.errors import InvalidMessage
from protocol.events import ArtifactReceived
from protocol.justice.evidence import Signed
from protocol.notes import NoteName
from protocol.roles.coordinator.assignment import Assignment
from protocol.roles.coordinator.awarding import Awarding
from protocol.roles.coordinator.offering import Offering
from protocol.roles.coordinator.roster import Roster
from protocol.roles.coordinator.settlement import Settlement
from protocol.roles.core import Core
from protocol.roles.prosecution import Prosecution
from protocol.stake.table import StakeRow
from protocol.task.artifact import largest_picture
from protocol.task.states import AwardedAttempt, Task
from protocol.units import PeerId, TaskId, UnixMillis
from protocol.wire.fields import SEALED_OVERHEAD
from protocol.wire.messages import Result
from protocol.wire.statements import CommitmentStatement


@final
class Results:
    """Takes results, and ends the tasks that are whole."""

    def __init__(
        self,
        core: Core,
        tasks: dict[TaskId, Task],
        roster: Roster,
        settlement: Settlement,
        offering: Offering,
        awarding: Awarding,
        assignment: Assignment,
        prosecution: Prosecution,
    ) -> None:
        """Share the coordinator's tasks and miners, and what it knows of evidence."""
        self._core = core
        self._tasks = tasks
        self._roster = roster
        self._settlement = settlement
        self._offering = offering
        self._awarding = awarding
        self._assignment = assignment
        self._prosecution = prosecution

    def expects(self, peer: PeerId, task: TaskId, attempt: int, size: int, now: UnixMillis) -> bool:
        """Say whether these bytes are awaited: of an award of this very miner, once, no larger than such a picture."""
        row = self._core.book.row(address_of_peer_id(peer), now)
        known = self._find(task, attempt, row)
        award = known.awards.get(attempt) if known is not None else None
        if known is None or award is None or row is None or row.id != award.miner or award.artifact is not None:
            return False
        if known.ready is not None:
            return False
        if award.result is not None and award.result.size != size:
            return False
        specification = known.specification
        overhead = 0 if specification.sealed is None else SEALED_OVERHEAD
        return size <= largest_picture(specification.width, specification.height) + overhead

    def _find(self, name: TaskId, attempt: int, row: StakeRow | None) -> Task | None:
        """Give the task of which a miner sends something: unfinished, or left by its app a moment ago."""
        task = self._tasks.get(name)
        return self._settlement.left.find(name, attempt, row.id) if task is None and row is not None else task

    def on_result(self, peer: PeerId, row: StakeRow, message: Result) -> None:
        """Take a commitment, of whatever attempt of ours."""
        commitment = message.commitment
        signed = Signed(commitment, message.signature)
        task = self._find(TaskId(commitment.task), commitment.attempt, row)
        award = task.awards.get(commitment.attempt) if task else None
        if task is None or award is None or award.miner != row.id:
            self._hear(signed, row)
            if not self._settlement.send_known_receipt(peer, row.id, commitment.task, commitment.attempt):
                self._settlement.reject(peer, commitment.task, commitment.attempt, "superseded")
            return
        if task.ready is not None:
            self._hear(signed, row)
            return  # it is asked for again, and answered with the receipt, or with the end of the task
        if award.result is not None and award.result.commitment != commitment:
            # The first stands: else who signs twice takes his picture from the app that it was made for.
            self._hear(signed, row)
            self._core.judge_peer(peer, Offence.GRAVE, "result.twice")
            return
        try:
            self._settlement.on_result(task, award, message, row)
        except InvalidMessage as problem:
            self._hear(signed, row)
            self._settlement.blame(peer, task, award, problem)
            self._assignment.take_back(task, award, "invalid_result")
            return
        self._prosecution.verified(signed)
        if award is task.holder:
            self._assignment.on_result(task, award, message.size)
        self._complete(task, award)

    def _hear(self, signed: Signed[CommitmentStatement], row: StakeRow) -> None:
        """A commitment that is not taken may still contradict the one that was."""
        if signed.statement.miner == row.id:
            self._prosecution.unverified(signed, row)

    def on_artifact(self, event: ArtifactReceived) -> None:
        """Take the bytes of a result; before its commitment they wait, without one they are nothing."""
        row = self._core.row_of_peer(event.peer)
        task = self._find(event.task, event.attempt, row)
        award = task.awards.get(event.attempt) if task else None
        if task is None or award is None or row is None or award.miner != row.id:
            self._core.note(NoteName.MESSAGE_IGNORED, rule="artifact.unknown_task")
            return
        if award.result is not None and award.result.commitment.artifact != event.digest:
            self._core.judge_peer(event.peer, Offence.GRAVE, "artifact.digest")
            return
        if not self.expects(event.peer, event.task, event.attempt, len(event.data), self._core.now):
            self._core.note(NoteName.MESSAGE_IGNORED, rule="artifact.unexpected")
            return
        award.artifact = event.data
        award.artifact_digest = event.digest
        self._complete(task, award)

    def on_taken(self, task: Task) -> None:
        """An app takes its picture: what is ready ends the task, else the next good one does."""
        task.taken = True
        if task.ready is not None:
            self._complete(task, task.awards[task.ready])

    def _complete(self, task: Task, award: AwardedAttempt) -> None:
        """End the task if everything is there; a result that no honest miner sends costs its miner the task."""
        holder = task.holder
        try:
            if not self._settlement.complete(task, award):
                return
        except InvalidMessage as problem:
            self._settlement.blame(award.peer, task, award, problem)
            self._assignment.take_back(task, award, "invalid_artifact")
            return
        self._awarding.close_claims(task)
        self._roster.release(task.id, award.miner)
        self._roster.conduct.delivered(award.miner)
        if holder is not None and holder is not award:
            # Another attempt was first: its holder stops, unpaid and not blamed.
            self._assignment.cancel(task, holder, "superseded")
        self._offering.announce_end(task, "done")
