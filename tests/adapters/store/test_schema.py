"""An older database becomes a present one, and what it did not know holds nothing against anybody.

``schemas/version-N.sql`` is a store as the release with that schema left it, tables and rows. These files never change;
a new version adds one (``sqlite3`` dumps it), made when it is current, so that the next release has it to begin from.
"""

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from node.adapters.chain.place import Place
from node.adapters.store import SqliteStore, payers
from node.adapters.store.schema import MIGRATIONS, migrate, schema_version
from protocol.chain_records import ContractCall, Header, TransactionRequested
from protocol.records import BootStarted, Record, VoucherHeld
from protocol.stake.table import StakeRow
from protocol.task.priority import Priority
from protocol.units import Address, BlockNumber, Digest, Role, StakingId, Wei
from tests.support.clock import HandClock
from tests.support.records import (
    NOW,
    accepted,
    awarded,
    claim,
    committed,
    contradicting,
    done,
    drawing,
    escrow,
    failed,
    held,
    issued,
    payer,
    payment,
    picture,
    proven,
    recheck,
    reputation,
    settlement_read,
    steps_kept,
    task_id,
    verdict,
)

SCHEMAS = Path(__file__).parent / "schemas"
SOURCE = b"a source"
ACCEPTANCE = b"a" * 65
VERSIONS = range(1, len(MIGRATIONS) + 1)


def old_store(folder: Path, version: int) -> SqliteStore:
    """A store that this release has not opened yet."""
    with closing(sqlite3.connect(folder / "store.sqlite")) as connection:
        connection.executescript((SCHEMAS / f"version-{version}.sql").read_text(encoding="utf-8"))
    return SqliteStore(folder, HandClock())


def unfinished(version: int) -> set[Record]:
    """What a core gets of it: everything of before, and of what its release did not know, nothing."""
    task, result, voucher = accepted(1, key="a key"), committed(5), held(7, 2)
    finished = replace(done(2), acceptance=ACCEPTANCE if version >= 14 else None)
    if version >= 5:
        task = replace(task, priority=Priority.HIGH, account="ab" * 16)
    if version >= 7:
        task = replace(task, input_bytes=len(SOURCE), collected=version >= 9, may_be_disputed=version >= 15)
    result = replace(result, price=Wei(9) if version >= 2 else None)
    voucher = replace(voucher, earned=Wei(5 if version >= 2 else 0))
    known: set[Record] = {
        BootStarted(1_800_000_000),
        task,
        awarded(1),
        finished,
        issued(7, 2),
        claim(4),
        result,
        voucher,
    }
    if version >= 3:
        known.add(TransactionRequested("redeem/1", ContractCall("Settlement", "redeem", (7,))))
    if version >= 11:
        said = b"said" if version >= 15 else b""
        first, second = drawing(2, capability=said), drawing(3, miner=8, capability=said)
        if version >= 12:
            second = replace(second, steps="agreed", opened=b"\x01")
            known.add(steps_kept(5))
        known |= {recheck(2, first, second, pending=1, may_be_disputed=version >= 15), reputation()}
    if version >= 13:
        # Before 16 results were counted, and nothing says what those of this coordinator were worth.
        known.add(payer() if version >= 16 else replace(payer(), allowed=Wei(16)))
    if version >= 15:
        known.add(replace(verdict(), juror=StakingId(9 if version >= 17 else 0)))
    if version >= 6:
        known |= {contradicting(), settlement_read(payment(7), escrows=(escrow(),), anew=True)}
    if version >= 10:
        known |= {contradicting(5), proven(contradicting(5))}
    return known


@pytest.mark.parametrize("version", VERSIONS)
async def test_opened__store_of_an_earlier_release__keeps_everything_and_goes_on(tmp_path: Path, version: int) -> None:
    store = old_store(tmp_path, version)
    async with store.opened():
        assert set(await store.load()) == unfinished(version)
        ended = await store.task(task_id(3))
        assert ended is not None
        assert ended.failed == failed(3)
        assert await store.addresses() == ("/ip4/127.0.0.1/tcp/4001/p2p/peer",)
        assert await store.artifact(picture().digest) == (picture().data if version >= 4 else None)
        assert len(await store.open_transactions(9)) == (version >= 3)
        source = Digest(hashlib.sha256(SOURCE).digest())
        assert await store.input(source) == (SOURCE if version >= 7 else None)
        await store.persist((picture(b"new"), done(1, artifact=b"new"), issued(9, 3), held(9, 3, earned=12)))
        assert await store.input(source) is None
    async with store.opened():
        after = await store.load()
        assert done(1, artifact=b"new") in after
        assert [record for record in after if isinstance(record, VoucherHeld)] == [held(9, 3, earned=12)]


@pytest.mark.parametrize("version", VERSIONS)
def test_migrate__as_far_as_a_release_came__makes_its_tables(version: int, tmp_path: Path) -> None:
    shapes = []
    for make in ("dump", "migrations"):
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            if make == "dump":
                connection.executescript((SCHEMAS / f"version-{version}.sql").read_text(encoding="utf-8"))
            else:
                migrate(connection, tmp_path, MIGRATIONS[:version])
            assert schema_version(connection) == version
            shapes.append(set(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")))
    assert shapes[0] == shapes[1], "a migration that was released never changes"


async def test_opened__stake_table_that_names_no_owners__is_read_anew(tmp_path: Path) -> None:
    store = old_store(tmp_path, 17)
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        ((contract,),) = connection.execute("SELECT contract FROM chain_place")
        header = (b"h" * 32, b"p" * 32, int(NOW))
        connection.execute("INSERT INTO chain_anchors (number, hash, parent, timestamp) VALUES (5, ?, ?, ?)", header)
        connection.execute(
            "INSERT INTO chain_changes (block, node, address, role, stake, active) VALUES (5, ?, ?, 1, ?, 1)",
            (bytes(7) + b"\x07", b"a" * 20, bytes(31) + b"\x09"),
        )
        connection.commit()
    async with store.opened():
        place = Place(BlockNumber(5), contract, store)
        assert not await place.load()
        assert place.next == 5
        owned = StakeRow(StakingId(7), Address(b"a" * 20), Role.MINER, Wei(9), True, owner=Address(b"o" * 20))
        place.advance(Header(BlockNumber(6), b"h" * 32, b"p" * 32, NOW), [(BlockNumber(6), owned)])
        await place.save()
        kept = await store.chain_place(contract)
        assert kept is not None
        assert [change.row for change in kept.changes] == [owned], "and nothing of before is left"


def test_migrate__every_step_alone__leads_to_what_all_at_once_do(tmp_path: Path) -> None:
    shapes = []
    for stops in ((len(MIGRATIONS),), range(1, len(MIGRATIONS) + 1)):
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            for stop in stops:
                migrate(connection, tmp_path, MIGRATIONS[:stop])
            assert schema_version(connection) == len(MIGRATIONS)
            shapes.append(connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall())
    assert shapes[0] == shapes[1]


def test_migrate__results_that_were_counted__become_what_receipts_paid_in_the_mean(tmp_path: Path) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        migrate(connection, tmp_path, MIGRATIONS[:15])
        for number, paid, paid_ever, lost, tries in ((7, 2.4, 3, 2, 1), (8, 0.0, 0, 1, 3), (9, 40.0, 50, 0, 0)):
            named, earned = number.to_bytes(8, "big"), (100 * paid_ever).to_bytes(32, "big")
            row = (named, NOW, paid, 0.0, 0.0, 0.0, 0.0, paid_ever, lost, NOW - 1, tries)
            connection.execute("INSERT INTO payers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            voucher = (named, earned, bytes(8), bytes(8), earned, b"signature", earned)
            connection.execute("INSERT INTO vouchers_held VALUES (?, ?, ?, ?, ?, ?, ?)", voucher)
        migrate(connection, tmp_path, MIGRATIONS[:16])
        found = {one.coordinator: (one.allowed, one.lost, one.dearest, one.tries) for one in payers.read(connection)}
    assert found == {7: (400, 200, 100, 2), 8: (0, 1, 1, 6), 9: (1600, 0, 0, 0)}
