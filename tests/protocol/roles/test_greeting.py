"""Who has not greeted is not heard, and no order in which honest nodes meet loses a greeting: SPEC.md §8.2."""

import hashlib
from collections import deque
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import NodeKey
from protocol.effects import Effect, OpenStream, Send, SendEncoded
from protocol.events import (
    BlockSeen,
    EngineChanged,
    Event,
    ModelState,
    PeerDown,
    PeerUp,
    Restored,
    StakeChanged,
    StreamClosed,
    StreamOpened,
    StreamReceived,
)
from protocol.notes import NoteName
from protocol.records import VoucherIssued
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.miner.miner import MAX_COORDINATORS, MinerCore
from protocol.stake.table import StakeRow
from protocol.units import BlockNumber, PeerId, StakingId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Abandon, Cancel, CapabilityUpdate, Result, WorkMessage
from tests.protocol.roles.frames import (
    ALICE_ID,
    BOB_ID,
    CAROL_ID,
    EPOCH,
    MODEL,
    PARAMS,
    PRICE,
    award_of,
    capability,
    hello,
    result_of,
    voucher_of,
)
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, Seat, ignored, judged, noted, of_kind, persisted
from tests.support import networks
from tests.support.networks import ALICE, BOB, CAROL, coordinator, row

EPOCH_MS = PARAMS.epoch_s * 1000
BOTH = (row(ALICE, 1), row(BOB, 2), coordinator(CAROL, 3))
NO_ALICE = (row(ALICE, 1, active=False), row(BOB, 2), coordinator(CAROL, 3))
NO_CAROL = (row(ALICE, 1), row(BOB, 2), coordinator(CAROL, 3, active=False))

# What comes before a greeting


def test_coordinator__frame_before_a_hello__is_ignored_and_heard_after_it() -> None:
    seat = CoordinatorSeat(miners=())
    seat.hear(StreamOpened(ALICE.peer_id))
    effects = seat.say(ALICE, capability(ALICE, ALICE_ID))
    assert (ignored(effects), judged(effects)) == (["stream.no_hello"], [])
    seat.say(ALICE, hello(ALICE_ID))
    assert len(noted(seat.say(ALICE, capability(ALICE, ALICE_ID)), NoteName.CAPABILITY_RECEIVED)) == 1


def test_miner__frame_before_a_hello__is_ignored_and_heard_after_it() -> None:
    seat = MinerSeat()
    seat.hear(StreamClosed(CAROL.peer_id))
    seat.hear(StreamOpened(CAROL.peer_id))
    claim = seat.claimed()
    effects = seat.say(CAROL, award_of(claim))
    assert (ignored(effects), judged(effects)) == (["stream.no_hello"], [])
    seat.say(CAROL, hello(CAROL_ID))
    assert noted(seat.say(CAROL, award_of(claim)), NoteName.AWARD_RECEIVED)


def test_coordinator__hello_that_is_refused__is_no_greeting() -> None:
    seat = CoordinatorSeat(miners=())
    seat.hear(StreamOpened(ALICE.peer_id))
    assert judged(seat.say(ALICE, hello(BOB_ID))) == ["hello.identity"]
    assert ignored(seat.say(ALICE, capability(ALICE, ALICE_ID))) == ["stream.no_hello"]


def test_greeting__of_an_earlier_stream__counts_no_longer() -> None:
    seat = CoordinatorSeat()
    seat.hear(StreamOpened(ALICE.peer_id))
    effects = seat.say(ALICE, capability(ALICE, ALICE_ID, sequence=seat.now + 1))
    assert ignored(effects) == ["stream.no_hello"]
    miner = MinerSeat()
    miner.hear(StreamOpened(CAROL.peer_id))
    assert ignored(miner.say(CAROL, Cancel(task=b"t" * 32, attempt=0, reason="gone"))) == ["stream.no_hello"]


def test_result__that_overtakes_the_hello_of_its_stream__comes_again_with_the_answer() -> None:
    """An adapter may put a frame of the old stream on the new one, before the core greets on that."""
    miner = MinerSeat()
    _, result = miner.delivered()
    seat = CoordinatorSeat()
    award = seat.award()
    seat.hear(StreamClosed(ALICE.peer_id))
    seat.hear(StreamOpened(ALICE.peer_id))
    assert ignored(seat.say(ALICE, result_of(award))) == ["stream.no_hello"]
    miner.hear(StreamClosed(CAROL.peer_id))
    miner.hear(StreamOpened(CAROL.peer_id))
    assert of_kind(miner.say(CAROL, hello(CAROL_ID)), Result) == [result]


def test_miner__second_coordinator_greets__tells_it_alone_and_all_when_that_changes() -> None:
    """A miner with k coordinators that greet one after another says what it serves k times, not k times k."""
    seat = MinerSeat()
    seat.tables((row(ALICE, 1), coordinator(CAROL, 3), coordinator(networks.DAVE, 4)))
    seat.hear(StreamOpened(networks.DAVE.peer_id))
    effects = seat.say(networks.DAVE, hello(StakingId(4), by=networks.DAVE))
    assert _told(effects) == [networks.DAVE.peer_id]
    assert _told(seat.hear(EngineChanged((), 0))) == sorted([CAROL.peer_id, networks.DAVE.peer_id])


def _told(effects: Iterable[Effect]) -> list[PeerId]:
    return [e.peer for e in effects if isinstance(e, Send) and isinstance(e.message, CapabilityUpdate)]


# What comes before a table


def test_coordinator__hello_before_the_table_that_lists_its_miner__is_heard_when_that_comes() -> None:
    seat = CoordinatorSeat(miners=())
    seat.tables(NO_ALICE, epochs=1)
    seat.hear(StakeChanged(networks.view(EPOCH + 3)))
    seat.hear(StreamOpened(ALICE.peer_id))
    effects = seat.say(ALICE, hello(ALICE_ID, voucher_of(3 * PRICE)))
    assert (ignored(effects), judged(effects)) == (["stream.standing"], [])
    seat.wait(EPOCH_MS)
    effects = seat.say(ALICE, capability(ALICE, ALICE_ID, sequence=seat.now, expires_at=seat.now + 60_000))
    assert len(noted(effects, NoteName.CAPABILITY_RECEIVED)) == 1
    greeting = seat.core._settlement.voucher_for(ALICE_ID)
    assert greeting is not None
    assert greeting[0].cumulative == 3 * PRICE


@pytest.mark.parametrize("rows", [NO_ALICE, NO_CAROL], ids=["miner", "coordinator"])
def test_miner__hello_before_the_table_that_lists_both__is_answered_when_that_comes(rows: tuple[StakeRow, ...]) -> None:
    seat = MinerSeat()
    seat.hear(StreamClosed(CAROL.peer_id))
    seat.tables(rows, epochs=1)
    seat.hear(StakeChanged(networks.view(EPOCH + 3)))
    seat.hear(StreamOpened(CAROL.peer_id))
    effects = seat.say(CAROL, hello(CAROL_ID))
    assert (ignored(effects), judged(effects)) == (["stream.standing"], [])
    assert of_kind(seat.wait(EPOCH_MS), CapabilityUpdate)
    effects = seat.say(CAROL, award_of(seat.claimed()))
    assert noted(effects, NoteName.AWARD_RECEIVED)
    assert of_kind(effects, Abandon) == []


def test_miner__asked_again_while_no_table_lists_it__answers_when_one_does() -> None:
    seat = MinerSeat()
    seat.tables(NO_ALICE, epochs=1)
    seat.hear(StakeChanged(networks.view(EPOCH + 3)))
    seat.wait(EPOCH_MS - 100)
    effects = seat.say(CAROL, hello(CAROL_ID))
    assert (ignored(effects), of_kind(effects, CapabilityUpdate)) == (["stream.standing"], [])
    assert of_kind(seat.wait(100), CapabilityUpdate)


def test_coordinator__hello_while_no_table_knows_it__is_heard_when_one_does() -> None:
    seat = CoordinatorSeat()
    seat.tables((row(ALICE, 1), row(BOB, 2)), epochs=1)
    seat.hear(StakeChanged(networks.view(EPOCH + 3)))
    effects = seat.say(ALICE, hello(ALICE_ID, voucher_of(3 * PRICE)))
    assert (ignored(effects), judged(effects)) == (["stream.standing"], [])
    assert [record.cumulative for record in persisted(seat.wait(EPOCH_MS), VoucherIssued)] == [3 * PRICE]
    assert seat.core.take_early_hellos() == [], "it is heard once"


def test_early_hello__of_a_stream_that_closed__is_forgotten() -> None:
    seat = CoordinatorSeat(miners=())
    seat.tables(NO_ALICE, epochs=1)
    seat.hear(StakeChanged(networks.view(EPOCH + 3)))
    seat.hear(StreamOpened(ALICE.peer_id))
    seat.say(ALICE, hello(ALICE_ID))
    seat.hear(StreamClosed(ALICE.peer_id))
    assert seat.core.take_early_hellos() == []
    seat.say(ALICE, hello(ALICE_ID))
    assert seat.core.take_early_hellos() == [], "nothing is kept of a peer without a stream"


# Any order


class Pair:
    """Alice's miner and carol's coordinator, their clocks apart, and one stream at a time between them.

    Nobody closes a stream because a table changed: a transport does, but may be late.
    """

    def __init__(self, tables: Iterable[tuple[StakeRow, ...]]) -> None:
        self.alice, self.carol = Seat(ALICE), Seat(CAROL)
        self.alice.core = MinerCore(self.alice.identity, tuple, Wei(0))
        self.carol.core = CoordinatorCore(self.carol.identity, tuple)
        self.seats = {ALICE.peer_id: self.alice, CAROL.peer_id: self.carol}
        self.queues: dict[PeerId, deque[Event]] = {peer: deque() for peer in self.seats}
        self.open = False
        self.judged: list[str] = []
        for seat in self.seats.values():
            self.hear(seat, Restored(()))
            for number, rows in enumerate(tables):
                self.hear(seat, StakeChanged(networks.view(EPOCH + number, rows)))
            self.hear(seat, BlockSeen(BlockNumber(1), seat.now))
        state = ModelState(MODEL.name, MODEL.digest, True, 10_000_000, 1, MODEL.sizes, MODEL.max_steps)
        self.hear(self.alice, EngineChanged((state,), 1))
        self.hear(self.alice, PeerUp(CAROL.peer_id))

    def hear(self, seat: Seat, event: Event) -> None:
        self.perform(seat, seat.hear(event))

    def perform(self, seat: Seat, effects: Iterable[Effect]) -> None:
        self.judged += judged(effects)
        other = CAROL.peer_id if seat is self.alice else ALICE.peer_id
        for effect in effects:
            if isinstance(effect, OpenStream) and not self.open:
                self.open = True
                self.queues[ALICE.peer_id].append(StreamOpened(CAROL.peer_id))
                self.queues[CAROL.peer_id].append(StreamOpened(ALICE.peer_id))
            elif isinstance(effect, Send | SendEncoded) and self.open:
                data = encode(effect.message) if isinstance(effect, Send) else effect.data
                self.queues[other].append(StreamReceived(seat.key.peer_id, data))

    def cut(self) -> None:
        """The stream breaks: what was on it is lost."""
        if self.open:
            self.open = False
            for peer, queue in self.queues.items():
                kept = [event for event in queue if not isinstance(event, StreamReceived)]
                queue.clear()
                queue.extend([*kept, StreamClosed(ALICE.peer_id if peer == CAROL.peer_id else CAROL.peer_id)])

    def deliver(self, peer: PeerId) -> None:
        if self.queues[peer]:
            self.hear(self.seats[peer], self.queues[peer].popleft())

    def advance(self, peer: PeerId, milliseconds: int) -> None:
        self.perform(self.seats[peer], self.seats[peer].wait(milliseconds))

    def settle(self, at: int) -> None:
        """Let both clocks come to a moment, and everything that is on its way arrive."""
        for seat in self.seats.values():
            self.advance(seat.key.peer_id, max(at - seat.now, 0))
        while any(self.queues.values()):
            for peer in self.queues:
                self.deliver(peer)

    def said(self, by: Seat, message: WorkMessage) -> list[str]:
        """What is ignored of a frame that one of the two says now."""
        other = self.carol if by is self.alice else self.alice
        return ignored(other.hear(StreamReceived(by.key.peer_id, encode(message))))


PEERS = (ALICE.peer_id, CAROL.peer_id)
STEPS = (
    ("cut", 0),
    *((peer, wait) for peer in PEERS for wait in (0, 0, 0, 600, EPOCH_MS)),
)
"""A cut, a delivery (no time) or a wait of one of the two."""


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from((BOTH, NO_ALICE, NO_CAROL)), min_size=2, max_size=5),
    st.lists(st.sampled_from(STEPS), min_size=12, max_size=40),
)
def test_greeting__in_any_order_of_tables_streams_and_frames__is_never_lost(tables, drawn) -> None:
    pair = Pair((*tables, BOTH, BOTH))
    ends = pair.alice.now + len(tables) * EPOCH_MS
    for who, wait in drawn:
        if who == "cut":
            pair.cut()
        elif wait == 0:
            pair.deliver(who)
        elif pair.seats[who].now + wait < ends:
            pair.advance(who, wait)
    for wait in range(0, 40_000, 500):
        pair.settle(ends + wait)
    assert pair.open
    assert pair.judged == []
    assert pair.said(pair.carol, Cancel(task=b"t" * 32, attempt=0, reason="gone")) == []
    assert pair.said(pair.alice, Abandon(task=b"t" * 32, attempt=0, reason="gone")) == []


def test_greeting__of_two_that_meet__is_done_before_any_time_has_passed() -> None:
    pair = Pair((BOTH,))
    pair.settle(UnixMillis(pair.alice.now))
    miner = pair.carol.core.roster.peer(ALICE.peer_id)  # type: ignore[attr-defined]
    assert miner.capability is not None, "no time has passed"
    assert pair.said(pair.carol, Cancel(task=b"t" * 32, attempt=0, reason="gone")) == []


def test_streams__of_more_coordinators_than_a_miner_serves__are_opened_to_sixteen_of_them() -> None:
    seat = MinerSeat()
    keys = [NodeKey(hashlib.sha256(b"coordinator %d" % number).digest()) for number in range(MAX_COORDINATORS + 4)]
    seat.tables((networks.trio()[0], *(coordinator(key, 10 + number) for number, key in enumerate(keys))))
    seat.hear(StreamClosed(CAROL.peer_id))
    effects = [effect for key in keys for effect in seat.hear(PeerUp(key.peer_id))]
    opened = [effect.peer for effect in effects if isinstance(effect, OpenStream)]
    assert len(opened) == len(set(opened)) == MAX_COORDINATORS == 16
    effects = [effect for peer in opened for effect in seat.hear(StreamOpened(peer))]
    assert [effect for effect in effects if isinstance(effect, OpenStream)] == []
    seat.hear(StreamClosed(opened[0]))
    seat.hear(PeerDown(opened[0]))
    left = next(key.peer_id for key in keys if key.peer_id not in opened)
    (again,) = [effect for effect in seat.hear(PeerUp(left)) if isinstance(effect, OpenStream)]
    assert again.peer not in opened[1:]
