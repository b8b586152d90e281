"""Fingerprints of a miner's latest pictures as rows, inside transactions that the caller began. See SPEC.md §12.7."""

import sqlite3
from typing import Final

from node.adapters.store.integers import integer, unsigned
from protocol.records import StepsKept
from protocol.roles.miner.kept_steps import MOST_BYTES, MOST_PICTURES
from protocol.units import Digest, StakingId, TaskId, UnixMillis

TABLES: Final = """
CREATE TABLE steps (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    commitment BLOB NOT NULL UNIQUE CHECK (length(commitment) = 32),
    task BLOB NOT NULL CHECK (length(task) = 32),
    attempt INTEGER NOT NULL,
    coordinator BLOB NOT NULL CHECK (length(coordinator) = 8),
    root BLOB NOT NULL CHECK (length(root) = 32),
    fingerprints BLOB NOT NULL,
    kept_at INTEGER NOT NULL
) STRICT;
CREATE INDEX steps_by_time ON steps (kept_at);
ALTER TABLE drawings ADD COLUMN steps TEXT NOT NULL DEFAULT '';
ALTER TABLE drawings ADD COLUMN opened BLOB NOT NULL DEFAULT x''
"""
"""Of version 12 of the schema; a released one never changes."""

_KEPT: Final = """
SELECT * FROM steps WHERE place IN (
    SELECT place FROM (
        SELECT place, sum(bytes) OVER (ORDER BY taken, place DESC) AS together FROM (
            SELECT place, length(fingerprints) AS bytes, sum(length(fingerprints)) OVER (
                PARTITION BY coordinator, length(fingerprints) ORDER BY place DESC
            ) AS taken
            FROM steps WHERE kept_at >= ?
        )
    ) WHERE together <= ?
) ORDER BY place
"""
"""As many as there is room for, ``taken`` being what they and the later ones of their coordinator and number of steps
take: who takes least of it comes first."""


def create(connection: sqlite3.Connection) -> None:
    """Version 12: steps of pictures, and what was opened of those that were drawn again; of before none were."""
    for statement in TABLES.split(";"):
        connection.execute(statement)


def write(connection: sqlite3.Connection, record: StepsKept) -> None:
    """Keep the steps of a picture, and no more than so many pictures'."""
    connection.execute(
        "INSERT OR IGNORE INTO steps (commitment, task, attempt, coordinator, root, fingerprints, kept_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            record.commitment,
            record.task,
            record.attempt,
            unsigned(record.coordinator),
            record.root,
            record.fingerprints,
            record.kept_at,
        ),
    )
    connection.execute("DELETE FROM steps WHERE place <= (SELECT max(place) FROM steps) - ?", (MOST_PICTURES,))


def read(connection: sqlite3.Connection, since: UnixMillis) -> tuple[StepsKept, ...]:
    """Give of those kept since then as many as a miner has in memory, the oldest first.

    As it forgets: of each coordinator and number of steps the latest, so that none of these takes the others' room.
    """
    return tuple(_record(row) for row in connection.execute(_KEPT, (since, MOST_BYTES)))


def _record(row: sqlite3.Row) -> StepsKept:
    return StepsKept(
        task=TaskId(row["task"]),
        attempt=row["attempt"],
        coordinator=StakingId(integer(row["coordinator"])),
        commitment=Digest(row["commitment"]),
        root=Digest(row["root"]),
        fingerprints=row["fingerprints"],
        kept_at=UnixMillis(row["kept_at"]),
    )


def expire(connection: sqlite3.Connection, before: UnixMillis) -> None:
    """Delete those kept before this moment."""
    connection.execute("DELETE FROM steps WHERE kept_at < ?", (before,))
