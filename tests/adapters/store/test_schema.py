"""An older database becomes a present one, and what it did not know holds nothing against anybody."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from node.adapters.store import SqliteStore
from node.adapters.store.schema import MIGRATIONS, migrate, schema_version
from protocol.units import Wei
from tests.support.clock import HandClock
from tests.support.records import committed, held

OLD_RESULT = (
    "INSERT INTO results (award, task, attempt, coordinator, artifact, result, committed_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
OLD_VOUCHER = (
    "INSERT INTO vouchers_held (coordinator, cumulative, boot, sequence, issued_total, signature) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)


async def test_opened__database_of_the_first_release__keeps_vouchers_and_results(tmp_path: Path) -> None:
    result, voucher = committed(1), held(7, 2)
    with closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as connection:
        migrate(connection, tmp_path, MIGRATIONS[:1])
        number = result.coordinator.to_bytes(8, "big")
        row = (result.award, result.task, 0, number, result.artifact, result.result, result.committed_at)
        connection.execute(OLD_RESULT, row)
        sums = [voucher.cumulative.to_bytes(32, "big"), *(n.to_bytes(8, "big") for n in (voucher.boot, 2))]
        connection.execute(OLD_VOUCHER, (number, *sums, voucher.issued_total.to_bytes(32, "big"), voucher.signature))
        assert schema_version(connection) == 1
    store = SqliteStore(tmp_path, HandClock())
    async with store.opened():
        assert set(await store.load()) == {replace(result, price=None), replace(voucher, earned=Wei(0))}
        await store.persist((held(9, 3, earned=2),))
        assert held(9, 3, earned=2) in await store.load()


def test_migrate__every_step_alone__leads_to_what_all_at_once_do(tmp_path: Path) -> None:
    shapes = []
    for stops in ((len(MIGRATIONS),), range(1, len(MIGRATIONS) + 1)):
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            for stop in stops:
                migrate(connection, tmp_path, MIGRATIONS[:stop])
            assert schema_version(connection) == len(MIGRATIONS)
            shapes.append(connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall())
    assert shapes[0] == shapes[1]
