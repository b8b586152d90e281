"""JsonRpc against real HTTP servers, good and bad."""

import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import trio

from node.adapters.chain import rpc as module
from node.adapters.chain.answers import CallRefused, WrongChain, asked_rest_s, octets, quantity, shown
from node.adapters.chain.rpc import JsonRpc
from protocol.errors import ConfigError, Unavailable
from tests.support.web_server import QuietHandler, listening

Answer = tuple[int, bytes]
DEAD = "http://127.0.0.1:1"


def result(value: Any) -> Answer:
    return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()


@contextmanager
def serving(answer: Callable[[Any], Answer]) -> Iterator[str]:
    """A chain node that answers what the test says."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, content = answer(body)
            self.answer(status, content)

    with listening(Handler) as url:
        yield url


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host", "http://", "127.0.0.1:8545"])
def test_init__what_is_no_http_url__is_named(url: str):
    with pytest.raises(ConfigError, match=r"chain\.rpc_urls"):
        JsonRpc([url])


def test_init__no_url__is_named():
    with pytest.raises(ConfigError, match=r"chain\.rpc_urls is empty"):
        JsonRpc([])


def test_shown__url_with_secrets__hides_them():
    assert shown("https://user:pass@node.example:8443/v2/api-key?x=1") == "https://node.example:8443"


async def test_call__first_url_dead__fails_over_and_stays_with_the_good_one():
    asked = []

    def answer(body: Any) -> Answer:
        asked.append(body["method"])
        return result("0x10")

    with serving(answer) as url:
        async with JsonRpc([DEAD, url]) as rpc:
            assert await rpc.call("eth_blockNumber") == "0x10"
            assert await rpc.call("eth_blockNumber") == "0x10"
    assert asked == ["eth_blockNumber"] * 2


@pytest.mark.parametrize(
    "bad",
    [
        (500, b"oops"),
        (429, b"{}"),
        (401, b"{}"),
        (200, b"<html>not json</html>"),
        (200, b"\xff\xfe"),
    ],
)
async def test_call__url_answers_badly__takes_the_next(bad: Answer):
    with serving(lambda _: bad) as broken, serving(lambda _: result("0x1")) as good:
        async with JsonRpc([broken, good]) as rpc:
            assert await rpc.call("eth_blockNumber") == "0x1"


@pytest.mark.parametrize("bad", [b"[]", b"7", b"null", b"{}", b'{"id":1}'])
async def test_call__json_that_is_no_answer__is_unavailable(bad: bytes):
    with serving(lambda _: (200, bad)) as url:
        async with JsonRpc([url]) as rpc:
            with pytest.raises(Unavailable):
                await rpc.call("eth_blockNumber")


async def test_call__node_answers_an_error__is_refused_at_once_with_its_words():
    asked = []

    def answer(body: Any) -> Answer:
        asked.append(body)
        return 400, b'{"id":1,"error":{"code":-32005,"message":"query returned more than 10000 results"}}'

    with serving(answer) as url:
        async with JsonRpc([url]) as rpc:
            with pytest.raises(CallRefused, match="more than 10000 results") as caught:
                await rpc.call("eth_getLogs", {})
    assert caught.value.code == -32005
    assert len(asked) == 1


async def test_call__nobody_answers__is_unavailable_after_all_rounds(autojump_clock: trio.testing.MockClock):
    async with JsonRpc([DEAD, "http://127.0.0.1:2"]) as rpc:
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1"):
            await rpc.call("eth_blockNumber")


async def test_call__not_to_be_repeated__is_sent_once():
    asked = []

    def answer(body: Any) -> Answer:
        asked.append(body)
        return 503, b""

    with serving(answer) as url:
        async with JsonRpc([url]) as rpc:
            with pytest.raises(Unavailable):
                await rpc.call("evm_mine", repeat=False)
    assert len(asked) == 1


async def test_call__answer_beyond_the_limit__is_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", 1000)
    monkeypatch.setattr(module, "ROUNDS", 1)
    with serving(lambda _: result("x" * 2000)) as url:
        async with JsonRpc([url]) as rpc:
            with pytest.raises(Unavailable, match="larger than 1000 bytes"):
                await rpc.call("eth_getLogs", {})


async def unpacked(content: bytes, encoding: str) -> Any:
    """Give what one call makes of an answer that is packed so."""

    def serve(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": encoding}, stream=httpx.ByteStream(content))

    async with JsonRpc([DEAD], transport=httpx.MockTransport(serve)) as rpc:
        return await rpc.call("eth_blockNumber", repeat=False)


async def test_call__packed_answer__is_unpacked():
    assert await unpacked(gzip.compress(result("0x10")[1]), "gzip") == "0x10"


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_call__small_answer_that_unpacks_to_a_large_one__costs_no_memory(times: int):
    """Unpacked as often as its header says, 2 kB become 1 GiB."""
    content = b" " * 2**28
    for _ in range(times):
        content = gzip.compress(content)
    tracemalloc.start()
    try:
        with pytest.raises(Unavailable):
            await unpacked(content, ", ".join(["gzip"] * times))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * module.MAX_RESPONSE_BYTES


# Named, since gzip writes the time into its header: processes that collect a second apart would have other tests.
@pytest.mark.parametrize(
    "damage",
    [b"", b"no gzip at all", gzip.compress(b'{"result":1}')[:-12]],
    ids=["empty", "no gzip", "cut short"],
)
async def test_call__packed_answer_is_damaged__is_unavailable(damage: bytes):
    with pytest.raises(Unavailable):
        await unpacked(damage, "gzip")


@pytest.mark.parametrize(
    "date", ["0100 Dec 23:59:59 - 99999999999999 GMT", "Mon, 99999999999999 Dec 0001 99:99:99 99999999999999 GMT"]
)
def test_asked_rest_s__date_that_no_clock_shows__makes_no_sense(date: str):
    assert asked_rest_s(date) is None


async def test_call__fail_over_to_another_chain__is_never_believed():
    with serving(lambda _: result("0x5")) as wrong:
        async with JsonRpc([DEAD, wrong], chain_id=31_337) as rpc:
            with pytest.raises(Unavailable):
                await rpc.call("eth_blockNumber")
        async with JsonRpc([wrong], chain_id=31_337) as rpc:
            with pytest.raises(WrongChain, match="serves chain 5, not 31337"):
                await rpc.call("eth_blockNumber")


async def test_batch__answers_in_any_order__come_back_in_order():
    def answer(body: Any) -> Answer:
        answers = [{"id": one["id"], "result": one["params"][0]} for one in reversed(body)]
        return 200, json.dumps(answers).encode()

    with serving(answer) as url:
        async with JsonRpc([url]) as rpc:
            assert await rpc.batch([("eth_call", [number]) for number in range(5)]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "content",
    [
        b'{"error":{"code":1,"message":"no batches"}}',
        b"[]",
        b"[1]",
        b'[{"id":[],"result":1}]',
        b'[{"id":{},"result":1}]',
    ],
)
async def test_batch__anything_else__is_unavailable(content: bytes):
    with serving(lambda _: (200, content)) as url:
        async with JsonRpc([url]) as rpc:
            with pytest.raises(Unavailable):
                await rpc.batch([("eth_call", [])])


async def test_probe__tells_for_each_url():
    with serving(lambda _: result("0x7a69")) as good:
        async with JsonRpc([good, DEAD]) as rpc:
            answers = await rpc.probe()
    assert answers[good] == 31_337
    assert isinstance(answers[DEAD], Unavailable)


@pytest.mark.parametrize("value", [None, 7, "", "0x", "xyz", [], {}])
def test_quantity__anything_but_hex__is_unavailable(value: Any):
    with pytest.raises(Unavailable):
        quantity(value)


@pytest.mark.parametrize("value", [None, 7, "0x1", "0xzz", [], "0x0102"])
def test_octets__anything_but_hex_of_the_length__is_unavailable(value: Any):
    with pytest.raises(Unavailable):
        octets(value, 3)
