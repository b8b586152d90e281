"""What all role cores share: who we are, whom we know by stake, and how remote bytes become messages.

A core is a synchronous state machine: ``handle(event, now) -> effects``. It knows no socket, disk, clock or device.
Rules for editors: remote input never raises out of ``handle``; iterate over sets only through ``sorted``; every
dictionary that a remote party can grow has a bound. Spec: SPEC.md §3.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from protocol.chain_records import ContractCall, SettlementRead, TransactionSettled
from protocol.crypto.keys import NodeKey, address_of_peer_id
from protocol.crypto.typed_data import Domain, digest, sign, sign_named, signer_of
from protocol.effects import Effect, Judge, Note, Offence, Persist, Send, SetTimer, SubmitTx, TimerKey
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.events import (
    ActivityChanged,
    BlockSeen,
    Event,
    SettlementSeen,
    StakeChanged,
    TimerFired,
    TxConfirmed,
    TxFailed,
)
from protocol.gossip.admission import Admission, Judgement
from protocol.notes import NoteName
from protocol.params import Params
from protocol.stake.book import StakeBook, Tables
from protocol.stake.epoch import epoch_start
from protocol.stake.standing import Standing
from protocol.stake.table import StakeRow
from protocol.task.catalog import Catalog
from protocol.task.receipt import check_redeemable
from protocol.units import Digest, Epoch, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.codec import WORK_PLACE, decode
from protocol.wire.messages import Hello, WorkMessage
from protocol.wire.statements import Statement, VoucherStatement

EMPTY = b""
"""The task part of a timer that belongs to no task."""
_OF_THE_CHAIN = frozenset({StakeChanged, TimerFired, BlockSeen, ActivityChanged, SettlementSeen, TxConfirmed, TxFailed})
"""What the base hears as well as the role; most events are none of these, and pass by with one question."""
QUIET_BLOCKS = 256
"""Blocks after which the place in the Settlement contract is kept though nothing happened: reading as many again is
one request, and a commit for each block would be most of what a quiet node writes."""
EPOCH_BEGINS = "epoch"
"""Timer: the table of the epoch in its last part holds from now on; cores hear it as one more ``StakeChanged``."""


@dataclass(frozen=True)
class Identity:
    """Who this node is and what all nodes of its network share."""

    network: str
    network_id: Digest
    params: Params
    domain: Domain
    catalog: Catalog
    key: NodeKey
    entropy: Callable[[int], bytes]
    """Gives n unpredictable bytes; the simulator's are seeded."""
    bootstraps: frozenset[PeerId] = frozenset()


class Core(ABC):
    """Base of the role cores. One instance is one run of one node."""

    def __init__(self, identity: Identity) -> None:
        """Start with an empty memory; the first event is ``Restored``."""
        self.identity = identity
        self.params = identity.params
        self.book = StakeBook(identity.params, identity.bootstraps)
        self.admission = Admission(identity.network, identity.params, self.book, identity.domain)
        self.now = UnixMillis(0)
        self.clock_set_back = 0
        """How often the clock of this node has gone back."""
        self._effects: list[Effect] = []
        self._epoch_ms = identity.params.epoch_s * 1000
        self._own: tuple[Tables | None, int, StakingId | None] = (None, -1, None)
        """Our id, by these tables, in this epoch."""
        self._told_own: StakingId | None = None
        """As whom people were told that we are active."""
        self._settlement_kept = -QUIET_BLOCKS
        """Up to which block the store knows the Settlement contract."""
        self._early_hellos: dict[PeerId, bytes] = {}
        """The last greeting on each open stream that came while a table did not list one of the two."""

    def handle(self, event: Event, now: UnixMillis) -> tuple[Effect, ...]:
        """Take one event and give what to do about it, in order."""
        if now < self.now:
            self.clock_set_back += 1
        self.now = now
        if self._effects:
            self._effects = []
        if type(event) not in _OF_THE_CHAIN:
            self.on_event(event)
            return tuple(self._effects)
        heard = self._follow_chain(event)
        self._tell_standing()
        self.on_event(heard)
        if isinstance(event, TxConfirmed | TxFailed):
            # Durable together with what the role made of the outcome, so that it is told until both are.
            self.emit(Persist((TransactionSettled(event.key),)))
        return tuple(self._effects)

    def _follow_chain(self, event: Event) -> Event:
        """Bring the stake book up to date; give the event as the role is to hear it."""
        match event:
            case StakeChanged(view=view):
                self.book.add(view)
                self.note(
                    NoteName.STAKE_TABLE, epoch=view.epoch, nodes=len(view.table.rows), root=view.table.root.hex()
                )
                begins = epoch_start(view.epoch, self.params)
                if begins > self.now:
                    self.set_timer((EPOCH_BEGINS, EMPTY, view.epoch), begins)
            case TimerFired(key=(what, _, number)) if what == EPOCH_BEGINS:
                # A table comes half an epoch early; who it lets in or shuts out changes only now.
                begun = self.book.view(Epoch(number))
                if begun is not None:
                    return StakeChanged(begun)
            case BlockSeen(timestamp=timestamp):
                self.book.head_seen(timestamp)
            case SettlementSeen(read=read):
                self._keep(read)
            case ActivityChanged(inactive=inactive):
                self.book.inactive_now(inactive)
                self.note(NoteName.NODES_INACTIVE, nodes=len(inactive))
            case _:
                pass
        return event

    def _tell_standing(self) -> None:
        """Tell people when the stake table begins or ceases to list us as active: they wait for that."""
        own, told = self.own_id(), self._told_own
        if own == told:
            return
        self._told_own = own
        if own is not None:
            self.note(NoteName.NODE_ACTIVE, node=own)
        elif told is not None:
            self.note(NoteName.NODE_INACTIVE, node=told)

    def _keep(self, read: SettlementRead) -> None:
        """Make durable what the Settlement contract said, where it says something new."""
        is_quiet = not (read.payments or read.escrows or read.anew)
        if not is_quiet or read.block >= self._settlement_kept + QUIET_BLOCKS:
            self._settlement_kept = read.block
            self.emit(Persist((read,)))
        for payment in read.payments:
            self.note(
                NoteName.PAYMENT_SEEN,
                coordinator=payment.coordinator,
                miner=payment.miner,
                wei=str(payment.amount),
                unpaid_wei=str(payment.unpaid),
                block=payment.block,
            )

    @abstractmethod
    def on_event(self, event: Event) -> None:
        """Take one event; the stake book is up to date already."""

    def judge(self, topic: str, data: bytes, author: PeerId, now: UnixMillis) -> Judgement:
        """Say what to do with a gossip message, before it is forwarded. Never raises for remote data."""
        return self.admission.judge(topic, data, author, now)

    def expects_artifact(self, peer: PeerId, task: TaskId, attempt: int, size: int, now: UnixMillis) -> bool:
        """Say whether these bytes are awaited from this peer, before they are read."""
        del peer, task, attempt, size, now
        return False

    def standing(self, peer: PeerId, now: UnixMillis) -> Standing:
        """Say who a peer is by the stake table."""
        return self.book.standing(peer, now)

    def emit(self, *effects: Effect) -> None:
        """Ask for effects, in this order."""
        self._effects.extend(effects)

    def note(self, name: NoteName, task: TaskId | None = None, **fields: str | int) -> None:
        """Tell people what happened."""
        self._effects.append(Note(name, task, fields))

    def submit(self, key: str, call: ContractCall) -> None:
        """Have a call made in a transaction; its outcome comes as one event with this key, at least once."""
        self.emit(SubmitTx(key, call))

    def set_timer(self, key: TimerKey, at: int) -> None:
        """Be told at ``at`` (unix ms) or soon after."""
        self._effects.append(SetTimer(key, UnixMillis(at)))

    def judge_peer(self, peer: PeerId, offence: Offence, rule: str) -> None:
        """Hold an act against a peer."""
        self._effects.append(Judge(peer, offence, rule))

    def on_bad_message(self, peer: PeerId, problem: InvalidMessage | IgnoredMessage) -> None:
        """Count what cannot be used; hold against the peer what no honest peer sends."""
        if isinstance(problem, InvalidMessage):
            self.judge_peer(peer, Offence.GRAVE, problem.rule)
        else:
            self.note(NoteName.MESSAGE_IGNORED, rule=problem.rule)

    def send_hello(self, peer: PeerId, own: StakingId, voucher: tuple[VoucherStatement, bytes] | None) -> None:
        """Greet a peer on its work stream: who we are, and the highest voucher that we know between us."""
        statement, signature = voucher or (None, None)
        network = self.identity.network_id
        self.emit(Send(peer, Hello(network=network, node=own, voucher=statement, voucher_signature=signature)))

    def check_hello(self, message: Hello, row: StakeRow) -> None:
        """Raise ``InvalidMessage`` unless the node of ``row`` greets as itself and on our network."""
        if message.network != self.identity.network_id or message.node != row.id:
            raise InvalidMessage("hello.identity")

    def check_greeted(self, message: WorkMessage, *, greeted: bool) -> None:
        """Raise ``IgnoredMessage`` for a frame that stands before its sender's greeting on this stream.

        Nobody is to blame: where one stream replaces another, what was said for the old one may go out on the new one.
        """
        if not greeted and not isinstance(message, Hello):
            raise IgnoredMessage("stream.no_hello", message.kind)

    def on_early_frame(self, peer: PeerId, data: bytes, *, is_open: bool = True) -> None:
        """Ignore a frame that our table does not let us hear; a greeting, which is said once, is kept until it does.

        Args:
            peer: Whose.
            data: As it came.
            is_open: Whether the stream is; what comes behind its end is not kept.
        """
        self.note(NoteName.MESSAGE_IGNORED, rule="stream.standing")
        try:
            if is_open and isinstance(decode(data, WORK_PLACE), Hello):
                self._early_hellos[peer] = data
        except (InvalidMessage, IgnoredMessage):
            # Who sends such a thing without standing is nobody to us; whoever gets standing says more.
            return

    def take_early_hellos(self) -> list[tuple[PeerId, bytes]]:
        """Give the greetings that were kept, once, to hear them by a new table; it may have them kept again."""
        taken = sorted(self._early_hellos.items())
        self._early_hellos.clear()
        return taken

    def forget_early_hello(self, peer: PeerId) -> None:
        """Forget the greeting that was kept: its stream is over."""
        self._early_hellos.pop(peer, None)

    def shown_voucher(
        self, message: Hello, *, coordinator: StakeRow, miner: StakingId
    ) -> tuple[VoucherStatement, bytes] | None:
        """Give the voucher of a greeting, if there is one that the coordinator's present key signed.

        Raises:
            InvalidMessage: it is between others, or no contract would ever take it.
        """
        voucher, signature = message.voucher, message.voucher_signature
        if voucher is None or signature is None:
            return None
        if voucher.coordinator != coordinator.id or voucher.miner != miner:
            raise InvalidMessage("hello.voucher")
        if not self.is_signed(voucher, signature, coordinator):
            # Perhaps by a key that it had before: nobody is to blame, and nothing is adopted.
            self.note(NoteName.MESSAGE_IGNORED, rule="hello.voucher_signature")
            return None
        check_redeemable(voucher)
        return voucher, signature

    def row_of_peer(self, peer: PeerId) -> StakeRow | None:
        """Find the peer's row in the current table."""
        try:
            return self.book.row(address_of_peer_id(peer), self.now)
        except InvalidMessage:
            return None

    def own_row(self) -> StakeRow | None:
        """Find our own row in the current table."""
        return self.book.row(self.identity.key.address, self.now)

    def own_id(self) -> StakingId | None:
        """Give our staking id, None while no table lists us as active."""
        tables, epoch = self.book.tables, self.now // self._epoch_ms
        known_tables, known_epoch, own = self._own
        if tables is not known_tables or epoch != known_epoch:
            row = self.own_row()
            own = row.id if row is not None and row.active else None
            self._own = (tables, epoch, own)
        return own

    def sign(self, statement: Statement) -> bytes:
        """Sign a statement with our node key. Callers persist first what must be signed only once."""
        return sign(self.identity.key, self.identity.domain, statement)

    def sign_named(self, statement: Statement) -> tuple[Digest, bytes]:
        """Sign as ``sign`` does; gives the digest of the statement as well, by which others refer to it."""
        return sign_named(self.identity.key, self.identity.domain, statement)

    def is_signed(self, statement: Statement, signature: bytes, row: StakeRow) -> bool:
        """Say whether the node of ``row`` signed the statement with its present key."""
        try:
            self.check_signature(statement, signature, row, "statement.signature")
        except InvalidMessage:
            return False
        return True

    def check_signature(self, statement: Statement, signature: bytes, row: StakeRow, rule: str) -> Digest:
        """Raise ``InvalidMessage(rule)`` unless the node of ``row`` signed the statement; gives its digest."""
        named = digest(self.identity.domain, statement)
        try:
            signed_by = signer_of(named, signature)
        except InvalidMessage:
            raise InvalidMessage(rule) from None
        if signed_by != row.address:
            raise InvalidMessage(rule)
        return named
