"""How rechecks end where nobody new is drawn, or where steps contradict each other: SPEC.md §12.8.

Alice (1), bob (2), dave (4), erin (5) and fred (6) mine, carol (3) coordinates.
"""

import hashlib
from dataclasses import replace

import pytest

from protocol.crypto.keys import NodeKey
from protocol.events import StreamClosed, TaskCancelled
from protocol.notes import NoteName
from protocol.records import RecheckKept, ReputationKept, TaskAccepted
from protocol.roles.coordinator.rechecking import LONGEST_MS, MOST_REPEATED, MOST_TRIES
from protocol.roles.coordinator.reputation import GRAVE, SLIGHT
from protocol.task.distance import ANOTHER_PICTURE
from protocol.task.recheck import MOST_DRAWINGS
from protocol.task.steps import OTHER_STEPS
from protocol.units import Address, StakingId, TaskId, UnixMillis, Wei
from tests.protocol.roles import test_opening, test_rechecking
from tests.protocol.roles.frames import ALICE_ID, BOB_ID, NOW, PRICE
from tests.protocol.roles.seats import judged, noted, persisted
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


@pytest.mark.parametrize("back", [(), (ALICE, BOB)], ids=["nobody is back", "two friends are back first"])
def test_on_compared__all_lines_broke_a_moment_ago__nobody_is_blamed_by_fewer_than_three(
    back: tuple[NodeKey, ...],
) -> None:
    seat = RecheckSeat(miners=MINERS)
    seat.rechecked((ALICE, NOISE), (BOB, HEART))
    effects = seat.draw(seat.ordered(), DAVE, HEART)
    for miner in MINERS:
        seat.hear(StreamClosed(miner.peer_id))
    for miner in back:
        seat.greet(miner)
    for question in asked(effects):
        seat.compared(question, ANOTHER_PICTURE + 1)
    assert not seat.last().outcome, "erin and fred may be drawn yet"
    seat.wait(1900)
    for miner in MINERS:
        seat.greet(miner)
    seat.draw(seat.ordered(), ERIN, HEART)


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


def test_restore__its_miners_are_not_back_yet__nobody_is_blamed_by_fewer_than_three() -> None:
    seat = RecheckSeat(miners=MINERS)
    seat.rechecked((ALICE, NOISE), (BOB, HEART), (DAVE, HEART))
    again = RecheckSeat((seat.last(),), miners=())
    for question in asked(again.began):
        again.compared(question, ANOTHER_PICTURE + 1)
    assert not again.last().outcome, "erin and fred may be drawn yet"
    again.wait(2100 * (MOST_TRIES + 1))
    assert (again.last().outcome, again.last().odd) == ("odd_one_out", (ALICE_ID,)), "nobody came back for long"


# Where steps contradict each other


@pytest.mark.parametrize("cheats", [False, True], ids=["five alike", "the first is another"])
def test_on_shown__two_contradict_and_others_need_not_show__no_more_than_five_draw_and_pictures_still_count(
    cheats: bool,
) -> None:
    policy = replace(ALL, must_open=False)
    seat, shows = OpeningSeat(miners=MINERS, policy=policy), MINERS[1:3] if cheats else MINERS[:2]
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


# Where arithmetic may have decided

WAY = OTHER_STEPS * 9 // 10


def differing(apart: int, *classes: str, shows: dict[NodeKey, list[bytes]] | None = None) -> OpeningSeat:
    """Have alice's picture lie so far from three that agree; each miner names a class, and goes through such steps."""
    seat = OpeningSeat(miners=())
    seat.steps = dict.fromkeys(MINERS, through()) | {ALICE: through(WAY)} | (shows or {})
    for miner, numerics in zip(MINERS, classes, strict=False):
        seat._numerics = numerics
        seat.greet(miner)
    seat.rechecked((ALICE, NOISE), *((miner, HEART) for miner in MINERS[1:4]), apart=apart)
    return seat


def opened(seat: OpeningSeat) -> set[NodeKey]:
    """Let all who are asked show their steps; gives who was asked."""
    seat.until_asked()
    asked_for = {key for key, _ in seat.questions}
    for miner in asked_for:
        seat.answer(miner)
    return asked_for


ALONE = ("bfloat16-cuda", "float32-cpu", "float32-cpu", "float32-cpu", "float32-cpu")
ALIKE = ("bfloat16-cuda", "float32-cpu", "float32-cpu", "bfloat16-cuda", "float32-cpu")


@pytest.mark.parametrize("classes", [ALONE, ALIKE], ids=["alone in its class", "with another"])
def test_on_opened__slightly_off_through_the_steps_of_the_others__is_no_odd_one(classes: tuple[str, ...]) -> None:
    seat = differing(ANOTHER_PICTURE, *classes)
    assert ALICE in opened(seat)
    assert (seat.last().outcome, seat.last().odd) == ("agreed", ())
    assert seat.standing(ALICE) == (1.0, 0.0)


def test_on_opened__slightly_off_through_other_steps_or_showing_none__is_the_odd_one() -> None:
    other = differing(ANOTHER_PICTURE, *ALIKE, shows={ALICE: through(3 * OTHER_STEPS)})
    opened(other)
    silent = differing(ANOTHER_PICTURE, *ALIKE)
    silent.until_asked()
    for miner in MINERS[:4]:
        silent.decline(miner) if miner is ALICE else silent.answer(miner)
    for seat in (other, silent):
        assert (seat.last().odd, seat.last().far) == ((ALICE_ID,), ())
        assert seat.standing(ALICE) == (0.0, SLIGHT)


def test_on_opened__slightly_off_and_shows_what_it_did_not_sign__is_a_lie() -> None:
    seat = differing(ANOTHER_PICTURE, *ALIKE)
    seat.steps[ALICE] = through(5)
    opened(seat)
    assert seat.standing(ALICE) == (0.0, GRAVE)


@pytest.mark.parametrize(
    ("classes", "doubt", "far"),
    [
        (ALONE, SLIGHT, ()),
        (ALIKE, GRAVE, (ALICE_ID,)),
        (("any", *ALONE[1:]), GRAVE, (ALICE_ID,)),
        (("float64-abacus", *ALONE[1:]), GRAVE, (ALICE_ID,)),
    ],
    ids=["alone in its class", "with another", "names none", "makes one up"],
)
def test_on_opened__something_else__is_grave_and_worth_a_report_where_one_of_its_class_agrees(
    classes: tuple[str, ...], doubt: float, far: tuple[StakingId, ...]
) -> None:
    seat = differing(ANOTHER_PICTURE + 1, *classes)
    assert ALICE not in opened(seat), "it hears nothing of it"
    assert (seat.last().odd, seat.last().far) == ((ALICE_ID,), far)
    assert seat.standing(ALICE) == (0.0, doubt)


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


# Who is asked


def test_plan__tasks_that_nobody_draws_again__are_asked_about_as_those_that_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seat = OpeningSeat(policy=replace(ALL, share=0.0, newcomer_share=0.0))
    monkeypatch.setattr("protocol.roles.coordinator.rechecking.QUESTIONS", 0.0)
    seat.draw(seat.submit(), ALICE)
    assert len(seat.core._rechecking.opening) == 0
    monkeypatch.setattr("protocol.roles.coordinator.rechecking.QUESTIONS", 1.0)
    monkeypatch.setattr("protocol.roles.coordinator.sampling.LATE_QUESTIONS", 1.0)
    task = seat.submit()
    seat.draw(task, ALICE)
    seat.until_asked()
    assert [(key, question.task) for key, question in seat.questions] == [(ALICE, task)]
    seat.steps[ALICE] = through(1000)
    effects = seat.answer(ALICE)
    assert judged(effects) == ["fingerprint.opening"]
    seat.wait(10_000)
    assert len(seat.core._rechecking.opening) == 0
    assert not persisted(effects, ReputationKept)


def test_plan__more_than_may_be_asked_about__are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.roles.coordinator.rechecking.MOST_OPEN", 2)
    monkeypatch.setattr("protocol.roles.coordinator.rechecking.QUESTIONS", 1.0)
    seat = OpeningSeat(policy=replace(ALL, share=0.0, newcomer_share=0.0))
    for _ in range(4):
        seat.draw(seat.submit(), ALICE)
    assert len(seat.core._rechecking.opening) == 2
