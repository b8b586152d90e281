"""How miners stand with a coordinator, and why, in its owner's words."""

from dataclasses import replace

from node.standings import few_witnesses, in_words, payer_in_words, payers, standings, witnesses_in_words
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.coordinator.reputation import GRAVE
from protocol.roles.miner.credit import FORGOTTEN
from protocol.stake.book import Tables
from protocol.stake.table import StakeTable
from protocol.units import CAI, DAY_MS, Address, StakingId, UnixMillis, Wei
from tests.protocol.roles.frames import ALICE_ID, BOB_ID, MODEL
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat
from tests.protocol.roles.test_rechecking import RecheckSeat
from tests.support.clock import HandClock
from tests.support.networks import ALICE, BOB, DAVE

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


def test_few_witnesses__of_two_owners_miners__are_named_and_of_three_are_not() -> None:
    seat = RecheckSeat(miners=(ALICE, BOB, DAVE))
    view = seat.core.book.current(seat.now)
    assert view is not None

    def owned(bobs: bytes, daves: bytes) -> list[dict[str, object]]:
        owners = {BOB.address: Address(bobs * 20), DAVE.address: Address(daves * 20)}
        table = StakeTable.of(replace(row, owner=owners.get(row.address)) for row in view.table.rows)
        seat.core.book.tables = Tables({view.epoch: replace(view, table=table)}, frozenset())
        return few_witnesses(seat.core, HandClock(seat.now))

    assert owned(b"b", b"d") == [], "who says no owner stands for itself"
    (told,) = owned(b"b", b"b")
    assert told == {"model": MODEL.name, "owners": 2}
    assert "all miners of pocket-emoji belong to 2 owners" in witnesses_in_words(told)


def test_payers__of_coordinators_that_a_miner_had_to_do_with__are_told_with_their_reasons_the_worst_first() -> None:
    seat = MinerSeat()
    known, good, lost, false = seat.core.payers, StakingId(40), StakingId(41), StakingId(42)
    for _ in range(3):
        known.paid(good, Wei(CAI), seat.now)
    known.left_unpaid(lost, Wei(CAI), seat.now)
    known.rejected(lost, Wei(CAI), seat.now)
    known.took_back(lost, seat.now)
    known.fell_short(lost, seat.now)
    known.paid(false, Wei(CAI), seat.now)
    seat.core._working.income.coverage._refused[false] = "contradicted"
    told = payers(seat.core, HandClock(seat.now))
    assert [payer_in_words(one) for one in told] == [
        "coordinator 42       0 of 100: 1 paid picture, its statements contradict each other, may owe 2 CAI",
        "coordinator 41      17 of 100: 0 paid pictures, 1 unpaid picture, 1 rejected picture, 1 withdrawn award, "
        "1 escrow shortage, tried again in 60 min",
        "coordinator 40      80 of 100: 3 paid pictures, may owe 8 CAI",
    ]
    seat.wait(FORGOTTEN)
    assert payers(seat.core, HandClock(seat.now))[1]["again_in_minutes"] == 0


def test_payers__of_nobody__are_none() -> None:
    seat = MinerSeat()
    assert payers(seat.core, HandClock(seat.now)) == []
