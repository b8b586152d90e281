"""The coordinator's core: takes tasks from apps and brings them to an end.

This file hears events and checks who speaks; ``offering`` makes tasks public, ``awarding`` gives them to miners,
``assignment`` sees to those at work, ``results`` takes what they send, ``settlement`` ends tasks. One straight line:
intake.on_submitted -> offering.offer -> awarding.on_claim -> results.on_result -> settlement.complete.
Spec: SPEC.md §9.
"""

from collections.abc import Callable
from typing import final

from protocol.chain_records import SettlementRead
from protocol.effects import Provide, Subscribe
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.events import (
    ActivityChanged,
    AppLeft,
    AppReturned,
    ArtifactReceived,
    Event,
    EvidenceChecked,
    KeyGiven,
    PictureRejected,
    PicturesCompared,
    ProvidersFound,
    Restored,
    SettlementSeen,
    StakeChanged,
    StreamClosed,
    StreamOpened,
    StreamReceived,
    TaskCancelled,
    TaskSubmitted,
    TaskTaken,
    TimerFired,
    TxConfirmed,
    TxFailed,
)
from protocol.notes import NoteName
from protocol.records import Record, VoucherIssued
from protocol.roles.coordinator.assignment import Assignment
from protocol.roles.coordinator.awarding import Awarding
from protocol.roles.coordinator.capability_check import check_capability
from protocol.roles.coordinator.collecting import NOT_TAKEN, Collecting
from protocol.roles.coordinator.intake import Intake
from protocol.roles.coordinator.offering import Offering
from protocol.roles.coordinator.rechecking import Rechecking
from protocol.roles.coordinator.results import Results
from protocol.roles.coordinator.roster import Miner, Roster
from protocol.roles.coordinator.sampling import RecheckPolicy
from protocol.roles.coordinator.sealed_tasks import SealedTasks
from protocol.roles.coordinator.settlement import Settlement
from protocol.roles.core import Core, Identity
from protocol.roles.discovery import Discovery
from protocol.roles.disputing import DisputePolicy, Disputing
from protocol.roles.prosecution import TIMER as PROVE
from protocol.roles.prosecution import ProofPolicy, Prosecution
from protocol.stake.standing import Standing
from protocol.stake.table import StakeRow
from protocol.task.preview import check_preview
from protocol.task.states import Task
from protocol.units import PeerId, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.codec import WORK_PLACE, decode, encode
from protocol.wire.messages import (
    Abandon,
    Alive,
    CapabilityUpdate,
    Claim,
    ClosureReason,
    Hello,
    OpenedSteps,
    Preview,
    Result,
    WorkMessage,
)
from protocol.wire.topics import coordinator_key, model_key, offers_topic


@final
class CoordinatorCore(Core):
    """One coordinator. Unfinished tasks, connected miners, and promises."""

    def __init__(
        self,
        identity: Identity,
        addresses: Callable[[], tuple[str, ...]],
        escrow_low: Wei = Wei(0),
        prove: ProofPolicy | None = None,
        rechecks: RecheckPolicy | None = None,
        disputes: DisputePolicy | None = None,
    ) -> None:
        """Start empty.

        Args:
            identity: Who this node is.
            addresses: Gives our own dialable multiaddresses at any time.
            escrow_low: Below what an escrow that covers no more is warned of (wei).
            prove: What is done about evidence.
            rechecks: How many tasks are drawn again to see what they are worth; without it none are.
            disputes: What is done about disputes.
        """
        super().__init__(identity)
        self._prosecution = Prosecution(self, prove or ProofPolicy())
        self.disputing = Disputing(self, disputes or DisputePolicy())
        self.roster = Roster()
        self._tasks: dict[TaskId, Task] = {}
        self._settlement = Settlement(self, self._tasks, escrow_low)
        self._offering = Offering(self, self._tasks, self.roster, self._settlement, addresses)
        self._awarding = Awarding(self, self._tasks, self.roster, self._settlement, self._offering)
        self._assignment = Assignment(self, self._tasks, self.roster, self._settlement, self._offering)
        parts = (self._settlement, self._offering, self._awarding, self._assignment, self._prosecution)
        self._results = Results(self, self._tasks, self.roster, *parts)
        self._searches = {
            model_key(identity.network, model): Discovery(model_key(identity.network, model), identity.key.peer_id)
            for model in identity.catalog.offered()
        }
        self._intake = Intake(self, self._tasks, self.roster, self._settlement, self._offering)
        self._sealed = SealedTasks(
            self, self._tasks, self._settlement, self._assignment, lambda task, why: self._end(task, why, "cancelled")
        )
        self._collecting = Collecting(self, self._tasks, self._sealed.accepts, self._results.on_taken)
        self._rechecking = Rechecking(self, self.roster, self._intake, rechecks)
        self._settlement.before_paid_end = self._rechecking.plan
        self._settlement.after_end = self._rechecking.on_end
        self._streams: set[PeerId] = set()
        self._greeted: dict[PeerId, StakingId] = {}
        """As whom each peer has greeted on its present stream."""
        self._saved: tuple[Record, ...] = ()

    def on_event(self, event: Event) -> None:  # noqa: C901  # one line for each event reads best as one match
        """Take one event."""
        self.disputing.hear(event)
        match event:
            case Restored():
                self._on_restored(event)
            case TaskSubmitted():
                self._intake.on_submitted(event)
            case TaskCancelled(task=task):
                self._on_cancelled(task)
            case TaskTaken() | AppLeft() | AppReturned():
                self._collecting.on_app(event)
            case KeyGiven() | PictureRejected():
                self._sealed.on_app(event)
            case StreamReceived(peer=peer, data=data):
                self._on_stream(peer, data)
            case ArtifactReceived():
                self._results.on_artifact(event)
            case TimerFired(key=key):
                self._on_timer(*key)
            case StreamOpened(peer=peer):
                self._on_stream_opened(peer)
            case StreamClosed(peer=peer):
                self._on_stream_closed(peer)
            case StakeChanged() | ActivityChanged():
                self._on_stake_changed()
            case SettlementSeen(read=read):
                if self._settlement.solvency.take(read):
                    self._offering.offer_waiting()
            case EvidenceChecked():
                self._prosecution.on_checked(event)
            case TxConfirmed() | TxFailed():
                self._prosecution.on_outcome(event)
            case PicturesCompared():
                self._rechecking.on_compared(event)
            case ProvidersFound(key=key, peers=peers):
                if key in self._searches:
                    self.emit(*self._searches[key].found(peers, self.roster.peers(), self.now))
        for task_ in self._settlement.untaken.others():
            self._end(task_, "client_gone", "cancelled")

    def waiting(self) -> int:
        """Count the unfinished tasks."""
        return len(self._tasks)

    def task(self, task: TaskId) -> Task | None:
        """Find an unfinished task."""
        return self._tasks.get(task)

    def expects_artifact(self, peer: PeerId, task: TaskId, attempt: int, size: int, now: UnixMillis) -> bool:
        """Say whether these bytes are awaited: of an award of this very miner, once, no larger than such a picture."""
        return self._results.expects(peer, task, attempt, size, now)

    # Start

    def _on_restored(self, event: Restored) -> None:
        """Begin a run: take up what was accepted and not finished, and find the miners."""
        identity = self.identity
        for model in identity.catalog.offered():
            self.emit(Subscribe(offers_topic(identity.network, model)))
        self.emit(Provide(coordinator_key(identity.network)))
        for search in self._searches.values():
            self.emit(*search.look_up())
        self._saved = event.records
        for record in event.records:
            if isinstance(record, SettlementRead):
                self._settlement.solvency.restore(record)
        self._prosecution.restore(event.records)
        self._rechecking.restore(event.records)
        self._intake.restore(event.records)

    def _on_stake_changed(self) -> None:
        """A table came: promises of earlier runs get our id, open streams a greeting, waiting tasks their offer."""
        own = self.own_id()
        if own is None:
            return
        saved, self._saved = self._saved, ()
        for record in saved:
            if isinstance(record, VoucherIssued):
                self._settlement.restore_voucher(record, own)
        for peer in sorted(self.roster.peers()):
            if self.standing(peer, self.now) is not Standing.MINER:
                self._forget_miner(peer)
        for peer in sorted(self._streams.difference(self.roster.peers())):
            self._greet(peer)
        for peer, data in self.take_early_hellos():
            self._on_stream(peer, data)
        self._offering.offer_waiting()

    # Apps

    def _on_cancelled(self, task_id_: TaskId) -> None:
        """End a task that its app no longer wants; this reaches the GPU."""
        task = self._tasks.get(task_id_)
        if task is not None:
            self._end(task, "cancelled", "cancelled")

    def _end(self, task: Task, reason: str, closure: ClosureReason) -> None:
        """Fail a task in whatever state: its claims are answered, its miner stops, and everybody hears of it."""
        holder = task.holder
        self._awarding.close_claims(task)
        self._settlement.fail(task, reason)
        if holder is not None:
            self._assignment.cancel(task, holder, reason)
        self._offering.announce_end(task, closure)

    # Miners

    def _on_stream_opened(self, peer: PeerId) -> None:
        """A miner opened its work stream; what was said on an earlier one counts no longer."""
        self._forget_greeting(peer)
        self._streams.add(peer)
        self._greet(peer)

    def _forget_greeting(self, peer: PeerId) -> None:
        self._greeted.pop(peer, None)
        self.forget_early_hello(peer)

    def _greet(self, peer: PeerId) -> None:
        """Take a registered miner into the roster and tell it its highest voucher."""
        row, own = self.row_of_peer(peer), self.own_id()
        if row is None or own is None or self.standing(peer, self.now) is not Standing.MINER:
            return
        self.roster.add(peer, row.id)
        self._assignment.on_miner_back(row.id, peer)
        self.send_hello(peer, own, self._settlement.voucher_for(row.id))
        self._rechecking.opening.on_miner_back(row.id)

    def _on_stream_closed(self, peer: PeerId) -> None:
        """A miner's work stream is gone."""
        self._forget_greeting(peer)
        self._streams.discard(peer)
        if not self._forget_miner(peer):
            return
        for search in self._searches.values():
            self.emit(*search.soon(self.now))

    def _forget_miner(self, peer: PeerId) -> bool:
        """Count on a peer no longer; False when we did not. Its successor under the same id keeps its tasks."""
        miner = self.roster.remove(peer)
        if miner is not None and self.roster.id(miner.id) is None:
            self._awarding.on_miner_gone(miner.id)
            self._assignment.on_miner_gone(miner.id)
        return miner is not None

    def _on_stream(self, peer: PeerId, data: bytes) -> None:
        """Decode one frame and hand it to whom it concerns; nothing remote raises beyond here."""
        miner = self.roster.peer(peer)
        row = self.row_of_peer(peer)
        if miner is None or row is None or row.id != miner.id or not row.active:
            self.on_early_frame(peer, data, is_open=peer in self._streams)
            return
        try:
            self._rechecking.opening.admit(peer, miner.id, data)
            self._on_message(miner, row, decode(data, WORK_PLACE))
        except (InvalidMessage, IgnoredMessage) as problem:
            self.on_bad_message(peer, problem)

    def _on_message(self, miner: Miner, row: StakeRow, message: WorkMessage) -> None:
        self.check_greeted(message, greeted=self._greeted.get(miner.peer) == miner.id)
        match message:
            case Claim():
                self._on_claim(miner, row, message)
            case Alive(task=task_id_, attempt=attempt):
                task = self._tasks.get(task_id_)
                holder = task.holder if task is not None else None
                if task is None or holder is None or holder.attempt != attempt or holder.miner != miner.id:
                    # It did not hear that its attempt is over, or that was before we restarted.
                    self._assignment.stop(miner.peer, task_id_, attempt, "superseded" if task else "closed")
                    return
                self._assignment.on_alive(task, holder, message)
            case Preview(task=task_id_, attempt=attempt, data=data):
                check_preview(data)
                task = self._tasks.get(task_id_)
                holder = task.holder if task is not None else None
                if task is not None and holder is not None and (holder.attempt, holder.miner) == (attempt, miner.id):
                    self._assignment.on_preview(task, holder, data)
            case Result():
                self._results.on_result(miner.peer, row, message)
            case Abandon(task=task_id_, attempt=attempt, reason=reason):
                task = self._tasks.get(task_id_)
                award = task.awards.get(attempt) if task else None
                if task is not None and award is not None and award.miner == miner.id:
                    self.note(NoteName.TASK_ABANDONED, task.id, miner=miner.id, attempt=attempt, reason=reason)
                    self._assignment.on_abandoned(task, award, reason)
            case CapabilityUpdate():
                self._on_capability(miner, row, message)
            case OpenedSteps():
                self._rechecking.opening.on_opened(miner.peer, miner.id, message)
            case Hello():
                self._on_hello(miner, row, message)
            case _:
                raise InvalidMessage("message.unexpected_kind", message.kind)

    def _on_hello(self, miner: Miner, row: StakeRow, message: Hello) -> None:
        """Hear the miner from now on, and adopt a higher voucher of ours that it holds: our store is an old copy."""
        self.check_hello(message, row)
        own = self.own_row()
        if own is None:
            self.on_early_frame(miner.peer, encode(message))
            return
        self._greeted[miner.peer] = miner.id
        shown = self.shown_voucher(message, coordinator=own, miner=miner.id)
        if shown is not None:
            self._settlement.adopt_voucher(*shown)

    def _on_capability(self, miner: Miner, row: StakeRow, message: CapabilityUpdate) -> None:
        """Take what a miner says that it serves, if it is signed, newer and still valid."""
        capability, serves_until = check_capability(self, row, message, miner.capability)
        had_place = miner.has_place()
        self.roster.hear(miner, capability, serves_until, message, self.identity.catalog.pins)
        self.note(NoteName.CAPABILITY_RECEIVED, miner=miner.id, free=capability.free_places)
        if not had_place and miner.has_place():
            self._offering.offer_waiting()
        elif had_place and not miner.has_place():
            self._awarding.on_no_place(miner.id)

    def _on_claim(self, miner: Miner, row: StakeRow, message: Claim) -> None:
        statement, own = message.statement, self.own_id()
        if own is None:
            raise IgnoredMessage("stream.standing")
        if statement.miner != miner.id or statement.coordinator != own:
            raise InvalidMessage("claim.parties")
        self._awarding.on_claim(miner.peer, message, row)

    # Time

    def _on_timer(self, what: str, subject: bytes, _attempt: int) -> None:
        match what:
            case "publish":
                self._offering.on_publish_timer()
            case "done":
                self._offering.on_done_timer()
            case "waiting":
                self._offering.offer_waiting()
            case "places":
                self._awarding.on_no_place(StakingId(int.from_bytes(subject, "big")))
            case str() if what == PROVE:
                self._prosecution.on_timer()
            case "recheck" | "opening":
                self._rechecking.on_timer(what, TaskId(subject))
            case "discover":
                search = self._searches.get(subject.decode())
                self.emit(*(search.look_up() if search is not None else ()))
            case _:
                task = self._tasks.get(TaskId(subject))
                if task is not None:
                    self._on_task_timer(what, task)

    def _on_task_timer(self, what: str, task: Task) -> None:
        match what:
            case "offer":
                self._offering.on_offer_timer(task)
            case "award":
                self._awarding.award_if_due(task)
            case "lease":
                self._assignment.on_lease_timer(task)
            case "key":
                self._sealed.on_timer(task)
            case "app":
                self._end(task, NOT_TAKEN if task.ready is not None else "client_gone", "cancelled")
            case "deadline":
                self._assignment.on_deadline(task)
                self._end(task, "deadline", "failed")
