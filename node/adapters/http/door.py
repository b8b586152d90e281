"""What every request passes before the application sees it: key, rate, size of the body, and the count of it all.

It is plain ASGI. The body is read here as a whole (it is small, or holds pictures for which there is room), so that
what is too large or too slow never costs more than its limit, and so that the application can wait for the client to
leave.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, final

import trio
from prometheus_client import CollectorRegistry, Counter, Histogram

from node.adapters.http.accounts import Accounts
from node.adapters.http.errors import ApiError
from node.adapters.http.forwarding import client_address
from node.adapters.http.origins import refuse_foreign_page
from node.adapters.http.settings import HttpSettings
from node.adapters.http.uploads import Upload, UploadRoom

Message = MutableMapping[str, Any]  # the shape of ASGI messages, as starlette types them
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
DRAIN_LIMIT_BYTES: Final = 8 * 1024 * 1024
DRAIN_LIMIT_S: Final = 2.0
"""How much of a refused body is read and thrown away, since a client that still sends does not hear our answer."""
_METHODS: Final = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
_UPLOADS: Final = frozenset({"/v1/images/edits", "/v1/tasks", "/sdapi/v1/img2img"})
"""Where a body may hold pictures."""
_KEYED_PREFIXES: Final = ("/v1/", "/sdapi/")
_UNCOUNTED: Final = frozenset(f"/sdapi/v1/{name}" for name in ("options", "interrupt", "skip", "refresh-checkpoints"))
"""What clients send beside each submission."""
_PUBLIC_PREFIX: Final = "/v1/artifacts/"
"""Pictures are fetched by browsers, which send no key; their digest is what one must know."""


@final
class Door:
    """The outermost ASGI application."""

    def __init__(
        self, inner: Application, settings: HttpSettings, accounts: Accounts, registry: CollectorRegistry
    ) -> None:
        """Guard ``inner``."""
        self._inner = inner
        self._settings = settings
        self._accounts = accounts
        self.uploads = UploadRoom(settings.max_uploading_bytes)
        """For pictures, whichever way they come."""
        self._requests = Counter(
            "cuckoo_http_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "cuckoo_http_seconds", "Time to the end of the answer", ["route"], buckets=BUCKETS_S, registry=registry
        )

        self._known: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP is turned away."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1003})
            return
        begun = time.perf_counter()
        status = 0
        # Routes know GET alone. The server sends no body, and the length of the one that GET has: it has its own scope.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                receive = await self._admit(asked, receive)
            except ApiError as error:
                async with trio.open_nursery() as nursery:
                    # Hypercorn ends an answer only once it could hand on what it still holds of the body.
                    nursery.start_soon(_swallow, receive)
                    await error.response(scope["path"])(scope, receive, note_status)
                    nursery.cancel_scope.cancel()
                return
            except _ClientGone:
                return
            await self._inner(asked, receive, note_status)
        finally:
            asked.get("state", {}).get("body_is_done", Upload().release)()
            route = getattr(asked.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._count(method, route, str(status or "gone"), time.perf_counter() - begun)

    def _count(self, method: str, route: str, status: str, seconds: float) -> None:
        """Count a request that has its answer; of each there are few, and to find one by its labels costs more."""
        known = self._known.get((method, route, status))
        if known is None:
            known = self._known[method, route, status] = (
                self._requests.labels(method, route, status),
                self._seconds.labels(route),
            )
        answered, timed = known
        answered.inc()
        timed.observe(seconds)

    async def _admit(self, scope: Message, receive: Receive) -> Receive:
        """Check the caller and take the body in; give the channel by which the application hears of both.

        Raises:
            ApiError: the request ends here.
        """
        path: str = scope["path"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        problem: ApiError | None = None
        if path.startswith(_KEYED_PREFIXES) and not path.startswith(_PUBLIC_PREFIX):
            authorization = headers.get(b"authorization")
            peer: str = (scope.get("client") or ("",))[0]
            address = client_address(peer, scope["headers"], self._settings.trusted_proxies)
            try:
                refuse_foreign_page(scope["method"], headers, self._settings)
                account = self._accounts.identify(authorization.decode("latin-1") if authorization else None, address)
                if scope["method"] == "POST" and path not in _UNCOUNTED:
                    self._accounts.charge(account)
                scope.setdefault("state", {})["account"] = account
            except ApiError as error:
                problem = error
        length = headers.get(b"content-length", b"0")
        stated = int(length[:20]) if length.isdigit() else 0
        may_hold_pictures = scope["method"] == "POST" and path in _UPLOADS
        limit = self._settings.max_upload_bytes if may_hold_pictures else self._settings.max_body_bytes
        if problem is None and stated > limit:
            problem = _too_large(limit)
        if problem is not None:
            await _drain(receive)
            raise problem
        if may_hold_pictures:
            return replay(await self._read_pictures(receive, stated, scope), receive)
        return replay(await self._read(receive, limit, self._settings.body_timeout_s), receive)

    async def _read_pictures(self, receive: Receive, stated: int, scope: Message) -> bytes:
        """Read a body that may hold pictures, for which there must be room until the request says that it is done.

        ``stated`` is its length (bytes) as the client says, 0 where it does not.
        """
        settings, upload = self._settings, Upload()
        scope["state"]["body_is_done"] = upload.release
        if stated and stated <= settings.max_body_bytes:
            return await self._read(receive, settings.max_body_bytes, settings.body_timeout_s)
        try:
            upload = self.uploads.take(stated or settings.max_upload_bytes)
        except ApiError:
            await _drain(receive)
            raise
        scope["state"]["body_is_done"] = upload.release
        return await self._read(receive, stated or settings.max_upload_bytes, settings.upload_timeout_s)

    async def _read(self, receive: Receive, limit: int, limit_s: float) -> bytes:
        """Read the whole body.

        Raises:
            ApiError: it is larger than ``limit`` bytes, or takes longer than ``limit_s`` seconds.
            _ClientGone: nobody waits for an answer.
        """
        body = bytearray()
        with trio.move_on_after(limit_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _ClientGone
                body += message.get("body", b"")
                if len(body) > limit:
                    if message.get("more_body", False):
                        await _drain(receive)
                    raise _too_large(limit)
                if not message.get("more_body", False):
                    return bytes(body)
        raise ApiError(408, "timeout", f"the body did not arrive within {limit_s:g} s")


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "body_too_large", f"a request body has at most {limit} bytes")


class _ClientGone(Exception):
    """The client closed the connection while it was sending."""


def replay(body: bytes, receive: Receive) -> Receive:
    """Give a channel with the body once, then whatever comes after it: the news that the client left."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


async def _drain(receive: Receive) -> None:
    """Read on and throw away, within limits, until the body ends or the client leaves."""
    left = DRAIN_LIMIT_BYTES
    with trio.move_on_after(DRAIN_LIMIT_S):
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return


async def _swallow(receive: Receive) -> None:
    """Throw away all that comes, until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
