"""How a task ends at its coordinator: result and artifact checked, receipt and voucher signed, told exactly once.

check -> Persist -> Deliver to the app -> Send(receipt + voucher). Spec: SPEC.md §9, §11.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, final

from protocol.crypto.typed_data import digest
from protocol.effects import CancelTimer, Deliver, Offence, Persist, Send, SendEncoded, Stage, Update
from protocol.errors import InvalidMessage
from protocol.notes import NoteName
from protocol.records import ArtifactStored, LeftPaid, Record, TaskDone, TaskFailed, VoucherIssued
from protocol.roles.coordinator.app_room import AppRoom
from protocol.roles.coordinator.collecting import APP_LEASE_MS
from protocol.roles.coordinator.holdings import Holdings
from protocol.roles.coordinator.input_sending import InputRoom
from protocol.roles.coordinator.left_pictures import LeftPictures
from protocol.roles.coordinator.solvency import Solvency
from protocol.roles.coordinator.untaken import Untaken
from protocol.roles.core import Core
from protocol.stake.table import StakeRow
from protocol.task.account import holders
from protocol.task.artifact import check_picture
from protocol.task.states import AwardedAttempt, Task, TaskState
from protocol.units import PeerId, StakingId, TaskId, Wei
from protocol.wire.codec import encode
from protocol.wire.fields import SEALED_OVERHEAD
from protocol.wire.messages import Receipt, Reject, Result
from protocol.wire.statements import ReceiptStatement, VoucherStatement

REMEMBERED_KEYS: Final = 4096
"""Idempotency keys of ended tasks kept in memory: minutes of full load; older ones are found in the store first."""
REMEMBERED_RECEIPTS: Final = 4096
"""Receipts kept in memory for miners that did not hear them; older ones are in the store."""
LEAVES: Final = frozenset({"cancelled", "client_gone"})
"""Ends of a task by its app, of which a miner that has just drawn it could not know."""


@final
class Settlement:
    """Ends tasks and keeps the running promises to miners."""

    def __init__(self, core: Core, tasks: dict[TaskId, Task], escrow_low: Wei) -> None:
        """Share the coordinator's unfinished tasks; warn when its escrow covers less than ``escrow_low`` more (wei)."""
        self._core = core
        self._tasks = tasks
        self._receipts: OrderedDict[tuple[TaskId, int], tuple[StakingId, bytes]] = OrderedDict()
        self.keys: dict[str, TaskId] = {}
        """Unfinished tasks by idempotency key; of ended ones the store knows."""
        self.ended_keys: OrderedDict[str, TaskId] = OrderedDict()
        """Keys of tasks that ended lately: a submission that crossed the end finds its task, not a second one."""
        self.unfinished_of: Counter[str] = Counter()
        """How many unfinished tasks each account has here, and all accounts together that may be one caller."""
        self.untaken = Untaken(core, tasks, self.unfinished_of)
        """Who leaves pictures untaken."""
        self.app_room = AppRoom(tasks)
        """How much of whose is out with miners."""
        self.left = LeftPictures(core)
        """Tasks whose apps left while a miner was at work."""
        self.input_room = InputRoom()
        """Room for the pictures that unfinished tasks begin from."""
        self.holdings = Holdings()
        """Who was awarded which unfinished tasks."""
        self._vouchers: dict[StakingId, tuple[VoucherStatement, bytes]] = {}
        self.boot = 0
        """This run, set by the intake before anything else happens."""
        self._sequence = 0
        self.solvency = Solvency(core, escrow_low)
        self.before_paid_end: Callable[[Task, AwardedAttempt], tuple[Record, ...]] = lambda _task, _award: ()
        """Called when a task ends with an attempt that is paid; gives what is to be kept of it together with that."""
        self.after_end: Callable[[Task, AwardedAttempt | None], None] = lambda _task, _award: None
        """Called once a task has ended, with the attempt that delivered; with None where none did."""

    def restore_voucher(self, record: VoucherIssued, coordinator: StakingId) -> None:
        """Take up a promise of an earlier run."""
        statement = VoucherStatement(
            coordinator=coordinator,
            miner=record.miner,
            cumulative=record.cumulative,
            boot=record.boot,
            sequence=record.sequence,
            issued_total=record.issued_total,
        )
        self._adopt(statement, record.signature)

    def restore_receipt(self, record: TaskDone | LeftPaid) -> None:
        """Take up a receipt of an earlier run, to be sent again byte for byte."""
        self._remember(record.task, record.attempt, record.miner, record.receipt)

    def adopt_voucher(self, statement: VoucherStatement, signature: bytes) -> None:
        """Take up a higher voucher that a miner showed: our store is an old copy. The signature is checked already.

        Not once we have signed one to this miner in this run: its promise would then rise within the run by more than
        the total does, and that is proof of an understated total. A miner that shows what it holds first loses nothing.
        """
        held = self._vouchers.get(statement.miner)
        if held is not None and held[0].boot == self.boot:
            self._core.note(NoteName.MESSAGE_IGNORED, rule="hello.voucher_late")
            return
        if held is None or statement.cumulative > held[0].cumulative:
            self._adopt(statement, signature)
            record = VoucherIssued(
                miner=statement.miner,
                cumulative=statement.cumulative,
                boot=statement.boot,
                sequence=statement.sequence,
                issued_total=statement.issued_total,
                signature=signature,
            )
            self._core.emit(Persist((record,)))

    def voucher_for(self, miner: StakingId) -> tuple[VoucherStatement, bytes] | None:
        """Give the highest promise to a miner."""
        return self._vouchers.get(miner)

    def send_known_receipt(self, peer: PeerId, miner: StakingId, task: TaskId, attempt: int) -> bool:
        """Answer a result of a task that has ended, if its receipt is this miner's and we still know it."""
        owner, receipt = self._receipts.get((task, attempt), (None, b""))
        if owner != miner:
            return False
        self._core.emit(SendEncoded(peer, receipt))
        return True

    def on_result(self, task: Task, award: AwardedAttempt, message: Result, row: StakeRow) -> None:
        """Take the miner's commitment; ``complete`` tells whether the artifact is there too."""
        commitment = message.commitment
        if commitment.award != award.award_digest or commitment.miner != award.miner:
            raise InvalidMessage("result.award")
        if commitment.specification != award.award.statement.specification:
            raise InvalidMessage("result.specification")
        if commitment.model != self._core.identity.catalog.models[task.specification.model].pinned_digest:
            raise InvalidMessage("result.model")
        if message.media_type != task.specification.media_type:
            raise InvalidMessage("result.media_type", message.media_type)
        self._core.check_signature(commitment, message.signature, row, "result.signature")
        award.result = message
        self._core.note(NoteName.RESULT_RECEIVED, task.id, miner=award.miner, attempt=award.attempt, bytes=message.size)

    def complete(self, task: Task, award: AwardedAttempt) -> bool:
        """End the task if commitment and artifact are both there.

        Raises:
            InvalidMessage: the artifact is not what was promised or not a picture of the asked size.
        """
        message, data = award.result, award.artifact
        if task.ready is not None:
            # What it has is good; whatever else comes now was too late.
            if task.ready != award.attempt or not task.taken or message is None:
                return False
            self._finish(task, award, message, None)
            return True
        if message is None or data is None:
            return False
        if len(data) != message.size or award.artifact_digest != message.commitment.artifact:
            raise InvalidMessage("artifact.mismatch")
        if task.specification.sealed is None:
            check_picture(data, message.media_type, task.specification.width, task.specification.height)
        elif len(data) <= SEALED_OVERHEAD:  # its app looks at all else
            raise InvalidMessage("artifact.sealed", "it is shorter than what sealing adds")
        if task.state is TaskState.FAILED:
            self._pay_left(task, award, message, data)
            return False
        if task.collected and not task.taken:
            self._hold(task, award, message, data)
            return False
        self._finish(task, award, message, data)
        return True

    def _hold(self, task: Task, award: AwardedAttempt, message: Result, data: bytes) -> None:
        """Keep a good picture until its app takes it, and let its miner's lease rest; the bytes go to the disk."""
        core = self._core
        task.ready = award.attempt
        award.artifact = None
        core.emit(Persist((ArtifactStored(message.commitment.artifact, data),)), CancelTimer(("lease", task.id, 0)))
        core.set_timer(("app", task.id, 0), core.now + APP_LEASE_MS)
        artifact = message.commitment.artifact
        core.emit(Deliver(task.id, Update(Stage.READY, core.now, award.attempt, award.miner, artifact=artifact)))
        core.note(NoteName.TASK_READY, task.id, miner=award.miner, attempt=award.attempt)

    def _finish(self, task: Task, award: AwardedAttempt, message: Result, data: bytes | None) -> None:
        """Sign, persist, deliver, and only then tell the miner; ``data`` is None where it is on the disk."""
        core, now = self._core, self._core.now
        encoded, issued = self._promise(task, award, message)
        artifact = message.commitment.artifact
        done = TaskDone(
            task=task.id,
            attempt=award.attempt,
            miner=award.miner,
            artifact=artifact,
            media_type=message.media_type,
            receipt=encoded,
            finished_at=now,
            generation_ms=message.generation_ms,
            acceptance=task.acceptance,
        )
        picture = () if data is None else (ArtifactStored(artifact, data),)
        self._close(task, TaskState.DONE, (*picture, *self.before_paid_end(task, award), done, issued))
        self.app_room.on_end(task, None)
        self.untaken.on_done(task)
        update = Update(Stage.DONE, now, award.attempt, award.miner, artifact=artifact, receipt=encoded)
        core.emit(Deliver(task.id, update), SendEncoded(award.peer, encoded))
        core.note(
            NoteName.TASK_DONE,
            task.id,
            miner=award.miner,
            attempt=award.attempt,
            ms=now - task.accepted_at,
            generation_ms=message.generation_ms,
        )
        self.after_end(task, award)

    def _promise(self, task: Task, award: AwardedAttempt, message: Result) -> tuple[bytes, VoucherIssued]:
        """Sign receipt and voucher for a result; both hold from now on, and are to be persisted at once."""
        core, coordinator = self._core, award.award.statement.coordinator
        commitment = message.commitment
        statement = ReceiptStatement(
            commitment=digest(core.identity.domain, commitment),
            task=task.id,
            attempt=award.attempt,
            coordinator=coordinator,
            miner=award.miner,
            artifact=commitment.artifact,
            price=task.price,
            accepted=core.now,
        )
        voucher = self._next_voucher(coordinator, award.miner, task.price)
        signature = core.sign(voucher)
        encoded = encode(
            Receipt(statement=statement, signature=core.sign(statement), voucher=voucher, voucher_signature=signature)
        )
        self._adopt(voucher, signature)
        self._remember(task.id, award.attempt, award.miner, encoded)
        issued = VoucherIssued(
            miner=award.miner,
            cumulative=voucher.cumulative,
            boot=voucher.boot,
            sequence=voucher.sequence,
            issued_total=voucher.issued_total,
            signature=signature,
        )
        return encoded, issued

    def fail(self, task: Task, reason: str) -> None:
        """End the task without a picture for its app, for a named reason; what was drawn in time is paid."""
        core, holder = self._core, task.holder
        award, records = None, list[Record]([TaskFailed(task.id, reason, core.now)])
        if task.ready is not None and self._pays_for_left(task):
            award = task.awards[task.ready]
            assert award.result is not None, "it is ready"
            records[:0] = self.before_paid_end(task, award)
            records.extend(self._promise_left(task, award, award.result))
        self._close(task, TaskState.FAILED, tuple(records))
        self.app_room.on_end(task, reason)
        self.untaken.on_failed(task)
        core.emit(Deliver(task.id, Update(Stage.FAILED, core.now, max(task.attempt, 0), reason=reason)))
        core.note(NoteName.TASK_FAILED, task.id, reason=reason, waiting=task.why_waiting())
        if award is not None:
            self._tell_left(task, award)
        elif holder is not None and task.ready is None and reason in LEAVES and self._pays_for_left(task):
            self.left.keep(task)
        self.after_end(task, award)

    def _pays_for_left(self, task: Task) -> bool:
        """Say whether we pay for what an app leaves: of what we could look at, and not where we were gone ourselves.

        An app whose coordinator was started again has most likely gone to another, which pays for its own miner's.
        """
        return task.specification.sealed is None and task.boot == self.boot and self.solvency.can_pay(task.price)

    def _promise_left(self, task: Task, award: AwardedAttempt, message: Result) -> tuple[LeftPaid, VoucherIssued]:
        receipt, issued = self._promise(task, award, message)
        artifact = message.commitment.artifact
        return LeftPaid(task.id, award.attempt, award.miner, artifact, message.media_type, receipt), issued

    def _pay_left(self, task: Task, award: AwardedAttempt, message: Result, data: bytes) -> None:
        """Pay for a good picture that was on its way when its app left."""
        self.left.forget(task)
        if not self._pays_for_left(task):
            self.reject(award.peer, task.id, award.attempt, "superseded")
            return
        stored = ArtifactStored(message.commitment.artifact, data)
        planned = self.before_paid_end(task, award)
        self._core.emit(Persist((stored, *planned, *self._promise_left(task, award, message))))
        if task.collected:
            self.untaken.add(task)
        self._tell_left(task, award)
        self.after_end(task, award)

    def _tell_left(self, task: Task, award: AwardedAttempt) -> None:
        """Send the receipt for a picture that its app left."""
        self.send_known_receipt(award.peer, award.miner, task.id, award.attempt)
        self._core.note(NoteName.TASK_LEFT_PAID, task.id, miner=award.miner, attempt=award.attempt)

    def reject(self, peer: PeerId, task: TaskId, attempt: int, reason: str) -> None:
        """Tell a miner that its result is not taken."""
        self._core.emit(Send(peer, Reject(task=task, attempt=attempt, reason=reason)))
        self._core.note(NoteName.RESULT_REJECTED, task, reason=reason, attempt=attempt)

    def blame(self, peer: PeerId, task: Task, award: AwardedAttempt, problem: InvalidMessage) -> None:
        """Refuse a result that no honest miner sends, and hold it against the sender."""
        award.result = award.artifact = None
        self._core.judge_peer(peer, Offence.GRAVE, problem.rule)
        self.reject(peer, task.id, award.attempt, "invalid")

    def _close(self, task: Task, state: TaskState, records: tuple[Record, ...]) -> None:
        """Leave the last open state: persist, forget, and stop its clocks."""
        task.move(state)
        del self._tasks[task.id]
        self.holdings.forget(task)
        self.solvency.open_wei -= task.price
        self.input_room.remove(task)
        for holder, _ in holders(task.account):
            self.unfinished_of[holder] -= 1
            if not self.unfinished_of[holder]:
                del self.unfinished_of[holder]
        if task.idempotency_key is not None:
            self.keys.pop(task.idempotency_key, None)
            self.ended_keys[task.idempotency_key] = task.id
            if len(self.ended_keys) > REMEMBERED_KEYS:
                self.ended_keys.popitem(last=False)
        self._core.emit(Persist(records))
        for what in ("offer", "award", "key", "lease", "deadline", "app"):
            self._core.emit(CancelTimer((what, task.id, 0)))

    def _next_voucher(self, coordinator: StakingId, miner: StakingId, price: Wei) -> VoucherStatement:
        """Add one price to what is promised to the miner and to all."""
        held = self._vouchers.get(miner)
        before = held[0].cumulative if held else 0
        return VoucherStatement(
            coordinator=coordinator,
            miner=miner,
            cumulative=Wei(before + price),
            boot=self.boot,
            sequence=self._sequence + 1,
            issued_total=Wei(self.solvency.issued_total + price),
        )

    def _adopt(self, statement: VoucherStatement, signature: bytes) -> None:
        """Make a voucher the highest of its miner, and keep the totals at least as high as it says."""
        self._vouchers[statement.miner] = (statement, signature)
        self._sequence = max(self._sequence, statement.sequence)
        self.solvency.issued_total = max(self.solvency.issued_total, statement.issued_total)

    def _remember(self, task: TaskId, attempt: int, miner: StakingId, receipt: bytes) -> None:
        """Keep a receipt at hand, the oldest going first."""
        self._receipts[(task, attempt)] = (miner, receipt)
        while len(self._receipts) > REMEMBERED_RECEIPTS:
            self._receipts.popitem(last=False)
