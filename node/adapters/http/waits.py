"""Calls that wait: for their pictures, until something ends the wait before, and for their turn under one key."""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, final

import trio
from fastapi import Request

from node.adapters.http.errors import ApiError

LEAVING: Final = "cuckoo.leaving"
"""Extension of the scope of a call in which its connection puts its ``Leaving``."""


class ClientGone(Exception):
    """The app closed the connection: there is nobody to answer."""


@final
class Wait:
    """One call that waits for its pictures, and what may end the wait before they come."""

    def __init__(self, scope: trio.CancelScope) -> None:
        """Wait within ``scope``."""
        self._scope = scope
        self.problem: ApiError | ClientGone | None = None

    def end(self, problem: ApiError | ClientGone) -> None:
        """End the wait; the first reason counts."""
        self.problem = self.problem or problem
        self._scope.cancel()

    def end_for_client(self) -> None:
        """End the wait, since the app has left."""
        self.end(ClientGone())


@final
class Leaving:
    """Tells one call that its client has left: to wait for that takes a task of its own for each call."""

    def __init__(self) -> None:
        """Begin while it is there."""
        self._is_over = False
        self._tell: Callable[[], None] | None = None

    def happened(self) -> None:
        """The client has left."""
        self._is_over = True
        if self._tell is not None:
            self._tell()

    @contextmanager
    def tells(self, tell: Callable[[], None]) -> Generator[None]:
        """Call ``tell`` once the client has left, perhaps at once, but not after this has ended."""
        self._tell = tell
        if self._is_over:
            tell()
        try:
            yield
        finally:
            self._tell = None


def leaving_of(request: Request) -> Leaving:
    """Give what tells that a request's client has left; whoever calls us past our connections never leaves."""
    found: Leaving = request.scope.get("extensions", {}).get(LEAVING) or Leaving()
    return found


@dataclass(slots=True)
class _Turn:
    """Who waits to work under one key."""

    lock: trio.Lock = field(default_factory=trio.Lock)
    users: int = 0


@final
class Turns:
    """Lets only one request at a time work under one key: two at once must not make two tasks."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._turns: dict[tuple[str, str], _Turn] = {}

    @asynccontextmanager
    async def alone(self, scope: str, name: str) -> AsyncGenerator[None]:
        """Work alone under the key ``name`` of the account ``scope``."""
        turn = self._turns.setdefault((scope, name), _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[scope, name]
