"""The tables, and how an older database becomes a present one.

Rules for editors: a migration that was released never changes; a new shape is a new function at the end of
``MIGRATIONS``. Unsigned 64-bit numbers are 8 big-endian bytes, since SQLite integers are signed; amounts in wei are
32 big-endian bytes, as on the wire; both sort as numbers. Moments are unix milliseconds.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from node.adapters.store import chain_place, disputes, evidence, payers, rechecks, steps
from protocol.errors import ConfigError

Migration = Callable[[sqlite3.Connection], None]

_FIRST: Final = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    task BLOB PRIMARY KEY CHECK (length(task) = 32),
    epoch INTEGER NOT NULL,
    boot BLOB NOT NULL CHECK (length(boot) = 8),
    number BLOB NOT NULL CHECK (length(number) = 8),
    specification BLOB NOT NULL,
    salt BLOB NOT NULL,
    price BLOB NOT NULL CHECK (length(price) = 32),
    detached INTEGER NOT NULL,
    idempotency_key TEXT,
    accepted_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    done INTEGER,
    done_attempt INTEGER,
    done_miner BLOB,
    artifact BLOB,
    media_type TEXT,
    receipt BLOB,
    generation_ms INTEGER,
    failed INTEGER,
    reason TEXT,
    CHECK (done IS NULL OR failed IS NULL),
    UNIQUE (boot, epoch, number)
) STRICT;
CREATE UNIQUE INDEX task_of_key ON tasks (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX open_tasks ON tasks (boot, epoch, number) WHERE done IS NULL AND failed IS NULL;
CREATE INDEX done_tasks ON tasks (done) WHERE done IS NOT NULL;
CREATE INDEX failed_tasks ON tasks (failed) WHERE failed IS NOT NULL;

CREATE TABLE attempts (
    task BLOB NOT NULL REFERENCES tasks (task) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    miner BLOB NOT NULL CHECK (length(miner) = 8),
    claim BLOB NOT NULL UNIQUE,
    award BLOB NOT NULL,
    awarded_at INTEGER NOT NULL,
    PRIMARY KEY (task, attempt)
) STRICT;

CREATE TABLE vouchers_issued (
    miner BLOB PRIMARY KEY CHECK (length(miner) = 8),
    cumulative BLOB NOT NULL CHECK (length(cumulative) = 32),
    boot BLOB NOT NULL CHECK (length(boot) = 8),
    sequence BLOB NOT NULL CHECK (length(sequence) = 8),
    issued_total BLOB NOT NULL CHECK (length(issued_total) = 32),
    signature BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE vouchers_held (
    coordinator BLOB PRIMARY KEY CHECK (length(coordinator) = 8),
    cumulative BLOB NOT NULL CHECK (length(cumulative) = 32),
    boot BLOB NOT NULL CHECK (length(boot) = 8),
    sequence BLOB NOT NULL CHECK (length(sequence) = 8),
    issued_total BLOB NOT NULL CHECK (length(issued_total) = 32),
    signature BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE claims (
    claim BLOB PRIMARY KEY CHECK (length(claim) = 32),
    task BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    coordinator BLOB NOT NULL CHECK (length(coordinator) = 8),
    nonce BLOB NOT NULL UNIQUE,
    signed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX claims_of_task ON claims (task, attempt);
CREATE INDEX claims_by_time ON claims (signed_at);

CREATE TABLE results (
    award BLOB PRIMARY KEY CHECK (length(award) = 32),
    task BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    coordinator BLOB NOT NULL CHECK (length(coordinator) = 8),
    artifact BLOB NOT NULL CHECK (length(artifact) = 32),
    result BLOB NOT NULL,
    committed_at INTEGER NOT NULL,
    settled INTEGER
) STRICT;
CREATE INDEX unsettled_results ON results (committed_at) WHERE settled IS NULL;
CREATE INDEX results_of_task ON results (task, attempt);
CREATE INDEX settled_results ON results (settled) WHERE settled IS NOT NULL;

CREATE TABLE addresses (
    address TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""


def _create(connection: sqlite3.Connection) -> None:
    """Version 1: the first tables."""
    for statement in _FIRST.split(";"):
        if statement.strip():
            connection.execute(statement)


def _remember_earnings(connection: sqlite3.Connection) -> None:
    """Version 2: what each coordinator gave receipts for, and what each committed result was to be paid.

    Of receipts and results of before nothing is known: a sum of 0 and no price hold nothing against anybody.
    """
    nothing = "00" * 32
    connection.execute(
        f"ALTER TABLE vouchers_held ADD COLUMN earned BLOB NOT NULL DEFAULT x'{nothing}' CHECK (length(earned) = 32)"
    )
    connection.execute("ALTER TABLE results ADD COLUMN price BLOB CHECK (length(price) = 32)")


_CHAIN: Final = """
CREATE TABLE chain_place (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    contract TEXT NOT NULL,
    settled INTEGER NOT NULL
) STRICT;

CREATE TABLE chain_anchors (
    number INTEGER PRIMARY KEY,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    parent BLOB NOT NULL CHECK (length(parent) = 32),
    timestamp INTEGER NOT NULL
) STRICT;

CREATE TABLE chain_changes (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    block INTEGER NOT NULL,
    node BLOB NOT NULL CHECK (length(node) = 8),
    address BLOB NOT NULL CHECK (length(address) = 20),
    role INTEGER NOT NULL,
    stake BLOB NOT NULL CHECK (length(stake) = 32),
    active INTEGER NOT NULL
) STRICT;
CREATE INDEX chain_changes_of_node ON chain_changes (node, place);
CREATE INDEX chain_changes_by_block ON chain_changes (block);

CREATE TABLE transactions (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    call TEXT NOT NULL,
    nonce INTEGER,
    outcome TEXT,
    ended_at INTEGER,
    settled INTEGER
) STRICT;
CREATE INDEX open_transactions ON transactions (place) WHERE settled IS NULL;
CREATE INDEX settled_transactions ON transactions (settled) WHERE settled IS NOT NULL;

CREATE TABLE transaction_versions (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    key TEXT NOT NULL REFERENCES transactions (key) ON DELETE CASCADE,
    raw BLOB NOT NULL,
    fee_cap BLOB NOT NULL CHECK (length(fee_cap) = 32),
    tip BLOB NOT NULL CHECK (length(tip) = 32),
    gas INTEGER NOT NULL,
    signed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX versions_of_transaction ON transaction_versions (key)
"""


def _create_chain(connection: sqlite3.Connection) -> None:
    """Version 3: the chain's place and our transactions."""
    for statement in _CHAIN.split(";"):
        connection.execute(statement)


_ARTIFACTS: Final = """
CREATE TABLE artifacts (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    data BLOB NOT NULL,
    stored_at INTEGER NOT NULL
) STRICT;
CREATE INDEX artifacts_by_time ON artifacts (stored_at)
"""


def _create_artifacts(connection: sqlite3.Connection) -> None:
    """Version 4: small artifacts; those of before stay files until they expire."""
    for statement in _ARTIFACTS.split(";"):
        connection.execute(statement)


def _add_priority(connection: sqlite3.Connection) -> None:
    """Version 5: how urgent a task is, and whose; those of before are of the usual urgency, and nobody's."""
    connection.execute("ALTER TABLE tasks ADD COLUMN priority TEXT NOT NULL DEFAULT 'normal'")
    connection.execute("ALTER TABLE tasks ADD COLUMN account TEXT NOT NULL DEFAULT ''")


_SETTLEMENT: Final = """
CREATE TABLE settlement_place (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    contract TEXT NOT NULL,
    block INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TABLE escrows (
    coordinator BLOB PRIMARY KEY CHECK (length(coordinator) = 8),
    deposited BLOB NOT NULL CHECK (length(deposited) = 32),
    withdrawing BLOB NOT NULL CHECK (length(withdrawing) = 32),
    redeemed BLOB NOT NULL CHECK (length(redeemed) = 32),
    owed BLOB NOT NULL CHECK (length(owed) = 32)
) STRICT, WITHOUT ROWID;

CREATE TABLE payments (
    block INTEGER NOT NULL,
    place INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    at INTEGER NOT NULL,
    coordinator BLOB NOT NULL CHECK (length(coordinator) = 8),
    miner BLOB NOT NULL CHECK (length(miner) = 8),
    amount BLOB NOT NULL CHECK (length(amount) = 32),
    acknowledged BLOB NOT NULL CHECK (length(acknowledged) = 32),
    unpaid BLOB NOT NULL CHECK (length(unpaid) = 32),
    PRIMARY KEY (block, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX payments_of_pair ON payments (coordinator, miner, block, place);

CREATE TABLE promises (
    side TEXT NOT NULL,
    party BLOB NOT NULL CHECK (length(party) = 8),
    day INTEGER NOT NULL,
    wei BLOB NOT NULL CHECK (length(wei) = 32),
    vouchers INTEGER NOT NULL,
    PRIMARY KEY (side, party, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE contradictions (
    coordinator BLOB NOT NULL CHECK (length(coordinator) = 8),
    kind TEXT NOT NULL,
    early TEXT NOT NULL,
    early_signature BLOB NOT NULL,
    late TEXT NOT NULL,
    late_signature BLOB NOT NULL,
    found_at INTEGER NOT NULL,
    PRIMARY KEY (coordinator, kind)
) STRICT, WITHOUT ROWID
"""


def _create_accounts(connection: sqlite3.Connection) -> None:
    """Version 6: escrows, payments, promises by day (those of before are of day 0), vouchers that contradict."""
    for statement in _SETTLEMENT.split(";"):
        connection.execute(statement)
    for side, table, party in (("issued", "vouchers_issued", "miner"), ("held", "vouchers_held", "coordinator")):
        connection.execute(
            f"INSERT INTO promises (side, party, day, wei, vouchers) SELECT ?, {party}, 0, cumulative, 1 FROM {table}",  # noqa: S608 - all names are literals of this function
            (side,),
        )


_INPUTS: Final = """
ALTER TABLE tasks ADD COLUMN input_bytes INTEGER NOT NULL DEFAULT 0;
CREATE TABLE inputs (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    data BLOB NOT NULL
) STRICT;
CREATE TABLE inputs_of_tasks (
    task BLOB NOT NULL REFERENCES tasks (task) ON DELETE CASCADE,
    digest BLOB NOT NULL REFERENCES inputs (digest),
    PRIMARY KEY (task, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_of_input ON inputs_of_tasks (digest)
"""


def _create_inputs(connection: sqlite3.Connection) -> None:
    """Version 7: the pictures that unfinished tasks begin from; those of before begin from none."""
    for statement in _INPUTS.split(";"):
        connection.execute(statement)


def _index_spending(connection: sqlite3.Connection) -> None:
    """Version 8: what each API key has ordered; tasks of everybody else cost nothing here."""
    connection.execute(
        "CREATE INDEX spent_by_key ON tasks (account, accepted_at, failed, price) "
        "WHERE account >= 'key:' AND account < 'key;'"
    )


def _add_collected(connection: sqlite3.Connection) -> None:
    """Version 9: which tasks end with a picture only on their app's word; none of before."""
    connection.execute("ALTER TABLE tasks ADD COLUMN collected INTEGER NOT NULL DEFAULT 0")


def _add_acceptance(connection: sqlite3.Connection) -> None:
    """Version 14: on whose signed word a sealed task was done; none of before was sealed."""
    connection.execute("ALTER TABLE tasks ADD COLUMN acceptance BLOB")


def _pay_what_is_left(connection: sqlite3.Connection) -> None:
    """Version 16: what API keys have spent on pictures that their apps left; and what coordinators owe, in wei."""
    connection.execute(
        "CREATE INDEX left_by_key ON tasks (account, accepted_at) "
        "WHERE account >= 'key:' AND account < 'key;' AND failed IS NOT NULL AND receipt IS NOT NULL"
    )
    payers.count_in_wei(connection)


MIGRATIONS: Final[tuple[Migration, ...]] = (
    _create,
    _remember_earnings,
    _create_chain,
    _create_artifacts,
    _add_priority,
    _create_accounts,
    _create_inputs,
    _index_spending,
    _add_collected,
    evidence.create,
    rechecks.create,
    steps.create,
    payers.create,
    _add_acceptance,
    disputes.create,
    _pay_what_is_left,
    disputes.add_juror,
    chain_place.add_owner,
)
"""Function i leads from version i to version i + 1."""


def migrate(connection: sqlite3.Connection, folder: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the database to the newest version, one transaction per step.

    Raises:
        ConfigError: it was written by a newer release than this one.
    """
    version = schema_version(connection)
    if version > len(migrations):
        raise ConfigError(
            f"data folder {folder} was written by a newer release (schema {version}, this one knows "
            f"{len(migrations)}): upgrade cuckoo-overlay, or choose another folder"
        )
    for number in range(version, len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrations[number](connection)
            connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('schema', ?)", (number + 1,))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def schema_version(connection: sqlite3.Connection) -> int:
    """Give the version of the database, 0 when it is empty."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone() is None:
        return 0
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return int(row[0]) if row else 0
