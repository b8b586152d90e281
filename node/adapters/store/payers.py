"""What a miner thinks of coordinators, as rows, inside transactions that the caller began. See SPEC.md §12.9."""

import sqlite3
from typing import Final

from protocol.records import PayerKept
from protocol.units import StakingId, UnixMillis

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
_COLUMNS: Final = "coordinator, at, paid, unpaid, rejected, taken_back, short, paid_ever, lost, lost_since, tries"


def create(connection: sqlite3.Connection) -> None:
    """Version 13: what came of coordinators; of before nothing is known, and nobody owes anything."""
    connection.execute(TABLE)


def write(connection: sqlite3.Connection, record: PayerKept) -> None:
    """Replace what is thought of a coordinator."""
    connection.execute(
        f"INSERT OR REPLACE INTO payers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant columns
        (
            record.coordinator.to_bytes(8, "big"),
            record.at,
            record.paid,
            record.unpaid,
            record.rejected,
            record.taken_back,
            record.short,
            record.paid_ever,
            record.lost,
            record.lost_since,
            record.tries,
        ),
    )


def read(connection: sqlite3.Connection) -> tuple[PayerKept, ...]:
    """Give what is thought of coordinators, those first of whom nothing was heard for longest."""
    return tuple(
        PayerKept(
            coordinator=StakingId(int.from_bytes(row["coordinator"], "big")),
            at=UnixMillis(row["at"]),
            paid=row["paid"],
            unpaid=row["unpaid"],
            rejected=row["rejected"],
            taken_back=row["taken_back"],
            short=row["short"],
            paid_ever=row["paid_ever"],
            lost=row["lost"],
            lost_since=UnixMillis(row["lost_since"]),
            tries=row["tries"],
        )
        for row in connection.execute("SELECT * FROM payers ORDER BY at, coordinator")
    )


def forget(connection: sqlite3.Connection, before: UnixMillis) -> None:
    """Delete what was thought of coordinators not heard of since this moment."""
    connection.execute("DELETE FROM payers WHERE at < ?", (before,))
