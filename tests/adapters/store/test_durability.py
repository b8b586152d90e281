"""What is acknowledged is on the disk, nobody else can read it, and it comes back in its order."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from node.adapters.store import SqliteStore
from node.adapters.store.small_artifacts import SMALL_BYTES
from protocol.records import TaskAccepted
from protocol.units import UnixMillis
from tests.support.clock import HandClock
from tests.support.records import NOW, accepted, awarded, done, failed, picture, task_id

LARGE = bytes(SMALL_BYTES + 1)
"""A picture that has a file of its own."""
SYNCHRONOUS_FULL = 2
"""What SQLite calls it."""


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "data", HandClock())


async def test_opened__database__flushes_every_transaction_to_the_disk(store):
    async with store.opened():
        asked = {
            name: await store._run(lambda connection, name=name: connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("synchronous", "journal_mode", "foreign_keys")
        }
    assert asked == {"synchronous": SYNCHRONOUS_FULL, "journal_mode": "wal", "foreign_keys": 1}


async def test_opened__files_and_folders__are_the_owners_alone(store, tmp_path):
    loose = os.umask(0)
    try:
        async with store.opened():
            await store.persist((accepted(1), picture(LARGE), done(1, artifact=LARGE)))
            modes = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    finally:
        os.umask(loose)
    pictures = {path for path in modes if path.startswith("data/artifacts/")}
    assert len(pictures) == 1
    assert {path: mode for path, mode in modes.items() if path not in pictures} == {
        "data": 0o700,
        "data/artifacts": 0o700,
        "data/lock": 0o600,
        "data/store.sqlite": 0o600,
        "data/store.sqlite-shm": 0o600,
        "data/store.sqlite-wal": 0o600,
    }


async def test_persist__large_artifact__its_bytes_are_flushed_before_its_name_and_the_name_before_the_answer(
    store, tmp_path, monkeypatch
):
    flushed: list[tuple[str, bool]] = []
    final = tmp_path / "data" / "artifacts" / picture(LARGE).digest.hex()
    real = os.fsync

    def recording(descriptor: int) -> None:
        real(descriptor)
        flushed.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, final.exists()))

    monkeypatch.setattr(os, "fsync", recording)
    async with store.opened():
        await store.persist((picture(LARGE),))
        assert flushed == [(f"{final.name}.partial", False), ("artifacts", True)]
        flushed.clear()
        await store.persist((accepted(1), picture()))
        assert flushed == [], "without a large artifact there is nothing to flush but the database"
        assert list(final.parent.iterdir()) == [final]


async def test_load__tasks_of_several_boots__in_the_order_of_acceptance(store):
    def of(boot: int, number: int) -> TaskAccepted:
        return replace(accepted(number), task=task_id(boot * 10 + number), boot=boot, number=number)

    ordered = [of(boot, number) for boot in (1, 2, 256) for number in (1, 2, 255, 256)]
    async with store.opened():
        await store.persist((*ordered[6:], *ordered[2:6], ordered[1], ordered[0]))
        assert await store.load() == tuple(ordered)
        # The index has the same order: without it, only what the query asks for is left.
        await store._run(lambda connection: connection.execute("DROP INDEX open_tasks"))
        assert await store.load() == tuple(ordered)


async def test_load__awards__in_the_order_of_attempts_whatever_came_first(store):
    async with store.opened():
        await store.persist((accepted(1), awarded(1, 2), awarded(1, 0), awarded(1, 1)))
        assert await store.load() == (accepted(1), awarded(1, 0), awarded(1, 1), awarded(1, 2))


async def test_forget__ended_tasks__only_those_that_ended_before_the_moment(store):
    moment = UnixMillis(NOW + 5000)
    before, after = UnixMillis(moment - 1), moment
    async with store.opened():
        await store.persist(tuple(accepted(number) for number in range(1, 6)))
        await store.persist((done(1, at=before), done(2, at=after)))
        await store.persist((replace(failed(3), finished_at=before), replace(failed(4), finished_at=after)))
        await store.forget(moment)
        kept = [number for number in range(1, 6) if await store.task(task_id(number)) is not None]
    assert kept == [2, 4, 5]
