"""What a miner spends on offers that are over, that nobody can have, or that are more than it remembers."""

import sys
from collections.abc import Iterable
from types import FrameType
from typing import Any

from protocol.effects import Effect
from protocol.events import EngineChanged, Event, GossipReceived, ModelState, PeerDown, StreamClosed, StreamOpened
from protocol.notes import NoteName
from protocol.roles.miner.claiming import LONGEST_SLEEP_MS
from protocol.roles.miner.urgency import MAX_HEARD_PER_COORDINATOR, MOST_GONE, LeastUrgent
from protocol.stake.field import Field
from protocol.units import UnixMillis
from protocol.wire.messages import Bulletin, Claim, Offer
from protocol.wire.topics import offers_topic
from tests.protocol.roles.frames import CAROL_ID, EPOCH, MODEL, PARAMS, bulletin, hello, receipt_of
from tests.protocol.roles.seats import MinerSeat, noted, of_kind
from tests.support import networks
from tests.support.networks import BOB, CAROL

AT_ONCE = 48
FEW, MANY = 48, 960


def offers(seat: MinerSeat, count: int, **changes: Any) -> Iterable[Bulletin]:
    """So many offers of carol's, in as few bulletins as hold them; nobody is in the field."""
    nobody = Field.of(networks.view(EPOCH).table.miners, set(), set()).to_bytes()
    for begin in range(0, count, AT_ONCE):
        made: list[Offer] = []
        for _ in range(min(AT_ONCE, count - begin)):
            made += bulletin(seat.now, seat.offers, **changes).offers
            seat.offers += 1
        yield bulletin(seat.now, 0).model_copy(update={"offers": tuple(made), "field": nobody})


def heard(of: Bulletin) -> Event:
    return GossipReceived(offers_topic(PARAMS.name, MODEL.name), of, CAROL.peer_id)


def hear(seat: MinerSeat, count: int, **changes: Any) -> tuple[Effect, ...]:
    return tuple(effect for one in offers(seat, count, **changes) for effect in seat.hear(heard(one)))


def work(seat: MinerSeat, event: Event) -> int:
    """Count the lines that one event executes."""
    lines = 0

    def on_line(_frame: FrameType, what: str, _argument: object) -> Any:
        nonlocal lines
        lines += what == "line"
        return on_line

    before = sys.gettrace()
    sys.settrace(on_line)
    try:
        seat.core.handle(event, seat.now)
    finally:
        sys.settrace(before)
    return lines


def busy() -> EngineChanged:
    state = ModelState(MODEL.name, MODEL.digest, True, 10_000_000, 1, MODEL.sizes, MODEL.max_steps)
    return EngineChanged((state,), 0)


def open_offers(seat: MinerSeat) -> int:
    return len(seat.core._claiming._offers)


def test_next__many_that_are_over_together__cost_no_more_than_one_look_at_each() -> None:
    costs = {}
    for count in (FEW, MANY):
        seat = MinerSeat()
        hear(seat, count, deadline=UnixMillis(seat.now + 400), slot_step_ms=8 * PARAMS.slot_step_ms)
        assert open_offers(seat) == count
        seat.now = UnixMillis(seat.now + LONGEST_SLEEP_MS)
        costs[count] = work(seat, PeerDown(BOB.peer_id))
        assert open_offers(seat) == 0
    assert costs[MANY] < 1.5 * costs[FEW] * MANY / FEW


def test_next__due_of_a_coordinator_without_a_stream__cost_no_look_at_each_event_and_are_forgotten_when_over() -> None:
    costs = {}
    for count in (FEW, MANY):
        seat = MinerSeat()
        seat.hear(StreamClosed(CAROL.peer_id))
        hear(seat, count, deadline=UnixMillis(seat.now + 100_000))
        seat.wait(5000)
        assert open_offers(seat) == count
        costs[count] = work(seat, PeerDown(BOB.peer_id))
        seat.wait(100_000 + LONGEST_SLEEP_MS)
        assert open_offers(seat) == 0
    assert costs[MANY] <= costs[FEW] + 10


def test_next__due_of_a_coordinator_that_opens_its_stream__is_claimed_at_once() -> None:
    seat = MinerSeat()
    seat.hear(StreamClosed(CAROL.peer_id))
    hear(seat, 1)
    assert of_kind(seat.wait(300), Claim) == []
    claimed = seat.hear(StreamOpened(CAROL.peer_id)) + seat.say(CAROL, hello(CAROL_ID))
    assert len(of_kind(claimed, Claim)) == 1


def test_next__due_of_a_coordinator_that_pays__is_claimed_at_once() -> None:
    seat = MinerSeat()
    _, result = seat.delivered()
    hear(seat, 1)
    assert of_kind(seat.wait(300), Claim) == []
    assert len(of_kind(seat.say(CAROL, receipt_of(result)), Claim)) == 1


def test_offer__more_urgent_than_one_of_as_many_as_are_remembered__costs_no_look_at_all_of_them() -> None:
    seat = MinerSeat()
    seat.hear(busy())
    hear(seat, MAX_HEARD_PER_COORDINATOR - AT_ONCE, deadline=UnixMillis(seat.now + 500_000))
    (room,) = offers(seat, AT_ONCE, deadline=UnixMillis(seat.now + 499_000))
    with_room = work(seat, heard(room))
    hear(seat, AT_ONCE, deadline=UnixMillis(seat.now + 498_000))
    (full,) = offers(seat, AT_ONCE, deadline=UnixMillis(seat.now + 497_000))
    assert work(seat, heard(full)) < 2 * with_room
    assert open_offers(seat) == MAX_HEARD_PER_COORDINATOR


def test_offer__as_many_as_are_remembered_and_all_over__takes_the_place_of_one() -> None:
    seat = MinerSeat()
    seat.hear(busy())
    hear(seat, MAX_HEARD_PER_COORDINATOR, deadline=UnixMillis(seat.now + 1000))
    assert noted(hear(seat, 1), NoteName.OFFER_SKIPPED)
    seat.wait(1000)
    assert noted(hear(seat, 1), NoteName.OFFER_SKIPPED) == []
    assert open_offers(seat) == 1


def test_least_urgent__entries_of_offers_that_are_gone__are_bounded() -> None:
    seat = MinerSeat()
    seat.hear(busy())
    hear(seat, 1)
    known = dict(seat.core._claiming._offers)
    (one,) = known.values()
    urgency = LeastUrgent()
    for _ in range(3 * MOST_GONE):
        assert urgency.of(CAROL_ID, known, 1) is one
        urgency.heard(one)
        assert len(urgency._heaps[CAROL_ID]) <= MOST_GONE + 2
    urgency.forget(CAROL_ID)
    assert not urgency._heaps
