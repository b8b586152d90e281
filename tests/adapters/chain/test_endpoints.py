"""Which chain node is asked: back-off, limits of the rate, slow ones, other chains. Time is the test's own."""

import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from node.adapters.chain import answers as answers_module
from node.adapters.chain import endpoints as module
from node.adapters.chain.answers import AnswerTooLarge, CallRefused, RateLimited, WrongChain, asked_rest_s
from node.adapters.chain.rpc import MAX_WAIT_S, JsonRpc
from protocol.errors import Unavailable

A, B, C = "http://a.example", "http://b.example", "http://c.example"
Answer = Callable[[dict[str, Any]], httpx.Response]


class World(httpx.AsyncBaseTransport):
    """Chain nodes by host: each answers what it is told to, after a time of its own."""

    def __init__(self, chain_id: int = 1) -> None:
        self.answers: dict[str, Answer] = {}
        self.seconds: dict[str, float] = {}
        self.chains: dict[str, int] = {}
        self.asked: list[str] = []
        self.default = chain_id

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host[0]
        body = json.loads(await request.aread())
        first = body[0] if isinstance(body, list) else body
        if first["method"] == "eth_chainId":
            return result(body, hex(self.chains.get(host, self.default)))
        self.asked.append(host)
        await trio.sleep(self.seconds.get(host, 0.0))
        answer = self.answers.get(host)
        return answer(body) if answer is not None else result(body, "0x" + host)


def result(body: Any, value: Any) -> httpx.Response:
    return httpx.Response(200, json={"id": body["id"], "result": value})


def status(code: int, **headers: str) -> Answer:
    return lambda _body: httpx.Response(
        code, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def error(code: int, message: str) -> Answer:
    return lambda body: httpx.Response(200, json={"id": body["id"], "error": {"code": code, "message": message}})


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def rpc(world: World, told):
    async with JsonRpc([A, B, C], chain_id=1, transport=world, report=lambda *what: told.append(what)) as client:
        yield client


async def ask(rpc: JsonRpc, times: int = 1) -> list[str]:
    return [(await rpc.call("eth_blockNumber"))[2:] for _ in range(times)]


async def test_call__all_well__keeps_to_the_first(autojump_clock, rpc, world, told):
    assert await ask(rpc, 5) == ["a"] * 5
    assert told == []


async def test_call__first_fails__is_left_for_longer_each_time_and_taken_back_when_well(
    autojump_clock, rpc, world, told
):
    world.answers["a"] = status(500)
    for _ in range(200):
        assert await ask(rpc) == ["b"]
        await trio.sleep(1)
    tries = world.asked.count("a")
    assert 8 <= tries <= 8 + 200 / module.MAX_REST_S + 1, "0.1, 0.2, … s, then every 30 s"
    assert told == [(A, "failing")]
    del world.answers["a"]
    await trio.sleep(module.MAX_REST_S)
    assert await ask(rpc, 2) == ["a", "a"]


async def test_call__all_fail__says_so_within_the_rounds_and_comes_back_at_once(autojump_clock, rpc, world, told):
    for host in "abc":
        world.answers[host] = status(502)
    began = trio.current_time()
    with pytest.raises(Unavailable, match="HTTP 502"):
        await ask(rpc)
    assert trio.current_time() - began < 3 * module.MAX_LONE_REST_S
    assert len(world.asked) == 9
    world.answers.clear()
    await trio.sleep(module.MAX_LONE_REST_S)
    assert await ask(rpc) == ["a"]


@pytest.mark.parametrize("asked", ["7", "date"])
@pytest.mark.parametrize("code", [429, 503])
async def test_call__node_asks_to_be_left_alone__is_for_that_long(
    autojump_clock, rpc, world, told, code, asked, monkeypatch
):
    monkeypatch.setattr(answers_module.time, "time", lambda: 1_000_000.0)
    world.answers["a"] = status(code, Retry_After=formatdate(1_000_007, usegmt=True) if asked == "date" else asked)
    assert await ask(rpc) == ["b"]
    del world.answers["a"]
    await trio.sleep(6.9)
    assert await ask(rpc) == ["b"]
    await trio.sleep(0.2)
    assert await ask(rpc) == ["a"]
    assert told == [(A, "rate_limited")]


async def test_call__only_node_asks_for_longer_than_we_wait__is_not_asked_before(world, autojump_clock):
    async with JsonRpc([A], chain_id=1, transport=world) as rpc:
        world.answers["a"] = status(429, Retry_After="60")
        with pytest.raises(RateLimited):
            await ask(rpc)
        del world.answers["a"]
        for _ in range(5):
            with pytest.raises(Unavailable, match="no chain node may be asked"):
                await ask(rpc)
            await trio.sleep(10)
        assert len(world.asked) == 1
        await trio.sleep(10 - MAX_WAIT_S)
        assert await ask(rpc) == ["a"]


async def test_call__node_asks_for_a_year__is_left_for_minutes_only(world, autojump_clock):
    async with JsonRpc([A], chain_id=1, transport=world) as rpc:
        world.answers["a"] = status(429, Retry_After=str(365 * 86_400))
        with pytest.raises(RateLimited):
            await ask(rpc)
        del world.answers["a"]
        await trio.sleep(module.MAX_ASKED_REST_S)
        assert await ask(rpc) == ["a"]


@pytest.mark.parametrize(
    ("code", "message", "limited"),
    [
        (429, "whatever", True),
        (-32005, "daily request count exceeded, request rate limited", True),
        (-32000, "Too Many Requests", True),
        (429, "Your app has exceeded its compute units per second capacity.", True),
        (-32005, "query returned more than 10000 results", False),
        (-32602, "eth_getLogs is limited to a 2000 block range", False),
        (3, "execution reverted: Staking: no node has this id", False),
    ],
)
async def test_call__error_in_an_answer__is_a_limit_of_the_rate_or_of_the_question(
    autojump_clock, rpc, world, told, code, message, limited
):
    world.answers["a"] = error(code, message)
    if limited:
        assert await ask(rpc) == ["b"]
        assert told == [(A, "rate_limited")]
    else:
        with pytest.raises(CallRefused, match=message[:10]):
            await ask(rpc)
        assert world.asked == ["a"]


async def test_call__slow_node__is_left_for_a_faster_and_tried_again_later(autojump_clock, rpc, world, told):
    world.seconds["a"] = 5
    assert await ask(rpc, 6) == ["a", "a", "b", "b", "b", "b"]
    assert told == [(A, "slow")]
    world.seconds["a"] = 0.1
    await trio.sleep(module.SLOW_MEMORY_S + 1)
    assert await ask(rpc, 2) == ["a", "a"]


async def test_call__all_slow__takes_the_fastest(autojump_clock, rpc, world):
    world.seconds |= {"a": 9, "b": 2.5, "c": 9}
    answered = await ask(rpc, 12)
    assert answered == ["a", *"bbbbb", "c", *"bbbbb"]


async def test_call__never_answers__is_left_after_the_limit(autojump_clock, rpc, world, told):
    world.seconds["a"] = 10_000
    assert await ask(rpc) == ["b"]
    assert told == [(A, "failing")]


async def test_call__another_chain__is_left_out_with_one_note_and_looked_at_again_later(
    autojump_clock, rpc, world, told
):
    world.chains["a"] = 5
    for _ in range(20):
        assert await ask(rpc) == ["b"]
        await trio.sleep(60)
    assert told == [(A, "wrong_chain")]
    world.chains["a"] = 1
    await trio.sleep(module.WRONG_CHAIN_REST_S)
    assert await ask(rpc) == ["a"]


async def test_call__node_comes_back_as_another_chain__is_not_believed(autojump_clock, rpc, world, told):
    assert await ask(rpc) == ["a"]
    world.answers["a"] = status(500)
    assert await ask(rpc) == ["b"]
    del world.answers["a"]
    world.chains["a"] = 5
    await trio.sleep(module.MAX_REST_S)
    assert await ask(rpc) == ["b"]
    assert told == [(A, "failing"), (A, "wrong_chain")]


async def test_call__all_of_another_chain__says_which(autojump_clock, rpc, world):
    world.default = 5
    with pytest.raises(WrongChain, match="serves chain 5, not 1"):
        await ask(rpc)


@pytest.mark.parametrize(
    "bad",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"",
        b"\x00",
        b'{"id":1,"result":' + b"9" * 5000 + b"}",
    ],
)
async def test_call__garbage__is_taken_from_the_next(autojump_clock, rpc, world, bad):
    world.answers["a"] = lambda _body: httpx.Response(200, content=bad)
    assert await ask(rpc) == ["b"]


async def test_call__answer_too_large_everywhere__is_a_refusal_so_that_less_is_asked_for(
    autojump_clock, rpc, world, monkeypatch
):
    monkeypatch.setattr("node.adapters.chain.rpc.MAX_RESPONSE_BYTES", 100)
    for host in "abc":
        world.answers[host] = lambda body: result(body, "x" * 200)
    with pytest.raises(AnswerTooLarge):
        await ask(rpc)


async def test_leave__answers_do_not_fit__asks_others_while_there_are_any(autojump_clock, rpc, world, told):
    assert await ask(rpc) == ["a"]
    assert rpc.leave("behind")
    assert await ask(rpc) == ["b"]
    assert rpc.leave("behind")
    assert await ask(rpc) == ["c"]
    assert not rpc.leave("behind"), "nobody else is there to ask"
    assert await ask(rpc) == ["c"]
    await trio.sleep(module.LEFT_REST_S)
    assert await ask(rpc) == ["a"]
    assert told == [(A, "behind"), (B, "behind")]


async def test_survey__one_rests__is_not_asked(autojump_clock, rpc, world):
    world.answers["b"] = status(500)
    world.answers["a"] = status(429, Retry_After="100")
    await ask(rpc)
    found = await rpc.survey("eth_blockNumber")
    assert A not in found
    assert found[C] == "0xc"


async def test_probe__another_chain__is_left_out_at_once(autojump_clock, rpc, world, told):
    world.chains["b"] = 5
    assert await rpc.probe() == {A: 1, B: 5, C: 1}
    assert told == [(B, "wrong_chain")]


@pytest.mark.parametrize("header", [None, "", "soon", "-5", "Wed, 99 Foo", "1e9"])
def test_asked_rest__nothing_that_makes_sense__is_none(header):
    assert asked_rest_s(header) is None
