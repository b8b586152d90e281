"""What tests of connections do on real sockets."""

import time
from collections.abc import Callable

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.adapters.http.conftest import Served
from tests.support.patience import PATIENCE_S

HALF_A_HEADER = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
REQUEST = HALF_A_HEADER + b"\r\n"


async def connect(served: Served, data: bytes = b"") -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    await stream.send_all(data)
    return stream


async def rest(stream: trio.SocketStream) -> tuple[bytes, bool]:
    """What has arrived unread, and whether the other end has closed."""
    received = bytearray()
    closed = trio.Event()

    async def read() -> None:
        try:
            while data := await stream.receive_some():
                received.extend(data)
        except trio.BrokenResourceError:
            pass
        closed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked(0.02)
        nursery.cancel_scope.cancel()
    return bytes(received), closed.is_set()


async def ended(stream: trio.SocketStream) -> bool:
    """Whether the other end has closed; what it sent before is read."""
    return (await rest(stream))[1]


async def answer(stream: trio.SocketStream, request: bytes = REQUEST) -> bytes:
    """The answer of /healthz to this, or to the end of this."""
    await stream.send_all(request)
    received = b""
    while not received.endswith(b'{"status":"ok"}'):
        data = await stream.receive_some()
        assert data, received
        received += data
    return received


async def settled(clock: MockClock | None = None, seconds: float = 0.0) -> None:
    """Let what is under way on sockets happen, then move the clock."""
    await wait_all_tasks_blocked(0.02)
    if clock is not None:
        clock.jump(seconds)
        await wait_all_tasks_blocked(0.02)


async def soon(condition: Callable[[], bool], limit_s: float = PATIENCE_S) -> bool:
    """Whether this comes true within ``limit_s`` of real time, whatever the clock of the test says."""
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        await trio.lowlevel.checkpoint()
    return condition()


async def free(served: Served) -> None:
    """Wait, by real time, until no connection holds a place."""
    assert await soon(lambda: not len(served.gateway._places))
    assert not served.gateway._places._sites
