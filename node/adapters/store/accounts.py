"""Reads the accounts of a node out of its store, while the node runs or not, and changes nothing there."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from node.adapters.store import evidence, settlement, transactions
from node.adapters.store.integers import integer, unsigned
from node.adapters.store.schema import MIGRATIONS, schema_version
from protocol.chain_records import Escrow, Payment, TransactionRequested
from protocol.errors import ConfigError
from protocol.records import CaseChanged, EvidenceFound
from protocol.units import BlockNumber, Digest, Role, StakingId, TaskId, UnixMillis, Wei

Side = Literal["issued", "held"]
_PARTY: Final = {"issued": "miner", "held": "coordinator"}
_ROLE: Final = {"issued": Role.COORDINATOR, "held": Role.MINER}
_COMMAND: Final = {Role.COORDINATOR: "cuckoo spend", Role.MINER: "cuckoo earnings"}


@dataclass(frozen=True, slots=True)
class Promise:
    """The highest voucher between this node and another."""

    party: StakingId
    """The other one."""
    cumulative: Wei
    issued_total: Wei


@dataclass(frozen=True, slots=True)
class DayOfPromises:
    """What vouchers rose by on one day."""

    party: StakingId
    day: int
    """Days since 1970-01-01 (UTC); 0 for all that an older release did."""
    wei: Wei
    vouchers: int


@dataclass(frozen=True, slots=True)
class StoredAccounts:
    """All that a store says of promises and payments."""

    own: StakingId | None
    """This node, as far as it was registered when it last read the chain."""
    block: BlockNumber | None
    """Up to which the chain was read."""
    promises: tuple[Promise, ...]
    days: tuple[DayOfPromises, ...]
    payments: tuple[Payment, ...]
    """In the order of the chain."""
    escrows: tuple[Escrow, ...]
    false_nodes: frozenset[StakingId]
    """Whose statements contradict each other."""
    wishes: tuple[TransactionRequested, ...]
    """Transactions without outcome."""
    unfinished: Wei
    """What tasks are worth that have not ended; of a coordinator."""


def read_accounts(folder: Path, side: Side) -> StoredAccounts:
    """Read what a node promised (``issued``) or was promised (``held``), and what was paid.

    Raises:
        ConfigError: There is no store, another release wrote it, or the node is registered for the other role.
    """
    with _reading(folder) as connection:
        found = _accounts(connection, side)
        role = _registered_role(connection, found.own)
    if role is not None and role is not _ROLE[side]:
        raise ConfigError(f"--data: the node in {folder} is a {role.name.lower()}: ask with {_COMMAND[role]}")
    return found


def read_evidence(folder: Path) -> tuple[EvidenceFound | CaseChanged, ...]:
    """Read what a node found of statements that contradict each other, and what came of each; errors as above."""
    with _reading(folder) as connection:
        return tuple(evidence.read_all(connection))


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open a node's store to read what is there in one moment."""
    path = folder / "store.sqlite"
    if not path.is_file():
        raise ConfigError(f"--data: no node has kept anything in {folder}: name the data folder of the node")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")  # one moment for all that is read
            _check_version(connection, folder)
            yield connection
    except sqlite3.Error as error:
        raise ConfigError(f"--data: the store in {folder} cannot be read: {error}") from None


def _check_version(connection: sqlite3.Connection, folder: Path) -> None:
    version = schema_version(connection)
    if version < len(MIGRATIONS):
        raise ConfigError(f"--data: an older release wrote the store in {folder}: start the node once, then ask again")
    if version > len(MIGRATIONS):
        raise ConfigError(f"--data: a newer release wrote the store in {folder}: upgrade cuckoo-overlay")


def _accounts(connection: sqlite3.Connection, side: Side) -> StoredAccounts:
    place = connection.execute("SELECT block FROM settlement_place").fetchone()
    return StoredAccounts(
        own=_own(connection),
        block=BlockNumber(place["block"]) if place is not None else None,
        promises=tuple(_promises(connection, side)),
        days=tuple(_days(connection, side)),
        payments=tuple(map(settlement.payment_of, connection.execute("SELECT * FROM payments ORDER BY block, place"))),
        escrows=tuple(map(settlement.escrow_of, connection.execute("SELECT * FROM escrows ORDER BY coordinator"))),
        false_nodes=evidence.false_nodes(connection),
        wishes=transactions.read_requests(connection),
        unfinished=Wei(
            sum(
                integer(row["price"])
                for row in connection.execute("SELECT price FROM tasks WHERE done IS NULL AND failed IS NULL")
            )
        ),
    )


def _own(connection: sqlite3.Connection) -> StakingId | None:
    """Give what the node is registered as; None where the store has not read that."""
    place = connection.execute("SELECT contract FROM settlement_place").fetchone()
    return StakingId(int(place["contract"].rpartition("/")[2])) if place is not None else None


def _registered_role(connection: sqlite3.Connection, own: StakingId | None) -> Role | None:
    """Say for what the node is registered; None where the store has not read that."""
    if own is None:
        return None
    row = connection.execute(
        "SELECT role FROM chain_changes WHERE node = ? ORDER BY place DESC LIMIT 1", (unsigned(own),)
    ).fetchone()
    return Role(row["role"]) if row is not None else None


def _promises(connection: sqlite3.Connection, side: Side) -> Iterator[Promise]:
    party = _PARTY[side]
    for row in connection.execute(f"SELECT {party}, cumulative, issued_total FROM vouchers_{side} ORDER BY {party}"):  # noqa: S608 - both names are literals of this module
        yield Promise(
            StakingId(integer(row[party])),
            Wei(integer(row["cumulative"])),
            Wei(integer(row["issued_total"])),
        )


def _days(connection: sqlite3.Connection, side: Side) -> Iterator[DayOfPromises]:
    found = connection.execute("SELECT * FROM promises WHERE side = ? ORDER BY day, party", (side,))
    for row in found:
        wei = Wei(integer(row["wei"]))
        yield DayOfPromises(StakingId(integer(row["party"])), row["day"], wei, row["vouchers"])


@dataclass(frozen=True, slots=True)
class Disputable:
    """A picture that shows something else than three others, as a recheck found, and that its app lets jurors see.

    What is only slightly off, or came with steps that were not signed, is none: jurors find such a picture right, and
    whoever reported it loses his bond.
    """

    task: TaskId
    """For which it was drawn: the app's, or one that was ordered again."""
    miner: StakingId
    planned_at: UnixMillis
    """When the recheck began."""
    award: bytes
    """Encoded ``Award`` message, as it was sent."""
    result: bytes
    """Encoded ``Result`` message, as it was received."""
    capability: bytes
    """Encoded ``CapabilityUpdate`` of its miner at that time; empty where it is not known."""
    picture: bytes | None
    """None where it is gone, or was damaged."""


def read_disputable(folder: Path) -> tuple[Disputable, ...]:
    """Read which pictures a coordinator may report, the newest last; errors as above, also where it is a miner's."""
    with _reading(folder) as connection:
        if _registered_role(connection, _own(connection)) is Role.MINER:
            raise ConfigError(f"--data: the node in {folder} is a miner: only coordinators report pictures")
        rows = connection.execute(
            "SELECT d.task, d.miner, d.artifact, d.result, d.capability, r.planned_at, a.award FROM drawings d "
            "JOIN rechecks r USING (subject) JOIN attempts a ON a.task = d.task AND a.attempt = d.attempt "
            "WHERE d.odd = 2 AND r.may_be_disputed = 1 AND r.outcome = 'odd_one_out' ORDER BY r.planned_at, d.task"
        ).fetchall()
        return tuple(
            Disputable(
                task=TaskId(row["task"]),
                miner=StakingId(integer(row["miner"])),
                planned_at=UnixMillis(row["planned_at"]),
                award=row["award"],
                result=row["result"],
                capability=row["capability"],
                picture=_picture(connection, folder, Digest(row["artifact"])),
            )
            for row in rows
        )


def _picture(connection: sqlite3.Connection, folder: Path, digest: Digest) -> bytes | None:
    row = connection.execute("SELECT data FROM artifacts WHERE digest = ?", (digest,)).fetchone()
    try:
        data = bytes(row["data"]) if row is not None else (folder / "artifacts" / digest.hex()).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).digest() == digest else None
