"""Server-sent events: the news of one task as it comes, for as long as somebody listens."""

import json
from collections.abc import Callable
from typing import Final, final

import trio
from starlette.types import Receive, Scope, Send

from node.adapters.http.sse import EventAnswer
from node.adapters.http.views import update_view
from node.desk_ports import Desk
from protocol.errors import Unavailable
from protocol.units import TaskId

RETRY_MS: Final = 5_000
"""After how long (ms) a client is to connect again when the node stops: a restart takes some seconds."""


@final
class EventStream(EventAnswer):
    """Sends one event for each ``Update`` of a task, then ends. It never waits for a listener that left."""

    def __init__(self, desk: Desk, task: TaskId, stopping: trio.Event, release: Callable[[], None]) -> None:
        """Follow ``task``; ``release`` is called once nobody listens any more."""
        super().__init__()
        self._desk = desk
        self._task = task
        self._stopping = stopping
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until the task ends, the listener leaves, or the node stops."""
        try:
            await self.begin(send)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.hear_client, receive, nursery.cancel_scope)
                nursery.start_soon(self._hear_stop, send, nursery.cancel_scope)
                nursery.start_soon(self.keep_alive, send)
                try:
                    await self._tell(send)
                except Unavailable as error:
                    await self.say(send, f": cut short, {error}\n\n")
                nursery.cancel_scope.cancel()
            await self.end(send)
        finally:
            self._release()

    async def _tell(self, send: Send) -> None:
        number = 0
        async with self._desk.watch(self._task) as updates:
            async for update in updates:
                data = json.dumps(update_view(self._task, update), separators=(",", ":"))
                await self.say(send, f"id: {number}\nevent: {update.stage.value}\ndata: {data}\n\n")
                number += 1

    async def _hear_stop(self, send: Send, scope: trio.CancelScope) -> None:
        await self._stopping.wait()
        # Whoever follows comes back by himself, and hears the whole story again: a task outlives its coordinator's run.
        await self.say(send, f"retry: {RETRY_MS}\n: this node is stopping\n\n")
        scope.cancel()
