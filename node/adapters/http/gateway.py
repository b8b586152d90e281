"""Serves the API on a socket, and stops without losing an answer that is nearly out."""

import errno
import logging
from collections.abc import Sequence
from typing import Final, cast, final

import trio
from fastapi import FastAPI
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from node.adapters.http.a1111 import a1111_routes
from node.adapters.http.a1111_lists import a1111_lists
from node.adapters.http.accounts import Accounts
from node.adapters.http.app_orders import AppOrders
from node.adapters.http.connections import Connection
from node.adapters.http.docs import docs_routes
from node.adapters.http.door import Application, Door
from node.adapters.http.errors import install
from node.adapters.http.health import health_routes
from node.adapters.http.images import GENERATIONS, image_routes
from node.adapters.http.keys import KeyRing
from node.adapters.http.openapi import describe_fully
from node.adapters.http.orders import Orders
from node.adapters.http.places import Places
from node.adapters.http.portal import Portal, portal_routes
from node.adapters.http.portal_files import file_routes
from node.adapters.http.quick_route import QuickRoute
from node.adapters.http.requests import ImagesRequest
from node.adapters.http.settings import HttpSettings
from node.adapters.http.shelf import shelf_routes
from node.adapters.http.spending import Spending
from node.adapters.http.tasks import task_routes
from node.adapters.http.uploads import SharedRoom
from node.desk_ports import Desk
from node.ports import Journal
from protocol.errors import ConfigError
from protocol.notes import NoteName
from protocol.task.catalog import Catalog

GRACE_S: Final = 1.5
"""How long (s) open calls may still write their answer when the node stops."""
_MAX_HEADER_BYTES: Final = 16 * 1024
CORS_MAX_AGE_S: Final = 600
"""How long (s) a browser remembers that it may call, so that not each call costs two."""
_BACKLOG: Final = 512
"""Connections that wait to be accepted: a burst of apps."""


@final
class Gateway:
    """The HTTP face of a coordinator."""

    def __init__(
        self,
        settings: HttpSettings,
        desk: Desk,
        catalog: Catalog,
        registry: CollectorRegistry,
        journal: Journal,
        *,
        ring: KeyRing | None = None,
        portal: Portal | None = None,
    ) -> None:
        """Serve ``desk`` to the keys of ``ring``, which may change meanwhile, and the portal page where there is one.

        Metrics of HTTP itself are registered in ``registry``, which no other gateway uses.
        """
        self._settings = settings
        self._journal = journal
        self._stopping = trio.Event()
        self._places = Places(settings)
        ring = KeyRing() if ring is None else ring
        self._accounts = accounts = Accounts(settings, trio.current_time, ring)
        self._orders = orders = Orders(desk, catalog, journal, settings, Spending(desk, ring))
        app = FastAPI(
            title="Cuckoo", description="Pictures from other people's GPUs.", version="1", docs_url=None, redoc_url=None
        )
        install(app, has_portal=portal is not None)
        images, generate = image_routes(orders, desk, settings, self._stopping)
        app.include_router(images)
        app.include_router(shelf_routes(desk, catalog))
        app.include_router(a1111_routes(orders, desk, catalog))
        app.include_router(a1111_lists(desk, catalog))
        app.include_router(task_routes(orders, desk, settings, self._stopping))
        app.include_router(health_routes(desk, orders, registry))
        app.include_router(docs_routes())
        if portal is not None:
            app.include_router(portal_routes(portal, desk, catalog, settings, self._stopping))
            app.include_router(file_routes())
        describe_fully(app)
        # The libraries type an ASGI application each in other words.
        inner = QuickRoute(GENERATIONS, ImagesRequest, generate, cast("Application", app))
        self._door = Door(inner, settings, accounts, registry)
        self._application: Application = self._door
        if settings.cors_origins:
            self._application = cast("Application", _with_cors(cast("ASGIApp", self._door), settings.cors_origins))
        self._hypercorn = _hypercorn_config()

    def app_orders(self, *, require_key: bool, take_sealed: bool = True) -> AppOrders:
        """Give what hands in the orders of apps that come over the overlay: with the same keys, rates and limits."""
        room = SharedRoom(self._door.uploads, trio.current_time)
        return AppOrders(self._orders, self._accounts, room, require_key=require_key, take_sealed=take_sealed)

    async def drain(self) -> None:
        """Take no more tasks, and return once no call waits for its pictures; event streams end then.

        What has no call that waits for it goes on, and after a restart too. Until ``run`` is cancelled the rest of the
        API answers.
        """
        await self._orders.drain()
        self._stopping.set()

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
                self._orders.stop()
                await context.terminated.set()  # no connection takes another request; it is no checkpoint
                for connection in self._places.occupants():
                    if not connection.is_busy:
                        connection.end()
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

    async def _hold_connections(
        self,
        grace: trio.CancelScope,
        finished: trio.Event,
        *,
        task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep connections alive when the gateway is cancelled, until the grace is over."""
        with grace:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cut_when_cancelled)
                async with trio.open_nursery() as connections:
                    task_status.started(connections)
                    await finished.wait()
                nursery.cancel_scope.cancel()

    async def _cut_when_cancelled(self) -> None:
        """End what cannot be cancelled: an answer that is half written to a client that does not read."""
        try:
            await trio.sleep_forever()
        finally:
            for connection in self._places.occupants():
                connection.end()

    async def _serve(self, stream: trio.SocketStream, context: WorkerContext) -> None:
        """Serve one connection. Hypercorn's own loop would end with the first one that it cannot parse."""
        connection = Connection(self._application, self._hypercorn, context, stream)
        try:
            address: str = stream.socket.getpeername()[0]
        except OSError:  # it has left already
            await trio.aclose_forcefully(stream)
            return
        has_place, full = self._places.take(connection, address)
        if full is not None:
            self._journal.note(NoteName.MESSAGE_DROPPED, reason=full)
        if not has_place:
            await trio.aclose_forcefully(stream)
            return
        try:
            await connection.run()
        except* Exception:  # noqa: BLE001 - whatever a client sends ends its own connection only
            self._journal.note(NoteName.MESSAGE_IGNORED, rule="http.connection")
        finally:
            self._places.release(connection)


def _with_cors(application: ASGIApp, origins: Sequence[str]) -> CORSMiddleware:
    """Let pages from these origins call, all where one is ``*``. Keys come in a header, so cookies mean nothing."""
    return CORSMiddleware(
        application,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST", "DELETE"),
        allow_headers=("*",),
        expose_headers=("Accept-Ranges", "Content-Range", "ETag", "Retry-After"),
        max_age=CORS_MAX_AGE_S,
    )


def _hypercorn_config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.h11_max_incomplete_size = _MAX_HEADER_BYTES
    return config
