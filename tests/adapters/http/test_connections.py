"""Connections that are kept, stall or leave, on real sockets."""

import json
import os

import httpx
import psutil
import pytest
import trio
from hypercorn.events import Event, RawData
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from trio.testing import MockClock, wait_all_tasks_blocked

from node.adapters.http.connections import HEADER_S, KEEP_ALIVE_S, SEND_LIMIT_S, STATED_KEEP_ALIVE_S, _Calls, _Http1
from node.adapters.http.door import DRAIN_LIMIT_S, Message, Receive, Send
from node.adapters.http.gateway import _hypercorn_config
from protocol.notes import NoteName
from tests.adapters.http.conftest import Serve, Served
from tests.adapters.http.sockets import HALF_A_HEADER, REQUEST, answer, connect, ended, free, rest, settled, soon
from tests.support.patience import PATIENCE_S
from tests.support.records import picture

BIG = picture(b"\x89PNG\r\n\x1a\n" + bytes(32 * 1024 * 1024))
"""More than the buffers of a loopback socket hold."""
ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1)


# One answer


@pytest.mark.parametrize(("stated", "pieces"), [(True, 1), (False, 3)], ids=["length stated", "chunked"])
async def test_connection__answer__its_head_goes_out_with_its_body_where_that_follows(stated: bool, pieces: int):
    sent: list[bytes] = []

    async def app(_scope: Message, _receive: Receive, send: Send, *_: object) -> None:
        headers = [(b"content-length", b"5")] if stated else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"heart"})

    async def keep(event: Event) -> None:
        if isinstance(event, RawData):
            sent.append(event.data)

    async with _Calls() as group:
        protocol = _Http1(
            app, _hypercorn_config(), WorkerContext(None), group, ConnectionState({}), False, None, None, keep
        )
        await protocol.handle(RawData(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"))
    assert len(sent) == pieces
    assert sent[0].startswith(b"HTTP/1.1 200")
    assert b"".join(sent).endswith(b"\r\n\r\nheart" if stated else b"heart\r\n0\r\n\r\n")


# Connections that are kept


async def test_connection__many_requests_with_pauses__none_is_lost(serve: Serve):
    served = await serve()
    async with httpx.AsyncClient(base_url=served.url, limits=ONE, timeout=PATIENCE_S) as app:
        for number in range(150):
            response = await app.post("/v1/images/generations", json={"prompt": "a red heart"})
            assert response.status_code == 200, number
            await trio.sleep(0.001 * (number % 5))
        assert len(served.gateway._places) == 1


async def test_connection__more_requests_than_one_may_have__is_closed_openly_and_none_is_lost(serve: Serve):
    served = await serve()
    async with httpx.AsyncClient(base_url=served.url, limits=ONE, timeout=PATIENCE_S) as app:
        last = [(await app.get("/healthz")).headers.get("connection") for _ in range(1100)]
    assert [number for number, said in enumerate(last) if said == "close"] == [999]


async def test_connection__idle_between_requests__is_kept_longer_than_it_says(serve: Serve, mock_clock: MockClock):
    served = await serve()
    async with await connect(served) as stream:
        assert b"keep-alive: timeout=%d\r\n" % STATED_KEEP_ALIVE_S in await answer(stream)
        await settled(mock_clock, KEEP_ALIVE_S - 0.01)
        await answer(stream)
        await settled(mock_clock, KEEP_ALIVE_S - 0.01)
        assert not await ended(stream)
        await settled(mock_clock, 0.02)
        assert await rest(stream) == (b"", True), "an answer to no request would be taken for that to the next"
    assert STATED_KEEP_ALIVE_S < KEEP_ALIVE_S


@pytest.mark.parametrize("begun_at_s", [0.0, KEEP_ALIVE_S - 0.01], ids=["at once", "at the last moment"])
async def test_connection__next_request_has_begun__is_not_closed_for_being_idle(serve: Serve, mock_clock, begun_at_s):
    served = await serve()
    async with await connect(served) as stream:
        await answer(stream)
        await settled(mock_clock, begun_at_s)
        await stream.send_all(HALF_A_HEADER)
        await settled(mock_clock, HEADER_S - 0.01)
        await answer(stream, b"\r\n")


async def test_connection__application_works_long__is_not_closed(serve: Serve, mock_clock: MockClock):
    served = await serve()
    release = trio.Event()
    inner = served.gateway._door._inner

    async def slow(scope, receive, send) -> None:
        await release.wait()
        await inner(scope, receive, send)

    served.gateway._door._inner = slow
    async with await connect(served, REQUEST) as stream:
        await settled(mock_clock, 10 * KEEP_ALIVE_S)
        assert not await ended(stream)
        release.set()
        await answer(stream, b"")


async def test_connection__next_request_as_its_time_ends__is_answered(serve: Serve, mock_clock: MockClock):
    served = await serve()
    async with await connect(served) as stream:
        await answer(stream)
        await settled(mock_clock, KEEP_ALIVE_S - 0.01)
        # A whole header has arrived, and the gateway learns of both at once.
        os.write(stream.socket.fileno(), HALF_A_HEADER + b"Content-Length: 1\r\n\r\n")
        mock_clock.jump(0.02)
        await settled()
        await answer(stream, b"x")


async def test_connection__half_a_header_behind_work_that_outlasts_its_answer__is_timed(serve: Serve, mock_clock):
    served = await serve()
    inner = served.gateway._door._inner

    async def lingers(scope, receive, send) -> None:
        await inner(scope, receive, send)
        await trio.sleep(1)

    served.gateway._door._inner = lingers
    async with await connect(served, REQUEST + HALF_A_HEADER) as stream:
        await settled(mock_clock, 1)
        await settled(mock_clock, HEADER_S - 0.01)
        assert not await ended(stream)
        await settled(mock_clock, 0.02)
        assert await ended(stream)


@pytest.mark.parametrize("goes_on", [True, False])
async def test_connection__requests_in_one_piece__are_answered_in_turn(serve: Serve, mock_clock: MockClock, goes_on):
    served = await serve()
    async with await connect(served, REQUEST * 20 + HALF_A_HEADER) as stream:
        await settled()
        received, closed = await rest(stream)
        assert (received.count(b"HTTP/1.1 200"), closed) == (20, False)
        await settled(mock_clock, HEADER_S - 0.01)
        if goes_on:
            await answer(stream, b"\r\n")
        else:
            await settled(mock_clock, 0.02)
            received, closed = await rest(stream)
            assert (received[:13], closed) == (b"HTTP/1.1 408 ", True)


# Clients that stall


@pytest.mark.parametrize("before", [b"", REQUEST], ids=["new", "kept"])
async def test_connection__header_never_ends__is_told_and_closed(serve: Serve, mock_clock: MockClock, before):
    served = await serve()
    async with await connect(served, before) as stream:
        await settled()
        await rest(stream)
        await stream.send_all(HALF_A_HEADER)
        await settled(mock_clock, HEADER_S - 0.01)
        assert not await ended(stream)
        await settled(mock_clock, 0.02)
        received, closed = await rest(stream)
        assert closed
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert json.loads(body)["error"]["code"] == "timeout"
    await free(served)


async def test_connection__nothing_asked__is_closed_without_a_word(serve: Serve, mock_clock: MockClock):
    served = await serve()
    async with await connect(served) as stream:
        await settled(mock_clock, HEADER_S - 0.01)
        assert not await ended(stream)
        await settled(mock_clock, 0.02)
        assert await rest(stream) == (b"", True)
    await free(served)


async def test_connection__header_byte_by_byte__is_closed_all_the_same(serve: Serve, mock_clock: MockClock):
    served = await serve()
    async with await connect(served, HALF_A_HEADER) as stream:
        for _ in range(int(HEADER_S) - 1):
            await settled(mock_clock, 1)
            await stream.send_all(b"X")
        assert not await ended(stream)
        await settled(mock_clock, 1.01)
        assert await ended(stream)


async def test_connection__body_byte_by_byte__is_told_and_closed(serve: Serve, mock_clock: MockClock):
    served = await serve(body_timeout_s=5.0)
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    async with await connect(served, head) as stream:
        for _ in range(4):
            await settled(mock_clock, 1)
            await stream.send_all(b"x")
        assert not await ended(stream)
        await settled(mock_clock, 1.01)
        received, closed = await rest(stream)
        assert received.startswith(b"HTTP/1.1 408 ")
        assert closed
    await free(served)


@pytest.mark.parametrize("lines", [b"X: y\r\n" * 5000, b"X: " + b"y" * 32_000], ids=["many", "huge"])
async def test_connection__header_too_large__is_told_and_closed(serve: Serve, lines):
    served = await serve()
    async with await connect(served, HALF_A_HEADER + lines) as stream:
        await settled()
        received, closed = await rest(stream)
        assert closed
        assert received[:13] in (b"HTTP/1.1 431 ", b""), "a reset may overtake the answer"
    await free(served)


async def test_connection__websocket_without_a_key__does_not_keep_its_place(serve: Serve, mock_clock: MockClock):
    served = await serve()
    upgrade = HALF_A_HEADER + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    async with await connect(served, upgrade):
        await settled(mock_clock, HEADER_S + 0.01)
        await free(served)


@pytest.mark.parametrize("behind", [b"", b"\xff" * 500], ids=["alone", "and more"])
async def test_connection__http2__is_told_and_closed(serve: Serve, behind):
    served = await serve()
    async with await connect(served, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + behind) as stream:
        received, closed = await rest(stream)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 505 ")
        assert json.loads(body)["error"]["code"] == "http_version"
        assert closed
    await free(served)


async def test_connection__offers_http2__is_answered_as_it_asked(serve: Serve):
    served = await serve()
    offer = b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n"
    async with await connect(served) as stream:
        assert (await answer(stream, HALF_A_HEADER + offer)).startswith(b"HTTP/1.1 200 ")
        await answer(stream)


# Clients that do not read


async def _ask_for_a_big_picture(served: Served) -> trio.SocketStream:
    await served.desk.store.persist((BIG,))
    return await connect(served, f"GET {_path()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def _path() -> str:
    return f"/v1/artifacts/{BIG.digest.hex()}"


async def test_connection__answer_is_not_read__is_cut_and_what_is_behind_it_is_not_done(serve: Serve, mock_clock):
    served = await serve()
    body = b'{"prompt": "x"}'
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    async with await _ask_for_a_big_picture(served) as stream:
        await stream.send_all(head % len(body) + body)
        await settled(mock_clock, SEND_LIMIT_S - 0.01)
        assert len(served.gateway._places) == 1
        await settled(mock_clock, 0.02)
        await free(served)
    assert not served.desk.accepted


async def test_connection__answer_is_read_slowly__arrives(serve: Serve, mock_clock: MockClock):
    served = await serve()
    received = 0
    async with await _ask_for_a_big_picture(served) as stream:
        while received < len(BIG.data):
            if received < 8 * 1024 * 1024:
                await settled(mock_clock, SEND_LIMIT_S - 1)
            received += len(await stream.receive_some(1024 * 1024))


async def test_run__cancelled_while_an_answer_is_not_read__ends_in_time(serve: Serve):
    served = await serve()
    async with await _ask_for_a_big_picture(served):
        await wait_all_tasks_blocked(0.02)
        with trio.fail_after(PATIENCE_S):
            served.nursery.cancel_scope.cancel()
            await wait_all_tasks_blocked(0.02)
            while len(served.gateway._places):
                await trio.sleep(0.01)


# Clients that have gone


async def test_connection__short_requests__leave_no_socket_behind(serve: Serve):
    served = await serve(max_connections=4)
    for _ in range(100):
        async with await connect(served) as stream:
            await answer(stream)
    await free(served)
    assert not served.journal.of(NoteName.MESSAGE_DROPPED)
    sockets = psutil.Process().net_connections("tcp")
    assert not [s for s in sockets if s.laddr and s.laddr.port == served.port and s.status == psutil.CONN_CLOSE_WAIT]


async def test_connection__client_leaves_before_the_answer__leaves_no_socket_behind(serve: Serve):
    served = await serve()
    for _ in range(50):
        async with await connect(served, REQUEST):
            pass
    await free(served)


async def test_connection__refused_body_in_crumbs__does_not_keep_its_place(serve: Serve, mock_clock: MockClock):
    served = await serve(require_key=True)
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with await connect(served, head) as stream, trio.open_nursery() as nursery:

        async def crumbs() -> None:
            try:
                while True:
                    await stream.send_all(b"1\r\nx\r\n" * 1000)
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(crumbs)
        await soon(lambda: False, limit_s=0.3)  # until the refusal is under way, and crumbs pile up behind it
        mock_clock.jump(DRAIN_LIMIT_S)
        left = await soon(lambda: not len(served.gateway._places))
        nursery.cancel_scope.cancel()
    assert left
