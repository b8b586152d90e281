"""Tasks that end with a picture only on their app's word: nobody is paid without it, and it comes once."""

from dataclasses import replace

import pytest

from protocol.effects import Accepted, Deliver, Effect, Refused, Reply, Stage
from protocol.events import (
    AppLeft,
    AppReturned,
    StreamClosed,
    TaskCancelled,
    TaskSubmitted,
    TaskTaken,
    TimerFired,
)
from protocol.records import (
    ArtifactStored,
    BootStarted,
    Record,
    TaskAccepted,
    TaskAwarded,
    TaskDone,
    TaskFailed,
    VoucherIssued,
)
from protocol.roles.coordinator import untaken
from protocol.roles.coordinator.collecting import APP_LEASE_MS, NOT_TAKEN
from protocol.roles.coordinator.untaken import FORGOTTEN_MS, MOST
from protocol.units import TaskId, UnixMillis
from protocol.wire.messages import Abandon, Alive, Award, Cancel, Receipt
from tests.protocol.roles.frames import PARAMS, PICTURE, PICTURE_DIGEST, SPECIFICATION, artifact_of, result_of
from tests.protocol.roles.seats import CoordinatorSeat, ignored, judged, of_kind, persisted
from tests.support.networks import ALICE, BOB


def submitted(seat: CoordinatorSeat) -> tuple[TaskAccepted, tuple[Effect, ...]]:
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, "an order", collected=True))
    (accepted,) = persisted(effects, TaskAccepted)
    seat.wait(20)
    return accepted, effects


def awarded(seat: CoordinatorSeat) -> Award:
    accepted, _ = submitted(seat)
    effects = seat.say(ALICE, seat.claim(ALICE, accepted.task)) + seat.wait(300)
    return of_kind(effects, Award)[0]


def drawn(seat: CoordinatorSeat, award: Award) -> tuple[Effect, ...]:
    return seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award))


def told(effects: tuple[Effect, ...]) -> list[Stage]:
    return [effect.update.stage for effect in effects if isinstance(effect, Deliver)]


def ready() -> tuple[CoordinatorSeat, TaskId, Award]:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = awarded(seat)
    drawn(seat, award)
    return seat, award.statement.task, award


def test_complete__collected_task__tells_its_app_and_signs_nothing() -> None:
    seat = CoordinatorSeat()
    effects = drawn(seat, awarded(seat))
    assert told(effects) == [Stage.READY]
    assert persisted(effects, ArtifactStored) == [ArtifactStored(PICTURE_DIGEST, PICTURE)]
    assert not persisted(effects, TaskDone)
    assert not persisted(effects, VoucherIssued)
    assert not of_kind(effects, Receipt)


def test_taken__picture_is_ready__is_paid_and_told_once() -> None:
    seat, task, _ = ready()
    effects = seat.hear(TaskTaken(task))
    assert told(effects) == [Stage.DONE]
    assert len(persisted(effects, VoucherIssued)) == len(of_kind(effects, Receipt)) == 1
    assert not persisted(effects, ArtifactStored), "the bytes are on the disk already"
    again = seat.hear(TaskTaken(task))
    assert not persisted(again, VoucherIssued)
    assert not seat.timers.keys() & {(what, task, 0) for what in ("app", "lease", "deadline", "offer")}


def test_taken__before_the_picture__ends_the_task_when_it_comes() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    assert not persisted(seat.hear(TaskTaken(award.statement.task)), TaskDone)
    assert told(drawn(seat, award)) == [Stage.DONE]


def test_taken__task_that_is_not_collected__changes_nothing() -> None:
    seat = CoordinatorSeat()
    task = TaskId(seat.submit())
    assert not seat.hear(TaskTaken(task))
    assert not seat.hear(AppLeft(task, seat.now))


def test_ready__app_does_not_take_it__ends_by_name_and_its_miner_is_paid_once() -> None:
    seat, task, award = ready()
    assert not persisted(seat.wait(APP_LEASE_MS - 1), TaskFailed)
    effects = seat.wait(1)
    assert [record.reason for record in persisted(effects, TaskFailed)] == [NOT_TAKEN]
    assert of_kind(effects, Cancel), "its miner hears of it"
    (receipt,) = of_kind(effects, Receipt)
    late = seat.hear(TaskTaken(task)) + seat.say(ALICE, result_of(award))
    assert of_kind(late, Receipt) == [receipt], "it may not have come"
    assert not persisted(late, TaskDone)
    assert not persisted(late, VoucherIssued)


def test_ready__its_miner_goes_on_or_leaves__changes_nothing() -> None:
    seat, task, award = ready()
    effects = seat.say(ALICE, Abandon(task=task, attempt=0, reason="failed"))
    effects += seat.say(ALICE, Alive(task=task, attempt=0, state="encoding", step=0, steps=10, wait_ms=0))
    effects += seat.say(ALICE, result_of(award))
    seat.now = UnixMillis(seat.now + PARAMS.lease_ms)
    effects += seat.hear(TimerFired(("lease", task, 0)))  # it was on its way when the picture came
    effects += seat.wait(APP_LEASE_MS - PARAMS.lease_ms - 1)
    assert set(told(effects)) == {Stage.PROGRESS}, "it still says what it does"
    assert not persisted(effects, TaskFailed)
    assert not of_kind(effects, Award)
    assert told(seat.hear(TaskTaken(task))) == [Stage.DONE]


def test_ready__another_attempt_delivers_too__is_not_taken() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    first = awarded(seat)
    task = first.statement.task
    seat.say(ALICE, Abandon(task=task, attempt=0, reason="failed"))
    seat.wait(5000)
    second = of_kind(seat.say(BOB, seat.claim(BOB, task)) + seat.wait(300), Award)[0]
    seat.say(ALICE, result_of(first))
    assert told(seat.hear(artifact_of(first))) == [Stage.READY], "a late attempt may deliver"
    effects = seat.say(BOB, result_of(second, by=BOB, miner=second.statement.miner))
    assert not seat.core.expects_artifact(BOB.peer_id, task, second.statement.attempt, len(PICTURE), seat.now)
    assert not told(effects)
    effects = seat.hear(TaskTaken(task))
    (done,) = persisted(effects, TaskDone)
    assert (done.attempt, done.miner) == (0, first.statement.miner)
    assert [cancel.reason for cancel in of_kind(effects, Cancel)] == ["superseded"]


def test_ready__late_attempt_of_a_task_on_offer__is_given_to_nobody_else() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    first = awarded(seat)
    task = first.statement.task
    seat.say(ALICE, Abandon(task=task, attempt=0, reason="failed"))
    seat.wait(5000)
    seat.say(ALICE, result_of(first))
    seat.hear(artifact_of(first))
    effects = seat.say(BOB, seat.claim(BOB, task)) + seat.wait(APP_LEASE_MS - 1)
    assert not of_kind(effects, Award)
    assert told(seat.hear(TaskTaken(task))) == [Stage.DONE]


def test_ready__late_attempt_of_a_task_that_waits_to_be_offered__is_offered_to_nobody() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    first = awarded(seat)
    task = first.statement.task
    seat.wait(5)
    seat.hear(StreamClosed(BOB.peer_id))
    seat.say(ALICE, Abandon(task=task, attempt=0, reason="failed"))
    seat.say(ALICE, result_of(first))
    assert told(seat.hear(artifact_of(first))) == [Stage.READY]
    seat.greet(BOB)
    effects = seat.wait(APP_LEASE_MS - 1)
    assert Stage.OFFERED not in told(effects)


def test_left__app_stays_away__task_ends_and_reaches_the_miner() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    task = award.statement.task
    seat.hear(AppLeft(task, UnixMillis(seat.now - 1000)))
    alive = Alive(task=task, attempt=0, state="step", step=1, steps=10, wait_ms=3000)
    effects: tuple[Effect, ...] = ()
    for step in range(1, APP_LEASE_MS // 1000):
        assert not persisted(effects, TaskFailed)
        effects = seat.say(ALICE, alive.model_copy(update={"step": step % 10})) + seat.wait(1000)
    assert [record.reason for record in persisted(effects, TaskFailed)] == ["client_gone"]
    assert of_kind(effects, Cancel)


def test_left__app_returns_in_time__task_goes_on() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    task = award.statement.task
    seat.hear(AppLeft(task, seat.now))
    assert ("app", task, 0) in seat.timers
    seat.hear(AppReturned(task))
    assert ("app", task, 0) not in seat.timers


def test_returned__picture_waits__has_a_whole_lease_to_take_it() -> None:
    seat, task, _ = ready()
    seat.hear(AppLeft(task, seat.now))
    seat.wait(APP_LEASE_MS - 1000)
    seat.hear(AppReturned(task))
    assert not persisted(seat.wait(APP_LEASE_MS - 1), TaskFailed)
    assert told(seat.hear(TaskTaken(task))) == [Stage.DONE]


def test_returned__again_and_again__has_one_more_lease_and_no_other() -> None:
    seat, task, _ = ready()
    effects = seat.wait(APP_LEASE_MS - 1)
    for _ in range(APP_LEASE_MS // 5000):
        effects += seat.hear(AppLeft(task, seat.now)) + seat.hear(AppReturned(task)) + seat.wait(5000)
    assert [record.reason for record in persisted(effects, TaskFailed)] == [NOT_TAKEN], "its miner is not kept waiting"


def test_left__after_it_has_taken_the_picture__the_task_stays() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    task = award.statement.task
    seat.hear(TaskTaken(task))
    seat.hear(AppLeft(task, seat.now))
    assert ("app", task, 0) not in seat.timers
    assert told(drawn(seat, award)) == [Stage.DONE]


def test_taken__by_an_app_that_had_left__the_task_stays() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    task = award.statement.task
    seat.hear(AppLeft(task, seat.now))
    seat.hear(TaskTaken(task))
    assert ("app", task, 0) not in seat.timers
    assert told(drawn(seat, award)) == [Stage.DONE]


def restarted(records: list[Record]) -> CoordinatorSeat:
    return CoordinatorSeat(tuple(records))


def records_of(seat: CoordinatorSeat) -> tuple[list[Record], Award]:
    accepted, _ = submitted(seat)
    effects = seat.say(ALICE, seat.claim(ALICE, accepted.task)) + seat.wait(300)
    boot = BootStarted(seat.core._settlement.boot)
    return [boot, accepted, *persisted(effects, TaskAwarded)], of_kind(effects, Award)[0]


def test_restart__app_comes_back__same_task_goes_on_and_is_paid_once() -> None:
    records, award = records_of(CoordinatorSeat())
    seat = restarted(records)
    answer = seat.hear(TaskSubmitted(7, SPECIFICATION, True, "an order", collected=True))
    assert [effect.answer for effect in answer if isinstance(effect, Reply)] == [Accepted(award.statement.task)]
    seat.hear(AppReturned(award.statement.task))
    assert told(drawn(seat, award)) == [Stage.READY]
    assert len(persisted(seat.hear(TaskTaken(award.statement.task)), VoucherIssued)) == 1


def test_restart__app_has_gone_elsewhere__task_ends_unpaid_though_its_miner_delivers() -> None:
    records, award = records_of(CoordinatorSeat())
    seat = restarted(records)
    effects = drawn(seat, award) + seat.wait(APP_LEASE_MS)
    assert not persisted(effects, VoucherIssued)
    assert [record.reason for record in persisted(effects, TaskFailed)] == [NOT_TAKEN]


def test_restart__nobody_comes_back__task_ends_client_gone() -> None:
    records, _ = records_of(CoordinatorSeat())
    seat = CoordinatorSeat(tuple(records[:2]), miners=())
    assert [one.reason for one in persisted(seat.wait(APP_LEASE_MS), TaskFailed)] == ["client_gone"]


@pytest.mark.parametrize("moment", ["before", "ready"])
def test_cancelled__collected_task__ends_and_leaves_no_timer(moment: str) -> None:
    seat, task, _ = ready() if moment == "ready" else (seat := CoordinatorSeat(), awarded(seat).statement.task, None)
    assert [one.reason for one in persisted(seat.hear(TaskCancelled(task)), TaskFailed)] == ["cancelled"]
    assert not {key for key in seat.timers if key[1] == task}


def test_result__picture_of_another_size__is_never_ready() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    wrong = replace(artifact_of(award, data=PICTURE + b"x"), digest=artifact_of(award).digest)
    seat.say(ALICE, result_of(award))
    effects = seat.hear(wrong)
    assert Stage.READY not in told(effects)
    assert judged(effects) == ["artifact.unexpected"] or ignored(effects) == ["artifact.unexpected"]


def ordered(seat: CoordinatorSeat, name: str, account: str = "an app") -> Accepted | Refused:
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, name, account=account, collected=True))
    (reply,) = (effect.answer for effect in effects if isinstance(effect, Reply))
    return reply


def taken_in(seat: CoordinatorSeat, name: str, account: str = "an app") -> TaskId:
    answer = ordered(seat, name, account)
    assert isinstance(answer, Accepted), answer
    seat.wait(20)
    return answer.task


def draw(seat: CoordinatorSeat, task: TaskId) -> None:
    """Have alice draw a task up to the moment at which its app may take it."""
    seat.wait(700)  # of a few tasks she is left out of the field by lot, and has to wait for the last slot
    effects = seat.say(ALICE, seat.claim(ALICE, task, nonce=task[:16])) + seat.wait(300)
    assert told(drawn(seat, of_kind(effects, Award)[0])) == [Stage.READY]


def left_untaken(seat: CoordinatorSeat, count: int, account: str = "an app") -> None:
    for number in range(count):
        task = taken_in(seat, f"left {number} of {account}", account)
        draw(seat, task)
        assert persisted(seat.hear(TaskCancelled(task)), TaskFailed)


def test_untaken__as_many_as_may_be__no_more_is_drawn_until_one_is_forgotten() -> None:
    seat = CoordinatorSeat()
    left_untaken(seat, MOST)
    refused = ordered(seat, "one more")
    assert isinstance(refused, Refused)
    assert refused.code == "rate_limited"
    assert 50 < (refused.retry_after_s or 0) < 60
    assert isinstance(ordered(seat, "another's", "another"), Accepted)
    seat.wait(FORGOTTEN_MS)
    seat.greet(ALICE)
    assert isinstance(ordered(seat, "one more"), Accepted)
    assert isinstance(ordered(seat, "two more"), Refused), "as many as are forgotten"


def test_untaken__lease_of_each_runs_out__is_counted_too() -> None:
    seat = CoordinatorSeat()
    left_untaken(seat, MOST - 1)
    task = taken_in(seat, "the last")
    draw(seat, task)
    assert [record.reason for record in persisted(seat.wait(APP_LEASE_MS), TaskFailed)] == [NOT_TAKEN]
    assert isinstance(ordered(seat, "one more"), Refused)


def test_untaken__as_many_as_may_be__what_waits_for_a_miner_ends_with_the_last() -> None:
    seat = CoordinatorSeat()
    others = taken_in(seat, "another's", "another")
    tasks = [taken_in(seat, f"is drawn {number}") for number in range(MOST)]
    waiting = [taken_in(seat, f"waits {number}") for number in range(3)]
    effects: tuple[Effect, ...] = ()
    for task in tasks:
        draw(seat, task)
        effects = seat.hear(TaskCancelled(task))
    ended = {record.task: record.reason for record in persisted(effects, TaskFailed)}
    assert ended == {tasks[-1]: "cancelled"} | dict.fromkeys(waiting, "client_gone")
    assert seat.core.task(others) is not None


def test_untaken__others_that_are_taken__make_up_for_it() -> None:
    seat = CoordinatorSeat()
    left_untaken(seat, MOST - 1)
    for number in range(MOST):
        task = taken_in(seat, f"is taken {number}")
        draw(seat, task)
        assert told(seat.hear(TaskTaken(task))) == [Stage.DONE]
    assert isinstance(ordered(seat, "one"), Accepted)
    assert isinstance(ordered(seat, "and another"), Accepted)


def test_untaken__accounts_of_one_network__are_bounded_together() -> None:
    seat = CoordinatorSeat()
    for number in range(3 * MOST):
        left_untaken(seat, 1, f"network/site {number}")
    assert isinstance(ordered(seat, "one more", "network/site new"), Refused)
    assert isinstance(ordered(seat, "another's", "elsewhere/site new"), Accepted)


def test_untaken__of_more_accounts_than_are_remembered__stays_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untaken, "REMEMBERED", 3)
    seat = CoordinatorSeat()
    for number in range(5):
        left_untaken(seat, 1, f"app {number}")
    assert len(seat.core._settlement.untaken) == 3
