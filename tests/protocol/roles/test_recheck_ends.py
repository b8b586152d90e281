"""How rechecks end where nobody new is drawn, or where steps contradict each other: SPEC.md §12.8.

Alice (1), bob (2), dave (4), erin (5) and fred (6) mine, carol (3) coordinates.
"""

import hashlib
from dataclasses import replace

import pytest

from protocol.crypto.keys import NodeKey
from protocol.events import StreamClosed, TaskCancelled
from protocol.notes import NoteName
from protocol.records import RecheckKept, TaskAccepted
from protocol.roles.rechecking import LONGEST_MS, MOST_REPEATED, MOST_TRIES
from protocol.roles.reputation import GRAVE
from protocol.task.recheck import MOST_DRAWINGS
from protocol.task.steps import OTHER_STEPS
from protocol.units import Address, StakingId, TaskId, UnixMillis, Wei
from tests.protocol.roles import test_opening, test_rechecking
from tests.protocol.roles.frames import ALICE_ID, BOB_ID, NOW, PRICE
from tests.protocol.roles.seats import noted, persisted
from tests.protocol.roles.test_opening import OpeningSeat, through
from tests.protocol.roles.test_rechecking import ALL, HEART, NOISE, OTHER_NOISE, RecheckSeat, asked
from tests.support import networks
from tests.support.networks import ALICE, BOB, DAVE

ERIN, FRED = (NodeKey(hashlib.sha256(name).digest()) for name in (b"erin", b"fred"))
MINERS = (ALICE, BOB, DAVE, ERIN, FRED)


@pytest.fixture(autouse=True)
def five_miners(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (*test_rechecking.ROWS, networks.row(ERIN, 5), networks.row(FRED, 6))
    monkeypatch.setattr(test_rechecking, "ROWS", rows)
    monkeypatch.setattr(test_opening, "ROWS", rows)
    monkeypatch.setattr(test_opening, "MINERS", MINERS)
    monkeypatch.setitem(test_rechecking.IDS, ERIN.peer_id, StakingId(5))
    monkeypatch.setitem(test_rechecking.IDS, FRED.peer_id, StakingId(6))


# Where nobody new is drawn


def test_on_end__idle_friend_is_there_and_never_drawn__the_odd_one_of_three_is_found_all_the_same() -> None:
    seat = RecheckSeat(miners=(ALICE, BOB, DAVE, ERIN))
    seat.rechecked((ALICE, NOISE), (BOB, HEART), (DAVE, HEART))
    for place in range(MOST_REPEATED):
        assert not seat.last().outcome, "erin has not drawn it"
        seat.draw(seat.ordered(), (ALICE, BOB, DAVE)[place % 3])
    assert (seat.last().outcome, seat.last().odd) == ("odd_one_out", (ALICE_ID,))


def test_on_end__two_differ_and_nobody_new_is_drawn__blames_nobody() -> None:
    seat = RecheckSeat(miners=(ALICE, BOB, DAVE))
    seat.rechecked((ALICE, NOISE), (BOB, HEART))
    while not seat.last().outcome:
        seat.draw(seat.ordered(), BOB)
        seat.wait(1)
        if seat.last().tries == MOST_TRIES:
            seat.wait(3000)
    assert (seat.last().outcome, seat.last().odd) == ("undecided", ())


def test_on_end__a_new_one_draws_after_some_repeats__they_are_counted_anew() -> None:
    seat = RecheckSeat(miners=MINERS)
    seat.rechecked((ALICE, NOISE), (BOB, HEART))
    for miner in (BOB,) * (MOST_REPEATED - 1) + (DAVE, BOB):
        effects = seat.draw(seat.ordered(), miner, HEART)
        for question in asked(effects):
            seat.compared(question, 10**6)
    assert not seat.last().outcome, "two against one, and who has not drawn it may be drawn yet"


def test_on_timer__last_of_the_others_has_gone__judges_by_those_who_drew() -> None:
    seat = RecheckSeat(miners=(ALICE, BOB, DAVE, ERIN))
    seat.rechecked((ALICE, NOISE), (BOB, HEART), (DAVE, HEART))
    seat.hear(StreamClosed(ERIN.peer_id))
    effects = seat.wait(2100 * (MOST_TRIES + 1))
    assert {note.fields["reason"] for note in noted(effects, NoteName.RECHECK_PUT_OFF)} == {"nobody_else"}
    assert (seat.last().outcome, seat.last().odd) == ("odd_one_out", (ALICE_ID,))


def test_on_timer__cannot_be_ordered_for_long__blames_nobody_by_two() -> None:
    seat = RecheckSeat(policy=replace(ALL, daily_limit=Wei(2 * PRICE)), miners=MINERS)
    seat.rechecked((ALICE, NOISE), (BOB, HEART), (DAVE, HEART))
    seat.wait(2100 * (MOST_TRIES + 1))
    assert (seat.last().outcome, seat.last().odd) == ("undecided", ())


def test_restore__pictures_not_compared_again_when_time_is_over__ends_undecided() -> None:
    seat = RecheckSeat(miners=MINERS)
    seat.rechecked((ALICE, NOISE), (BOB, HEART), (DAVE, HEART))
    pending = TaskId(seat.ordered())
    accepted = next(record for record in seat.kept if isinstance(record, TaskAccepted) and record.task == pending)
    old = replace(seat.last(), planned_at=UnixMillis(NOW - LONGEST_MS))
    again = RecheckSeat((accepted, old), miners=MINERS)
    again.hear(TaskCancelled(pending))
    again.wait(5000)
    assert again.last().outcome == "undecided"


# Where steps contradict each other


@pytest.mark.parametrize("cheats", [False, True], ids=["five alike", "the first is another"])
def test_on_shown__two_contradict_and_others_show_nothing__no_more_than_five_draw_and_pictures_still_count(
    cheats: bool,
) -> None:
    seat, shows = OpeningSeat(miners=MINERS), MINERS[1:3] if cheats else MINERS[:2]
    seat.steps = {miner: through() for miner in MINERS} | {BOB: through(2 * OTHER_STEPS)}
    seat.rechecked((ALICE, NOISE if cheats else HEART), (BOB, HEART))
    while not seat.last().outcome:
        if not cheats or len(seat.last().drawings) > 3:  # three agree against one, or two where nobody differs
            seat.until_asked()
            for miner in {key for key, _ in seat.questions}:
                seat.answer(miner) if miner in shows else seat.decline(miner)
        if not seat.last().outcome:
            effects = seat.draw(seat.ordered(), MINERS[len(seat.last().drawings)])
            for question in asked(effects):
                seat.compared(question, 10**6)
    assert len(seat.last().drawings) == MOST_DRAWINGS
    assert seat.last().odd == ((ALICE_ID,) if cheats else ())
    assert seat.standing(ALICE)[1] == (GRAVE if cheats else 0)
    assert [seat.standing(miner) for miner in shows][-1:] == [(0.0, 0.0)], "one word against another"


# Whose miners


def owned(*keys: NodeKey) -> None:
    """Give these miners one owner."""
    test_rechecking.ROWS = tuple(
        replace(row, owner=Address(b"o" * 20) if row.address in {key.address for key in keys} else None)
        for row in test_rechecking.ROWS
    )


def test_on_end__two_miners_of_one_owner__are_one_witness() -> None:
    owned(BOB, DAVE)
    seat = RecheckSeat(miners=(ALICE, BOB, DAVE, ERIN))
    seat.rechecked((ALICE, HEART), (BOB, NOISE))
    effects = seat.draw(seat.ordered(), DAVE, NOISE)
    assert not asked(effects)
    assert [drawing.miner for drawing in seat.last().drawings] == [ALICE_ID, BOB_ID]
    for question in asked(seat.draw(seat.ordered(), ERIN, OTHER_NOISE)):
        seat.compared(question, 10**6)
    assert seat.last().odd == ()


def test_on_end__nobody_else_but_of_the_same_owner__plans_nothing() -> None:
    owned(ALICE, BOB)
    seat = RecheckSeat(miners=(ALICE, BOB))
    assert not persisted(seat.draw(seat.submit(), ALICE), RecheckKept)
    seat.greet(DAVE)
    assert persisted(seat.draw(seat.submit(), ALICE), RecheckKept)
