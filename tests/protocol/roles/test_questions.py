"""Questions about tasks that nobody draws again, which look like those about tasks that are: SPEC.md §12.8."""

from dataclasses import replace

import pytest

from protocol.events import TaskSubmitted
from protocol.records import TaskAccepted
from protocol.stake.epoch import beacon_cutoff
from protocol.task.steps import show_steps
from protocol.units import DurationMs, Epoch
from protocol.wire.messages import OpenedSteps
from tests.protocol.roles.frames import EPOCH, PARAMS, SPECIFICATION
from tests.protocol.roles.test_opening import OpeningSeat, through
from tests.protocol.roles.test_rechecking import ALL
from tests.support.networks import ALICE


def test_plan__tasks_that_nobody_draws_again__are_asked_about_as_those_whose_steps_were_contradicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protocol.roles.coordinator.rechecking.QUESTIONS", 1.0)
    monkeypatch.setattr("protocol.roles.coordinator.sampling.LATE_QUESTIONS", 0.0)
    seat = OpeningSeat(policy=replace(ALL, share=0.0, newcomer_share=0.0), count=20)
    task = seat.submit()
    seat.draw(task, ALICE)
    steps = set()
    for _ in range(2):
        seat.until_asked()
        ((key, question),) = seat.questions
        assert (key, question.task) == (ALICE, task)
        steps.add(question.steps)
        assert len(seat.core._rechecking.opening) == 1
        seat.answer(ALICE)
    assert len(steps) == 2, "by another beacon"
    assert len(seat.core._rechecking.opening) == 0


def test_plan__tasks_that_nobody_draws_again__are_asked_about_as_late_as_those_whose_picture_was_contradicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protocol.roles.coordinator.rechecking.QUESTIONS", 1.0)
    monkeypatch.setattr("protocol.roles.coordinator.sampling.LATE_QUESTIONS", 1.0)
    epoch_ms, cutoff = PARAMS.epoch_s * 1000, beacon_cutoff(Epoch(EPOCH + 1), PARAMS)
    policy = replace(ALL, share=0.0, newcomer_share=0.0, earliest=DurationMs(epoch_ms), latest=DurationMs(epoch_ms))
    seat = OpeningSeat(policy=policy)
    seat.draw(seat.submit(), ALICE)
    seat.until_asked()
    assert seat.now >= cutoff + 3 * epoch_ms, "each of three others would have been waited for"
    assert len(seat.questions) == 1


def test_plan__many_tasks_of_one_account__leave_room_for_questions_about_those_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protocol.roles.coordinator.rechecking.MOST_OPEN", 4)
    monkeypatch.setattr("protocol.roles.coordinator.rechecking.QUESTIONS", 1.0)
    seat = OpeningSeat(policy=replace(ALL, share=0.0, newcomer_share=0.0))
    found = []
    for account in ("friend", "friend", "friend", "other"):
        seat.hear(TaskSubmitted(1, SPECIFICATION, True, account=account))
        seat.wait(20)
        seat.draw([record.task for record in seat.kept if isinstance(record, TaskAccepted)][-1], ALICE)
        found.append(len(seat.core._rechecking.opening))
    assert found == [1, 2, 2, 3]
    while len(seat.core._rechecking.opening):
        seat.until_asked()
        for _, question in list(seat.questions):
            opened = show_steps(through(), question.steps)
            answer = OpenedSteps(task=question.task, attempt=0, commitment=question.commitment, opened=opened)
            seat.say(ALICE, answer)
    assert not seat.core._rechecking.opening._room._taken
