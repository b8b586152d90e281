"""Disputes as rows, inside transactions that the caller began: who agreed, and what we judged. SPEC.md §12.10."""

import sqlite3
from typing import Final

from node.adapters.store.errors import StoreConflict
from node.adapters.store.integers import integer, unsigned
from protocol.records import VerdictKept
from protocol.units import Digest, StakingId, UnixMillis

TABLES: Final = """
ALTER TABLE tasks ADD COLUMN may_be_disputed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rechecks ADD COLUMN may_be_disputed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE drawings ADD COLUMN capability BLOB NOT NULL DEFAULT x'';
CREATE TABLE verdicts (
    dispute BLOB NOT NULL CHECK (length(dispute) = 32),
    round INTEGER NOT NULL,
    evidence BLOB NOT NULL CHECK (length(evidence) = 32),
    verdict INTEGER NOT NULL,
    signature BLOB NOT NULL CHECK (length(signature) = 65),
    reason TEXT NOT NULL,
    signed_at INTEGER NOT NULL,
    PRIMARY KEY (dispute, round)
) STRICT, WITHOUT ROWID
"""
"""Of version 15 of the schema; a released one never changes."""


_JUROR: Final = "ALTER TABLE verdicts ADD COLUMN juror BLOB NOT NULL DEFAULT x'0000000000000000'"


def create(connection: sqlite3.Connection) -> None:
    """Version 15: which tasks may be disputed, of before none, and verdicts of ours as a juror."""
    for statement in TABLES.split(";"):
        connection.execute(statement)


def add_juror(connection: sqlite3.Connection) -> None:
    """Version 17: as whom a verdict was signed; those of before do not say it."""
    connection.execute(_JUROR)


def write(connection: sqlite3.Connection, record: VerdictKept) -> None:
    """Keep the one verdict of a round. A second, different one would be double-signing.

    Raises:
        StoreConflict: another one is kept.
    """
    number = record.dispute.to_bytes(32, "big")
    connection.execute(
        "INSERT OR IGNORE INTO verdicts (dispute, round, evidence, verdict, signature, reason, signed_at, juror) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            record.round,
            record.evidence,
            record.verdict,
            record.signature,
            record.reason,
            record.signed_at,
            unsigned(record.juror),
        ),
    )
    kept = connection.execute(
        "SELECT verdict FROM verdicts WHERE dispute = ? AND round = ?", (number, record.round)
    ).fetchone()
    if kept["verdict"] != record.verdict:
        raise StoreConflict(f"in round {record.round} of dispute {record.dispute} another verdict is signed already")


def read_verdicts(connection: sqlite3.Connection) -> tuple[VerdictKept, ...]:
    """Give all verdicts that this node ever signed, by dispute: a node is a juror some dozens of times a year."""
    return tuple(
        VerdictKept(
            dispute=integer(row["dispute"]),
            round=row["round"],
            evidence=Digest(row["evidence"]),
            verdict=row["verdict"],
            signature=row["signature"],
            reason=row["reason"],
            signed_at=UnixMillis(row["signed_at"]),
            juror=StakingId(integer(row["juror"])),
        )
        for row in connection.execute("SELECT * FROM verdicts ORDER BY dispute, round")
    )
