"""One connection: hypercorn speaks HTTP/1.1 on it, this file decides how long it may wait and for whom.

Hypercorn's own server keeps a connection whose client has gone until its idle timer ends, gives half a header as long
as an idle client, and waits for ever for a client that does not read.

Rules for editors: only the task that reads ends a connection for silence, so that it cannot happen to a request whose
first byte was read. A connection is busy while the application works for it, whatever the protocol on it says.

Why no HTTP/2? Without TLS no browser and no OpenAI client speaks it; what is in front of us for TLS speaks it to them
and HTTP/1.1 to us. Its windows, pings and resets are each a way to hold a connection that needs a limit of its own,
and hypercorn buffers whole answers behind a window that stays shut.
"""

import json
import os
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, cast, final

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.task_group import _handle as handle_call
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, ConnectionState, Scope
from hypercorn.utils import parse_socket_addr

from node.adapters.http.door import Application, Message, Receive, Send
from node.adapters.http.waits import LEAVING, Leaving

HEADER_S: Final = 10.0
"""How long (s) a request's header may take, on a new connection from its start: an app sends it in one piece."""
KEEP_ALIVE_S: Final = 75.0
"""How long (s) a connection stays open between two requests. Proxies and clients that keep connections give up sooner
(nginx and most load balancers after 60 s), so that they do not send into a connection that we are closing."""
STATED_KEEP_ALIVE_S: Final = 70
"""What clients of HTTP/1.1 are told of it (s): less, for the time that a request is on its way."""
SEND_LIMIT_S: Final = 20.0
"""How long (s) a client may take to read one piece of an answer before it counts as gone."""
SEND_PIECE_BYTES: Final = 64 * 1024
"""One piece: at 20 s each it takes a line of 26 kbit/s, far less than any that pictures are made for."""
_READ_BYTES: Final = 64 * 1024


def _answer(status: bytes, code: str, message: str) -> bytes:
    """Give an answer that no application makes, in the shape that errors have everywhere."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


_TOO_SLOW: Final = _answer(b"408 Request Timeout", "timeout", f"the header did not arrive within {HEADER_S:g} s")
_OTHER_VERSION: Final = _answer(
    b"505 HTTP Version Not Supported", "http_version", "this is HTTP/1.1 only: let a proxy in front speak HTTP/2"
)


@final
class _Calls(TaskGroup):
    """The tasks of one connection's calls.

    Hypercorn's own take a turn of the event loop for each piece of a request, there and here, also where there is room.
    """

    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: Scope, send: Callable[[ASGISendEvent | None], Awaitable[None]]
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Call the application; gives what hands it the pieces of its request."""
        pieces, to_read = trio.open_memory_channel[ASGIReceiveEvent](config.max_app_queue_size)
        leaving = Leaving()
        cast("Message", scope).setdefault("extensions", {})[LEAVING] = leaving

        async def put(piece: ASGIReceiveEvent) -> None:
            if piece["type"] == "http.disconnect":
                leaving.happened()
            try:
                pieces.send_nowait(piece)
            except trio.WouldBlock:
                await pieces.send(piece)

        async def receive() -> ASGIReceiveEvent:
            try:
                return to_read.receive_nowait()
            except trio.WouldBlock:
                return await to_read.receive()

        self.spawn(handle_call, app, config, scope, receive, send, trio.to_thread.run_sync, trio.from_thread.run)
        return put


@final
class Connection:
    """Serves one connection until its client leaves, is silent for too long, or does not read its answers."""

    def __init__(
        self, application: Application, config: Config, context: WorkerContext, stream: trio.SocketStream
    ) -> None:
        """Serve ``stream``, which is closed in the end."""
        self._application = application
        self._config = config
        self._context = context
        self._stream = stream
        self._protocol: _Http1
        self._sending = trio.Lock()
        self._life = trio.CancelScope()
        self._patience = trio.CancelScope()
        self._deadline = inf
        self._calls = 0
        self._bodies = 0
        self._in_header = True
        self.waiting_since = trio.current_time()
        """When (s) it began to wait for what it waits for now: a header, a body, or the next request."""

    @property
    def is_busy(self) -> bool:
        """Say whether a request is being worked on: such a connection is not ended to make room.

        One whose body has not arrived is not: else a byte now and then would keep a place as long as bodies may take.
        """
        return self._calls > self._bodies

    def end(self) -> None:
        """Let it end now. Answers under way are lost, also one that is half written to a client that does not read."""
        self._life.cancel()
        self._stream.socket.close()

    async def run(self) -> None:
        """Serve until the end of the connection, and of all that the application does for it."""
        socket = self._stream.socket
        try:
            async with _Calls() as group:
                self._protocol = _Http1(
                    cast("AppWrapper", self._call),
                    self._config,
                    self._context,
                    group,
                    ConnectionState({}),
                    ssl=False,
                    client=parse_socket_addr(socket.family, socket.getpeername()),
                    server=parse_socket_addr(socket.family, socket.getsockname()),
                    send=self._on_event,
                )
                self._wait(HEADER_S)
                with self._life:
                    await self._read()
                await self._protocol.handle(Closed())
        except OSError:
            pass  # the client left before we asked who it is
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        """Hand on what arrives, until the client leaves or stays silent."""
        while trio.current_time() < self._deadline:
            data: bytes | None = None  # which stays when the client's time is over
            try:
                with trio.CancelScope(deadline=self._deadline) as self._patience:
                    data = bytes(await self._stream.receive_some(_READ_BYTES))
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return
            if data is None:
                continue
            try:
                await self._protocol.handle(RawData(data))
            except _OtherVersionError:
                await self._send(_OTHER_VERSION)
                return
            if not data:
                return
            if not self._calls and not self._in_header and self._has_begun():
                self._in_header = True
                self._wait(HEADER_S)
        if self._has_begun():  # else nothing was asked, and an answer would be taken for that to the next request
            await self._send(_TOO_SLOW)

    def _has_begun(self) -> bool:
        """Say whether a part of a header has arrived."""
        return bool(self._protocol.connection.trailing_data[0])

    def _wait(self, seconds: float) -> None:
        """Give the client this long from now."""
        self.waiting_since = trio.current_time()
        self._deadline = self._patience.deadline = self.waiting_since + seconds

    # What the application does

    async def _call(self, scope: Message, receive: Receive, send: Send, *_threads: object) -> None:
        """Have one request answered."""
        self._calls += 1
        self._bodies += 1
        is_whole = False
        self._wait(inf)

        async def receive_noting() -> Message:
            nonlocal is_whole
            message = await receive()
            if not is_whole and not message.get("more_body", False):
                is_whole = True
                self._bodies -= 1
            return message

        async def send_stating(message: Message) -> None:
            if message["type"] == "http.response.start":
                stated = (b"keep-alive", b"timeout=%d" % STATED_KEEP_ALIVE_S)
                message = {**message, "headers": [*message.get("headers", ()), stated]}
            await send(message)

        try:
            await self._application(scope, receive_noting, send_stating)
        finally:
            self._calls -= 1
            self._bodies -= not is_whole
            if not self._calls:
                self._in_header = self._has_begun()
                self._wait(HEADER_S if self._in_header else KEEP_ALIVE_S)

    # What the protocol does

    async def _on_event(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            self._stream.socket.close()  # the reader hears of it
        elif isinstance(event, Updated) and not event.idle and not self._calls:
            self._wait(HEADER_S)  # a whole header is here, and the call for it begins at once

    async def _send(self, data: bytes) -> None:
        try:
            self._sending.acquire_nowait()
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            await self._send_alone(data)
        finally:
            self._sending.release()

    async def _send_alone(self, data: bytes) -> None:
        data = self._send_now(data)
        try:
            for start in range(0, len(data), SEND_PIECE_BYTES):
                # Shielded, since half an answer on the wire cannot be followed by anything else.
                with trio.fail_after(SEND_LIMIT_S, shield=True):
                    await self._stream.send_all(data[start : start + SEND_PIECE_BYTES])
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            # The reader may wait for this answer to end, before it reads the request behind it.
            self.end()

    def _send_now(self, data: bytes) -> bytes:
        """Send as much as the socket takes at once, which is nearly all answers; gives the rest, for ``send_all``."""
        try:
            return data[os.write(self._stream.socket.fileno(), data) :]
        except OSError:  # it takes nothing now, or is gone: whoever waits for it is told which
            return data


class _Http1(H11Protocol):
    """HTTP/1.1 and nothing else."""

    _head = b""
    """The beginning of an answer whose body follows at once: both go out in one piece."""

    async def _send_h11_event(self, event: h11.Event) -> None:
        """Send what an event is on the wire, if anything."""
        try:
            data = self._head + (self.connection.send(event) or b"")  # type: ignore[arg-type]  # websockets are refused
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        self._head = b""
        if isinstance(event, h11.Response) and any(name == b"content-length" for name, _ in event.headers):
            self._head = data
        elif data:
            await self.send(RawData(data=data))

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore an offer to change to HTTP/2, and refuse who begins with it."""
        if event.http_version not in {b"1.0", b"1.1"}:
            raise _OtherVersionError


class _OtherVersionError(Exception):
    """The client speaks another HTTP."""
