"""The miner's core: finds coordinators, says what it serves, claims, works and is paid.

This file hears events and checks who speaks; ``claiming`` weighs offers, ``working`` does awarded jobs,
``delivering`` brings results home. Spec: SPEC.md §8, §9.
"""

from collections.abc import Callable
from typing import Final, final

from protocol.effects import Connect, OpenStream, Provide, Subscribe
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.events import (
    ActivityChanged,
    ArtifactReceived,
    EngineChanged,
    Event,
    EvidenceChecked,
    GossipReceived,
    JobFailed,
    JobFinished,
    JobProgress,
    PeerDown,
    PeerUp,
    ProvidersFound,
    Restored,
    ServiceChanged,
    SettlementSeen,
    StakeChanged,
    StreamClosed,
    StreamOpened,
    StreamReceived,
    TimerFired,
    TxConfirmed,
    TxFailed,
)
from protocol.justice.evidence import Signed
from protocol.records import Record
from protocol.roles.abandon_reasons import NO_CLAIM
from protocol.roles.core import Core, Identity
from protocol.roles.discovery import Discovery
from protocol.roles.disputing import DisputePolicy
from protocol.roles.miner.announcing import Announcing
from protocol.roles.miner.claiming import Claiming
from protocol.roles.miner.jury import Jury
from protocol.roles.miner.owner_rule import Refuses, refuses_nothing
from protocol.roles.miner.redeeming import RedeemPolicy
from protocol.roles.miner.serving import MinerLoad, Serving
from protocol.roles.miner.working import Working
from protocol.roles.prosecution import TIMER as PROVE
from protocol.roles.prosecution import ProofPolicy, Prosecution
from protocol.stake.standing import Standing
from protocol.stake.table import StakeRow
from protocol.units import PeerId, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.codec import WORK_PLACE, decode, encode
from protocol.wire.messages import Award, Cancel, Decline, Hello, OpenSteps, Receipt, Reject, WorkMessage
from protocol.wire.topics import coordinator_key, model_key, objections_topic, offers_topic

MAX_COORDINATORS: Final = 16
"""Work streams that a miner keeps: enough to be always busy, few enough to keep their clocks."""
FIRST_REOPEN_MS: Final = 500
"""Pause (ms) before a work stream that broke is opened again: within the grace that its coordinator gives."""
LAST_REOPEN_MS: Final = 30_000
"""Longest pause (ms): a coordinator that will not have us is not knocked at twice a second for ever."""
HELLO_PACE_MS: Final = 1000
"""Least time (ms) between two greetings of one coordinator that we act upon."""


@final
class MinerCore(Core):
    """One miner with one engine."""

    def __init__(
        self,
        identity: Identity,
        addresses: Callable[[], tuple[str, ...]],
        price_floor: Wei,
        blocked: frozenset[StakingId] = frozenset(),
        redeem: RedeemPolicy | None = None,
        refuses: Refuses = refuses_nothing,
        prove: ProofPolicy | None = None,
        disputes: DisputePolicy | None = None,
    ) -> None:
        """Start empty.

        Args:
            identity: Who this node is.
            addresses: Gives the addresses under which it can be dialled.
            price_floor: Least price per pixel-step (wei) for which it claims.
            blocked: Coordinators that it does not serve.
            redeem: When we are paid out.
            refuses: Its owner's rule of what is not drawn here, asked of each awarded specification.
            prove: What is done about evidence.
            disputes: What is done about disputes.
        """
        super().__init__(identity)
        self._blocked = blocked
        self._connected: set[PeerId] = set()
        self._streams: dict[PeerId, StakingId] = {}
        self._opening: set[PeerId] = set()
        self._opened: set[PeerId] = set()
        """Peers with a work stream, also those that are no coordinators by our table."""
        self._greeted: dict[PeerId, UnixMillis] = {}
        """When each coordinator with a work stream last said hello."""
        self._reopen_pause_ms: dict[PeerId, int] = {}
        """Pause before the next try, of coordinators whose stream closed before they had greeted us."""
        self._subscribed: set[str] = set()
        self._prosecution = Prosecution(self, prove or ProofPolicy())
        self._working = Working(self, self._streams, redeem or RedeemPolicy(), self._prosecution, refuses)
        self.payers = self._working.delivering.payers
        """What we think of coordinators."""
        self._serving = Serving(self, addresses, price_floor, self._working.sealed.keys.public)
        self._claiming = Claiming(self, price_floor, blocked, self._working)
        self._claiming.streams, self._claiming.connected = self._streams, self._connected
        self._announcing = Announcing(self, self._serving, self._streams, self._refuses, self._free)
        self.jury = Jury(self, disputes, self._connected, self._serving, self._working, self._claiming, refuses)
        self._search = Discovery(coordinator_key(identity.network), identity.key.peer_id)
        self._saved: tuple[Record, ...] | None = None

    def on_event(self, event: Event) -> None:  # noqa: C901  # one line for each event reads best as one match
        """Take one event."""
        if isinstance(event, GossipReceived):  # most events are this one, and a case costs eight times as much
            if not self._claiming.on_bulletin(event, self._serving.offered):
                return  # no place came or went, and nothing is due: as it is with most of what is gossiped
            self._use_capacity()
            return
        self.jury.hear(event)
        match event:
            case StreamReceived(peer=peer, data=data):
                self._on_stream(peer, data)
            case ArtifactReceived():
                self._working.inputs.on_artifact(event)
            case JobProgress():
                self._working.on_progress(event)
            case JobFinished():
                self._working.on_finished(event)
            case JobFailed():
                self._working.on_failed(event)
            case TimerFired(key=key):
                self._on_timer(*key)
            case EngineChanged():
                self._on_engine(event)
            case ServiceChanged():
                self._on_service(event)
            case PeerUp(peer=peer):
                self._connected.add(peer)
                self._open_streams()
            case PeerDown(peer=peer):
                self._connected.discard(peer)
            case StreamOpened(peer=peer):
                self._on_stream_opened(peer)
            case StreamClosed(peer=peer):
                self._on_stream_closed(peer)
            case StakeChanged() | ActivityChanged():
                self._on_stake_changed()
            case SettlementSeen() | TxConfirmed() | TxFailed():
                self._on_chain_news(event)
            case EvidenceChecked():
                self._prosecution.on_checked(event)
            case Restored(records=records):
                self._saved = records
                self._prosecution.restore(records)
                self._working.income.restore_settlement(records)
                self.emit(Subscribe(objections_topic(self.identity.network)), *self._search.look_up())
            case ProvidersFound(key=key, peers=peers):
                if key == self._search.key:
                    self.emit(*self._search.found(peers, self._connected, self.now))
            case _:
                pass
        self._use_capacity()

    def _use_capacity(self) -> None:
        """After any event: claim what there is room for; tell coordinators when places came back or stay away."""
        places = self._serving.places
        is_free = self._claiming.fill(places, self.jury.busy(), self._serving.ahead) < places
        self.jury.look_for_work()
        self._announcing.consider(is_free, lambda: self._claiming.expected_ms(self._serving.models))

    def _free(self) -> int:
        """Count the places that nobody has, nor may have when our claims are answered."""
        return max(self._serving.places - self.jury.busy() - self._claiming.outstanding(), 0)

    def _on_chain_news(self, event: SettlementSeen | TxConfirmed | TxFailed) -> None:
        """Escrows or payments changed: other offers may be covered, and other coordinators refused."""
        if not isinstance(event, SettlementSeen):
            self._prosecution.on_outcome(event)
        if self._working.income.hear(event):
            self._announcing.tell_all()
            self._claiming.look_anew()

    def expects_artifact(self, peer: PeerId, task: TaskId, attempt: int, size: int, now: UnixMillis) -> bool:
        """Say whether these bytes are awaited: a picture that an awarded task begins from."""
        del now
        return self._working.inputs.expects(peer, (task, attempt), size)

    # Coordinators

    def _open_streams(self) -> None:
        """Open the work stream to every connected coordinator, up to the number that we serve."""
        for peer in sorted(self._connected - self._opened - self._opening):
            if len(self._streams) + len(self._opening) >= MAX_COORDINATORS:
                return
            if self.own_id() is not None and self.standing(peer, self.now) is Standing.COORDINATOR:
                self._opening.add(peer)
                self.emit(OpenStream(peer))

    def _on_stake_changed(self) -> None:
        """A table came: we may be in it, and peers may be coordinators by it."""
        own = self.own_row()  # also while we are not active: what was earned before is redeemed
        if own is not None and self._saved is not None:
            saved, self._saved = self._saved, None
            self._working.restore(saved, own.id)
        if self._working.income.activity_changed():
            self._announcing.tell_all()
        for peer in sorted(self._opened - self._streams.keys()):
            self._greet(peer)
        for peer, data in self.take_early_hellos():
            self._on_stream(peer, data)
        self._open_streams()

    def _on_stream_opened(self, peer: PeerId) -> None:
        """A work stream is there; what was said on an earlier one counts no longer."""
        self._forget_greeting(peer)
        self._opening.discard(peer)
        self._opened.add(peer)
        self._greet(peer)

    def _forget_greeting(self, peer: PeerId) -> None:
        self._greeted.pop(peer, None)
        self.forget_early_hello(peer)

    def _greet(self, peer: PeerId) -> None:
        """Greet a coordinator: who we are, and the highest voucher of its that we hold."""
        row, own = self.row_of_peer(peer), self.own_id()
        if row is None or own is None or self.standing(peer, self.now) is not Standing.COORDINATOR:
            return
        self._streams[peer] = row.id
        self._claiming.look_anew()
        self.send_hello(peer, own, self._working.earnings.voucher_of(row.id))

    def _on_stream_closed(self, peer: PeerId) -> None:
        """A coordinator is gone: its jobs go on for a while, since it may come back."""
        self._forget_greeting(peer)
        self._opened.discard(peer)
        self._opening.discard(peer)
        if self._streams.pop(peer, None) is not None:
            self._claiming.void(peer)
        if self.standing(peer, self.now) is not Standing.COORDINATOR:
            self._reopen_pause_ms.pop(peer, None)
            return
        pause = self._reopen_pause_ms.get(peer, FIRST_REOPEN_MS)
        self._reopen_pause_ms[peer] = min(pause * 2, LAST_REOPEN_MS)
        self.set_timer(("reopen", peer.encode(), 0), self.now + pause)
        if pause == FIRST_REOPEN_MS:
            self.emit(*self._search.soon(self.now))

    def _on_stream(self, peer: PeerId, data: bytes) -> None:
        """Decode one frame of a coordinator; nothing remote raises beyond here."""
        row = self.row_of_peer(peer)
        if peer not in self._streams or row is None or row.id != self._streams[peer] or not row.active:
            self.on_early_frame(peer, data, is_open=peer in self._opened)
            return
        try:
            self._on_message(peer, row, decode(data, WORK_PLACE))
        except (InvalidMessage, IgnoredMessage) as problem:
            self.on_bad_message(peer, problem)

    def _on_message(self, peer: PeerId, row: StakeRow, message: WorkMessage) -> None:
        self.check_greeted(message, greeted=peer in self._greeted)
        match message:
            case Award():
                self._on_award(peer, row, message)
            case Decline():
                self.check_signature(message.statement, message.signature, row, "decline.signature")
                self._claiming.on_decline(peer, message)
            case Receipt():
                self._working.delivering.on_receipt(row, message)
                self._claiming.look_anew()
                if self._working.income.promised(row.id):
                    self._announcing.tell_all()
            case Reject():
                self._working.delivering.on_reject(row.id, message)
            case Cancel():
                self._working.on_cancel(peer, message)
            case OpenSteps():
                self._working.steps.on_open(peer, row.id, message)
            case Hello():
                self._on_hello(peer, row, message)
            case _:
                raise InvalidMessage("message.unexpected_kind", message.kind)

    def _on_hello(self, peer: PeerId, row: StakeRow, message: Hello) -> None:
        """The coordinator knows us and listens: tell it what we serve and what it has not acknowledged."""
        self.check_hello(message, row)
        if self.own_id() is None:
            # What it asks for can be said when a table lists us.
            self.on_early_frame(peer, encode(message))
            return
        self._reopen_pause_ms.pop(peer, None)
        self._adopt_voucher(row, message)
        due = self._greeted.get(peer, UnixMillis(-HELLO_PACE_MS)) + HELLO_PACE_MS
        if self.now < due:
            # Each greeting makes us send everything that is owed: none may ask for that again and again.
            self.set_timer(("answer", peer.encode(), 0), due)
            raise IgnoredMessage("hello.repeated")
        self._answer(peer, row.id)

    def _answer(self, peer: PeerId, coordinator: StakingId) -> None:
        """Tell a coordinator that greeted what we serve, and the results that it has not acknowledged."""
        self._greeted[peer] = self.now
        self._announcing.tell((peer,))
        self._working.on_hello(peer, coordinator)

    def _adopt_voucher(self, row: StakeRow, message: Hello) -> None:
        """Take up a higher voucher that the coordinator shows: our store is an old copy, or a receipt was lost."""
        own = self.own_id()
        shown = self.shown_voucher(message, coordinator=row, miner=own) if own is not None else None
        if shown is not None:
            self._working.earnings.adopt(*shown)

    def _on_award(self, peer: PeerId, row: StakeRow, message: Award) -> None:
        """Begin what was claimed; give back by name what was not, or cannot be done any more."""
        statement = message.statement
        if self._working.knows(statement):
            self._working.take_key(peer, message)
            return
        if statement.coordinator == row.id:
            self._prosecution.unverified(Signed(statement, message.signature), row)
        if self.own_id() is None:
            self._working.abandon(peer, statement.task, statement.attempt, "not_registered")
        elif (claimed := self._claiming.take_award(statement, peer)) is None:
            self._working.abandon(peer, statement.task, statement.attempt, NO_CLAIM)
        else:
            reason = self._working.on_award(peer, row, message, claimed, self._serving.models)
            if reason is not None:
                self._working.abandon(peer, statement.task, statement.attempt, reason)

    # What we serve

    def _on_engine(self, event: EngineChanged) -> None:
        """The engine came, changed or went."""
        self._serving.take(event)
        network = self.identity.network
        for model in sorted(self._serving.models.keys() - self._subscribed):
            self._subscribed.add(model)
            self.emit(Subscribe(offers_topic(network, model)), Provide(model_key(network, model)))
        self._announcing.tell_all()

    def _on_service(self, event: ServiceChanged) -> None:
        """The owner opens or closes this miner: closed, it claims nothing, and ends what it was awarded."""
        if event.give_back:
            self._claiming.void()
            self._working.give_back("paused")
            self.jury.give_back()
        if event.is_open is not self._serving.is_open:
            self._serving.open(is_open=event.is_open)
            self._claiming.look_anew()
            self._announcing.tell_all()

    def load(self) -> MinerLoad:
        """Say what is promised and not ended: while anything is, the device is needed."""
        working = self._working
        return MinerLoad(
            self._serving.is_open, self._claiming.outstanding(), self.jury.busy(), working.delivering.undelivered()
        )

    def _refuses(self, coordinator: StakingId) -> bool:
        """Say whether a coordinator gets no work: our operator wants it so, or it could not pay."""
        return coordinator in self._blocked or self._working.income.coverage.why_refused(coordinator) is not None

    def refused(self) -> dict[StakingId, str]:
        """Give the coordinators that get no work of us, and why."""
        return self._working.income.coverage.refused() | dict.fromkeys(sorted(self._blocked), "blocked")

    def _on_timer(self, what: str, subject: bytes, attempt: int) -> None:
        match what:
            case str() if what == PROVE:
                self._prosecution.on_timer()
            case "claim":
                self._claiming.on_claim_timer(TaskId(subject))
            case "resend" | "input" | "key":
                self._working.on_timer(what, TaskId(subject), attempt)
            case "capability" | "busy":
                self._announcing.on_timer(what)
            case "discover":
                self.emit(*self._search.look_up())
            case "answer":
                peer = PeerId(subject.decode())
                if peer in self._greeted and peer in self._streams:
                    self._answer(peer, self._streams[peer])
            case "reopen":
                peer = PeerId(subject.decode())
                if peer in self._connected:
                    self._open_streams()
                elif self.standing(peer, self.now) is Standing.COORDINATOR:
                    self.emit(Connect(peer))
            case "slot":
                # Our slot has come, and ``_use_capacity`` claims after every event.
                self._claiming.on_slot_timer()
