"""Processes of every kind die and stand still while pictures are ordered and paid; `make chaos` does it for minutes."""

from pathlib import Path

import pytest

from tests.chaos.run import Options, run

pytestmark = pytest.mark.e2e
SHORT = Options(seconds=12, seed=5, miners=3, engine=False, pause_s=(0.3, 1.0), rechecks=False)
"""As short as lets each kind of process be struck: starting and settling take longer."""


async def test_chaos__kills_on_every_side__ends_each_task_once_and_balances_all_ledgers_to_the_wei(
    tmp_path: Path,
) -> None:
    result = await run(SHORT, tmp_path / "net", print)
    told = "\n".join(result.table())
    print(told)
    assert not result.problems, told
    assert sum(book.done for book in result.books.values()) >= 10, told
    assert sum(row.redeemed for row in result.rows) > 0
    struck = {strike.target.partition("-")[0] for strike in result.strikes}
    assert struck == {"bootstrap", "coordinator", "miner", "app", "chain"}
