"""Reads rows back as records."""

import sqlite3
from typing import Final

from node.adapters.store import disputes, evidence, payers, rechecks, settlement, steps, transactions
from node.adapters.store.integers import integer
from node.ports import StoredTask
from protocol.chain_records import SettlementRead
from protocol.records import (
    BootStarted,
    ClaimSigned,
    LeftPaid,
    Record,
    ResultCommitted,
    TaskAccepted,
    TaskAwarded,
    TaskDone,
    TaskFailed,
    VoucherHeld,
    VoucherIssued,
)
from protocol.task.priority import Priority
from protocol.units import Digest, Epoch, StakingId, TaskId, UnixMillis, Wei

_TASK_COLUMNS: Final = (
    "task, epoch, boot, number, specification, salt, price, detached, idempotency_key, accepted_at, deadline, "
    "priority, account, input_bytes, collected, may_be_disputed, done, done_attempt, done_miner, artifact, "
    "media_type, receipt, generation_ms, acceptance, failed, reason"
)


def read_all(connection: sqlite3.Connection, recent: UnixMillis, yesterday: UnixMillis) -> tuple[Record, ...]:
    """Give what a core needs to go on.

    Args:
        connection: The database.
        recent: The moment from which ended work still matters.
        yesterday: The moment from which ended rechecks do, for what they cost, and steps of pictures.
    """
    return (
        *_boot(connection),
        *_open_tasks(connection),
        *_recently_done(connection, recent),
        *_recently_left(connection, recent),
        *_vouchers_issued(connection),
        *_claims(connection, recent),
        *_unsettled(connection),
        *steps.read(connection, yesterday),
        *_vouchers_held(connection),
        *evidence.read_all(connection),
        *rechecks.read(connection, yesterday),
        *rechecks.read_reputations(connection),
        *payers.read(connection),
        *disputes.read_verdicts(connection),
        *_settlement(connection),
        *transactions.read_requests(connection),
    )


def _settlement(connection: sqlite3.Connection) -> tuple[SettlementRead, ...]:
    known = settlement.read_settlement(connection)
    return (known,) if known is not None else ()


def read_task(connection: sqlite3.Connection, task: TaskId) -> StoredTask | None:
    """Find a task by id."""
    row = connection.execute(f"SELECT {_TASK_COLUMNS} FROM tasks WHERE task = ?", (task,)).fetchone()  # noqa: S608 - constant columns
    return _stored(row) if row else None


def read_task_by_key(connection: sqlite3.Connection, key: str) -> StoredTask | None:
    """Find a task by its idempotency key."""
    row = connection.execute(f"SELECT {_TASK_COLUMNS} FROM tasks WHERE idempotency_key = ?", (key,)).fetchone()  # noqa: S608 - constant columns
    return _stored(row) if row else None


def read_spent(connection: sqlite3.Connection, account: str, since: UnixMillis) -> Wei:
    """Add up the prices of an API key's tasks; the conditions are those of the two indexes that hold nothing else."""
    whose = "SELECT price FROM tasks WHERE account = ? AND accepted_at >= ? AND account >= 'key:' AND account < 'key;'"
    rows = connection.execute(
        f"{whose} AND failed IS NULL UNION ALL {whose} AND failed IS NOT NULL AND receipt IS NOT NULL",
        (account, since, account, since),
    )
    return Wei(sum(integer(row["price"]) for row in rows))


def _stored(row: sqlite3.Row) -> StoredTask:
    failed = None
    if row["failed"] is not None:
        failed = TaskFailed(TaskId(row["task"]), row["reason"], UnixMillis(row["failed"]))
    return StoredTask(_accepted(row), _done(row) if row["done"] is not None else None, failed)


def _accepted(row: sqlite3.Row) -> TaskAccepted:
    return TaskAccepted(
        task=TaskId(row["task"]),
        epoch=Epoch(row["epoch"]),
        boot=integer(row["boot"]),
        number=integer(row["number"]),
        specification=row["specification"],
        salt=row["salt"],
        price=Wei(integer(row["price"])),
        detached=bool(row["detached"]),
        idempotency_key=row["idempotency_key"],
        accepted_at=UnixMillis(row["accepted_at"]),
        deadline=UnixMillis(row["deadline"]),
        priority=Priority(row["priority"]),
        account=row["account"],
        input_bytes=row["input_bytes"],
        collected=bool(row["collected"]),
        may_be_disputed=bool(row["may_be_disputed"]),
    )


def _done(row: sqlite3.Row) -> TaskDone:
    return TaskDone(
        task=TaskId(row["task"]),
        attempt=row["done_attempt"],
        miner=StakingId(integer(row["done_miner"])),
        artifact=Digest(row["artifact"]),
        media_type=row["media_type"],
        receipt=row["receipt"],
        finished_at=UnixMillis(row["done"]),
        generation_ms=row["generation_ms"],
        acceptance=row["acceptance"],
    )


def _boot(connection: sqlite3.Connection) -> tuple[BootStarted, ...]:
    row = connection.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()
    return (BootStarted(row["value"]),) if row else ()


def _open_tasks(connection: sqlite3.Connection) -> tuple[TaskAccepted | TaskAwarded, ...]:
    """Every unfinished task in the order of acceptance, each followed by its awards in the order of attempts."""
    awards: dict[bytes, list[TaskAwarded]] = {}
    for row in connection.execute(
        "SELECT a.* FROM attempts a JOIN tasks t USING (task) WHERE t.done IS NULL AND t.failed IS NULL "
        "ORDER BY a.task, a.attempt"
    ):
        awards.setdefault(row["task"], []).append(
            TaskAwarded(
                task=TaskId(row["task"]),
                attempt=row["attempt"],
                miner=StakingId(integer(row["miner"])),
                claim=Digest(row["claim"]),
                award=row["award"],
                awarded_at=UnixMillis(row["awarded_at"]),
            )
        )
    found: list[TaskAccepted | TaskAwarded] = []
    for row in connection.execute(
        f"SELECT {_TASK_COLUMNS} FROM tasks WHERE done IS NULL AND failed IS NULL ORDER BY boot, epoch, number"  # noqa: S608 - constant columns
    ):
        found.append(_accepted(row))
        found.extend(awards.get(row["task"], ()))
    return tuple(found)


def _recently_done(connection: sqlite3.Connection, recent: UnixMillis) -> tuple[TaskDone, ...]:
    rows = connection.execute(f"SELECT {_TASK_COLUMNS} FROM tasks WHERE done >= ? ORDER BY done", (recent,))  # noqa: S608 - constant columns
    return tuple(_done(row) for row in rows)


def _recently_left(connection: sqlite3.Connection, recent: UnixMillis) -> tuple[LeftPaid, ...]:
    rows = connection.execute(
        f"SELECT {_TASK_COLUMNS} FROM tasks WHERE failed >= ? AND receipt IS NOT NULL AND done IS NULL ORDER BY failed",  # noqa: S608 - constant columns
        (recent,),
    )
    return tuple(
        LeftPaid(
            task=TaskId(row["task"]),
            attempt=row["done_attempt"],
            miner=StakingId(integer(row["done_miner"])),
            artifact=Digest(row["artifact"]),
            media_type=row["media_type"],
            receipt=row["receipt"],
        )
        for row in rows
    )


def _vouchers_issued(connection: sqlite3.Connection) -> tuple[VoucherIssued, ...]:
    return tuple(
        VoucherIssued(
            miner=StakingId(integer(row["miner"])),
            cumulative=Wei(integer(row["cumulative"])),
            boot=integer(row["boot"]),
            sequence=integer(row["sequence"]),
            issued_total=Wei(integer(row["issued_total"])),
            signature=row["signature"],
        )
        for row in connection.execute("SELECT * FROM vouchers_issued ORDER BY miner")
    )


def _vouchers_held(connection: sqlite3.Connection) -> tuple[VoucherHeld, ...]:
    return tuple(
        VoucherHeld(
            coordinator=StakingId(integer(row["coordinator"])),
            cumulative=Wei(integer(row["cumulative"])),
            boot=integer(row["boot"]),
            sequence=integer(row["sequence"]),
            issued_total=Wei(integer(row["issued_total"])),
            signature=row["signature"],
            earned=Wei(integer(row["earned"])),
        )
        for row in connection.execute("SELECT * FROM vouchers_held ORDER BY coordinator")
    )


def _claims(connection: sqlite3.Connection, recent: UnixMillis) -> tuple[ClaimSigned, ...]:
    """Claims that an award may still name: the recent ones without a settled result, and all of unsettled results."""
    rows = connection.execute(
        "SELECT * FROM claims AS c WHERE (c.signed_at >= ? OR EXISTS ("
        "  SELECT 1 FROM results r WHERE r.task = c.task AND r.attempt = c.attempt AND r.settled IS NULL)) "
        "AND NOT EXISTS ("
        "  SELECT 1 FROM results r WHERE r.task = c.task AND r.attempt = c.attempt "
        "  AND r.coordinator = c.coordinator AND r.settled IS NOT NULL) ORDER BY c.signed_at, c.rowid",
        (recent,),
    )
    return tuple(
        ClaimSigned(
            task=TaskId(row["task"]),
            attempt=row["attempt"],
            coordinator=StakingId(integer(row["coordinator"])),
            nonce=row["nonce"],
            claim=Digest(row["claim"]),
        )
        for row in rows
    )


def _unsettled(connection: sqlite3.Connection) -> tuple[ResultCommitted, ...]:
    return tuple(
        ResultCommitted(
            award=Digest(row["award"]),
            task=TaskId(row["task"]),
            attempt=row["attempt"],
            coordinator=StakingId(integer(row["coordinator"])),
            artifact=Digest(row["artifact"]),
            result=row["result"],
            committed_at=UnixMillis(row["committed_at"]),
            price=None if row["price"] is None else Wei(integer(row["price"])),
        )
        for row in connection.execute("SELECT * FROM results WHERE settled IS NULL ORDER BY committed_at, rowid")
    )
