"""The network as it lives, by server-sent events: who is here when that changes, and each public step of a task."""

import json
from typing import Final, final

import trio
from starlette.types import Receive, Scope, Send

from node.adapters.http.portal_views import Scene, happening_view, network_view
from node.adapters.http.sse import KEEP_ALIVE_S, STILL_HERE, EventAnswer
from node.adapters.http.visitors import ListeningPlace

LOOK_S: Final = 1.0
"""How often (s) it is looked whether the network has changed."""
KEEP_ALIVE_LOOKS: Final = round(KEEP_ALIVE_S / LOOK_S)
"""After so many looks without a change a comment is sent."""


@final
class Snapshot:
    """The network as one text, made once for all who listen."""

    def __init__(self, scene: Scene) -> None:
        """Show ``scene``."""
        self._scene = scene
        self._made_at = -1.0
        self._text = ""

    def text(self) -> str:
        """Give what was true within the last ``LOOK_S``."""
        now = trio.current_time()
        if not self._text or now - self._made_at >= LOOK_S / 2:
            self._text = json.dumps(network_view(self._scene), separators=(",", ":"))
            self._made_at = now
        return self._text


@final
class NetworkStream(EventAnswer):
    """Sends ``network`` and ``happenings`` events until the listener leaves, loses his place, or the node stops."""

    def __init__(self, scene: Scene, snapshot: Snapshot, stopping: trio.Event, place: ListeningPlace) -> None:
        """Show ``scene`` to whoever has this ``place``, which is given back once he does not listen any more."""
        super().__init__()
        self._scene = scene
        self._snapshot = snapshot
        self._stopping = stopping
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        try:
            await self.begin(send)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.hear_client, receive, nursery.cancel_scope)
                nursery.start_soon(self._tell_network, send)
                nursery.start_soon(self._tell_happenings, send)
                nursery.start_soon(self._wait_for_end, nursery.cancel_scope)
            await self.end(send)
        finally:
            self._place.leave()

    async def _wait_for_end(self, scope: trio.CancelScope) -> None:
        async with trio.open_nursery() as nursery:

            async def wait(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait, self._stopping)
            nursery.start_soon(wait, self._place.taken_away)
        scope.cancel()

    async def _tell_network(self, send: Send) -> None:
        told, silent = "", 0
        while True:
            text = self._snapshot.text()
            silent += 1
            if text != told:
                told, silent = text, 0
                await self.say(send, f"event: network\ndata: {text}\n\n")
            elif silent >= KEEP_ALIVE_LOOKS:
                silent = 0
                await self.say(send, STILL_HERE)
            await trio.sleep(LOOK_S)

    async def _tell_happenings(self, send: Send) -> None:
        async with self._scene.live.listen() as batches:
            async for batch in batches:
                data = json.dumps([happening_view(one) for one in batch], separators=(",", ":"))
                await self.say(send, f"event: happenings\ndata: {data}\n\n")
