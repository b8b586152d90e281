"""One connection as hypercorn serves it, with the limits that it lacks, and the places that connections take."""

from collections import Counter
from typing import Final, cast, final

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from node.adapters.http.accounts import is_near, site_of
from node.adapters.http.settings import HttpSettings

FIRST_HEADER_S: Final = 10.0
"""How long (s) the first complete header may take: an app sends it in one piece, a slow attacker never does."""
KEEP_ALIVE_S: Final = 15.0
"""How long (s) a connection stays open between two requests: an app that asks again does so sooner."""
SEND_LIMIT_S: Final = 20.0
"""How long (s) a client may take to read one piece of an answer before it counts as gone."""
SEND_PIECE_BYTES: Final = 64 * 1024
"""One piece: at 20 s each it takes a line of 26 kbit/s, far less than any that pictures are made for."""


@final
class Connection(TCPServer):
    """Serves one connection until its client leaves, then ends at once.

    Hypercorn alone waits for its idle timer after the client has left, never times a silent HTTP/2 connection, and
    waits for ever for a client that does not read.
    """

    def __init__(self, app: AppWrapper, config: Config, context: WorkerContext, stream: trio.SocketStream) -> None:
        """Serve ``stream``; awaiting this object does it."""
        # Hypercorn takes a plain stream as well, but names only the TLS one.
        tls = cast("trio.SSLStream[trio.SocketStream]", stream)
        super().__init__(app, config, context, ConnectionState({}), tls)
        self._reading = trio.CancelScope()
        self._left = False
        self._idle = True
        self._idle_limit_s = FIRST_HEADER_S

    async def protocol_send(self, event: Event) -> None:
        """Send bytes, or hear that the connection has closed, became idle, or is in use."""
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Updated):
            self._idle = event.idle
            if not event.idle:
                self._idle_limit_s = KEEP_ALIVE_S
            if not self._left:  # else nobody comes to use it, and its timer would keep the place taken
                await super().protocol_send(event)
        else:
            await super().protocol_send(event)

    async def _send(self, data: bytes) -> None:
        async with self.send_lock:
            try:
                for start in range(0, len(data), SEND_PIECE_BYTES):
                    # Shielded, since half an answer on the wire cannot be followed by anything else.
                    with trio.fail_after(SEND_LIMIT_S, shield=True):
                        await self.stream.send_all(data[start : start + SEND_PIECE_BYTES])
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                # The reader may wait for this answer to end, before it reads the request behind it.
                self._reading.cancel()
                await trio.aclose_forcefully(self.stream)
                await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        with self._reading:
            await self._read_on()
        self._left = True
        await self.protocol.handle(Closed())
        await self.idle_task.stop()

    async def _read_on(self) -> None:
        """Hand on what arrives until the client leaves."""
        while True:
            try:
                data = bytes(await self.stream.receive_some(MAX_RECV))
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return
            await self.protocol.handle(RawData(data))
            if not data:
                return
            inner = self.protocol.protocol
            if isinstance(inner, H2Protocol) and inner.idle and not self._idle:
                await self.protocol_send(Updated(idle=True))

    async def _idle_timeout(self) -> None:
        with trio.move_on_after(self._idle_limit_s):
            await self.context.terminated.wait()
        with trio.CancelScope(shield=True):
            await self._initiate_server_close()


@final
class Places:
    """How many connections are open, in all and from each site."""

    def __init__(self, settings: HttpSettings) -> None:
        """Start with none."""
        self._limit = settings.max_connections
        self._site_limit = settings.max_connections_per_site
        self._near_limit = max(self._site_limit, self._limit // 2)
        self._open = 0
        self._of_site: Counter[str] = Counter()

    def take(self, address: str) -> str | None:
        """Take a place for a connection from ``address``; gives the reason when there is none."""
        site = site_of(address)
        if self._open >= self._limit:
            return "http_connections"
        if self._of_site[site] >= (self._near_limit if is_near(address) else self._site_limit):
            return "http_connections_of_site"
        self._open += 1
        self._of_site[site] += 1
        return None

    def release(self, address: str) -> None:
        """Give the place back that ``take`` gave."""
        site = site_of(address)
        self._open -= 1
        self._of_site[site] -= 1
        if not self._of_site[site]:
            del self._of_site[site]
