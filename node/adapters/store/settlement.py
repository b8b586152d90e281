"""Keeps what the Settlement contract said, and what was promised on each day, as rows.

All of it inside a SQLite transaction that the caller began. Payments are never forgotten: they are the accounts.
"""

import sqlite3
from typing import Final

from node.adapters.store.integers import amount, integer, unsigned
from protocol.chain_records import Escrow, Payment, SettlementRead
from protocol.units import DAY_MS, BlockNumber, Digest, StakingId, UnixMillis, Wei

ISSUED: Final = "issued"
"""Side of a promise: by this node, a coordinator."""
HELD: Final = "held"
"""Side of a promise: to this node, a miner."""
_PAYMENT: Final = "block, place, hash, at, coordinator, miner, amount, acknowledged, unpaid"


def write_read(connection: sqlite3.Connection, read: SettlementRead) -> None:
    """Add what is new; of another contract, or where everything was read anew, what was known is forgotten first."""
    known = connection.execute("SELECT contract FROM settlement_place").fetchone()
    if read.anew or known is None or known["contract"] != read.contract:
        connection.execute("DELETE FROM escrows")
        connection.execute("DELETE FROM payments")
    connection.execute(
        "INSERT OR REPLACE INTO settlement_place (only, contract, block, hash) VALUES (1, ?, ?, ?)",
        (read.contract, read.block, read.hash),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO escrows (coordinator, deposited, withdrawing, redeemed, owed) VALUES (?, ?, ?, ?, ?)",
        [
            (
                unsigned(one.coordinator),
                amount(one.deposited),
                amount(one.withdrawing),
                amount(one.redeemed),
                amount(one.owed),
            )
            for one in read.escrows
        ],
    )
    connection.executemany(
        f"INSERT OR REPLACE INTO payments ({_PAYMENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant columns
        [
            (
                one.block,
                one.place,
                one.transaction,
                one.at,
                unsigned(one.coordinator),
                unsigned(one.miner),
                amount(one.amount),
                amount(one.acknowledged),
                amount(one.unpaid),
            )
            for one in read.payments
        ],
    )


def read_settlement(connection: sqlite3.Connection) -> SettlementRead | None:
    """Give all that is known of the contract, but of the payments the last one of each pair; None when nothing is."""
    place = connection.execute("SELECT * FROM settlement_place").fetchone()
    if place is None:
        return None
    last = connection.execute(
        f"SELECT {_PAYMENT} FROM payments AS p WHERE NOT EXISTS (SELECT 1 FROM payments q WHERE "  # noqa: S608 - constant columns
        "q.coordinator = p.coordinator AND q.miner = p.miner AND (q.block, q.place) > (p.block, p.place)) "
        "ORDER BY block, place"
    )
    return SettlementRead(
        contract=place["contract"],
        block=BlockNumber(place["block"]),
        hash=Digest(place["hash"]),
        payments=tuple(payment_of(row) for row in last),
        escrows=tuple(escrow_of(row) for row in connection.execute("SELECT * FROM escrows ORDER BY coordinator")),
        anew=True,
    )


def payment_of(row: sqlite3.Row) -> Payment:
    """Read one payment."""
    return Payment(
        block=BlockNumber(row["block"]),
        place=row["place"],
        transaction=Digest(row["hash"]),
        at=UnixMillis(row["at"]),
        coordinator=StakingId(integer(row["coordinator"])),
        miner=StakingId(integer(row["miner"])),
        amount=Wei(integer(row["amount"])),
        acknowledged=Wei(integer(row["acknowledged"])),
        unpaid=Wei(integer(row["unpaid"])),
    )


def escrow_of(row: sqlite3.Row) -> Escrow:
    """Read one escrow."""
    return Escrow(
        coordinator=StakingId(integer(row["coordinator"])),
        deposited=Wei(integer(row["deposited"])),
        withdrawing=Wei(integer(row["withdrawing"])),
        redeemed=Wei(integer(row["redeemed"])),
        owed=Wei(integer(row["owed"])),
    )


def promise(
    connection: sqlite3.Connection, side: str, party: StakingId, cumulative: Wei, before: int, now: UnixMillis
) -> None:
    """Count what a higher voucher adds to the day; the days of a pair together are its highest voucher."""
    if cumulative <= before:
        return
    place = (side, unsigned(party), now // DAY_MS)
    row = connection.execute("SELECT wei FROM promises WHERE side = ? AND party = ? AND day = ?", place).fetchone()
    wei = (integer(row["wei"]) if row is not None else 0) + cumulative - before
    connection.execute(
        "INSERT INTO promises (side, party, day, wei, vouchers) VALUES (?, ?, ?, ?, 1) "
        "ON CONFLICT (side, party, day) DO UPDATE SET wei = excluded.wei, vouchers = vouchers + 1",
        (*place, amount(wei)),
    )
