"""One picture as OpenAI clients follow it with ``stream=true``: partial pictures, then the whole one.

Events have the names and fields of ``openai``'s types. A partial picture is a preview of ours, a small WebP, at most as
often as the app asked for. Rules for editors: a listener that leaves ends its attached task, as a call that waits does.
"""

import base64
import json
import time
from collections.abc import Mapping
from typing import Final, final

import trio
from starlette.types import Receive, Scope, Send

from node.adapters.http.errors import ApiError, unavailable
from node.adapters.http.orders import Order, Orders, Picture, failure
from node.adapters.http.sse import EventAnswer
from node.adapters.http.views import picture_view
from node.desk_ports import Desk
from protocol.effects import Stage, Update
from protocol.errors import Unavailable

NO_USAGE: Final = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
"""Clients expect it; nothing here is paid by tokens."""


@final
class ImageStream(EventAnswer):
    """Sends the events of one order of one picture, then ends."""

    def __init__(
        self,
        orders: Orders,
        desk: Desk,
        order: Order,
        *,
        kind: str,
        partial_images: int,
        stopping: trio.Event,
        limit_s: float,
    ) -> None:
        """Follow an order.

        Args:
            orders: Who cancels a task that nobody waits for.
            desk: Who tells of it.
            order: Of one picture.
            kind: First part of the names of events: ``image_generation`` or ``image_edit``.
            partial_images: Most partial pictures.
            stopping: Set when the node stops.
            limit_s: Longest wait (s).
        """
        super().__init__()
        self._orders = orders
        self._desk = desk
        self._order = order
        self._kind = kind
        self._partial_left = partial_images
        self._sent = 0
        self._stopping = stopping
        self._limit_s = limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until the picture is there, the listener leaves, or the node stops."""
        with self._orders.noted():
            await self._serve(receive, send)

    async def _serve(self, receive: Receive, send: Send) -> None:
        is_over = False
        try:
            await self.begin(send)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.hear_client, receive, nursery.cancel_scope)
                nursery.start_soon(self.keep_alive, send)
                problem: ApiError | None = ApiError(504, "timeout", f"no picture within {self._limit_s:g} s")
                with trio.move_on_after(self._limit_s):
                    problem = await self._tell_or_stop(send)
                    is_over = problem is None
                if problem is not None:
                    await self._send(send, "error", problem.body())
                nursery.cancel_scope.cancel()
            await self.end(send)
        finally:
            if not is_over and not self._order.detached:
                await self._orders.cancel(self._order.tasks)

    async def _tell_or_stop(self, send: Send) -> ApiError | None:
        """Tell the events; give why there is no picture, None once it has been sent."""
        problem: ApiError | None = ApiError(503, "stopping", "this node is stopping", retry_after_s=5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear_stop, nursery.cancel_scope)
            try:
                problem = await self._tell(send)
            except Unavailable as error:
                problem = unavailable(error)
            nursery.cancel_scope.cancel()
        return problem

    async def _tell(self, send: Send) -> ApiError | None:
        (task,) = self._order.tasks
        async with self._desk.watch(task) as updates:
            async for update in updates:
                if update.preview is not None and self._partial_left > 0:
                    self._partial_left -= 1
                    partial = {"partial_image_index": self._sent, "output_format": "webp"}
                    self._sent += 1
                    await self._send_picture(send, "partial_image", update.preview, partial)
                elif update.stage is Stage.FAILED:
                    return failure(update)
                elif update.stage is Stage.DONE:
                    return await self._tell_end(send, update)
        return ApiError(502, "task_failed", "the task failed: unknown")

    async def _tell_end(self, send: Send, update: Update) -> ApiError | None:
        """Send the whole picture, with who made it."""
        assert update.artifact is not None, "DONE names its artifact"
        assert update.miner is not None, "DONE names its miner"
        (task,), (specification,) = self._order.tasks, self._order.specifications
        data = await self._desk.artifact(update.artifact)
        if data is None:
            return ApiError(410, "artifact_expired", f"the picture of task {task.hex()} is no longer kept")
        picture = Picture(task, update.miner, update.attempt, update.artifact)
        whole = {
            "output_format": specification.output,
            "usage": NO_USAGE,
            "cuckoo": picture_view(picture, specification),
        }
        await self._send_picture(send, "completed", data, whole)
        return None

    async def _send_picture(self, send: Send, what: str, data: bytes, more: Mapping[str, object]) -> None:
        specification = self._order.specifications[0]
        name = f"{self._kind}.{what}"
        common = {
            "type": name,
            "b64_json": base64.b64encode(data).decode(),
            "created_at": int(time.time()),
            "size": f"{specification.width}x{specification.height}",
            "quality": "auto",
            "background": "opaque",
        }
        await self._send(send, name, {**common, **more})

    async def _send(self, send: Send, event: str, data: Mapping[str, object]) -> None:
        await self.say(send, f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n")

    async def _hear_stop(self, scope: trio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()
