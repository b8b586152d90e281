"""Timers by key: the latest setting of a key counts, in one heap and one task."""

import heapq
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, final

import trio

from node.ports import Clock
from protocol.effects import TimerKey
from protocol.units import UnixMillis

LONGEST_SLEEP_S: Final = 10.0
"""After this (s) the clock is asked again: it jumps after the machine was suspended."""


@final
class Timers:
    """Fires each key once, at its time or soon after.

    Most timers are moved or cancelled before their time. So these only move the moment at which the one task wakes,
    and do not wake it.
    """

    def __init__(self, clock: Clock) -> None:
        """Measure time by ``clock``."""
        self._clock = clock
        self._due: dict[TimerKey, UnixMillis] = {}
        self._heap: list[tuple[UnixMillis, TimerKey]] = []
        self._wake_at: float = inf
        self._sleep = trio.CancelScope()

    def set(self, key: TimerKey, at: UnixMillis) -> None:
        """Fire ``key`` at ``at``; replaces an earlier setting of the same key."""
        if self._due.get(key) == at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 4 * len(self._due) + 1024:
            # Leases move with every sign of life: without this, their old settings would pile up.
            self._heap = [(at, key) for key, at in self._due.items()]
            heapq.heapify(self._heap)
        self._look()

    def cancel(self, key: TimerKey) -> None:
        """Forget a key; nothing happens when it is not set."""
        if self._due.pop(key, None) is not None:
            self._look()

    def _look(self) -> None:
        """See which one is the first, and wake in time for it."""
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        first = heap[0][0] if heap else inf
        if first != self._wake_at:
            self._wake_at = first
            self._sleep.deadline = self._deadline()

    def _deadline(self) -> float:
        wait_s = (self._wake_at - self._clock.now()) / 1000
        return trio.current_time() + min(wait_s, LONGEST_SLEEP_S)

    async def run(self, fire: Callable[[TimerKey], Awaitable[None]]) -> None:
        """Fire what is due, until cancelled."""
        while True:
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                at, key = heapq.heappop(self._heap)
                if self._due.get(key) == at:
                    del self._due[key]
                    await fire(key)
            self._look()
            with trio.CancelScope(deadline=self._deadline()) as self._sleep:
                await trio.sleep_forever()
