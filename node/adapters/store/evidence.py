"""Keeps statements that contradict each other, and what came of them, as rows. They are never forgotten.

All of it inside a SQLite transaction that the caller began.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from node.adapters.store.integers import amount, integer, unsigned
from protocol.justice.evidence import name_of
from protocol.justice.evidence_text import of_plain, to_plain
from protocol.records import CaseChanged, CaseState, EvidenceFound
from protocol.units import Digest, StakingId, UnixMillis, Wei

TABLE: Final = """
CREATE TABLE evidence (
    name TEXT PRIMARY KEY,
    signer BLOB NOT NULL CHECK (length(signer) = 8),
    role INTEGER NOT NULL,
    statements TEXT NOT NULL,
    found_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    detail TEXT NOT NULL,
    hash BLOB CHECK (length(hash) = 32),
    slashed BLOB CHECK (length(slashed) = 32),
    bounty BLOB CHECK (length(bounty) = 32)
) STRICT
"""
"""Of version 10 of the schema; a released one never changes."""


def create(connection: sqlite3.Connection) -> None:
    """Version 10: evidence of all kinds, and what came of it; vouchers that contradict each other move here."""
    connection.execute(TABLE)
    for coordinator, kind, early, early_signature, late, late_signature, found_at in connection.execute(
        "SELECT coordinator, kind, early, early_signature, late, late_signature, found_at FROM contradictions"
    ).fetchall():
        one, other = (
            {"statement": {name: str(value) for name, value in json.loads(text).items()}, "signature": "0x" + by.hex()}
            for text, by in ((early, early_signature), (late, late_signature))
        )
        boot = int(one["statement"]["boot"])
        risen = int(one["statement"]["cumulative"]) <= int(other["statement"]["cumulative"])
        is_rise = kind == "understated" and one["statement"]["miner"] == other["statement"]["miner"] and risen
        number = 5 if kind == "two_vouchers" else 6
        name = hashlib.sha256(b"cuckoo/1/evidence" + bytes([number]) + coordinator + boot.to_bytes(32, "big"))
        statements = [one, other] * (2 if is_rise else 1)
        connection.execute(
            "INSERT OR IGNORE INTO evidence (name, signer, role, statements, found_at, state, changed_at, detail) "
            "VALUES (?, ?, 2, ?, ?, 'found', ?, '')",
            (name.hexdigest(), coordinator, json.dumps({"kind": kind, "statements": statements}), found_at, found_at),
        )
    connection.execute("DROP TABLE contradictions")


def write_found(connection: sqlite3.Connection, record: EvidenceFound) -> None:
    """Keep the first evidence of its signer, kind and subject; more prove no more."""
    evidence = record.evidence
    connection.execute(
        "INSERT OR IGNORE INTO evidence (name, signer, role, statements, found_at, state, changed_at, detail) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, '')",
        (
            name_of(evidence),
            unsigned(evidence.signer),
            int(evidence.ROLE),
            json.dumps(to_plain(evidence)),
            record.found_at,
            CaseState.FOUND.value,
            record.found_at,
        ),
    )


def write_changed(connection: sqlite3.Connection, record: CaseChanged) -> None:
    """Keep what came of it last."""
    connection.execute(
        "UPDATE evidence SET state = ?, changed_at = ?, detail = ?, hash = ?, slashed = ?, bounty = ? WHERE name = ?",
        (
            record.state.value,
            record.at,
            record.detail,
            record.transaction,
            amount(record.slashed),
            amount(record.bounty),
            record.name,
        ),
    )


def read_all(connection: sqlite3.Connection) -> Iterable[EvidenceFound | CaseChanged]:
    """Give each piece of evidence in the order in which it was found, followed by what came of it, if anything did."""
    for row in connection.execute("SELECT * FROM evidence ORDER BY found_at, rowid"):
        yield EvidenceFound(of_plain(json.loads(row["statements"])), UnixMillis(row["found_at"]))
        if row["state"] != CaseState.FOUND:
            yield CaseChanged(
                name=row["name"],
                state=CaseState(row["state"]),
                at=UnixMillis(row["changed_at"]),
                detail=row["detail"],
                transaction=None if row["hash"] is None else Digest(row["hash"]),
                slashed=_wei(row["slashed"]),
                bounty=_wei(row["bounty"]),
            )


def false_nodes(connection: sqlite3.Connection) -> frozenset[StakingId]:
    """Give the nodes whose statements contradict each other."""
    rows = connection.execute("SELECT DISTINCT signer FROM evidence")
    return frozenset(StakingId(integer(row["signer"])) for row in rows)


def _wei(amount: bytes | None) -> Wei:
    return Wei(integer(amount or b""))
