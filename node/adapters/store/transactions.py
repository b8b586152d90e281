"""Keeps transactions as rows, inside a SQLite transaction that the caller began."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from node.adapters.store.errors import StoreConflict
from node.adapters.store.integers import amount, integer
from protocol.chain_records import (
    CallValue,
    Confirmed,
    ContractCall,
    ContractEvent,
    Failed,
    SignedTransaction,
    Transaction,
    TransactionRequested,
)
from protocol.units import BlockNumber, Digest, UnixMillis, Wei


def request(connection: sqlite3.Connection, record: TransactionRequested) -> None:
    """Keep a wish; the same one again changes nothing.

    Raises:
        StoreConflict: the key names another call already.
    """
    call = _call_text(record.call)
    connection.execute("INSERT OR IGNORE INTO transactions (key, call) VALUES (?, ?)", (record.key, call))
    (stored,) = connection.execute("SELECT call FROM transactions WHERE key = ?", (record.key,)).fetchone()
    if stored != call:
        raise StoreConflict(f"transaction {record.key} is another call already")


def keep(connection: sqlite3.Connection, transactions: Iterable[Transaction], now: UnixMillis) -> None:
    """Replace what is known of these transactions, but for what they are and whether they are settled."""
    for transaction in transactions:
        outcome = None if transaction.outcome is None else _outcome_text(transaction.outcome)
        connection.execute(
            "UPDATE transactions SET nonce = ?, outcome = ?, ended_at = coalesce(ended_at, ?) WHERE key = ?",
            (transaction.nonce, outcome, None if outcome is None else now, transaction.key),
        )
        connection.execute("DELETE FROM transaction_versions WHERE key = ?", (transaction.key,))
        connection.executemany(
            "INSERT INTO transaction_versions (hash, key, raw, fee_cap, tip, gas, signed_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    version.hash,
                    transaction.key,
                    version.raw,
                    amount(version.fee_cap),
                    amount(version.tip),
                    version.gas,
                    version.signed_at,
                )
                for version in transaction.versions
            ],
        )


def read_open(connection: sqlite3.Connection, limit: int) -> tuple[Transaction, ...]:
    """Give those that are not settled, first those with a nonce, in the order of their requests."""
    found = connection.execute(
        "SELECT * FROM transactions WHERE settled IS NULL ORDER BY nonce IS NULL, place LIMIT ?", (limit,)
    )
    return _read(connection, found.fetchall())


def read_requests(connection: sqlite3.Connection) -> tuple[TransactionRequested, ...]:
    """Give the wishes whose outcome the core has not taken in."""
    found = connection.execute("SELECT key, call FROM transactions WHERE settled IS NULL ORDER BY place")
    return tuple(TransactionRequested(row["key"], _call(row["call"])) for row in found)


def read_one(connection: sqlite3.Connection, key: str) -> Transaction | None:
    """Find one by its key."""
    found = _read(connection, connection.execute("SELECT * FROM transactions WHERE key = ?", (key,)).fetchall())
    return found[0] if found else None


def forget(connection: sqlite3.Connection, before: UnixMillis) -> None:
    """Delete those that were settled before this moment."""
    connection.execute("DELETE FROM transactions WHERE settled < ?", (before,))


def _read(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> tuple[Transaction, ...]:
    return tuple(
        Transaction(
            key=row["key"],
            call=_call(row["call"]),
            nonce=row["nonce"],
            versions=_versions(connection, row["key"]),
            outcome=None if row["outcome"] is None else _outcome(row["outcome"]),
            settled=row["settled"] is not None,
        )
        for row in rows
    )


def _versions(connection: sqlite3.Connection, key: str) -> tuple[SignedTransaction, ...]:
    found = connection.execute("SELECT * FROM transaction_versions WHERE key = ? ORDER BY signed_at, fee_cap", (key,))
    return tuple(
        SignedTransaction(
            hash=Digest(row["hash"]),
            raw=row["raw"],
            fee_cap=Wei(integer(row["fee_cap"])),
            tip=Wei(integer(row["tip"])),
            gas=row["gas"],
            signed_at=UnixMillis(row["signed_at"]),
        )
        for row in found
    )


def _plain(value: CallValue) -> Any:  # noqa: ANN401 what JSON takes
    """Write bytes as ``{"bytes": hex}`` and a tuple as a list; JSON has the rest, whole numbers of any size too."""
    match value:
        case bytes():
            return {"bytes": value.hex()}
        case tuple():
            return [_plain(part) for part in value]
        case _:
            return value


def _value(plain: Any) -> CallValue:  # noqa: ANN401 what we wrote ourselves
    match plain:
        case {"bytes": text}:
            return bytes.fromhex(text)
        case list():
            return tuple(_value(part) for part in plain)
        case _:
            known: bool | int | str = plain
            return known


def _call_text(call: ContractCall) -> str:
    return json.dumps([call.contract, call.function, [_plain(argument) for argument in call.arguments]])


def _call(text: str) -> ContractCall:
    contract, function, arguments = json.loads(text)
    return ContractCall(contract, function, tuple(_value(argument) for argument in arguments))


def _outcome_text(outcome: Confirmed | Failed) -> str:
    if isinstance(outcome, Failed):
        return json.dumps({"reason": outcome.reason, "detail": outcome.detail})
    events = [
        [event.contract, event.name, {name: _plain(value) for name, value in event.fields.items()}]
        for event in outcome.events
    ]
    return json.dumps(
        {"block": outcome.block, "transaction": outcome.transaction.hex(), "fee": outcome.fee, "events": events}
    )


def _outcome(text: str) -> Confirmed | Failed:
    plain = json.loads(text)
    if "reason" in plain:
        return Failed(plain["reason"], plain["detail"])
    events = tuple(
        ContractEvent(contract, name, {field: _value(value) for field, value in fields.items()})
        for contract, name, fields in plain["events"]
    )
    return Confirmed(
        BlockNumber(plain["block"]), Digest(bytes.fromhex(plain["transaction"])), events, Wei(plain["fee"])
    )
