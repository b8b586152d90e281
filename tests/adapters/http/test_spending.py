"""What an API key may order within a day: held to before anything is accepted, and never forgotten."""

import httpx
import pytest
import trio
import trio.testing

from node.adapters.http import KeyRing, hash_of_key
from node.adapters.http.errors import ApiError
from node.adapters.http.spending import RECOUNT_MS, Spending
from node.apps.app_keys import ApiKey
from protocol.units import CAI, DAY_MS, UnixMillis, Wei
from tests.adapters.http.conftest import Serve, Served, code_of
from tests.support.desk import PRICE, Workbench
from tests.support.records import NOW


class Day:
    """A key that may order for so many tasks a day, and a clock that a test moves."""

    def __init__(self, tasks: int) -> None:
        self.now = NOW
        self.key = ApiKey("alice", "alice", wei_per_day=Wei(tasks * PRICE))
        self.ring = KeyRing({hash_of_key("alice"): self.key}, lambda: UnixMillis(self.now))


async def order(served: Served, **body: object) -> httpx.Response:
    return await served.http.post("/v1/tasks", json={"prompt": "a red heart", **body})


async def test_order__beyond_the_limit__is_refused_before_it_is_accepted(serve: Serve):
    served = await serve(Workbench(draws=False), Day(2).ring)
    assert [(await order(served)).status_code for _ in range(3)] == [202, 202, 402]
    refused = await order(served)
    assert code_of(refused) == (402, "spend_limit", None)
    assert refused.json()["error"]["message"] == (
        "this costs 1 CAI, and this API key may order for 0 CAI more of its 2 CAI of today (UTC)"
    )
    assert int(refused.headers["Retry-After"]) == (DAY_MS - NOW % DAY_MS) // 1000
    assert len(served.desk.accepted) == 2
    assert (await served.http.get("/v1/models")).status_code == 200


async def test_order__several_pictures__all_or_none(serve: Serve):
    served = await serve(Workbench(draws=False), Day(3).ring)
    assert code_of(await served.generate(n=4)) == (402, "spend_limit", None)
    assert (await order(served)).status_code == 202
    refused = await served.generate(n=3)
    assert "may order for 2 CAI more" in refused.json()["error"]["message"]
    assert len(served.desk.accepted) == 1


async def test_order__more_than_a_whole_day__is_told_without_a_time_to_wait(serve: Serve):
    served = await serve(ring=Day(1).ring)
    refused = await served.generate(n=2)
    assert code_of(refused) == (402, "spend_limit", None)
    assert "Retry-After" not in refused.headers


async def test_order__after_a_restart__is_held_to_what_was_ordered_before(serve: Serve):
    first = await serve(Workbench(draws=False), Day(2).ring)
    assert (await order(first)).status_code == 202
    second = await serve(Workbench(draws=False, store=first.desk.store), Day(2).ring)
    assert [(await order(second)).status_code for _ in range(2)] == [202, 402]


async def test_order__next_day__begins_anew(serve: Serve):
    day = Day(1)
    served = await serve(Workbench(draws=False), day.ring)
    assert [(await order(served)).status_code for _ in range(2)] == [202, 402]
    day.now += DAY_MS
    assert (await order(served)).status_code == 202


async def test_order__task_failed__costs_nothing(serve: Serve):
    day = Day(1)
    served = await serve(Workbench(draws=False), day.ring)
    assert (await order(served)).status_code == 202
    (task,) = served.desk.accepted
    await served.desk.fail(task, "no_miner")
    day.now += RECOUNT_MS
    assert [(await order(served)).status_code for _ in range(2)] == [202, 402]


async def test_order__same_idempotency_key__costs_once(serve: Serve):
    served = await serve(ring=Day(1).ring)
    answers = [await served.generate(key="order 66") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert (await served.generate(key="order 67")).status_code == 402


async def test_order__refused_by_the_coordinator__costs_nothing(serve: Serve):
    served = await serve(Workbench(draws=False), Day(1).ring)
    for _ in range(3):
        assert (await order(served, size="1x1")).status_code == 400
    assert (await order(served)).status_code == 202


async def test_order__key_without_limit_and_no_key__are_not_counted(serve: Serve):
    served = await serve(ring=Day(1).ring)
    async with served.caller("203.0.113.9") as stranger:
        for _ in range(3):
            assert (await stranger.post("/v1/tasks", json={"prompt": "x"})).status_code == 202


async def test_reserve__many_at_once__never_more_than_the_limit():
    day = Day(3)
    spending = Spending(Workbench().desk, day.ring)
    refused: list[str] = []

    async def reserve() -> None:
        try:
            with await spending.reserve(day.key, PRICE) as reservation:
                reservation.spend(PRICE)
                await trio.sleep_forever()
        except ApiError as error:
            refused.append(error.code)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(reserve)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert refused == ["spend_limit"] * 7


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_reserve__key_that_expires__is_refused_from_then_on(serve: Serve, moment: str):
    key = ApiKey("alice", "alice", expires_at=UnixMillis(NOW + 1))
    ring = KeyRing({hash_of_key("alice"): key}, lambda: UnixMillis(NOW + (moment == "after")))
    answer = await order(await serve(ring=ring, require_key=True))
    assert answer.status_code == (202 if moment == "before" else 401)
    if moment == "after":
        assert "has expired" in answer.json()["error"]["message"]
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_price__of_a_test_task__is_one_cai():
    assert PRICE == CAI
