"""One suite for both ways to a chain node: what is answered, what is not, and whose answer is whose."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from node.adapters.chain import carriers as module
from node.adapters.chain.carriers import Carrier, HttpxCarrier, LoopbackCarrier
from node.adapters.chain.rpc import JsonRpc
from protocol.errors import Unavailable

Serve = Callable[[trio.SocketStream, bytes], Awaitable[bool]]
"""Answers one request; says whether the connection stays."""


@pytest.fixture(params=["httpx", "loopback"])
async def carrier(request: pytest.FixtureRequest) -> AsyncIterator[Carrier]:
    chosen: Carrier = HttpxCarrier(trust_env=False) if request.param == "httpx" else LoopbackCarrier()
    yield chosen
    await chosen.close()


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[tuple[str, list[int]]]:
    """A server by hand; gives its URL, and how many requests each of its connections has carried."""
    carried: list[int] = []

    async def one(stream: trio.SocketStream) -> None:
        number = len(carried)
        carried.append(0)
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                data = await stream.receive_some()
                if not data:
                    return
                rest += data
            head, _, rest = rest.partition(b"\r\n\r\n")
            assert head.startswith(b"POST /here?key=1 HTTP/1.1\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            while len(rest) < length:
                rest += await stream.receive_some()
            body, rest = rest[:length], rest[length:]
            carried[number] += 1
            try:
                if not await serve(stream, body):
                    return
            except trio.BrokenResourceError:
                return  # whoever asked has left

    async with trio.open_nursery() as nursery:
        listener, *_ = await nursery.start(partial(trio.serve_tcp, one, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/here?key=1", carried
        nursery.cancel_scope.cancel()


async def echo(stream: trio.SocketStream, body: bytes) -> bool:
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return True


async def test_post__one_after_another__share_a_connection(carrier: Carrier) -> None:
    async with serving(echo) as (url, carried):
        for number in range(3):
            answer = await carrier.post(url, b"%d" % number)
            assert (answer.status, answer.content, answer.is_whole) == (200, b"%d" % number, True)
        assert carried == [3]


async def test_post__many_at_once__each_has_its_own_answer(carrier: Carrier) -> None:
    async def ask(url: str, body: bytes) -> None:
        assert (await carrier.post(url, body)).content == body

    async with serving(echo) as (url, _), trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(ask, url, bytes([number]) * 70_000)


async def test_post__answer_in_chunks_after_a_word__is_put_together_with_what_stands_above_it(carrier: Carrier) -> None:
    async def serve(stream: trio.SocketStream, _: bytes) -> bool:
        await stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 429 Too Many\r\nRetry-After: 7\r\n")
        await stream.send_all(b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await stream.send_all(b"2\r\nde\r\n0\r\n\r\n")
        return True

    async with serving(serve) as (url, _):
        answer = await carrier.post(url, b"?")
        assert (answer.status, answer.retry_after, answer.encoding) == (429, "7", "gzip")
        assert (answer.content, answer.is_whole) == (b"abcde", True)


async def test_post__other_end_closes_each_connection__each_request_has_its_own(carrier: Carrier) -> None:
    async def serve(stream: trio.SocketStream, body: bytes) -> bool:
        await echo(stream, body)
        return False

    async with serving(serve) as (url, carried):
        for _ in range(3):
            assert (await carrier.post(url, b"x")).content == b"x"
            await trio.testing.wait_all_tasks_blocked(0.05)  # until both ends are closed
        assert carried == [1, 1, 1]


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", b"\x16\x03\x01no HTTP\r\n\r\n"]
)
async def test_post__half_an_answer_or_none__is_unavailable(carrier: Carrier, said: bytes) -> None:
    async def serve(stream: trio.SocketStream, _: bytes) -> bool:
        await stream.send_all(said)
        return False

    async with serving(serve) as (url, _):
        with pytest.raises(Unavailable):
            await carrier.post(url, b"?")


async def test_post__nobody_listens__is_unavailable(carrier: Carrier) -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1:"):
        await carrier.post("http://127.0.0.1:1/", b"?")


async def test_post__other_end_is_silent_or_drips__ends_in_time_and_is_not_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WHOLE_REQUEST_TIMEOUT_S", 0.3)

    async def is_whole(carrier: Carrier, url: str) -> bool:
        try:
            return (await carrier.post(url, b"?")).is_whole
        except Unavailable:  # which httpx makes of silence
            return False

    async def drip(stream: trio.SocketStream, _: bytes) -> bool:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.01)

    async def say_nothing(*_: object) -> bool:
        await trio.sleep(1000)
        return False

    for silence_s, serve in ((10.0, drip), (0.1, say_nothing)):
        monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", silence_s)
        for carrier in (HttpxCarrier(trust_env=False), LoopbackCarrier()):
            async with serving(serve) as (url, _):
                with trio.fail_after(5):
                    assert not await is_whole(carrier, url)
            await carrier.close()


async def test_post__cancelled_in_the_middle__what_comes_then_is_nobodys_answer(carrier: Carrier) -> None:
    heard = trio.Event()

    async def serve(stream: trio.SocketStream, body: bytes) -> bool:
        if body == b"first":
            heard.set()
            await trio.sleep(0.05)
        return await echo(stream, body)

    async def ask_in_vain(scope: trio.CancelScope, url: str) -> None:
        with scope:
            await carrier.post(url, b"first")

    async with serving(serve) as (url, carried), trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(ask_in_vain, scope, url)
        await heard.wait()
        scope.cancel()
        await trio.sleep(0.1)
        assert (await carrier.post(url, b"second")).content == b"second"
        assert carried == [1, 1]


async def test_post__more_than_is_read__is_cut_off_and_its_connection_left(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", 1000)
    async with serving(echo) as (url, carried):
        answer = await carrier.post(url, b"x" * 500_000)
        assert 1000 < len(answer.content) < 500_000
        assert not answer.is_whole
        assert (await carrier.post(url, b"next")).content == b"next"
        assert carried == [1, 1]


@pytest.mark.parametrize(
    ("urls", "kind"),
    [
        (["http://127.0.0.1:8545", "http://localhost:8545/x"], LoopbackCarrier),
        (["http://127.0.0.1:8545", "http://node.example"], HttpxCarrier),
        (["https://127.0.0.1:8545"], HttpxCarrier),
        (["http://user:word@127.0.0.1:8545"], HttpxCarrier),
    ],
)
async def test_json_rpc__where_its_nodes_are__says_how_it_goes_there(urls: list[str], kind: type[Carrier]) -> None:
    async with JsonRpc(urls) as rpc:
        assert isinstance(rpc._carrier, kind)
