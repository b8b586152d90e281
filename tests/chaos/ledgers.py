"""What both sides and the contract say of each pair of nodes, and where they differ: to the wei."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

CAI = 10**18


@dataclass(frozen=True)
class Books:
    """What the store of a coordinator or miner says."""

    promised: Mapping[int, int] = field(default_factory=dict)
    """By the other one's staking id: the highest voucher, issued or held (wei)."""
    earned: Mapping[int, int] = field(default_factory=dict)
    """Of a coordinator: prices of tasks that are done, by miner. Of a miner: of receipts, by coordinator."""
    done: int = 0
    failed: int = 0
    open: int = 0
    """Tasks without an end."""
    unsettled: int = 0
    """Results of a miner that wait for a receipt."""
    rechecks: int = 0
    """Finished tasks of a coordinator that are still to be drawn again, and paid."""
    evidence: int = 0
    tasks: frozenset[str] = frozenset()
    """Names of all tasks that a coordinator took, in hexadecimal digits."""


@dataclass(frozen=True)
class OnChain:
    """What the Settlement contract says of one pair (wei)."""

    acknowledged: int
    redeemed: int


@dataclass(frozen=True)
class Escrow:
    """What it says of one coordinator (wei)."""

    deposited: int
    """By the run, before it began."""
    left: int
    paid: int
    owed: int


@dataclass(frozen=True)
class Row:
    """One pair."""

    coordinator: int
    miner: int
    earned: int
    promised: int
    held: int
    receipts: int
    acknowledged: int
    redeemed: int

    @property
    def agrees(self) -> bool:
        """Say whether all six are one number."""
        return self.earned == self.promised == self.held == self.receipts == self.acknowledged == self.redeemed

    def __str__(self) -> str:
        numbers = (self.earned, self.promised, self.held, self.receipts, self.acknowledged, self.redeemed)
        return f"{self.coordinator:>11} {self.miner:>6} " + " ".join(f"{number / CAI:>13.6f}" for number in numbers)


HEADING = f"{'coordinator':>11} {'miner':>6} " + " ".join(
    f"{name:>13}" for name in ("tasks done", "promised", "held", "receipts", "shown", "redeemed")
)


def rows(
    coordinators: Mapping[int, Books], miners: Mapping[int, Books], chain: Mapping[tuple[int, int], OnChain]
) -> tuple[Row, ...]:
    """Put the books of all sides beside each other, a row for each pair of nodes."""
    return tuple(
        Row(
            coordinator,
            miner,
            issuer.earned.get(miner, 0),
            issuer.promised.get(miner, 0),
            holder.promised.get(coordinator, 0),
            holder.earned.get(coordinator, 0),
            chain[coordinator, miner].acknowledged,
            chain[coordinator, miner].redeemed,
        )
        for coordinator, issuer in sorted(coordinators.items())
        for miner, holder in sorted(miners.items())
    )


def differences(
    books: Mapping[str, Books], compared: Sequence[Row], escrows: Mapping[int, Escrow], held_by_contract: int
) -> list[str]:
    """Say everything that does not balance; nothing where all does.

    Args:
        books: By the node's name.
        compared: What ``rows`` gave.
        escrows: By the coordinator's staking id.
        held_by_contract: What the Settlement contract has (wei).
    """
    found = [f"the ledgers differ: {row}" for row in compared if not row.agrees]
    for name, book in sorted(books.items()):
        if book.open:
            found.append(f"{name}: {book.open} accepted tasks have no end")
        if book.unsettled:
            found.append(f"{name}: {book.unsettled} results wait for a receipt")
        if book.rechecks:
            found.append(f"{name}: {book.rechecks} rechecks go on")
        if book.evidence:
            found.append(f"{name}: {book.evidence} cases of evidence against honest nodes")
    for coordinator, escrow in sorted(escrows.items()):
        if escrow.left + escrow.paid != escrow.deposited or escrow.owed:
            found.append(f"coordinator {coordinator}: {escrow}, which is not what was deposited")
        paid = sum(row.redeemed for row in compared if row.coordinator == coordinator)
        if paid != escrow.paid:
            found.append(f"coordinator {coordinator}: paid {escrow.paid} wei in all, and {paid} to its miners")
    together = sum(escrow.left for escrow in escrows.values())
    if together != held_by_contract:
        found.append(f"the contract holds {held_by_contract} wei, and its escrows are {together}")
    return found


def read_books(folder: Path) -> Books:
    """Read the store of a node, while it runs or not."""
    with closing(sqlite3.connect(f"file:{folder / 'store.sqlite'}?mode=ro", uri=True, isolation_level=None)) as store:
        store.execute("BEGIN")  # one moment for all that is read
        issued, held = _vouchers(store, "vouchers_issued", "miner"), _vouchers(store, "vouchers_held", "coordinator")
        earned: dict[int, int] = {}
        for miner, price in store.execute("SELECT done_miner, price FROM tasks WHERE receipt IS NOT NULL"):
            earned[_number(miner)] = earned.get(_number(miner), 0) + _number(price)
        for coordinator, wei in store.execute("SELECT coordinator, earned FROM vouchers_held"):
            earned[_number(coordinator)] = _number(wei)
        return Books(
            issued | held,
            earned,
            done=_count(store, "tasks WHERE done IS NOT NULL"),
            failed=_count(store, "tasks WHERE failed IS NOT NULL"),
            open=_count(store, "tasks WHERE done IS NULL AND failed IS NULL"),
            unsettled=_count(store, "results WHERE settled IS NULL"),
            rechecks=_count(store, "rechecks WHERE outcome = ''"),
            evidence=_count(store, "evidence"),
            tasks=frozenset(row[0].hex() for row in store.execute("SELECT task FROM tasks")),
        )


def _vouchers(store: sqlite3.Connection, table: str, party: str) -> dict[int, int]:
    found = store.execute(f"SELECT {party}, cumulative FROM {table}")
    return {_number(row[0]): _number(row[1]) for row in found}


def _count(store: sqlite3.Connection, what: str) -> int:
    return int(store.execute(f"SELECT count(*) FROM {what}").fetchone()[0])


def _number(stored: bytes) -> int:
    return int.from_bytes(stored, "big")
