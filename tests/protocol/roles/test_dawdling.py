"""Miners that are alive, go from step to step, and are far too slow: they may not hold a task to its end."""

import pytest

from protocol.notes import NoteName
from protocol.roles.coordinator.assignment import MAX_STEP_MS, MAX_WAIT_MS, SPARE_MS
from protocol.task.states import AwardedAttempt
from protocol.wire.messages import Alive, Award
from tests.protocol.roles.frames import ALICE_ID, PARAMS, SPECIFICATION, capability, result_of
from tests.protocol.roles.seats import CoordinatorSeat, noted
from tests.support.networks import ALICE, BOB

STEP_MS = 1000
"""How long (ms) one step takes at the speed that alice states here."""
SPEED = SPECIFICATION.pixels * 1000 // STEP_MS


def state_speed(seat: CoordinatorSeat, speed: int) -> None:
    said = capability(ALICE, ALICE_ID, sequence=seat.now + 1, expires_at=seat.now + 60_000, speed=speed)
    seat.say(ALICE, said)


def awarded(speed: int = SPEED) -> tuple[CoordinatorSeat, Award, AwardedAttempt]:
    """Alice states her speed and wins a task."""
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    state_speed(seat, speed)
    award = seat.award()
    holder = seat.core.task(award.statement.task).holder  # type: ignore[union-attr]
    assert holder is not None
    return seat, award, holder


def work(seat: CoordinatorSeat, award: Award, *, queued_ms: int, step_ms: int, speed: int = SPEED) -> list[object]:
    """Alice waits, then takes her steps, and says so every second for as long as the task lives."""
    named, began, reasons = award.statement, seat.now, []
    while seat.core.task(named.task) is not None and not reasons:
        at = seat.now - began
        state = "queued" if at < queued_ms else "step"
        step = min(1 + (at - queued_ms) // step_ms, SPECIFICATION.steps) if state == "step" else 0
        wait_ms = queued_ms if state == "queued" else step_ms
        word = Alive(task=named.task, attempt=named.attempt, state=state, step=step, steps=10, wait_ms=wait_ms)
        seat.say(ALICE, word)
        state_speed(seat, speed)
        effects = seat.wait(1000)
        reasons += [note.fields["reason"] for note in noted(effects, NoteName.TASK_LEASE_EXPIRED)]
        reasons += [note.fields["reason"] for note in noted(effects, NoteName.TASK_FAILED)]
    return reasons


def test_alive__each_step_as_slow_as_is_believed__loses_the_task_long_before_its_deadline() -> None:
    seat, award, holder = awarded()
    assert work(seat, award, queued_ms=MAX_WAIT_MS, step_ms=60_000) == ["slow"]
    held_ms = seat.now - holder.awarded_at
    assert held_ms <= MAX_WAIT_MS + 4 * SPECIFICATION.steps * STEP_MS + SPARE_MS + 2000
    assert seat.core.roster.conduct.is_paused(ALICE_ID, seat.now)
    assert seat.core.task(award.statement.task) is not None


def test_alive__four_times_slower_than_stated_and_a_minute__keeps_the_task() -> None:
    seat, award, _ = awarded()
    step_ms = 4 * STEP_MS + SPARE_MS // SPECIFICATION.steps
    for step in range(SPECIFICATION.steps):
        word = Alive(task=award.statement.task, attempt=0, state="step", step=step, steps=10, wait_ms=step_ms)
        for _ in range(10):
            seat.say(ALICE, word)
            assert not noted(seat.wait(step_ms // 10 - 1), NoteName.TASK_LEASE_EXPIRED)


def test_alive__states_that_it_is_as_slow__has_half_of_the_longest_life_and_no_more() -> None:
    seat, award, holder = awarded(speed=1)
    assert work(seat, award, queued_ms=0, step_ms=60_000, speed=1) == ["slow"]
    assert 0 <= seat.now - holder.awarded_at - PARAMS.task_limit_ms // 2 <= 1000
    assert seat.core.roster.conduct.is_paused(ALICE_ID, seat.now)


def test_alive__endless_step_stated__is_believed_for_a_bounded_time() -> None:
    seat, award, holder = awarded(speed=1)
    assert work(seat, award, queued_ms=0, step_ms=600_000, speed=1) == ["stuck_step"]
    assert seat.now - holder.awarded_at <= 4 * MAX_STEP_MS + PARAMS.step_grace_ms + 2000


def test_result__at_the_end_of_its_time__has_time_for_its_bytes() -> None:
    seat, award, holder = awarded(speed=1)
    named = award.statement
    while seat.now < holder.awarded_at + PARAMS.attempt_limit_ms - 1000:
        step = 1 + (seat.now - holder.awarded_at) * 9 // PARAMS.attempt_limit_ms
        seat.say(ALICE, Alive(task=named.task, attempt=0, state="step", step=step, steps=10, wait_ms=30_000))
        seat.wait(1000)
    seat.say(ALICE, result_of(award))
    assert not noted(seat.wait(PARAMS.lease_ms - 1), NoteName.TASK_LEASE_EXPIRED)
    assert noted(seat.wait(PARAMS.lease_ms), NoteName.TASK_LEASE_EXPIRED)


@pytest.mark.parametrize(("left_ms", "paused"), [(10_000, False), (150_000, True)])
def test_deadline__holder_that_had_the_time_that_it_asked_for__is_paused(left_ms: int, paused: bool) -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    known = seat.core.task(task)  # type: ignore[arg-type]
    assert known is not None
    while known.deadline - seat.now > left_ms or known.open is None or known.open.order[:1] != (ALICE_ID,):
        state_speed(seat, 10**7)
        seat.wait(500)
    seat.say(ALICE, seat.claim(ALICE, task))
    holder = known.holder
    assert holder is not None
    award = holder.award
    reasons = work(seat, award, queued_ms=2 * MAX_WAIT_MS, step_ms=60_000, speed=10**7)
    assert reasons == ["deadline"]
    assert seat.core.roster.conduct.is_paused(ALICE_ID, seat.now) == paused
