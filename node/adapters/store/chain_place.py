"""Keeps how far the staking contract was followed, inside a SQLite transaction that the caller began."""

import sqlite3
from collections.abc import Iterable

from node.adapters.store.integers import amount, integer, unsigned
from protocol.chain_records import ChainPlace, ChainStep, Header, RowChange
from protocol.stake.table import StakeRow
from protocol.units import Address, BlockNumber, Role, StakingId, UnixMillis, Wei


def add_owner(connection: sqlite3.Connection) -> None:
    """Version 18: who owns a node; what was read before does not say it, so the contract is read anew.

    Else a node that nothing happened to would for ever be its own owner, and bear its owner's other nodes out.
    """
    connection.execute("ALTER TABLE chain_changes ADD COLUMN owner BLOB CHECK (length(owner) = 20)")
    connection.execute("DELETE FROM chain_place")  # without a place there is nothing to go on from


def read(connection: sqlite3.Connection, contract: str) -> ChainPlace | None:
    """Give the place in this contract's history, None when there is none."""
    found = connection.execute("SELECT * FROM chain_place").fetchone()
    if found is None or found["contract"] != contract:
        return None
    anchors = connection.execute("SELECT * FROM chain_anchors ORDER BY number")
    changes = connection.execute("SELECT * FROM chain_changes ORDER BY place")
    return ChainPlace(
        settled=BlockNumber(found["settled"]),
        anchors=tuple(
            Header(BlockNumber(row["number"]), row["hash"], row["parent"], UnixMillis(row["timestamp"]))
            for row in anchors
        ),
        changes=tuple(RowChange(BlockNumber(row["block"]), _row(row)) for row in changes),
    )


def keep(connection: sqlite3.Connection, contract: str, step: ChainStep) -> None:
    """Take back what the step takes back, then keep what it brings."""
    stored = connection.execute("SELECT contract FROM chain_place").fetchone()
    kept = step.kept if stored is not None and stored["contract"] == contract else -1
    connection.execute("DELETE FROM chain_anchors WHERE number > ?", (kept,))
    connection.execute("DELETE FROM chain_changes WHERE block > ?", (kept,))
    connection.executemany("DELETE FROM chain_anchors WHERE number = ?", [(number,) for number in step.dropped])
    connection.executemany(
        "INSERT OR REPLACE INTO chain_anchors (number, hash, parent, timestamp) VALUES (?, ?, ?, ?)",
        [(anchor.number, anchor.hash, anchor.parent, anchor.timestamp) for anchor in step.anchors],
    )
    connection.executemany(
        "INSERT INTO chain_changes (block, node, address, role, stake, active, owner) VALUES (?, ?, ?, ?, ?, ?, ?)",
        _values(step.changes),
    )
    connection.execute(
        "INSERT OR REPLACE INTO chain_place (only, contract, settled) VALUES (1, ?, ?)", (contract, step.settled)
    )
    connection.execute(
        "DELETE FROM chain_changes AS old WHERE block <= ?1 AND EXISTS (SELECT 1 FROM chain_changes AS newer "
        "WHERE newer.node = old.node AND newer.place > old.place AND newer.block <= ?1)",
        (step.settled,),
    )


def _values(changes: Iterable[RowChange]) -> list[tuple[object, ...]]:
    return [
        (
            change.block,
            unsigned(change.row.id),
            change.row.address,
            int(change.row.role),
            amount(change.row.stake),
            int(change.row.active),
            change.row.owner,
        )
        for change in changes
    ]


def _row(row: sqlite3.Row) -> StakeRow:
    return StakeRow(
        id=StakingId(integer(row["node"])),
        address=Address(row["address"]),
        role=Role(row["role"]),
        stake=Wei(integer(row["stake"])),
        active=bool(row["active"]),
        owner=Address(row["owner"]) if row["owner"] is not None else None,
    )
