"""Which of many open offers a miner takes, and from when on."""

import secrets
from collections import Counter
from dataclasses import replace

import pytest

from protocol.roles.miner.open_offers import CHOICE, Choice, OpenOffer, taken_of
from protocol.roles.miner.wheel import TURN_MS, TURNS, WheelSeat, seat_of
from protocol.units import UnixMillis
from protocol.wire.messages import Claim
from tests.protocol.roles.frames import NOW, award_of, bulletin
from tests.protocol.roles.seats import MinerSeat, of_kind
from tests.support.networks import ALICE, CAROL


@pytest.fixture(scope="module")
def one_offer() -> OpenOffer:
    """An open offer of a miner that has something to do."""
    seat = MinerSeat()
    seat.say(CAROL, award_of(seat.claimed()))
    seat.offer(1)
    return next(iter(seat.core._claiming._offers.values()))


def waiting(like: OpenOffer, count: int) -> list[OpenOffer]:
    """So many offers, the most urgent first."""
    return [
        replace(like, offer=bulletin(NOW, number, deadline=UnixMillis(NOW + 600_000 + number)).offers[0])
        for number in range(count)
    ]


def chosen(due: list[OpenOffer], seat: WheelSeat) -> OpenOffer:
    """What a miner takes of these."""
    choice = Choice()
    for one in due:
        choice.weigh(one, is_ours=seat.has(one.offer.task))
        if choice.is_made:
            break
    return taken_of([choice], secrets.token_bytes)


def test_taken_of__all_miners_at_once__take_different_ones_that_are_urgent(one_offer: OpenOffer) -> None:
    due = waiting(one_offer, CHOICE)
    taken = [chosen(due, WheelSeat(index, 8, 0)) for index in range(8)]
    assert len({one.offer.task for one in taken}) == 8
    assert sum(one.offer.number for one in taken) / 8 < CHOICE / 4, "the first of each miner's eighth"


def test_taken_of__nothing_falls_to_a_miner__is_one_of_the_most_urgent_all_the_same(one_offer: OpenOffer) -> None:
    due = waiting(one_offer, 2 * CHOICE)
    taken = {chosen(due, WheelSeat(-1, 8, 0)).offer.number for _ in range(2000)}
    assert taken <= set(range(CHOICE))
    assert len(taken) > CHOICE / 2


def test_taken_of__two_that_do_not_fall_to_us__is_more_often_the_one_that_we_are_drawn_for(
    one_offer: OpenOffer,
) -> None:
    near, far = (replace(one, clock=clock) for one, clock in zip(waiting(one_offer, 2), (1.0, 2.0), strict=True))
    times = Counter(chosen([far, near], WheelSeat(-1, 8, 0)).clock for _ in range(2000))
    assert times[1.0] == pytest.approx(1500, abs=150)  # outside of that in one run of 10^13


def test_has__wheel_turns__lets_what_fell_to_a_miner_that_is_gone_fall_to_others(one_offer: OpenOffer) -> None:
    due = waiting(one_offer, CHOICE)
    held_up = [one for one in due if WheelSeat(3, 8, 0).has(one.offer.task)]
    assert len(held_up) > 2
    falls_to = [
        {index for index in range(8) if WheelSeat(index, 8, turn).has(one.offer.task)}
        for one in held_up
        for turn in range(1, 5)
    ]
    assert all(len(one) == 1 for one in falls_to)
    assert len(set.union(*falls_to)) > 4
    assert sum(one == {3} for one in falls_to) < len(falls_to) / 4


def test_seat_of__miner__is_its_place_among_active_ones_and_turns_with_time() -> None:
    seat = MinerSeat()
    before = seat_of(seat.core)
    view = seat.core.book.current(seat.core.now)
    assert view is not None
    assert view.table.miners[before.index].address == ALICE.address
    assert before.miners == len(view.table.miners) > 1
    seat.wait(TURN_MS)
    seat.offer()  # which tells it the time
    assert seat_of(seat.core) == replace(before, turn=(before.turn + 1) % TURNS)


def looking_ahead(one: OpenOffer, seat: WheelSeat, *, open_offers: int) -> int:
    """From when on whoever has no free place may claim it, counted from his slot."""
    return one.due_at(seat, open_offers, is_free=False) - one.slot_at


def test_due_at__to_look_ahead__is_the_slot_for_what_falls_to_us_where_more_is_open_than_miners_were_free(
    one_offer: OpenOffer,
) -> None:
    seats = [WheelSeat(index, 8, 0) for index in range(8)]
    (ours,) = [seat for seat in seats if seat.has(one_offer.offer.task)]
    free, answered_ms = one_offer.slots.ranked, one_offer.slots.answered_ms
    for seat in seats:
        assert one_offer.due_at(seat, free, is_free=True) == one_offer.slot_at
        assert looking_ahead(one_offer, seat, open_offers=free) > answered_ms / 2
        assert (looking_ahead(one_offer, seat, open_offers=free + 1) == 0) == (seat == ours)


def test_offers__more_open_than_miners_were_free__are_claimed_to_look_ahead_in_the_first_round_where_ours() -> None:
    seat = MinerSeat()
    seat.paid_before()
    seat.say(CAROL, award_of(seat.claimed()))
    for number in range(1, 20):
        assert number == 1 or seat_of(seat.core).miners == 2
        claims = of_kind(seat.offer(number) + seat.wait(100), Claim)
        falls_to_us = seat_of(seat.core).has(bulletin(NOW, number).offers[0].task)
        if claims:
            break
        assert number == 1 or not falls_to_us, "of the first one somebody was free for it"
    assert number > 1
    assert seat_of(seat.core).has(claims[0].statement.task)
