"""The thread of the store: order, outcomes, cancellation, its end."""

import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from node.adapters.store.thread import StoreThread


@pytest.fixture
async def thread():
    thread = StoreThread()
    yield thread
    thread.stop()


async def test_run__many_at_once__all_in_one_thread_in_order_each_with_its_answer(thread):
    done: list[int] = []
    names: set[str] = set()
    answers: dict[int, int] = {}

    def work(number: int) -> int:
        names.add(threading.current_thread().name)
        done.append(number)
        return 2 * number

    async def ask(number: int) -> None:
        answers[number] = await thread.run(lambda: work(number))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
    assert done == list(range(50))
    assert answers == {number: 2 * number for number in range(50)}
    assert names == {"store"}


async def test_run__work_raises__who_asked_hears_it_and_the_next_is_done(thread):
    def fail() -> None:
        raise ValueError("disk")

    with pytest.raises(ValueError, match="disk"):
        await thread.run(fail)
    assert await thread.run(lambda: 7) == 7


async def test_run__cancelled_while_it_works__is_done_and_answered_all_the_same(thread):
    begun, may_end = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        may_end.wait(10)
        return "done"

    answers: list[str] = []

    async def ask() -> None:
        answers.append(await thread.run(work))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
        may_end.set()
    assert answers == ["done"]
    assert await thread.run(lambda: 7) == 7


async def test_run__cancelled_while_it_waits_for_its_turn__is_not_done(thread):
    begun, may_end, done = threading.Event(), threading.Event(), []

    def hold() -> None:
        begun.set()
        may_end.wait(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(thread.run, hold)
        await trio.to_thread.run_sync(begun.wait)
        with trio.move_on_after(0) as scope:
            await thread.run(lambda: done.append(1))
        may_end.set()
    assert scope.cancelled_caught
    await thread.run(lambda: None)
    assert done == []


def _descriptors() -> set[str]:
    return {one.name for one in Path("/proc/self/fd").iterdir()}


async def test_stop__after_work__leaves_no_thread_and_no_descriptor():
    before = _descriptors()
    thread = StoreThread()
    await thread.run(lambda: None)
    thread.stop()
    assert _descriptors() == before
    assert "store" not in {one.name for one in threading.enumerate()}
