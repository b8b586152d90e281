"""What miners have of one account at once: little at first, more with each picture that it takes."""

import pytest

from protocol.effects import Accepted, Effect, Publish, Reply
from protocol.events import TaskCancelled, TaskSubmitted, TaskTaken
from protocol.records import BootStarted, Record, TaskAccepted, TaskAwarded
from protocol.roles.coordinator import app_room
from protocol.roles.coordinator.app_room import ACCOUNT_FULL, FIRST, MOST, MOST_STALE, AppRoom
from protocol.task.priority import Priority
from protocol.units import TaskId
from protocol.wire.messages import Award, Bulletin
from tests.protocol.roles.frames import SPECIFICATION, artifact_of, result_of
from tests.protocol.roles.seats import CoordinatorSeat, of_kind, persisted
from tests.support.networks import ALICE, BOB


def ordered(
    seat: CoordinatorSeat, count: int, account: str = "an app", *, collected: bool = True, priority: Priority = "normal"
) -> list[TaskId]:
    """Order some pictures at once."""
    tasks = []
    for number in range(count):
        name = f"{account} {seat.now} {priority} {number}"
        order = TaskSubmitted(1, SPECIFICATION, True, name, account=account, collected=collected, priority=priority)
        (answer,) = (effect.answer for effect in seat.hear(order) if isinstance(effect, Reply))
        assert isinstance(answer, Accepted), answer
        tasks.append(answer.task)
    seat.wait(200)
    return tasks


def offered(seat: CoordinatorSeat, tasks: list[TaskId]) -> list[TaskId]:
    """Those of some unfinished tasks that were made public."""
    known = [seat.core.task(task) for task in tasks]
    return [task.id for task in known if task is not None and task.attempt >= 0]


def drawn(seat: CoordinatorSeat, task: TaskId) -> tuple[Effect, ...]:
    """Have alice draw a task that is offered."""
    seat.wait(700)
    (award,) = of_kind(seat.say(ALICE, seat.claim(ALICE, task, nonce=task[:16])) + seat.wait(300), Award)
    return seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award))


def public(effects: tuple[Effect, ...]) -> set[bytes]:
    bulletins = [one.message for one in effects if isinstance(one, Publish) and isinstance(one.message, Bulletin)]
    return {offer.task for bulletin in bulletins for offer in bulletin.offers}


def test_offer__many_wait_for_their_accounts_room__others_are_offered_again_as_soon_as_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app_room, "FIRST", 1)
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    ordered(seat, 20)
    (task,) = ordered(seat, 1, "by HTTP", collected=False)
    assert task in public(seat.wait(1000)), "two miners are free for two tasks: it is no backlog"


def test_offer__burst_of_an_account_that_took_nothing_yet__few_are_out_and_those_of_others_go_on() -> None:
    seat = CoordinatorSeat()
    tasks = ordered(seat, 20)
    assert offered(seat, tasks) == tasks[:FIRST]
    others = ordered(seat, FIRST, "another") + ordered(seat, 20, "by HTTP", collected=False)
    assert offered(seat, others) == others
    waiting = seat.core.task(tasks[-1])
    assert waiting is not None
    assert ACCOUNT_FULL in waiting.why_waiting()
    seat.wait(5000)
    seat.greet(ALICE)
    assert offered(seat, tasks) == tasks[:FIRST], "whatever brings all that waits to be offered again"
    assert waiting.declines[ACCOUNT_FULL] == 1


def test_offer__pictures_are_taken__one_more_is_out_for_each() -> None:
    seat = CoordinatorSeat()
    tasks = ordered(seat, 12)
    for task in tasks[:3]:
        drawn(seat, task)
        taken = seat.hear(TaskTaken(task)) + seat.wait(200)
        assert len(public(taken) & set(tasks)) >= 2, "its place, and one more"
    assert offered(seat, tasks[3:]) == tasks[3 : 3 + FIRST + 3]


def test_offer__pictures_are_left__half_as_many_are_out_each_time_and_one_always() -> None:
    seat = CoordinatorSeat()
    tasks = ordered(seat, 12)
    for left, out in ((1, FIRST - 1), (2, 2), (3, 1), (4, 1), (5, 1)):
        drawn(seat, tasks[left - 1])
        seat.hear(TaskCancelled(tasks[left - 1]))
        seat.wait(200)
        assert offered(seat, tasks[left:]) == tasks[left : left + out]
    assert seat.core._settlement.app_room.room("an app") == 1


def test_offer__order_is_taken_back_before_a_miner_had_it__costs_no_room() -> None:
    seat = CoordinatorSeat()
    tasks = ordered(seat, 6)
    seat.hear(TaskCancelled(tasks[0]))
    seat.wait(200)
    assert offered(seat, tasks[1:]) == tasks[1 : 1 + FIRST]


def test_offer__accounts_of_one_network__have_three_times_as_many_out_together() -> None:
    seat = CoordinatorSeat()
    sites = [task for number in range(10) for task in ordered(seat, 2, f"network/site {number}")]
    assert offered(seat, sites) == sites[: 3 * FIRST]
    elsewhere = ordered(seat, 1, "elsewhere/site")
    assert offered(seat, elsewhere) == elsewhere
    seat.hear(TaskCancelled(sites[0]))
    seat.wait(200)
    assert offered(seat, sites[1:]) == sites[1 : 1 + 3 * FIRST], "the room of another site is the network's"


def test_next__of_what_waits__gives_the_most_urgent_first() -> None:
    seat = CoordinatorSeat()
    out = ordered(seat, FIRST)
    low, high = ordered(seat, 1, priority="low"), ordered(seat, 1, priority="high")
    seat.hear(TaskCancelled(out[0]))
    seat.wait(200)
    assert (offered(seat, high), offered(seat, low)) == (high, [])


def test_restart__tasks_that_miners_have__are_out_still() -> None:
    seat = CoordinatorSeat()
    records: list[Record] = [BootStarted(seat.core._settlement.boot)]
    for number in range(2):
        order = TaskSubmitted(1, SPECIFICATION, True, f"order {number}", account="an app", collected=True)
        effects = seat.hear(order) + seat.wait(700)
        (accepted,) = persisted(effects, TaskAccepted)
        effects += seat.say(ALICE, seat.claim(ALICE, accepted.task, nonce=accepted.task[:16])) + seat.wait(300)
        records += [accepted, *persisted(effects, TaskAwarded)]
    assert len(records) == 5
    again = CoordinatorSeat(tuple(records), miners=())
    again.now = seat.now
    again.greet(ALICE)
    more = ordered(again, 3)
    assert offered(again, more) == more[: FIRST - 2]


def test_on_end__of_what_waits__leaves_no_more_behind_than_a_bound() -> None:
    seat = CoordinatorSeat()
    out, room = ordered(seat, FIRST), seat.core._settlement.app_room
    for _ in range(5):
        for task in ordered(seat, MOST_STALE):
            seat.hear(TaskCancelled(task))
    assert len(room._queues["an app"]) <= MOST_STALE + 1
    assert not room._waits_for
    last = ordered(seat, 1)
    seat.hear(TaskCancelled(out[0]))
    seat.wait(200)
    assert offered(seat, last) == last
    for task in (*out[1:], *last):
        seat.hear(TaskCancelled(task))
    assert (room._queues, room._out, room._stale, room._waits_for) == ({}, {}, {}, {})


def test_room__of_accounts_that_took_much_or_of_many__is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_room, "REMEMBERED", 3)
    seat = CoordinatorSeat()
    (name,) = ordered(seat, 1)
    task = seat.core.task(name)
    assert task is not None
    room = AppRoom({})
    for _ in range(2 * MOST):
        room.on_end(task, None)
    assert room.room("an app") == MOST
    for number in range(5):
        task.account = f"app {number}"
        room.on_end(task, None)
    assert len(room) == 3
    assert room.room("an app") == FIRST, "the oldest is forgotten"
