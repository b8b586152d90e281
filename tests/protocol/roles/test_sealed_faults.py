"""Sealed tasks whose miner or app says that it cannot open what the other sealed: nobody else can see who lies."""

import pytest

from protocol.effects import Stage
from protocol.events import PictureRejected, StreamClosed, TaskCancelled
from protocol.notes import NoteName
from protocol.records import VoucherIssued
from protocol.units import TaskId
from protocol.wire.messages import Abandon, Alive, Award, Reject
from tests.protocol.roles.frames import (
    ALICE_ID,
    result_of,
)
from tests.protocol.roles.sealed_seat import SealedSeat, acceptance, awarded, drawn, failures, key_for, ready, stages
from tests.protocol.roles.sealing import sealed_picture
from tests.protocol.roles.seats import ignored, judged, noted, of_kind, persisted
from tests.support.networks import ALICE, BOB


def test_rejected__by_its_app__another_miner_draws_it_and_nobody_is_paused() -> None:
    seat, award = ready()
    task = TaskId(award.statement.task)
    effects = seat.hear(PictureRejected(task, 0))
    assert [reject.reason for reject in of_kind(effects, Reject)] == ["not_accepted"]
    assert stages(effects) == [Stage.QUEUED, Stage.OFFERED]
    assert not noted(effects, NoteName.MINER_PAUSED)
    assert not judged(effects)
    late = seat.say(ALICE, result_of(award, data=sealed_picture(award)))
    assert not stages(late), "what was not accepted is not taken when it comes again"
    seat.wait(5000)
    effects = seat.say(BOB, seat.claim(BOB, task)) + seat.wait(300)
    (second,) = of_kind(effects, Award)
    seat.hear(key_for(second))
    assert stages(drawn(seat, second, BOB)) == [Stage.READY]
    effects = seat.hear(PictureRejected(task, second.statement.attempt))
    assert failures(effects) == ["not_accepted"], "the second time it may be the app"
    assert not persisted(effects, VoucherIssued)


def test_rejected__task_has_ended_and_its_miner_comes_and_goes__concerns_nobody() -> None:
    seat, award = ready()
    task = TaskId(award.statement.task)
    seat.hear(PictureRejected(task, 0))
    assert failures(seat.hear(TaskCancelled(task))) == ["cancelled"]
    seat.hear(StreamClosed(ALICE.peer_id))
    seat.greet(ALICE)
    assert seat.core._settlement.holdings.of(ALICE_ID) == ()


def test_rejected__of_a_late_attempt__whoever_holds_the_task_goes_on() -> None:
    seat = SealedSeat(miners=(ALICE, BOB))
    first, _ = awarded(seat)
    task = TaskId(first.statement.task)
    seat.hear(key_for(first))
    seat.say(ALICE, Abandon(task=task, attempt=0, reason="failed"))
    seat.wait(5000)
    (second,) = of_kind(seat.say(BOB, seat.claim(BOB, task)) + seat.wait(300), Award)
    seat.hear(key_for(second))
    assert stages(drawn(seat, first)) == [Stage.READY], "a late attempt may deliver"
    effects = seat.hear(PictureRejected(task, 0))
    assert not stages(effects)
    assert stages(drawn(seat, second, BOB)) == [Stage.READY]
    assert stages(seat.hear(acceptance(second))) == [Stage.DONE]


def test_rejected__of_a_late_attempt_of_a_task_that_waits__is_offered_again() -> None:
    seat = SealedSeat(miners=(ALICE, BOB))
    first, _ = awarded(seat)
    task = TaskId(first.statement.task)
    seat.hear(key_for(first))
    seat.say(ALICE, Abandon(task=task, attempt=0, reason="failed"))
    drawn(seat, first)
    seat.hear(PictureRejected(task, 0))
    seat.wait(5000)
    assert of_kind(seat.say(BOB, seat.claim(BOB, task)) + seat.wait(300), Award)


@pytest.mark.parametrize("attempt", [0, 1])
def test_rejected__nothing_waits_for_its_app__is_ignored(attempt: int) -> None:
    seat = SealedSeat()
    award, _ = awarded(seat)
    effects = seat.hear(PictureRejected(TaskId(award.statement.task), attempt))
    assert ignored(effects) == ["order_rejection.stale"]


def test_abandon__cannot_be_opened__is_offered_to_another_and_fails_the_second_time() -> None:
    seat = SealedSeat(miners=(ALICE, BOB))
    first, _ = awarded(seat)
    task = TaskId(first.statement.task)
    seat.hear(key_for(first))
    effects = seat.say(ALICE, Abandon(task=task, attempt=0, reason="sealed_invalid"))
    assert not noted(effects, NoteName.MINER_PAUSED)
    seat.wait(5000)
    (second,) = of_kind(seat.say(BOB, seat.claim(BOB, task)) + seat.wait(300), Award)
    effects = seat.say(BOB, Abandon(task=task, attempt=second.statement.attempt, reason="sealed_invalid"))
    assert failures(effects) == ["sealed_invalid"]


def test_abandon__cannot_be_opened_of_a_plain_task__is_a_lost_lease() -> None:
    seat = SealedSeat()
    award = seat.award()
    seat.say(ALICE, Abandon(task=award.statement.task, attempt=0, reason="sealed_invalid"))
    assert seat.core._tasks[TaskId(award.statement.task)].failures == 1


def test_abandon__key_did_not_come__is_forgiven_once() -> None:
    seat = SealedSeat()
    award, _ = awarded(seat)
    seat.say(ALICE, Abandon(task=award.statement.task, attempt=0, reason="no_key"))
    task = seat.core._tasks[TaskId(award.statement.task)]
    assert (task.failures, task.excluded) == (0, frozenset())


def test_abandon__content_policy_once_it_is_open__is_held_against_nobody() -> None:
    seat = SealedSeat(miners=(ALICE, BOB))
    award, _ = awarded(seat)
    task = award.statement.task
    seat.say(ALICE, Alive(task=task, attempt=0, state="queued", step=0, steps=10, wait_ms=12_000))
    seat.hear(key_for(award))
    effects = seat.say(ALICE, Abandon(task=task, attempt=0, reason="content_policy"))
    assert not noted(effects, NoteName.MINER_PAUSED)
    assert seat.core._tasks[TaskId(task)].refused_by == {ALICE_ID}
