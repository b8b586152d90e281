"""Serves the API on a socket, and stops without losing an answer that is nearly out."""

import errno
import logging
from typing import Final, cast, final

import trio
from fastapi import FastAPI
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, Framework
from hypercorn.utils import wrap_app
from prometheus_client import CollectorRegistry

from node.adapters.http.accounts import Accounts
from node.adapters.http.door import Application, Door
from node.adapters.http.errors import install
from node.adapters.http.health import health_routes
from node.adapters.http.images import image_routes
from node.adapters.http.orders import Orders
from node.adapters.http.settings import HttpSettings
from node.adapters.http.tasks import task_routes
from node.ports import Desk, Journal
from protocol.errors import ConfigError
from protocol.notes import NoteName
from protocol.task.catalog import Catalog

GRACE_S: Final = 1.5
"""How long (s) open calls may still write their answer when the node stops."""
_KEEP_ALIVE_S: Final = 75.0
"""How long (s) an idle connection stays open: connecting anew costs an app more than a socket costs us."""
_MAX_HEADER_BYTES: Final = 16 * 1024
_BACKLOG: Final = 512
"""Connections that wait to be accepted: a burst of apps."""


@final
class Gateway:
    """The HTTP face of a coordinator."""

    def __init__(
        self, settings: HttpSettings, desk: Desk, catalog: Catalog, registry: CollectorRegistry, journal: Journal
    ) -> None:
        """Serve ``desk``; metrics of HTTP itself are registered in ``registry``, which no other gateway uses."""
        self._settings = settings
        self._journal = journal
        self._stopping = trio.Event()
        self._connections = 0
        orders = Orders(desk, catalog, journal, settings, self._stopping)
        app = FastAPI(title="Cuckoo", description="Pictures from other people's GPUs.", version="1", redoc_url=None)
        install(app)
        app.include_router(image_routes(orders, desk, catalog, settings))
        app.include_router(task_routes(orders, desk, settings, self._stopping))
        app.include_router(health_routes(desk, registry))
        accounts = Accounts(settings, trio.current_time)
        # Three libraries type an ASGI application each in other words.
        door = Door(cast("Application", app), settings, accounts, registry)
        self._app = wrap_app(cast("Framework", door), 0, "asgi")
        self._hypercorn = _hypercorn_config()

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled; started with the bound port. A gateway runs once.

        When cancelled it stops listening, answers waiting calls with ``stopping``, and ends within 3 s.

        Raises:
            ConfigError: it cannot listen there.
        """
        listeners = await self._listen()
        grace = trio.CancelScope(shield=True)
        context = WorkerContext(None)
        finished = trio.Event()

        async def serve(stream: trio.SocketStream) -> None:
            await self._serve(stream, context)

        async with trio.open_nursery() as nursery:
            connections = await nursery.start(self._hold_connections, grace, finished)
            try:
                task_status.started(listeners[0].socket.getsockname()[1])
                await trio.serve_listeners(serve, listeners, handler_nursery=connections)
            finally:
                self._stopping.set()
                await context.terminated.set()  # wakes idle connections; it is no checkpoint
                grace.deadline = trio.current_time() + GRACE_S
                finished.set()

    async def _listen(self) -> list[trio.SocketListener]:
        host, port = self._settings.host, self._settings.port
        try:
            return await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
        except OSError as error:
            number = error.errno
            if number == errno.EADDRINUSE:
                problem = f"http.port {port} on {host} is in use: stop the other program, or choose another port"
            elif number == errno.EACCES:
                problem = f"http.port {port} needs privileges: choose a port from 1024 on"
            else:
                problem = f"http.host {host!r} is no address of this machine ({error.strerror}): try 127.0.0.1"
            raise ConfigError(problem) from error

    @staticmethod
    async def _hold_connections(
        grace: trio.CancelScope,
        finished: trio.Event,
        *,
        task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep connections alive when the gateway is cancelled, until the grace is over."""
        with grace:
            async with trio.open_nursery() as connections:
                task_status.started(connections)
                await finished.wait()

    async def _serve(self, stream: trio.SocketStream, context: WorkerContext) -> None:
        """Serve one connection. Hypercorn's own loop would end with the first one that it cannot parse."""
        if self._connections >= self._settings.max_connections:
            self._journal.note(NoteName.MESSAGE_DROPPED, reason="http_connections")
            await trio.aclose_forcefully(stream)
            return
        self._connections += 1
        try:
            await TCPServer(
                self._app,
                self._hypercorn,
                context,
                ConnectionState({}),
                cast("trio.SSLStream[trio.SocketStream]", stream),
            )
        except* Exception:  # noqa: BLE001 - whatever a client sends ends its own connection only
            self._journal.note(NoteName.MESSAGE_IGNORED, rule="http.connection")
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)


def _hypercorn_config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.keep_alive_timeout = _KEEP_ALIVE_S
    config.h11_max_incomplete_size = _MAX_HEADER_BYTES
    config.h2_max_header_list_size = _MAX_HEADER_BYTES
    return config
