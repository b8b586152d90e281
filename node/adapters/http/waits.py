"""Calls that wait: for their pictures, until something ends the wait before, and for their turn under one key."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import final

import trio
from fastapi import Request

from node.adapters.http.errors import ApiError


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

    async def hear_client(self, request: Request) -> None:
        """End the wait when the app leaves."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.end(ClientGone())


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
