"""A chain whose tables are handed in."""

from typing import final

import trio

from node.ports import EventSink, Ready
from protocol.events import StakeChanged
from protocol.stake.table import EpochView


@final
class MemoryChain:
    """Posts given views at start, and further ones as they are added. Implements ``node.ports.Chain``."""

    def __init__(self, views: tuple[EpochView, ...]) -> None:
        """Begin with the views of the epochs around now."""
        self._views = views
        self._send, self._receive = trio.open_memory_channel[EpochView](64)

    async def add(self, view: EpochView) -> None:
        """Fix the table of one more epoch."""
        await self._send.send(view)

    async def run(self, sink: EventSink, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        """Post the views, then wait for more."""
        for view in self._views:
            await sink.post(StakeChanged(view))
        task_status.started()
        async for view in self._receive:
            await sink.post(StakeChanged(view))
