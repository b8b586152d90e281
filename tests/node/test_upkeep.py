"""Forgetting in time: what is old goes, what is young stays, and what somebody still waits for stays too."""

from pathlib import Path

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.adapters.memory.store import MemoryStore
from node.disputes.files import KEPT_MS, keep_bundle
from node.upkeep import HISTORY_KEPT_MS, PAUSE_S, PICTURES_KEPT_MS, keep_tidy
from protocol.errors import DiskFull
from protocol.notes import NoteName
from protocol.units import DAY_MS, UnixMillis
from tests.support.clock import HandClock
from tests.support.disputed import disputed
from tests.support.journal import RecordingJournal
from tests.support.records import NOW, accepted, committed, done, failed, picture, task_id


def before(milliseconds: int) -> UnixMillis:
    return UnixMillis(NOW - milliseconds)


async def store_with(number: int, ended: UnixMillis, store: MemoryStore | None = None) -> MemoryStore:
    """A store that holds one more finished task and its picture."""
    store = store or MemoryStore()
    data = str(number).encode()
    await store.persist((accepted(number, at=ended),))
    await store.persist((picture(data), done(number, at=ended, artifact=data)))
    return store


async def kept(store: MemoryStore, number: int) -> tuple[bool, bool]:
    """Whether the picture and the history of a task are still there."""
    artifact = picture(str(number).encode()).digest
    return await store.artifact(artifact) is not None, await store.task(task_id(number)) is not None


async def tidied(store: MemoryStore, clock: HandClock | None = None) -> MemoryStore:
    """The store after one round."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_tidy, store, clock or HandClock(), RecordingJournal())
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return store


def test_limits__as_promised__a_day_and_thirty() -> None:
    assert (PICTURES_KEPT_MS, HISTORY_KEPT_MS) == (DAY_MS, 30 * DAY_MS)


async def test_keep_tidy__picture_older_than_a_day__goes_and_its_history_stays() -> None:
    store = await store_with(1, before(DAY_MS + 1))
    await store_with(2, before(DAY_MS), store)
    await store_with(3, NOW, store)
    await tidied(store)
    assert [await kept(store, number) for number in (1, 2, 3)] == [(False, True), (True, True), (True, True)]


async def test_keep_tidy__history_older_than_thirty_days__goes() -> None:
    store = await store_with(1, before(30 * DAY_MS + 1))
    await store_with(2, before(30 * DAY_MS), store)
    await tidied(store)
    assert [await kept(store, number) for number in (1, 2)] == [(False, False), (False, True)]


async def test_keep_tidy__old_but_open_or_undelivered__stays() -> None:
    old = before(60 * DAY_MS)
    store = MemoryStore()
    await store.persist((accepted(1, at=old), accepted(2, at=old)))
    await store.persist((failed(2),))
    await store_with(3, before(2 * DAY_MS), store)
    await store.persist((committed(3, artifact=b"3"),))
    await tidied(store)
    assert await store.task(task_id(1)) is not None, "a task that has not ended"
    assert await store.task(task_id(2)) is not None, "it was long open, and failed just now"
    assert await kept(store, 3) == (True, True), "its miner has not delivered it yet"


class FullOnce(MemoryStore):
    """A store whose disk has no room for the first round."""

    rounds = 0

    async def expire(self, before: UnixMillis) -> int:
        self.rounds += 1
        if self.rounds == 1:
            raise DiskFull("the disk is full")
        return await super().expire(before)


async def test_keep_tidy__disk_full__says_so_and_goes_on(autojump_clock: MockClock) -> None:
    store, journal = FullOnce(), RecordingJournal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_tidy, store, HandClock(), journal)
        await trio.sleep(1.5 * PAUSE_S)
        nursery.cancel_scope.cancel()
    assert store.rounds == 2
    assert [noted.fields for noted in journal.of(NoteName.STORE_FULL)] == [{"reason": "the disk is full"}]


async def test_keep_tidy__evidence_older_than_any_dispute__goes_while_the_node_runs(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = keep_bundle(tmp_path, disputed())
    clock = HandClock(UnixMillis(int(path.stat().st_mtime * 1000)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_tidy, MemoryStore(), clock, RecordingJournal(), tmp_path)
        await wait_all_tasks_blocked()
        assert path.exists()
        clock.advance(KEPT_MS + 1000)
        await trio.sleep(PAUSE_S + 1)
        assert not path.exists()
        nursery.cancel_scope.cancel()


async def test_keep_tidy__time_passes__goes_round_again(autojump_clock: MockClock) -> None:
    clock = HandClock()
    store = await store_with(1, NOW)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_tidy, store, clock, RecordingJournal())
        await wait_all_tasks_blocked()
        clock.advance(DAY_MS + 1)
        await trio.sleep(PAUSE_S - 1)
        assert await kept(store, 1) == (True, True), "the next round is not due"
        await trio.sleep(2)
        assert await kept(store, 1) == (False, True)
        clock.advance(30 * DAY_MS)
        await trio.sleep(PAUSE_S)
        assert await kept(store, 1) == (False, False)
        nursery.cancel_scope.cancel()
