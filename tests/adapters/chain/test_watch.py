"""Chain nodes that lie or lag, in front of a real one: each is noticed, left, and noted."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import trio

from node.adapters.chain import chain as chain_module
from node.adapters.chain import watch as module
from node.adapters.chain.follower import Follower
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.watch import Watch
from node.adapters.memory.store import MemoryStore
from protocol.errors import Unavailable
from protocol.events import ActivityChanged
from protocol.notes import NoteName
from protocol.units import UnixMillis
from tests.adapters.chain.conftest import StakingOnAnvil
from tests.adapters.chain.test_chain import PARAMS, chain_time, running, settings
from tests.support.clock import HandClock
from tests.support.patience import PATIENCE_S

LIAR = "http://liar.example"
SECOND = "http://second.example"


class Mirror(httpx.AsyncBaseTransport):
    """Nodes of any name, all with the chain of one anvil; a name may lie about chosen methods."""

    def __init__(self, anvil: str) -> None:
        self.anvil = httpx.URL(anvil)
        self.inner = httpx.AsyncHTTPTransport()
        self.lies: dict[str, Callable[[str, Any, Any], Any]] = {}
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        host = request.url.host
        self.asked.append(host)
        real = await self.inner.handle_async_request(
            httpx.Request("POST", self.anvil, json=body, headers={"Content-Type": "application/json"})
        )
        answer = json.loads(await real.aread())
        await real.aclose()
        lie = self.lies.get(host)
        if lie is not None:
            calls, answers = (body, answer) if isinstance(body, list) else ([body], [answer])
            for call, one in zip(calls, answers, strict=True):
                if "result" in one:
                    one["result"] = lie(call["method"], call["params"], one["result"])
        return httpx.Response(200, json=answer)

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.fixture
async def mirror(staking: StakingOnAnvil) -> AsyncIterator[Mirror]:
    made = Mirror(staking.anvil.url)
    yield made
    await made.aclose()


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def rpc(mirror: Mirror, told) -> AsyncIterator[JsonRpc]:
    async with JsonRpc(
        [LIAR, SECOND], chain_id=31_337, transport=mirror, report=lambda *what: told.append(what)
    ) as client:
        yield client


def stuck_at(height: int) -> Callable[[str, Any, Any], Any]:
    """A node that knows no block after this one."""

    def lie(method: str, params: Any, real: Any) -> Any:
        if method == "eth_blockNumber":
            return hex(height)
        if method == "eth_getBlockByNumber" and real is not None and int(real["number"], 16) > height:
            return lie.block if params[0] == "latest" else None  # type: ignore[attr-defined]
        return real

    return lie


def stop(mirror: Mirror, staking: StakingOnAnvil, host: str) -> None:
    lie = stuck_at(staking.height())
    lie.block = staking.anvil.rpc("eth_getBlockByNumber", "latest", False)  # type: ignore[attr-defined]
    mirror.lies[host] = lie


async def test_step__head_goes_backwards__asks_another_and_takes_nothing_back(
    staking: StakingOnAnvil, mirror: Mirror, rpc: JsonRpc, told
):
    stop(mirror, staking, "liar.example")
    lie = mirror.lies.pop("liar.example")
    follower = Follower(rpc, staking.address, staking.start_block)
    for number in (1, 2, 3):
        staking.register(number)
    await follower.step()
    mirror.lies["liar.example"] = lie
    assert await follower.step() == 0
    assert follower.head is not None
    assert follower.head.number == staking.height()
    assert told == [(LIAR, "behind")]


async def test_step__all_say_that_the_chain_is_shorter__goes_back_with_it(staking: StakingOnAnvil, rpc: JsonRpc, told):
    snapshot = staking.anvil.rpc("evm_snapshot")
    follower = Follower(rpc, staking.address, staking.start_block)
    for number in (1, 2, 3):
        staking.register(number)
    await follower.step()
    staking.anvil.rpc("evm_revert", snapshot)
    assert await follower.step() > 0
    assert follower.head is not None
    assert follower.history.table_at(follower.head.number).rows == ()


async def test_leave_if_behind__head_stands_still_while_others_go_on__is_left(
    staking: StakingOnAnvil, mirror: Mirror, rpc: JsonRpc, told, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "SURVEY_S", 0.0)
    watch = Watch(rpc, staking.address)
    follower = Follower(rpc, staking.address, staking.start_block)
    stop(mirror, staking, "liar.example")
    await follower.step()
    staking.anvil.rpc("anvil_mine", hex(module.BEHIND_BLOCKS - 1))
    assert not await watch.leave_if_behind(), "blocks take their time to travel"
    staking.anvil.rpc("evm_mine")
    assert await watch.leave_if_behind()
    assert told == [(LIAR, "behind")]
    await follower.step()
    assert follower.head is not None
    assert follower.head.number == staking.height()
    assert not await watch.leave_if_behind()


async def test_leave_if_behind__other_sends_nonsense_or_nothing__stays(
    staking: StakingOnAnvil, mirror: Mirror, rpc: JsonRpc, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "SURVEY_S", 0.0)
    watch = Watch(rpc, staking.address)
    await Follower(rpc, staking.address, staking.start_block).step()
    for nonsense in (None, "0x" + "f" * 64, "many", [1]):
        mirror.lies["second.example"] = lambda method, _params, real, nonsense=nonsense: (
            nonsense if method == "eth_blockNumber" else real
        )
        assert not await watch.leave_if_behind()


def without_logs(method: str, _params: Any, real: Any) -> Any:
    return real[:-1] if method == "eth_getLogs" else real


async def test_finds_events_missing__registration_left_out__is_noticed(
    staking: StakingOnAnvil, mirror: Mirror, rpc: JsonRpc
):
    staking.register(1)
    staking.register(2)
    follower = Follower(rpc, staking.address, staking.start_block)
    watch = Watch(rpc, staking.address)
    await follower.step()
    assert follower.head is not None
    assert not await watch.finds_events_missing(follower.head, follower.history.table_at(follower.head.number))
    mirror.lies["liar.example"] = without_logs
    await follower.rebuild()
    assert await watch.finds_events_missing(follower.head, follower.history.table_at(follower.head.number))


async def test_finds_events_missing__vote_left_out__is_noticed_when_its_row_is_compared(
    staking: StakingOnAnvil, mirror: Mirror, rpc: JsonRpc, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "CHECK_ROWS", 1)
    staking.register(1)
    staking.register(2)
    staking.vote(2, 5)
    mirror.lies["liar.example"] = without_logs
    follower = Follower(rpc, staking.address, staking.start_block)
    watch = Watch(rpc, staking.address)
    await follower.step()
    assert follower.head is not None
    table = follower.history.table_at(follower.head.number)
    found = [await watch.finds_events_missing(follower.head, table) for _ in range(4)]
    assert found == [False, True, False, True]


async def test_finds_events_missing__node_refuses_the_question__knows_nothing_against_it(
    staking: StakingOnAnvil, rpc: JsonRpc
):
    follower = Follower(rpc, staking.address, staking.start_block)
    await follower.step()
    assert follower.head is not None
    unknown = type(follower.head)(follower.head.number, bytes(32), bytes(32), follower.head.timestamp)
    watch = Watch(rpc, staking.address)
    try:
        found = await watch.finds_events_missing(unknown, follower.history.table_at(follower.head.number))
    except Unavailable:
        found = False
    assert not found


async def test_run__events_missing__reads_anew_from_another_node_and_says_so(
    staking: StakingOnAnvil, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "CHECK_S", 0.0)
    real = chain_module.JsonRpc
    monkeypatch.setattr(
        chain_module, "JsonRpc", lambda urls, **options: real([LIAR, SECOND], transport=mirror, **options)
    )
    mirror.lies["liar.example"] = lambda method, _params, answer: (
        [one for one in answer if int(one["topics"][1], 16) != 2] if method == "eth_getLogs" else answer
    )
    clock = HandClock(chain_time(staking))
    staking.register(1)
    async with running(settings(staking), clock) as (sink, journal):
        staking.register(2)
        height = staking.height()
        await sink.wait_until(lambda sink: getattr(sink.events[-1], "number", 0) >= height)
        with trio.fail_after(PATIENCE_S):
            while not journal.of(NoteName.CHAIN_REBUILT):
                await trio.sleep(0.01)
        clock.advance(3 * PARAMS.epoch_s * 1000)
        await sink.wait_until(lambda sink: sink.views and len(sink.views[-1].table.rows) == 2)
    assert [noted.fields["reason"] for noted in journal.of(NoteName.CHAIN_REBUILT)] == ["events_missing"]
    assert (LIAR, "events_missing") in [
        (noted.fields["url"], noted.fields["reason"]) for noted in journal.of(NoteName.CHAIN_ENDPOINT_LEFT)
    ]


async def test_run__answers_of_no_use__another_node_is_asked(
    staking: StakingOnAnvil, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
):
    real = chain_module.JsonRpc
    monkeypatch.setattr(
        chain_module, "JsonRpc", lambda urls, **options: real([LIAR, SECOND], transport=mirror, **options)
    )
    staking.register(1)
    mirror.lies["liar.example"] = lambda method, _params, answer: "nonsense" if method == "eth_getLogs" else answer
    async with running(settings(staking), HandClock(chain_time(staking))) as (sink, journal):
        await sink.wait_until(lambda sink: sink.views)
    assert (LIAR, "useless") in [
        (noted.fields["url"], noted.fields["reason"]) for noted in journal.of(NoteName.CHAIN_ENDPOINT_LEFT)
    ]


async def test_run__node_falls_below_its_minimum__is_told_once_enough_blocks_confirm_it(staking: StakingOnAnvil):
    staking.register(1)
    staking.register(2)
    clock = HandClock(chain_time(staking))
    async with running(settings(staking, confirmations=3), clock) as (sink, _):
        first = [event for event in sink.events if isinstance(event, ActivityChanged)]
        assert first == [ActivityChanged(frozenset())]
        staking.anvil.send(staking.owner, staking.contract, "unvote", 2, 20_000 * 10**18)
        for _ in range(2):
            await sink.wait_until(lambda sink: getattr(sink.events[-1], "number", 0) == staking.height())
            assert ActivityChanged(frozenset({2})) not in sink.events
            staking.anvil.rpc("evm_mine")
        await sink.wait_until(lambda sink: ActivityChanged(frozenset({2})) in sink.events)
        assert sum(isinstance(event, ActivityChanged) for event in sink.events) == 2


async def test_run__second_run_whose_clock_is_earlier__reads_anew_instead_of_failing(staking: StakingOnAnvil):
    store = MemoryStore()
    staking.register(1)
    for _ in range(12):
        staking.anvil.wait(PARAMS.epoch_s // 2)
    late = HandClock(chain_time(staking))
    early = HandClock(UnixMillis(late.now() - 4 * PARAMS.epoch_s * 1000))
    for clock, rebuilt in ((late, []), (early, ["clock_went_back"])):
        async with running(settings(staking), clock, store=store) as (sink, journal):
            await sink.wait_until(lambda sink: sink.views)
            assert [noted.fields["reason"] for noted in journal.of(NoteName.CHAIN_REBUILT)] == rebuilt


async def test_run__second_run_in_the_same_epoch__posts_the_same_views(staking: StakingOnAnvil):
    store = MemoryStore()
    for number in range(1, 5):
        staking.register(number)
        staking.anvil.wait(PARAMS.epoch_s)
    clock = HandClock(chain_time(staking))
    posted = []
    for _ in range(3):
        async with running(settings(staking), clock, store=store) as (sink, journal):
            await sink.wait_until(lambda sink: len(sink.views) >= 2)
            assert journal.of(NoteName.CHAIN_REBUILT) == []
            posted.append(sink.views[:2])
    assert posted[0] == posted[1] == posted[2]
