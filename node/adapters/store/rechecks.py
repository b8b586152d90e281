"""Rechecks and what is thought of miners, as rows, inside transactions that the caller began. See SPEC.md §12.8."""

import sqlite3
from typing import Final

from node.adapters.store.integers import amount, integer, unsigned
from protocol.records import Drawing, RecheckKept, ReputationKept
from protocol.units import Digest, StakingId, TaskId, UnixMillis, Wei

TABLES: Final = """
CREATE TABLE rechecks (
    subject BLOB PRIMARY KEY CHECK (length(subject) = 32),
    specification BLOB NOT NULL,
    planned_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    pending BLOB,
    spent BLOB NOT NULL CHECK (length(spent) = 32),
    outcome TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX open_rechecks ON rechecks (planned_at) WHERE outcome = '';
CREATE INDEX rechecks_by_time ON rechecks (planned_at);

CREATE TABLE drawings (
    subject BLOB NOT NULL REFERENCES rechecks (subject) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    task BLOB NOT NULL CHECK (length(task) = 32),
    attempt INTEGER NOT NULL,
    miner BLOB NOT NULL CHECK (length(miner) = 8),
    artifact BLOB NOT NULL CHECK (length(artifact) = 32),
    result BLOB NOT NULL,
    numerics TEXT NOT NULL,
    odd INTEGER NOT NULL,
    PRIMARY KEY (subject, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE reputations (
    miner BLOB PRIMARY KEY CHECK (length(miner) = 8),
    at INTEGER NOT NULL,
    delivered REAL NOT NULL,
    lost REAL NOT NULL,
    passed REAL NOT NULL,
    doubt REAL NOT NULL,
    left_out_until INTEGER NOT NULL,
    passed_ever INTEGER NOT NULL,
    odd_ever INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""
"""Of version 11 of the schema; a released one never changes."""

ODD: Final = 1
FAR: Final = 2
"""What ``odd`` says of a drawing: it differs from those that agree, or shows something else."""


def create(connection: sqlite3.Connection) -> None:
    """Version 11: tasks that are drawn again, and what is thought of miners; of before nothing is known of either."""
    for statement in TABLES.split(";"):
        connection.execute(statement)


def write(connection: sqlite3.Connection, record: RecheckKept) -> None:
    """Replace what is known of a recheck; its drawings only become more."""
    connection.execute(
        "INSERT INTO rechecks (subject, specification, planned_at, due_at, tries, pending, spent, outcome, "
        "may_be_disputed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (subject) DO UPDATE SET "
        "due_at = excluded.due_at, tries = excluded.tries, pending = excluded.pending, spent = excluded.spent, "
        "outcome = excluded.outcome",
        (
            record.subject,
            record.specification,
            record.planned_at,
            record.due_at,
            record.tries,
            record.pending,
            amount(record.spent),
            record.outcome,
            int(record.may_be_disputed),
        ),
    )
    for place, drawing in enumerate(record.drawings):
        connection.execute(
            "INSERT INTO drawings (subject, place, task, attempt, miner, artifact, result, numerics, odd, steps, "
            "opened, capability) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (subject, place) DO UPDATE "
            "SET odd = excluded.odd, steps = excluded.steps, opened = excluded.opened",
            (
                record.subject,
                place,
                drawing.task,
                drawing.attempt,
                unsigned(drawing.miner),
                drawing.artifact,
                drawing.result,
                drawing.numerics,
                FAR if drawing.miner in record.far else ODD if drawing.miner in record.odd else 0,
                drawing.steps,
                drawing.opened,
                drawing.capability,
            ),
        )


def read(connection: sqlite3.Connection, since: UnixMillis) -> tuple[RecheckKept, ...]:
    """Give rechecks that are not over, and those planned since then, in the order in which they were planned."""
    rows = connection.execute(
        "SELECT * FROM rechecks WHERE outcome = '' OR planned_at >= ? ORDER BY planned_at, subject", (since,)
    ).fetchall()
    return tuple(_recheck(connection, row) for row in rows)


def _recheck(connection: sqlite3.Connection, row: sqlite3.Row) -> RecheckKept:
    drawn = connection.execute("SELECT * FROM drawings WHERE subject = ? ORDER BY place", (row["subject"],)).fetchall()
    return RecheckKept(
        subject=TaskId(row["subject"]),
        specification=row["specification"],
        planned_at=UnixMillis(row["planned_at"]),
        due_at=UnixMillis(row["due_at"]),
        tries=row["tries"],
        pending=None if row["pending"] is None else TaskId(row["pending"]),
        spent=Wei(integer(row["spent"])),
        drawings=tuple(
            Drawing(
                task=TaskId(one["task"]),
                attempt=one["attempt"],
                miner=_miner(one),
                artifact=Digest(one["artifact"]),
                result=one["result"],
                numerics=one["numerics"],
                steps=one["steps"],
                opened=one["opened"],
                capability=one["capability"],
            )
            for one in drawn
        ),
        outcome=row["outcome"],
        odd=tuple(_miner(one) for one in drawn if one["odd"]),
        far=tuple(_miner(one) for one in drawn if one["odd"] == FAR),
        may_be_disputed=bool(row["may_be_disputed"]),
    )


def write_reputation(connection: sqlite3.Connection, record: ReputationKept) -> None:
    """Replace what is thought of a miner."""
    connection.execute(
        "INSERT OR REPLACE INTO reputations (miner, at, delivered, lost, passed, doubt, left_out_until, passed_ever, "
        "odd_ever) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            unsigned(record.miner),
            record.at,
            record.delivered,
            record.lost,
            record.passed,
            record.doubt,
            record.left_out_until,
            record.passed_ever,
            record.odd_ever,
        ),
    )


def read_reputations(connection: sqlite3.Connection) -> tuple[ReputationKept, ...]:
    """Give what is thought of miners, those first of whom nothing was heard for longest."""
    return tuple(
        ReputationKept(
            miner=_miner(row),
            at=UnixMillis(row["at"]),
            delivered=row["delivered"],
            lost=row["lost"],
            passed=row["passed"],
            doubt=row["doubt"],
            left_out_until=UnixMillis(row["left_out_until"]),
            passed_ever=row["passed_ever"],
            odd_ever=row["odd_ever"],
        )
        for row in connection.execute("SELECT * FROM reputations ORDER BY at, miner")
    )


def forget(connection: sqlite3.Connection, before: UnixMillis) -> None:
    """Delete rechecks that were planned before this moment, and what was thought of miners not heard of since."""
    connection.execute("DELETE FROM rechecks WHERE planned_at < ?", (before,))
    connection.execute("DELETE FROM reputations WHERE at < ? AND left_out_until < ?", (before, before))


def _miner(row: sqlite3.Row) -> StakingId:
    return StakingId(integer(row["miner"]))
