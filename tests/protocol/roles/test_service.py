"""Whom a miner serves: stake-weighted fair queueing over coordinators, and what its places hold. SPEC.md §7.4."""

from collections import Counter

import pytest

from protocol.effects import StartJob
from protocol.roles.look_ahead import LOOK_AHEAD
from protocol.roles.miner.claiming import Claiming
from protocol.roles.miner.news import Slots
from protocol.roles.miner.open_offers import OpenOffer
from protocol.roles.miner.service import FIRST_QUIET_MS
from protocol.stake.lottery import last_slot_ms
from protocol.units import CAI, Digest, PeerId, StakingId, UnixMillis
from protocol.wire.messages import Claim
from tests.protocol.roles.frames import CAROL_ID, NOW, PARAMS, PRICE, award_of, bulletin
from tests.protocol.roles.seats import MinerSeat, of_kind
from tests.support import networks
from tests.support.networks import BOB, CAROL, DAVE, coordinator

STAKES = {CAROL_ID: 2_500_000, StakingId(4): 5_000_000, StakingId(5): 12_500_000}
BACKLOG_MS = 2 * last_slot_ms(2, 2, PARAMS.slot_step_ms) + PARAMS.claim_allowance_ms
"""After so long an offer is backlog for whoever looks ahead."""


def served(tasks: int, prices: dict[StakingId, int]) -> Counter[StakingId]:
    """Have a miner choose among three coordinators that always have work, so many times; gives the wei of each."""
    claiming = choosing()
    for peer, each in enumerate(STAKES):
        add(claiming, each, PeerId(f"peer {peer}"), prices[each])
    worked: Counter[StakingId] = Counter()
    for _ in range(tasks):
        chosen = claiming._next(is_free=True)
        assert chosen is not None
        claiming._service.charge(chosen.coordinator, chosen.offer)
        worked[chosen.coordinator] += chosen.offer.price
    return worked


def choosing() -> Claiming:
    """A miner in a table with three coordinators of these stakes."""
    seat = MinerSeat()
    keys = (CAROL, DAVE, BOB)
    coordinators = zip(keys, STAKES.items(), strict=True)
    seat.tables((networks.trio()[0], *(coordinator(key, each, stake=cai * CAI) for key, (each, cai) in coordinators)))
    for each in STAKES:
        seat.escrows(of=each)
    seat.core._now = seat.now
    return seat.core._claiming


def add(claiming: Claiming, by: StakingId, peer: PeerId, price: int) -> None:
    """Have it hear an offer that is due now."""
    offer = bulletin(NOW, by, price=price).offers[0]
    claiming.streams[peer] = by
    claiming._heard[by] = 1
    claiming._offers[offer.task] = OpenOffer(
        offer,
        "pocket-emoji",
        by,
        peer,
        UnixMillis(NOW),
        NOW,
        0,
        1.0 / by,
        Slots(100, 1, 1.0, 1, 0, lambda: Digest(bytes(32))),
    )
    claiming._fresh_from = claiming._ahead_from = NOW


@pytest.mark.parametrize("dearest", [1, 7])
def test_next__ten_thousand_tasks_of_three_coordinators__are_shared_by_stake(dearest: int) -> None:
    worked = served(10_000, {each: PRICE * (dearest if each == CAROL_ID else 1) for each in STAKES})
    for each, stake in STAKES.items():
        share = worked[each] / sum(worked.values())
        assert share == pytest.approx(stake / sum(STAKES.values()), abs=0.002), "of work, not of tasks"


def test_charge__work_offered_for_nothing__counts_at_the_networks_price() -> None:
    worked = served(1000, {each: 0 if each == CAROL_ID else PRICE for each in STAKES})
    paid = {each: worked[each] / PRICE for each in STAKES if each != CAROL_ID}
    assert 1000 - sum(paid.values()) == pytest.approx(1000 * STAKES[CAROL_ID] / sum(STAKES.values()), abs=2)


def serve(claiming: Claiming, times: int) -> Counter[StakingId]:
    """Have it choose and do so many tasks of whoever has work waiting."""
    worked: Counter[StakingId] = Counter()
    for _ in range(times):
        chosen = claiming._next(is_free=True)
        assert chosen is not None
        claiming._service.charge(chosen.coordinator, chosen.offer)
        worked[chosen.coordinator] += 1
    return worked


@pytest.mark.parametrize("before", [(), (5,), (5, 3), (3,)])
def test_charge__coordinator_that_was_quiet__starts_level(before: tuple[int, ...]) -> None:
    claiming = choosing()
    busy, quiet = StakingId(4), StakingId(5)
    add(claiming, busy, PeerId("busy"), PRICE)
    for served_once in before:
        claiming._service.charge(StakingId(served_once), next(iter(claiming._offers.values())).offer)
    serve(claiming, 500)
    add(claiming, quiet, PeerId("quiet"), PRICE)
    assert serve(claiming, 70)[busy] >= 19, "it has five in seven of their stake, and not all until 500 are made up"


def test_charge__many_places_claimed_for_before_any_award__whoever_waits_loses_nothing() -> None:
    claiming = choosing()
    small, large = StakingId(4), StakingId(5)
    add(claiming, small, PeerId("small"), PRICE)
    add(claiming, large, PeerId("large"), PRICE)
    worked: Counter[StakingId] = Counter()
    for _ in range(200):
        claimed = [claiming._next(is_free=True) for _ in range(8)]
        for one in claimed:
            assert one is not None
            claiming._service.charge(one.coordinator, one.offer)
            worked[one.coordinator] += 1
    assert worked[large] / worked[small] == pytest.approx(2.5, rel=0.05), "by stake, though eight are served at once"


# Places


def test_fill__several_places__takes_fresh_offers_into_each_and_looks_one_ahead_in_the_backlog() -> None:
    seat = MinerSeat(places=3)
    claiming = seat.core._claiming
    for number in range(4):
        seat.offer(number, wait_ms=50)
        if number == 2:
            for claim in [one.claim for one in claiming._claims.values()]:
                seat.say(CAROL, award_of(claim))
    assert (seat.core._working.busy(), claiming.outstanding()) == (3, 0), "fresh offers are left to idle miners"
    seat.wait(BACKLOG_MS)
    assert claiming.outstanding() == LOOK_AHEAD


def test_fill__places_are_a_batch__looks_a_batch_ahead_in_the_backlog() -> None:
    seat = MinerSeat(places=4, batch=4)
    claiming = seat.core._claiming
    for number in range(12):
        seat.offer(number, wait_ms=50)
        if number == 3:
            for claim in [one.claim for one in claiming._claims.values()]:
                seat.say(CAROL, award_of(claim))
    seat.wait(BACKLOG_MS)
    assert (seat.core._working.busy(), claiming.outstanding()) == (4, 4), "the next batch forms meanwhile, and no more"


def test_fill__place_that_frees_in_a_backlog__is_claimed_for_in_the_same_event() -> None:
    seat = MinerSeat()
    seat.paid_before()
    award = award_of(seat.claimed())
    assert [effect for effect in seat.say(CAROL, award) if isinstance(effect, StartJob)]
    for number in range(1, 4):
        seat.offer(number)
    seat.wait(BACKLOG_MS)
    ahead = [claim.claim for claim in seat.core._claiming._claims.values()]
    assert len(ahead) == LOOK_AHEAD
    seat.say(CAROL, award_of(ahead[0]))
    assert seat.core._claiming.outstanding() == 0, "one at work, one ahead"
    effects = seat.finish(award)
    assert len(of_kind(effects, Claim)) == 1


def test_hear_later__several_claims_of_one_silence__are_one() -> None:
    seat = MinerSeat()
    service, begun = seat.core._claiming._service, seat.core.now
    for claims, pause_ms in ((8, FIRST_QUIET_MS), (1, 2 * FIRST_QUIET_MS)):
        for _ in range(claims):
            service.hear_later(CAROL_ID, "unanswered")
        seat.core.now = UnixMillis(begun + pause_ms - 1)
        assert service.why_quiet(CAROL_ID) == "unanswered"
        begun = seat.core.now = UnixMillis(begun + pause_ms)
        assert service.why_quiet(CAROL_ID) is None
