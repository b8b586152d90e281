"""The Store port over SQLite: one folder, one process, one thread that touches the disk.

The write-ahead log with ``synchronous=FULL`` is flushed once per ``persist``: what it returned from survives a power
cut. Large artifacts are files beside it. All database work runs in one thread, in order of call, so that the event loop
never waits for a disk and no two statements meet.
"""

import hashlib
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar, final

import trio

from node.adapters.store import (
    chain_place,
    inputs,
    lock,
    payers,
    rechecks,
    recovery,
    rows,
    schema,
    settlement,
    small_artifacts,
    steps,
    transactions,
)
from node.adapters.store.artifacts import ArtifactFolder
from node.adapters.store.errors import translated
from node.adapters.store.thread import StoreThread
from node.ports import Clock, StoredTask
from protocol.chain_records import ChainPlace, ChainStep, SettlementRead, Transaction
from protocol.records import ArtifactStored, InputStored, Record
from protocol.units import DAY_MS, Digest, TaskId, UnixMillis, Wei

Answer = TypeVar("Answer")

REPLAY_WINDOW_MS: Final = 3_600_000
"""How long (ms) ended tasks and unused claims are still restored: longer than any task lives or a miner reconnects."""
MAX_ADDRESSES: Final = 256
"""Known addresses that are kept: enough to find the network again after months, small enough to try them all."""
_BUSY_TIMEOUT_S: Final = 5.0
"""How long to wait for a backup program that holds the database."""
_CACHE_KIB: Final = 8 * 1024
"""Page cache of SQLite (KiB): holds the open tasks, and keeps a node at rest small."""


@final
class SqliteStore:
    """Durable memory of one node, in one folder."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Name the folder. ``clock`` dates artifacts and claims; nothing is touched before ``opened``."""
        self._folder = folder
        self._clock = clock
        self._artifacts = ArtifactFolder(folder / "artifacts")
        self._recent = small_artifacts.RecentArtifacts()
        self._thread: StoreThread | None = None
        self._connection: sqlite3.Connection | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Open, migrate and lock the store for the time of the context.

        Raises:
            ConfigError: another process has the folder, it cannot be written, or a newer release wrote it.
            DiskFull: no space is left.
        """
        descriptor = lock.hold(self._folder)
        thread = self._thread = StoreThread()
        try:
            self._connection = await thread.run(self._open)
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    await self._run(lambda connection: connection.close())
                self._connection = None
        finally:
            self._thread = None
            thread.stop()
            os.close(descriptor)

    async def load(self) -> tuple[Record, ...]:
        """Give the records that a core needs to go on.

        In this order: the last boot; unfinished tasks as accepted, each followed by its awards; tasks done within
        the last hour; the highest voucher issued to each miner; claims of the last hour and of unsettled results;
        unsettled results; steps of the last day's pictures; the highest voucher held of each coordinator; vouchers that
        contradict each other; rechecks that are not over or were planned within a day, and what is thought of miners;
        verdicts of ours as a juror;
        what the Settlement contract said; transactions whose outcome was not taken in.
        """
        now = self._clock.now()
        recent, yesterday = (UnixMillis(max(0, now - window)) for window in (REPLAY_WINDOW_MS, DAY_MS))
        return await self._run(lambda connection: recovery.read_all(connection, recent, yesterday))

    async def persist(self, records: tuple[Record, ...]) -> None:
        """Write all or none in one transaction; on return they survive a power cut.

        Cancellation is taken before the write begins or after it ended, never between.

        Raises:
            StoreConflict: a record contradicts a stored one, such as a second end of a task.
            ValueError: an artifact's bytes do not have the digest that they are to be named by.
            DiskFull: no space is left; nothing was written.
        """
        now = self._clock.now()
        await self._run(lambda connection: self._write(connection, records, now))
        for record in records:
            if isinstance(record, ArtifactStored):
                self._recent.keep(record)

    async def task(self, task: TaskId) -> StoredTask | None:
        """Find a task by id."""
        return await self._run(lambda connection: recovery.read_task(connection, task))

    async def task_by_key(self, idempotency_key: str) -> StoredTask | None:
        """Find a task by its idempotency key."""
        return await self._run(lambda connection: recovery.read_task_by_key(connection, idempotency_key))

    async def spent(self, account: str, since: UnixMillis) -> Wei:
        """Give the price of all tasks of an API key's account since then, without those that failed unpaid."""
        return await self._run(lambda connection: recovery.read_spent(connection, account, since))

    def artifact_at_hand(self, digest: Digest) -> bytes | None:
        """Give an artifact that is in memory still, as those that were stored last are."""
        return self._recent.get(digest)

    async def artifact(self, digest: Digest) -> bytes | None:
        """Read an artifact; None when there is none, it has expired, or it was damaged on the disk."""
        recent = self._recent.get(digest)
        if recent is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
            return recent
        return await self._run(lambda one: small_artifacts.read(one, digest) or self._artifacts.read(digest))

    async def input(self, digest: Digest) -> bytes | None:
        """Read a picture that an unfinished task begins from; None when there is none, or it was damaged."""
        return await self._run(lambda connection: inputs.read(connection, digest))

    async def chain_place(self, contract: str) -> ChainPlace | None:
        """Give how far this contract was followed; None when it never was, or another one since."""
        return await self._run(lambda connection: chain_place.read(connection, contract))

    async def keep_chain_step(self, contract: str, step: ChainStep) -> None:
        """Keep a step of the follower in one transaction."""
        await self._run(lambda one: _transact(one, lambda two: chain_place.keep(two, contract, step)))

    async def settlement_read(self, contract: str) -> SettlementRead | None:
        """Give how far this Settlement contract is read, and what it said last; None when it never was."""
        known = await self._run(settlement.read_settlement)
        return known if known is not None and known.contract == contract else None

    async def open_transactions(self, limit: int) -> tuple[Transaction, ...]:
        """Give transactions without outcome, or whose outcome the core has not taken in; see the port."""
        return await self._run(lambda connection: transactions.read_open(connection, limit))

    async def transaction(self, key: str) -> Transaction | None:
        """Find a transaction, also one that is settled and not yet forgotten."""
        return await self._run(lambda connection: transactions.read_one(connection, key))

    async def keep_transactions(self, changed: Sequence[Transaction]) -> None:
        """Replace what is known of these transactions, in one transaction of the database."""
        now = self._clock.now()
        await self._run(lambda one: _transact(one, lambda two: transactions.keep(two, changed, now)))

    async def addresses(self) -> tuple[str, ...]:
        """Give the multiaddresses that worked before, latest first, at most 256."""

        def read(connection: sqlite3.Connection) -> tuple[str, ...]:
            found = connection.execute(
                "SELECT address FROM addresses ORDER BY seen_at DESC, address LIMIT ?", (MAX_ADDRESSES,)
            )
            return tuple(row["address"] for row in found)

        return await self._run(read)

    async def remember_address(self, address: str, at: UnixMillis) -> None:
        """Keep an address that worked; the oldest beyond 256 are forgotten."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO addresses (address, seen_at) VALUES (?, ?) "
                "ON CONFLICT (address) DO UPDATE SET seen_at = max(seen_at, excluded.seen_at)",
                (address, at),
            )
            connection.execute(
                "DELETE FROM addresses WHERE address NOT IN "
                "(SELECT address FROM addresses ORDER BY seen_at DESC, address LIMIT ?)",
                (MAX_ADDRESSES,),
            )

        await self._run(lambda connection: _transact(connection, write))

    async def expire(self, before: UnixMillis) -> int:
        """Remove artifacts and steps stored before this moment; give the count of artifacts.

        None goes of ``small_artifacts.NEEDED``.
        """

        def remove(connection: sqlite3.Connection) -> int:
            needed = connection.execute(small_artifacts.NEEDED)
            files = self._artifacts.expire(before, frozenset(row["artifact"] for row in needed))
            steps.expire(connection, before)
            return files + small_artifacts.expire(connection, before)

        count = await self._run(remove)
        self._recent.clear()
        return count

    async def forget(self, before: UnixMillis) -> None:
        """Remove tasks, settled results and transactions, and unused claims that ended before this moment.

        A claim goes before or with its result, so that what is forgotten can never be signed a second time.
        """

        def remove(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM tasks WHERE done < ?", (before,))
            connection.execute("DELETE FROM tasks WHERE failed < ?", (before,))
            transactions.forget(connection, before)
            rechecks.forget(connection, before)
            payers.forget(connection, before)
            connection.execute(
                "DELETE FROM claims AS c WHERE signed_at < ? AND NOT EXISTS (SELECT 1 FROM results r "
                "WHERE r.task = c.task AND r.attempt = c.attempt AND r.settled IS NULL)",
                (before,),
            )
            connection.execute(
                "DELETE FROM results AS r WHERE settled < ? AND NOT EXISTS (SELECT 1 FROM claims c "
                "WHERE r.task = c.task AND r.attempt = c.attempt AND r.coordinator = c.coordinator)",
                (before,),
            )

        await self._run(lambda connection: _transact(connection, remove))

    async def _run(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Do this in the store's thread, after all that was asked before."""
        connection, thread = self._connection, self._thread
        if connection is None or thread is None:
            raise RuntimeError("the store is used outside of opened()")

        def guarded() -> Answer:
            with translated(self._folder):
                return work(connection)

        return await thread.run(guarded)

    def _open(self) -> sqlite3.Connection:
        with translated(self._folder):
            self._artifacts.prepare()
            path = self._folder / "store.sqlite"
            path.touch(mode=0o600)  # prompts are in it; SQLite gives its log files the same mode
            connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                schema.migrate(connection, self._folder)
            except BaseException:
                connection.close()
                raise
            return connection

    def _write(self, connection: sqlite3.Connection, records: tuple[Record, ...], now: UnixMillis) -> None:
        artifacts = [record for record in records if isinstance(record, ArtifactStored)]
        for named in (record for record in records if isinstance(record, ArtifactStored | InputStored)):
            if hashlib.sha256(named.data).digest() != named.digest:
                raise ValueError(f"these bytes are not the artifact {named.digest.hex()}")
        self._artifacts.write((one for one in artifacts if len(one.data) > small_artifacts.SMALL_BYTES), now)

        def write(connection: sqlite3.Connection) -> None:
            for record in records:
                rows.write(connection, record, now)

        _transact(connection, write)


def _transact(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], None]) -> None:
    """Do the work in one transaction: all of it, or on any error none of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
