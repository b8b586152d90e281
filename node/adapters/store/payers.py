"""What a miner thinks of coordinators, as rows, inside transactions that the caller began. See SPEC.md §12.9."""

import sqlite3
from typing import Final

from node.adapters.store.integers import amount, integer, unsigned
from protocol.records import PayerKept
from protocol.units import StakingId, UnixMillis, Wei

TABLE: Final = """
CREATE TABLE payers (
    coordinator BLOB PRIMARY KEY CHECK (length(coordinator) = 8),
    at INTEGER NOT NULL,
    paid REAL NOT NULL,
    unpaid REAL NOT NULL,
    rejected REAL NOT NULL,
    taken_back REAL NOT NULL,
    short REAL NOT NULL,
    paid_ever INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    lost_since INTEGER NOT NULL,
    tries INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""
"""Of version 13 of the schema; a released one never changes."""
IN_WEI: Final = """
CREATE TABLE payers (
    coordinator BLOB PRIMARY KEY CHECK (length(coordinator) = 8),
    at INTEGER NOT NULL,
    paid REAL NOT NULL,
    unpaid REAL NOT NULL,
    rejected REAL NOT NULL,
    taken_back REAL NOT NULL,
    short REAL NOT NULL,
    paid_ever INTEGER NOT NULL,
    allowed BLOB NOT NULL CHECK (length(allowed) = 32),
    lost BLOB NOT NULL CHECK (length(lost) = 32),
    dearest BLOB NOT NULL CHECK (length(dearest) = 32),
    lost_since INTEGER NOT NULL,
    tries INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""
"""Of version 16 of the schema; a released one never changes."""
_COLUMNS: Final = (
    "coordinator, at, paid, unpaid, rejected, taken_back, short, paid_ever, allowed, lost, dearest, lost_since, tries"
)
_INSERT: Final = f"INSERT OR REPLACE INTO payers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constant columns


def create(connection: sqlite3.Connection) -> None:
    """Version 13: what came of coordinators; of before nothing is known, and nobody owes anything."""
    connection.execute(TABLE)


def count_in_wei(connection: sqlite3.Connection) -> None:
    """Version 16: what coordinators may owe and lost us in wei, and their tries in halves.

    Before, results were counted: each becomes what a coordinator's receipts paid in the mean, where that is known.
    """
    earned = dict(iter(connection.execute("SELECT coordinator, earned FROM vouchers_held")))
    known = connection.execute(
        "SELECT coordinator, at, paid, unpaid, rejected, taken_back, short, paid_ever, lost, lost_since, tries "
        "FROM payers"
    ).fetchall()
    connection.execute("DROP TABLE payers")
    connection.execute(IN_WEI)
    for *same, paid_ever, lost, lost_since, tries in known:
        coordinator, _, paid, *_ = same
        mean = max(integer(earned.get(coordinator, b"")) // max(paid_ever, 1), 1)
        allowed = 2 ** min(max(round(paid), 1), 4) if paid_ever else 0
        wei = (amount(allowed * mean), amount(lost * mean), amount(mean if lost else 0))
        connection.execute(_INSERT, (*same, paid_ever, *wei, lost_since, 2 * tries))


def write(connection: sqlite3.Connection, record: PayerKept) -> None:
    """Replace what is thought of a coordinator."""
    connection.execute(
        _INSERT,
        (
            unsigned(record.coordinator),
            record.at,
            record.paid,
            record.unpaid,
            record.rejected,
            record.taken_back,
            record.short,
            record.paid_ever,
            amount(record.allowed),
            amount(record.lost),
            amount(record.dearest),
            record.lost_since,
            record.tries,
        ),
    )


def read(connection: sqlite3.Connection) -> tuple[PayerKept, ...]:
    """Give what is thought of coordinators, those first of whom nothing was heard for longest."""
    return tuple(
        PayerKept(
            coordinator=StakingId(integer(row["coordinator"])),
            at=UnixMillis(row["at"]),
            paid=row["paid"],
            unpaid=row["unpaid"],
            rejected=row["rejected"],
            taken_back=row["taken_back"],
            short=row["short"],
            paid_ever=row["paid_ever"],
            allowed=Wei(integer(row["allowed"])),
            lost=Wei(integer(row["lost"])),
            dearest=Wei(integer(row["dearest"])),
            lost_since=UnixMillis(row["lost_since"]),
            tries=row["tries"],
        )
        for row in connection.execute("SELECT * FROM payers ORDER BY at, coordinator")
    )


def forget(connection: sqlite3.Connection, before: UnixMillis) -> None:
    """Delete what was thought of coordinators not heard of since this moment."""
    connection.execute("DELETE FROM payers WHERE at < ?", (before,))
