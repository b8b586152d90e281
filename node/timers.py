"""Timers by key: the latest setting of a key counts, in one heap and one task."""

import heapq
from collections.abc import Awaitable, Callable
from typing import final

import trio

from node.ports import Clock
from protocol.effects import TimerKey
from protocol.units import UnixMillis


@final
class Timers:
    """Fires each key once, at its time or soon after."""

    def __init__(self, clock: Clock) -> None:
        """Measure time by ``clock``."""
        self._clock = clock
        self._due: dict[TimerKey, UnixMillis] = {}
        self._heap: list[tuple[UnixMillis, TimerKey]] = []
        self._changed = trio.Event()

    def set(self, key: TimerKey, at: UnixMillis) -> None:
        """Fire ``key`` at ``at``; replaces an earlier setting of the same key."""
        if self._due.get(key) == at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))
        if self._heap[0][0] == at:
            self._changed.set()
        if len(self._heap) > 4 * len(self._due) + 1024:
            # Leases move with every sign of life: without this, their old settings would pile up.
            self._heap = [(at, key) for key, at in self._due.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: TimerKey) -> None:
        """Forget a key; nothing happens when it is not set."""
        self._due.pop(key, None)

    async def run(self, fire: Callable[[TimerKey], Awaitable[None]]) -> None:
        """Fire what is due, until cancelled."""
        while True:
            self._changed = trio.Event()
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                at, key = heapq.heappop(self._heap)
                if self._due.get(key) == at:
                    del self._due[key]
                    await fire(key)
            # Handing one over may have taken a while.
            wait_s = (self._heap[0][0] - self._clock.now()) / 1000 if self._heap else float("inf")
            with trio.move_on_after(max(wait_s, 0)):
                await self._changed.wait()
