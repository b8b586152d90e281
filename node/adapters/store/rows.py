"""Writes records as rows, inside a transaction that the caller began."""

import sqlite3
from typing import assert_never

from node.adapters.store import (
    disputes,
    evidence,
    inputs,
    payers,
    rechecks,
    settlement,
    small_artifacts,
    steps,
    transactions,
)
from node.adapters.store.errors import StoreConflict
from node.adapters.store.integers import amount, integer, unsigned
from protocol.chain_records import SettlementRead, TransactionRequested, TransactionSettled
from protocol.records import (
    ArtifactStored,
    BootStarted,
    CaseChanged,
    ClaimSigned,
    EvidenceFound,
    InputsShared,
    InputStored,
    LeftPaid,
    PayerKept,
    RecheckKept,
    Record,
    ReputationKept,
    ResultCommitted,
    ResultSettled,
    StepsKept,
    TaskAccepted,
    TaskAwarded,
    TaskDone,
    TaskFailed,
    VerdictKept,
    VoucherHeld,
    VoucherIssued,
)
from protocol.units import UnixMillis


def write(connection: sqlite3.Connection, record: Record, now: UnixMillis) -> None:  # noqa: C901 one line for each
    """Write one record. Large artifacts have no row: their files are written before the transaction.

    Raises:
        StoreConflict: the record contradicts a stored one.
        sqlite3.Error: the database refuses.
    """
    match record:
        case BootStarted():
            _write_boot(connection, record)
        case TaskAccepted():
            _write_accepted(connection, record)
        case InputStored():
            inputs.write(connection, record)
        case InputsShared():
            inputs.share(connection, record)
        case TaskAwarded():
            connection.execute(
                "INSERT INTO attempts (task, attempt, miner, claim, award, awarded_at) VALUES (?, ?, ?, ?, ?, ?)",
                (record.task, record.attempt, unsigned(record.miner), record.claim, record.award, record.awarded_at),
            )
        case TaskDone():
            _write_done(connection, record)
        case TaskFailed():
            _write_failed(connection, record)
        case LeftPaid():
            _write_left(connection, record)
        case VoucherIssued():
            before = _highest(connection, "vouchers_issued", "miner", unsigned(record.miner))
            _write_voucher(connection, "vouchers_issued", "miner", unsigned(record.miner), record)
            settlement.promise(connection, settlement.ISSUED, record.miner, record.cumulative, before, now)
        case VoucherHeld():
            before = _highest(connection, "vouchers_held", "coordinator", unsigned(record.coordinator))
            _write_voucher(connection, "vouchers_held", "coordinator", unsigned(record.coordinator), record)
            settlement.promise(connection, settlement.HELD, record.coordinator, record.cumulative, before, now)
            _write_earned(connection, record)
        case ArtifactStored():
            if len(record.data) <= small_artifacts.SMALL_BYTES:
                small_artifacts.write(connection, record, now)
        case ClaimSigned():
            connection.execute(
                "INSERT INTO claims (claim, task, attempt, coordinator, nonce, signed_at) VALUES (?, ?, ?, ?, ?, ?)",
                (record.claim, record.task, record.attempt, unsigned(record.coordinator), record.nonce, now),
            )
        case ResultCommitted():
            _write_result(connection, record)
        case StepsKept():
            steps.write(connection, record)
        case ResultSettled():
            connection.execute(
                "UPDATE results SET settled = ? WHERE award = ? AND settled IS NULL", (now, record.award)
            )
        case EvidenceFound():
            evidence.write_found(connection, record)
        case CaseChanged():
            evidence.write_changed(connection, record)
        case RecheckKept():
            rechecks.write(connection, record)
            if record.outcome:
                inputs.release(connection, record.subject)
        case ReputationKept():
            rechecks.write_reputation(connection, record)
        case PayerKept():
            payers.write(connection, record)
        case VerdictKept():
            disputes.write(connection, record)
        case SettlementRead():
            settlement.write_read(connection, record)
        case TransactionRequested():
            transactions.request(connection, record)
        case TransactionSettled(key=key):
            connection.execute("UPDATE transactions SET settled = ? WHERE key = ? AND settled IS NULL", (now, key))
        case _:
            assert_never(record)


def _write_boot(connection: sqlite3.Connection, record: BootStarted) -> None:
    """Move the boot number forward: a number used twice would give two tasks one name."""
    changed = connection.execute(
        "INSERT INTO meta (key, value) VALUES ('boot', ?) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE excluded.value > meta.value",
        (record.boot,),
    ).rowcount
    if changed != 1:
        raise StoreConflict(f"boot {record.boot} is not above the stored one")


def _write_accepted(connection: sqlite3.Connection, record: TaskAccepted) -> None:
    connection.execute(
        "INSERT INTO tasks (task, epoch, boot, number, specification, salt, price, detached, idempotency_key, "
        "accepted_at, deadline, priority, account, input_bytes, collected, may_be_disputed) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.task,
            record.epoch,
            unsigned(record.boot),
            unsigned(record.number),
            record.specification,
            record.salt,
            amount(record.price),
            int(record.detached),
            record.idempotency_key,
            record.accepted_at,
            record.deadline,
            record.priority,
            record.account,
            record.input_bytes,
            int(record.collected),
            int(record.may_be_disputed),
        ),
    )


def _write_done(connection: sqlite3.Connection, record: TaskDone) -> None:
    """Give the task its one result: a second one changes no row and is refused. SPEC.md §9.5."""
    changed = connection.execute(
        "UPDATE tasks SET done = ?, done_attempt = ?, done_miner = ?, artifact = ?, media_type = ?, receipt = ?, "
        "generation_ms = ?, acceptance = ? WHERE task = ? AND done IS NULL AND failed IS NULL",
        (
            record.finished_at,
            record.attempt,
            unsigned(record.miner),
            record.artifact,
            record.media_type,
            record.receipt,
            record.generation_ms,
            record.acceptance,
            record.task,
        ),
    ).rowcount
    if changed != 1:
        raise StoreConflict(f"task {record.task.hex()} is unknown or has ended already, it cannot be done now")
    inputs.release(connection, record.task)


def _write_failed(connection: sqlite3.Connection, record: TaskFailed) -> None:
    changed = connection.execute(
        "UPDATE tasks SET failed = ?, reason = ? WHERE task = ? AND done IS NULL AND failed IS NULL",
        (record.finished_at, record.reason, record.task),
    ).rowcount
    if changed != 1:
        raise StoreConflict(f"task {record.task.hex()} is unknown or has ended already, it cannot fail now")
    inputs.release(connection, record.task)


def _write_left(connection: sqlite3.Connection, record: LeftPaid) -> None:
    """Note on a failed task who was paid for it: once, as for one that is done."""
    changed = connection.execute(
        "UPDATE tasks SET done_attempt = ?, done_miner = ?, artifact = ?, media_type = ?, receipt = ? "
        "WHERE task = ? AND failed IS NOT NULL AND receipt IS NULL",
        (
            record.attempt,
            unsigned(record.miner),
            record.artifact,
            record.media_type,
            record.receipt,
            record.task,
        ),
    ).rowcount
    if changed != 1:
        raise StoreConflict(f"task {record.task.hex()} has not failed, or was paid already: it cannot be paid now")


def _write_voucher(
    connection: sqlite3.Connection, table: str, party: str, number: bytes, record: VoucherIssued | VoucherHeld
) -> None:
    """Keep the highest voucher of each pair; a lower one, as after a restored disk, changes nothing."""
    connection.execute(
        f"INSERT INTO {table} ({party}, cumulative, boot, sequence, issued_total, signature) VALUES (?, ?, ?, ?, ?, ?) "  # noqa: S608 - both names are literals of this module
        f"ON CONFLICT ({party}) DO UPDATE SET cumulative = excluded.cumulative, boot = excluded.boot, "
        "sequence = excluded.sequence, "
        "issued_total = excluded.issued_total, signature = excluded.signature "
        f"WHERE (excluded.cumulative, excluded.boot, excluded.sequence) > "
        f"({table}.cumulative, {table}.boot, {table}.sequence)",
        (
            number,
            amount(record.cumulative),
            unsigned(record.boot),
            unsigned(record.sequence),
            amount(record.issued_total),
            record.signature,
        ),
    )


def _highest(connection: sqlite3.Connection, table: str, party: str, number: bytes) -> int:
    """Give what the voucher of a pair promises that is kept (wei); 0 without one."""
    row = connection.execute(f"SELECT cumulative FROM {table} WHERE {party} = ?", (number,)).fetchone()  # noqa: S608 - both names are literals of this module
    return integer(row[0]) if row is not None else 0


def _write_earned(connection: sqlite3.Connection, record: VoucherHeld) -> None:
    """Keep the highest sum of receipts, whichever voucher comes with it: receipts may come in any order."""
    connection.execute(
        "UPDATE vouchers_held SET earned = ? WHERE coordinator = ? AND earned < ?",
        (amount(record.earned), unsigned(record.coordinator), amount(record.earned)),
    )


def _write_result(connection: sqlite3.Connection, record: ResultCommitted) -> None:
    """Keep the one commitment for an award. A second, different one would be double-signing."""
    connection.execute(
        "INSERT INTO results (award, task, attempt, coordinator, artifact, result, committed_at, price) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.award,
            record.task,
            record.attempt,
            unsigned(record.coordinator),
            record.artifact,
            record.result,
            record.committed_at,
            None if record.price is None else amount(record.price),
        ),
    )
