import errno
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.adapters.store import SqliteStore, StoreConflict
from node.adapters.store.errors import translated
from node.adapters.store.schema import MIGRATIONS, migrate, schema_version
from node.adapters.store.small_artifacts import RECENT_BYTES, SMALL_BYTES, RecentArtifacts
from protocol.errors import ConfigError, DiskFull
from protocol.records import BootStarted, ResultSettled, TaskAccepted, TaskDone
from protocol.units import Epoch, UnixMillis
from tests.support.clock import HandClock
from tests.support.records import (
    NOW,
    accepted,
    awarded,
    claim,
    committed,
    done,
    failed,
    held,
    issued,
    picture,
    task_id,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(tmp_path: Path, clock: HandClock) -> SqliteStore:
    return SqliteStore(tmp_path / "data", clock)


async def test_load__new_folder__is_empty(store):
    async with store.opened():
        assert await store.load() == ()


async def test_load__after_reopening__gives_all_that_is_unfinished_unchanged(tmp_path, clock):
    records = (
        BootStarted(1_800_000_000),
        accepted(1, key="alice.1"),
        awarded(1, 0),
        awarded(1, 1),
        accepted(2),
        issued(2**200, 2**64 - 1),
        claim(5),
        committed(5),
        held(2**254, 2**64 - 1, coordinator=2**64 - 1),
    )
    async with (first := SqliteStore(tmp_path, clock)).opened():
        await first.persist(records)
    async with (second := SqliteStore(tmp_path, clock)).opened():
        assert await second.load() == records


async def test_load__done_task__comes_back_as_done_for_one_hour_only(store, clock):
    async with store.opened():
        await store.persist((accepted(1), awarded(1), picture(), done(1), accepted(2), failed(2)))
        assert await store.load() == (done(1),)
        clock.advance(3_600_000)
        assert await store.load() == (done(1),)
        clock.advance(1)
        assert await store.load() == ()


async def test_load__claims__only_recent_or_unsettled_ones(store, clock):
    async with store.opened():
        await store.persist((claim(1), claim(2), committed(2), claim(3), committed(3)))
        await store.persist((ResultSettled(committed(3).award),))
        assert await store.load() == (claim(1), claim(2), committed(2))
        clock.advance(3_600_001)
        assert await store.load() == (claim(2), committed(2))


async def test_persist__second_done__raises_and_changes_nothing(store):
    async with store.opened():
        await store.persist((accepted(1), done(1, receipt=b"first")))
        with pytest.raises(StoreConflict, match="ended already"):
            await store.persist((accepted(2), done(1, receipt=b"second")))
        stored = await store.task(task_id(1))
        assert stored is not None
        assert stored.done == done(1, receipt=b"first")
        assert await store.task(task_id(2)) is None, "the whole batch is undone"


@pytest.mark.parametrize("second", [done(1), failed(1)], ids=lambda record: type(record).__name__)
async def test_persist__end_after_failure__raises(store, second):
    async with store.opened():
        await store.persist((accepted(1), failed(1, "lease_expired")))
        with pytest.raises(StoreConflict):
            await store.persist((second,))
        stored = await store.task(task_id(1))
        assert stored is not None
        assert (stored.done, stored.failed) == (None, failed(1, "lease_expired"))


async def test_persist__done_for_unknown_task__raises(store):
    async with store.opened():
        with pytest.raises(StoreConflict):
            await store.persist((done(1),))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (accepted(1, key="k"), accepted(2, key="k")),
        (accepted(1), accepted(1)),
        (claim(1), claim(1)),
        (committed(1), committed(1, artifact=b"another picture")),
        (BootStarted(5), BootStarted(5)),
    ],
    ids=["key", "task", "claim", "commitment", "boot"],
)
async def test_persist__contradiction__raises(store, first, second):
    async with store.opened():
        await store.persist((first,))
        with pytest.raises(StoreConflict):
            await store.persist((second,))


async def test_persist__two_awards_for_one_attempt__raises(store):
    async with store.opened():
        await store.persist((accepted(1), awarded(1, 0, miner=3)))
        with pytest.raises(StoreConflict):
            await store.persist((awarded(1, 0, miner=4),))


async def test_persist__lower_voucher__keeps_the_higher(store):
    async with store.opened():
        await store.persist((issued(10, 3), held(20, 5)))
        await store.persist((issued(9, 4), held(19, 9), issued(7, 1, miner=8)))
        assert set(await store.load()) == {issued(10, 3), held(20, 5), issued(7, 1, miner=8)}
        await store.persist((issued(11, 4), held(21, 6)))
        assert set(await store.load()) == {issued(11, 4), held(21, 6), issued(7, 1, miner=8)}


async def test_task_by_key__any_state__finds_it(store):
    async with store.opened():
        await store.persist((accepted(1, key="alice.1"), accepted(2)))
        found = await store.task_by_key("alice.1")
        assert found is not None
        assert found.accepted == accepted(1, key="alice.1")
        assert await store.task_by_key("bob.1") is None


async def test_artifact__stored__reads_back(store):
    async with store.opened():
        await store.persist((picture(b"abc"),))
        assert await store.artifact(picture(b"abc").digest) == b"abc"
        assert await store.artifact(picture(b"other").digest) is None


async def test_artifact__after_reopening__is_here_whatever_its_size(store, tmp_path, clock):
    small, large = bytes(SMALL_BYTES), bytes(SMALL_BYTES + 1)
    async with store.opened():
        await store.persist((picture(small), picture(large)))
    store = SqliteStore(tmp_path / "data", clock)
    async with store.opened():
        assert await store.artifact(picture(small).digest) == small
        assert await store.artifact(picture(large).digest) == large
    assert [path.name for path in (tmp_path / "data" / "artifacts").iterdir()] == [picture(large).digest.hex()]


async def test_artifact__file_damaged__is_none_and_gone(store, tmp_path, clock):
    large = bytes(SMALL_BYTES + 1)
    async with store.opened():
        await store.persist((picture(large),))
    path = tmp_path / "data" / "artifacts" / picture(large).digest.hex()
    path.write_bytes(b"abd")
    store = SqliteStore(tmp_path / "data", clock)
    async with store.opened():
        assert await store.artifact(picture(large).digest) is None
        assert not path.exists()


async def test_artifact__row_damaged__is_none_and_gone(store, tmp_path, clock):
    async with store.opened():
        await store.persist((picture(b"abc"),))
        await store._run(lambda connection: connection.execute("UPDATE artifacts SET data = x'00'"))
    store = SqliteStore(tmp_path / "data", clock)
    async with store.opened():
        assert await store.artifact(picture(b"abc").digest) is None
        left = await store._run(lambda connection: connection.execute("SELECT count(*) FROM artifacts").fetchone()[0])
        assert left == 0


def test_recent__more_than_it_holds__the_oldest_leave():
    recent = RecentArtifacts()
    for fill in range(RECENT_BYTES // SMALL_BYTES + 1):
        recent.keep(picture(bytes([fill]) * SMALL_BYTES))
    recent.keep(picture(bytes([1]) * SMALL_BYTES))  # again: it takes the place that it has
    assert recent.get(picture(bytes(SMALL_BYTES)).digest) is None
    assert recent.get(picture(bytes([1]) * SMALL_BYTES).digest) == bytes([1]) * SMALL_BYTES
    assert recent.get(picture(bytes([2]) * SMALL_BYTES).digest) == bytes([2]) * SMALL_BYTES


async def test_persist__bytes_without_their_digest__raises(store):
    async with store.opened():
        wrong = type(picture())(picture(b"a").digest, b"b")
        with pytest.raises(ValueError, match="not the artifact"):
            await store.persist((wrong,))


@pytest.mark.parametrize("size", [1, SMALL_BYTES + 1])
async def test_expire__old_artifacts__removed_unless_a_result_needs_them(store, clock, size):
    old, needed, new = (letter * size for letter in (b"o", b"r", b"n"))
    async with store.opened():
        await store.persist((picture(old), picture(needed), claim(1), committed(1, artifact=needed)))
        clock.advance(1000)
        await store.persist((picture(new),))
        assert await store.expire(clock.now()) == 1
        assert await store.artifact(picture(old).digest) is None
        assert await store.artifact(picture(needed).digest) == needed
        assert await store.artifact(picture(new).digest) == new


async def test_forget__old_history__removed_and_open_work_kept(store, clock):
    async with store.opened():
        await store.persist(
            (accepted(1), awarded(1), done(1), accepted(2), claim(3), committed(3), claim(4), committed(4))
        )
        await store.persist((ResultSettled(committed(3).award),))
        clock.advance(10)
        await store.forget(clock.now())
        assert await store.task(task_id(1)) is None
        assert await store.load() == (accepted(2), claim(4), committed(4))


async def test_addresses__more_than_kept__gives_the_latest_first(store):
    async with store.opened():
        for number in range(260):
            await store.remember_address(f"/ip4/10.0.0.1/tcp/{number}", UnixMillis(NOW + number))
        await store.remember_address("/ip4/10.0.0.1/tcp/4", UnixMillis(NOW + 1000))
        found = await store.addresses()
        assert len(found) == 256
        assert found[:2] == ("/ip4/10.0.0.1/tcp/4", "/ip4/10.0.0.1/tcp/259")
        assert "/ip4/10.0.0.1/tcp/3" not in found


async def test_opened__folder_in_use__names_folder_and_holder(store, tmp_path, clock):
    async with store.opened():
        with pytest.raises(ConfigError, match=rf"{tmp_path / 'data'} is in use by process {os.getpid()}"):
            async with SqliteStore(tmp_path / "data", clock).opened():
                pytest.fail("two stores share a folder")
    async with SqliteStore(tmp_path / "data", clock).opened():
        pass


async def test_opened__folder_is_a_file__names_it(tmp_path, clock):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file cannot be used \(File exists\)"):
        async with SqliteStore(tmp_path / "file", clock).opened():
            pytest.fail("a file is no folder")


async def test_opened__newer_schema__refused_with_the_way_out(store, tmp_path, clock):
    async with store.opened():
        pass
    with closing(sqlite3.connect(tmp_path / "data" / "store.sqlite", isolation_level=None)) as connection:
        connection.execute("UPDATE meta SET value = 99 WHERE key = 'schema'")
    with pytest.raises(ConfigError, match=r"newer release.*upgrade"):
        async with SqliteStore(tmp_path / "data", clock).opened():
            pytest.fail("a newer schema was opened")


async def test_opened__file_is_no_database__says_so(tmp_path, clock):
    (tmp_path / "store.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.raises(ConfigError, match="damaged or no database"):
        async with SqliteStore(tmp_path, clock).opened():
            pytest.fail("garbage was opened")


def test_migrate__new_step__keeps_data_and_a_failing_one_changes_nothing(tmp_path):
    def add_colour(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE addresses ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")

    def break_half_way(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE addresses")
        raise ZeroDivisionError

    with closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as connection:
        migrate(connection, tmp_path)
        connection.execute("INSERT INTO addresses VALUES ('a', 1)")
        migrate(connection, tmp_path, (*MIGRATIONS, add_colour))
        assert connection.execute("SELECT * FROM addresses").fetchall() == [("a", 1, "red")]
        assert schema_version(connection) == len(MIGRATIONS) + 1
        with pytest.raises(ZeroDivisionError):
            migrate(connection, tmp_path, (*MIGRATIONS, add_colour, break_half_way))
        assert connection.execute("SELECT * FROM addresses").fetchall() == [("a", 1, "red")]
        assert schema_version(connection) == len(MIGRATIONS) + 1


async def test_persist__database_full__is_unavailable_and_undone(store):
    async with store.opened():
        await store.persist((accepted(1),))
        pages = await store._run(lambda one: one.execute("PRAGMA page_count").fetchone()[0])
        await store._run(lambda one: one.execute(f"PRAGMA max_page_count = {pages}"))
        big = TaskDone(**{**_fields(done(1)), "receipt": bytes(1_000_000)})
        with pytest.raises(DiskFull, match="is full"):
            await store.persist((big,))
        await store._run(lambda one: one.execute("PRAGMA max_page_count = 100000"))
        await store.persist((done(1),))
        assert (await store.task(task_id(1))).done == done(1)


def _fields(record: TaskDone) -> dict[str, object]:
    return {name: getattr(record, name) for name in type(record).__slots__}


async def test_persist__artifact_does_not_fit__is_unavailable_and_undone(store, tmp_path):
    async with store.opened():
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
        try:
            with pytest.raises(DiskFull, match="is full"):
                await store.persist((accepted(1), picture(bytes(2_000_000))))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert await store.load() == ()
        assert list((tmp_path / "data" / "artifacts").iterdir()) == []
        await store.persist((accepted(1), picture(bytes(2_000_000))))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_translated__no_space__is_unavailable_and_says_full(tmp_path, code):
    with pytest.raises(DiskFull, match="is full"), translated(tmp_path):
        raise OSError(code, os.strerror(code))


async def test_persist__many_at_once__each_is_whole(store):
    async with store.opened():
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(store.persist, (accepted(number), awarded(number)))
        loaded = await store.load()
        assert len(loaded) == 100
        assert loaded[::2] == tuple(accepted(number) for number in range(50))


async def test_persist__cancelled__is_all_or_nothing(store):
    async with store.opened():
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.persist((accepted(1), awarded(1)))
        assert await store.load() in {(), (accepted(1), awarded(1))}


def test_store__killed_at_any_moment__keeps_all_that_was_acknowledged(tmp_path):
    command = [sys.executable, "-m", "tests.adapters.store.writer", str(tmp_path)]
    acknowledged = 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                acknowledged = int(line)
                if acknowledged == 40:
                    break
        finally:
            process.kill()
        rest = process.stdout.read().split()
    acknowledged = int(rest[-1]) if rest and rest[-1].isdigit() else acknowledged
    assert acknowledged >= 40

    async def check() -> None:
        store = SqliteStore(tmp_path, HandClock())
        async with store.opened():
            loaded = await store.load()
            assert acknowledged <= len(loaded) <= acknowledged + 1
            for number, record in enumerate(loaded, start=1):
                assert record == accepted(number)
                assert await store.artifact(picture(b"picture %d" % number).digest) == b"picture %d" % number

    trio.run(check)


async def test_persist__same_number_in_another_epoch__is_another_task_and_comes_back_in_order(store):
    async with store.opened():
        later = replace(accepted(2), number=1, epoch=Epoch(8))
        await store.persist((accepted(1), later))
        assert [record.task for record in await store.load() if isinstance(record, TaskAccepted)] == [
            task_id(1),
            task_id(2),
        ]


async def test_persist__voucher_of_a_later_boot__replaces_one_as_high(store):
    async with store.opened():
        await store.persist((issued(10, 9, boot=1), held(20, 9, boot=1)))
        await store.persist((issued(10, 1, boot=2), held(20, 1, boot=2)))
        assert set(await store.load()) == {issued(10, 1, boot=2), held(20, 1, boot=2)}
