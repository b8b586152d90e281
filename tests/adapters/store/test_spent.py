"""What an API key has ordered is found without reading its tasks."""

import sqlite3
from contextlib import closing
from pathlib import Path

from node.adapters.store import SqliteStore
from node.adapters.store.recovery import read_spent
from protocol.units import UnixMillis
from tests.support.clock import HandClock


async def test_spent__many_tasks__are_added_up_from_their_index_alone(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path, HandClock()).opened():
        with closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
            statements: list[str] = []
            connection.row_factory = sqlite3.Row
            connection.set_trace_callback(statements.append)
            assert read_spent(connection, "key:a", UnixMillis(0)) == 0
            (query,) = statements
            plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert [step for step in plan if "tasks" in step] == [
        "SEARCH tasks USING COVERING INDEX spent_by_key (account=? AND accepted_at>?)",
        "SEARCH tasks USING INDEX left_by_key (account=? AND accepted_at>?)",  # those are few
    ]
