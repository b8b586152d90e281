"""What a request passes before the application: told apart from it by an application that keeps what it hears."""

import trio
from prometheus_client import CollectorRegistry
from trio.testing import MockClock

from node.adapters.http.accounts import Accounts
from node.adapters.http.door import DRAIN_LIMIT_BYTES, DRAIN_LIMIT_S, Door
from node.adapters.http.keys import KeyRing
from node.adapters.http.settings import HttpSettings


class Caller:
    """One request through a door, as a server hands it over."""

    def __init__(self, *pieces: bytes, pause_s: float = 0.0, endless: bool = False, **settings: object) -> None:
        self.pieces = list(pieces)
        self.pause_s = pause_s
        self.endless = endless
        self.sent: list[dict] = []
        self.read = 0
        self.read_before_answer: int | None = None
        self.reached = False
        accounts = Accounts(HttpSettings(**settings), trio.current_time, KeyRing())
        self.door = Door(self._application, HttpSettings(**settings), accounts, CollectorRegistry())

    async def _application(self, scope, receive, send) -> None:
        self.reached = True
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def _receive(self) -> dict:
        await trio.sleep(self.pause_s)
        if not self.pieces:
            await trio.sleep_forever()
        piece = self.pieces[0] if self.endless else self.pieces.pop(0)
        self.read += len(piece)
        return {"type": "http.request", "body": piece, "more_body": self.endless or bool(self.pieces)}

    async def _send(self, message: dict) -> None:
        if self.read_before_answer is None:
            self.read_before_answer = self.read
        self.sent.append(message)

    async def post(self, **headers: str) -> int:
        """The status of the answer."""
        encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/images/generations",
            "headers": encoded,
            "client": ("127.0.0.1", 1),
        }
        await self.door(scope, self._receive, self._send)
        return self.sent[0]["status"]


async def test_door__small_body__reaches_the_application(autojump_clock: MockClock):
    caller = Caller(b"x" * 50, b"y" * 50, max_body_bytes=100)
    assert await caller.post(content_length="100") == 200
    assert caller.reached


async def test_door__announced_too_large__is_refused_without_waiting_for_it(autojump_clock: MockClock):
    caller = Caller(max_body_bytes=100)
    assert await caller.post(content_length="101") == 413
    assert trio.current_time() == DRAIN_LIMIT_S
    assert not caller.reached


async def test_door__announced_too_large_and_sent_short__is_refused_all_the_same(autojump_clock: MockClock):
    caller = Caller(b"x" * 50, max_body_bytes=100)
    assert await caller.post(content_length="9" * 30) == 413
    assert not caller.reached


async def test_door__refused__takes_the_whole_body_before_it_answers(autojump_clock: MockClock):
    caller = Caller(*[b"x" * 1000] * 500, require_key=True)
    assert await caller.post() == 401
    assert caller.read_before_answer == 500_000, "a client that still sends does not hear the answer"


async def test_door__refused_and_without_end__takes_no_more_than_the_limit(autojump_clock: MockClock):
    caller = Caller(bytes(65536), endless=True, require_key=True)
    assert await caller.post() == 401
    assert caller.read_before_answer == DRAIN_LIMIT_BYTES


async def test_door__refused_and_slow__waits_no_longer_than_the_limit(autojump_clock: MockClock):
    caller = Caller(b"x", pause_s=0.3, endless=True, require_key=True)
    assert await caller.post() == 401
    assert trio.current_time() == DRAIN_LIMIT_S


async def test_door__too_large_without_announcement__takes_the_rest_before_it_answers(autojump_clock: MockClock):
    caller = Caller(*[b"x" * 1000] * 500, max_body_bytes=100)
    assert await caller.post() == 413
    assert caller.read_before_answer == 500_000


async def test_door__websocket__is_closed_and_never_reaches_the_application():
    caller = Caller()
    await caller.door({"type": "websocket", "path": "/v1/tasks"}, caller._receive, caller._send)
    assert caller.sent == [{"type": "websocket.close", "code": 1003}]
    assert not caller.reached


async def test_door__neither_request_nor_websocket__is_left_alone():
    caller = Caller()
    await caller.door({"type": "lifespan"}, caller._receive, caller._send)
    assert caller.sent == []
    assert not caller.reached
