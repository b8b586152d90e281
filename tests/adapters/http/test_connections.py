"""Connections that stall, leave or pile up cost a bounded time and place, on real sockets."""

import time
from collections.abc import Callable

import h2.config
import h2.connection
import psutil
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.adapters.http import HttpSettings
from node.adapters.http.connections import FIRST_HEADER_S, KEEP_ALIVE_S, SEND_LIMIT_S, Places
from node.adapters.http.door import DRAIN_LIMIT_S
from protocol.notes import NoteName
from tests.adapters.http.conftest import Serve, Served
from tests.support.records import picture

HALF_A_HEADER = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
REQUEST = HALF_A_HEADER + b"\r\n"
BIG = picture(b"\x89PNG\r\n\x1a\n" + bytes(32 * 1024 * 1024))
"""More than the buffers of a loopback socket hold."""


@pytest.fixture
def many_files():
    """Room for both ends of a thousand sockets in this one process."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 8192, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def connect(served: Served, data: bytes = b"") -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    await stream.send_all(data)
    return stream


async def ended(stream: trio.SocketStream) -> bool:
    """Whether the other end has closed; what it sent before is read."""
    end = trio.Event()

    async def read() -> None:
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        end.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked(0.02)
        nursery.cancel_scope.cancel()
    return end.is_set()


async def answer(stream: trio.SocketStream) -> bytes:
    await stream.send_all(REQUEST)
    received = b""
    while not received.endswith(b'{"status":"ok"}'):
        received += await stream.receive_some()
    return received


async def settled(clock: MockClock | None = None, seconds: float = 0.0) -> None:
    """Let what is under way on sockets happen, then move the clock."""
    await wait_all_tasks_blocked(0.02)
    if clock is not None:
        clock.jump(seconds)
        await wait_all_tasks_blocked(0.02)


async def _soon(condition: Callable[[], bool], limit_s: float = 2.0) -> bool:
    """Whether this comes true within ``limit_s`` of real time, whatever the clock of the test says."""
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        await trio.lowlevel.checkpoint()
    return condition()


async def free(served: Served) -> None:
    """Wait, by real time, until no connection holds a place."""
    assert await _soon(lambda: not served.gateway._places._open)
    assert not served.gateway._streams
    assert not served.gateway._places._of_site


# Clients that have gone


async def test_connection__a_thousand_half_headers_then_gone__answers_at_once(serve: Serve, many_files: None):
    served = await serve()
    streams = [await connect(served, HALF_A_HEADER) for _ in range(1000)]
    with trio.fail_after(5):
        while len(served.journal.of(NoteName.MESSAGE_DROPPED)) < 500:
            await trio.sleep(0.001)
    assert served.journal.notes[0].fields == {"reason": "http_connections_of_site"}
    for stream in streams:
        await trio.aclose_forcefully(stream)
    await free(served)
    assert (await served.http.get("/healthz")).status_code == 200


async def test_connection__short_requests__leave_no_socket_behind(serve: Serve):
    served = await serve()
    for _ in range(300):
        async with await connect(served) as stream:
            await answer(stream)
    await free(served)
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
        await _soon(lambda: False, limit_s=0.3)  # until the refusal is under way, and crumbs pile up behind it
        mock_clock.jump(DRAIN_LIMIT_S)
        left = await _soon(lambda: not served.gateway._places._open)
        nursery.cancel_scope.cancel()
    assert left


# Clients that stall


@pytest.mark.parametrize("data", [b"", b"G", HALF_A_HEADER])
async def test_connection__header_never_ends__is_cut(serve: Serve, mock_clock: MockClock, data):
    served = await serve()
    async with await connect(served, data) as stream:
        await settled(mock_clock, FIRST_HEADER_S - 0.01)
        assert not await ended(stream)
        await settled(mock_clock, 0.02)
        assert await ended(stream)
    await settled()
    assert not served.gateway._places._open


async def test_connection__header_byte_by_byte__is_cut_all_the_same(serve: Serve, mock_clock: MockClock):
    served = await serve()
    async with await connect(served, HALF_A_HEADER) as stream:
        for _ in range(int(FIRST_HEADER_S) - 1):
            await settled(mock_clock, 1)
            await stream.send_all(b"X")
        assert not await ended(stream)
        await settled(mock_clock, 1.01)
        assert await ended(stream)


async def test_connection__idle_between_requests__is_kept_for_a_while(serve: Serve, mock_clock: MockClock):
    served = await serve()
    async with await connect(served) as stream:
        await answer(stream)
        await settled(mock_clock, KEEP_ALIVE_S - 0.01)
        await answer(stream)
        await settled(mock_clock, KEEP_ALIVE_S - 0.01)
        assert not await ended(stream)
        await settled(mock_clock, 0.02)
        assert await ended(stream)


def _http2_preface() -> h2.connection.H2Connection:
    connection = h2.connection.H2Connection(h2.config.H2Configuration())
    connection.initiate_connection()
    return connection


@pytest.mark.parametrize("resets", [False, True])
async def test_connection__http2_and_silence__is_cut(serve: Serve, mock_clock: MockClock, resets):
    served = await serve()
    connection = _http2_preface()
    async with await connect(served, connection.data_to_send()) as stream:
        await settled()
        if resets:
            headers = [(":method", "POST"), (":path", "/v1/tasks"), (":scheme", "http"), (":authority", "x")]
            connection.send_headers(1, headers)
            await stream.send_all(connection.data_to_send())
            await settled()
            connection.reset_stream(1)
            await stream.send_all(connection.data_to_send())
        await settled(mock_clock, KEEP_ALIVE_S + 0.01)
        assert await ended(stream)


async def _ask_for_a_big_picture(served: Served) -> trio.SocketStream:
    await served.desk.store.persist((BIG,))
    return await connect(served, f"GET /v1/artifacts/{BIG.digest.hex()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


@pytest.mark.parametrize("behind", [b"", REQUEST], ids=["alone", "another behind it"])
async def test_connection__answer_is_not_read__is_cut(serve: Serve, mock_clock: MockClock, behind):
    served = await serve()
    async with await _ask_for_a_big_picture(served) as stream:
        await stream.send_all(behind)
        await settled(mock_clock, SEND_LIMIT_S - 0.01)
        assert served.gateway._places._open == 1
        await settled(mock_clock, 0.02)
        assert not served.gateway._places._open


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
        with trio.fail_after(3):
            served.nursery.cancel_scope.cancel()
            await wait_all_tasks_blocked(0.02)
            while served.gateway._places._open:
                await trio.sleep(0.01)


# Places


async def test_connection__many_after_each_other__each_gives_its_place_back(serve: Serve):
    served = await serve(max_connections=2)
    for _ in range(5):
        async with await connect(served) as stream:
            await answer(stream)
        await free(served)
    assert not served.journal.of(NoteName.MESSAGE_DROPPED)


def _taken(places: Places, *addresses: str) -> list[str | None]:
    return [places.take(address) for address in addresses]


def test_places__one_site__has_its_share_and_others_go_on():
    places = Places(HttpSettings(max_connections=100, max_connections_per_site=2))
    assert _taken(places, *["198.51.101.7"] * 3) == [None, None, "http_connections_of_site"]
    assert _taken(places, "198.51.101.8") == [None]
    places.release("198.51.101.7")
    assert _taken(places, *["198.51.101.7"] * 2) == [None, "http_connections_of_site"]


def test_places__ipv6_addresses_of_one_site__share_a_limit():
    places = Places(HttpSettings(max_connections=100, max_connections_per_site=2))
    assert _taken(places, "2a00:1:2:3::1", "2a00:1:2:3:ffff::2") == [None, None]
    assert _taken(places, "2a00:1:2:3:4:5:6:7", "2a00:1:2:4::1") == ["http_connections_of_site", None]


@pytest.mark.parametrize("addresses", [("127.0.0.1", "127.9.9.9", "::1"), ("192.168.1.4",) * 3])
def test_places__this_machine_or_its_network__may_take_half(addresses):
    places = Places(HttpSettings(max_connections=6, max_connections_per_site=1))
    assert _taken(places, *addresses, addresses[0]) == [None, None, None, "http_connections_of_site"]


def test_places__all_taken__nobody_gets_one():
    places = Places(HttpSettings(max_connections=2, max_connections_per_site=2))
    assert _taken(places, "192.0.77.1", "192.0.77.2", "192.0.77.3") == [None, None, "http_connections"]
