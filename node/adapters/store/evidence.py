"""Keeps statements that contradict each other, and what came of them, as rows. They are never forgotten.

All of it inside a SQLite transaction that the caller began.
"""

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from protocol.justice.evidence import name_of
from protocol.justice.evidence_text import of_plain, to_plain
from protocol.records import CaseChanged, CaseState, EvidenceFound
from protocol.units import Digest, StakingId, UnixMillis, Wei

_ID_BYTES: Final = 8
_WEI_BYTES: Final = 32


def write_found(connection: sqlite3.Connection, record: EvidenceFound) -> None:
    """Keep the first evidence of its signer, kind and subject; more prove no more."""
    evidence = record.evidence
    connection.execute(
        "INSERT OR IGNORE INTO evidence (name, signer, role, statements, found_at, state, changed_at, detail) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, '')",
        (
            name_of(evidence),
            evidence.signer.to_bytes(_ID_BYTES, "big"),
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
            record.slashed.to_bytes(_WEI_BYTES, "big"),
            record.bounty.to_bytes(_WEI_BYTES, "big"),
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
    return frozenset(StakingId(int.from_bytes(row["signer"], "big")) for row in rows)


def _wei(amount: bytes | None) -> Wei:
    return Wei(int.from_bytes(amount or b"", "big"))
