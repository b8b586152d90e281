"""How miners stand with a coordinator, and why, in its owner's words."""

from node.standings import in_words, standings
from protocol.roles.coordinator import CoordinatorCore
from protocol.roles.reputation import GRAVE
from protocol.units import DAY_MS, StakingId, UnixMillis
from tests.protocol.roles.frames import ALICE_ID, BOB_ID
from tests.protocol.roles.seats import CoordinatorSeat
from tests.support.clock import HandClock
from tests.support.networks import ALICE, BOB

AWAY = StakingId(77)


def told() -> list[str]:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    core: CoordinatorCore = seat.core
    conduct = core.roster.conduct
    for _ in range(3):
        conduct.reputation.delivered(ALICE_ID, seat.now)
    conduct.reputation.passed_recheck(ALICE_ID, seat.now)
    conduct.reputation.was_odd(BOB_ID, seat.now, GRAVE)
    conduct.reputation.was_odd(BOB_ID, seat.now, GRAVE)
    until = UnixMillis(seat.now + 7 * DAY_MS)
    conduct.reputation.leave_out(BOB_ID, until)
    conduct.leave_out(BOB_ID, seat.now, until)
    conduct.lost_lease(AWAY, seat.now, started=True, silent=True)
    return [in_words(one) for one in standings(core, HandClock(seat.now))]


def test_standings__of_miners_that_were_heard_of__are_told_with_their_reasons_the_worst_first() -> None:
    assert told() == [
        "miner 2        7 of 100: 0 pictures paid, 2 pictures that others drew differently (doubt 12), "
        "left out for 168 h more",
        "miner 77      33 of 100: 0 pictures paid, 1 lease lost, paused, not connected",
        "miner 1       66 of 100: 3 pictures paid, 1 recheck passed",
    ]


def test_standings__of_nobody__are_none() -> None:
    seat = CoordinatorSeat()
    assert standings(seat.core, HandClock(seat.now)) == []
