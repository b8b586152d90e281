"""Answers Prometheus, and whoever asks whether the process lives, on an address of its own.

A coordinator's API answers ``/metrics`` too; the other roles have no API, and a coordinator may keep the watch off the
address that apps reach. One request a connection, a few connections at once: it serves one scraper or two.
"""

import errno
from typing import Final, final

import h11
import trio
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from protocol.errors import ConfigError

MAX_CONNECTIONS: Final = 16
"""Connections at once: scrapers, health checks and a person. More are closed unanswered."""
PATIENCE_S: Final = 10.0
"""How long (s) one connection may take, as long as Prometheus waits by default."""
_MAX_HEADER_BYTES: Final = 8 * 1024
_READ_BYTES: Final = 4096
_MAX_UNWANTED_BYTES: Final = 1024 * 1024
"""What may follow a request's head. It is read and forgotten: to close before it is read loses the answer."""
_TEXT: Final = "text/plain; charset=utf-8"


@final
class MetricsServer:
    """Serves ``GET /metrics`` and ``GET /healthz``."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        """Tell what is in ``registry``, at ``host`` and ``port`` (0 for a free one)."""
        self._host = host
        self._port = port
        self._registry = registry
        self._open = 0

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled; started with the bound port.

        Raises:
            ConfigError: It cannot listen there.
        """
        try:
            listeners = await trio.open_tcp_listeners(self._port, host=self._host)
        except OSError as error:
            where = f"metrics.port {self._port} on {self._host}"
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(f"{where} is in use: choose another, or stop the other program") from error
            raise ConfigError(
                f"{where} cannot be listened on ({error.strerror}): try metrics.host 127.0.0.1"
            ) from error
        async with trio.open_nursery() as nursery:
            task_status.started(listeners[0].socket.getsockname()[1])
            await trio.serve_listeners(self._serve, listeners, handler_nursery=nursery)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Answer one request. Whatever is sent ends its own connection only."""
        if self._open >= MAX_CONNECTIONS:
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        try:
            with trio.move_on_after(PATIENCE_S):
                await self._converse(stream)
        except (h11.ProtocolError, trio.BrokenResourceError):
            pass  # no HTTP, or gone already
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        """Read a request's head and write the answer."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEADER_BYTES)
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_READ_BYTES))
        if not isinstance(event, h11.Request):
            return
        status, content_type, body = self._answer(event.method, event.target)
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Connection", "close")]
        head = connection.send(h11.Response(status_code=status, headers=headers)) or b""
        data = connection.send(h11.Data(body)) or b""
        await stream.send_all(head + data)
        await stream.send_eof()
        # Until the other side has the answer and closes: a connection that ends with bytes unread is reset.
        unwanted = 0
        while unwanted < _MAX_UNWANTED_BYTES and (read := await stream.receive_some(_READ_BYTES)):
            unwanted += len(read)

    def _answer(self, method: bytes, target: bytes) -> tuple[int, str, bytes]:
        """Give status, content type and body."""
        path = target.partition(b"?")[0]
        if path not in {b"/metrics", b"/healthz"}:
            return 404, _TEXT, b"/metrics and /healthz are here\n"
        if method != b"GET":
            return 405, _TEXT, b"GET is what is answered here\n"
        if path == b"/healthz":
            return 200, _TEXT, b"ok\n"
        return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
