"""Virtual time: what is planned happens in order of time, and within one millisecond in an order of its own."""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

from protocol.units import UnixMillis

Action = tuple[Callable[..., Any], tuple[Any, ...]]
Rank = tuple[int, int, int]
"""Place among what is done first in one millisecond: lower ones first, and no two alike."""
Agenda = tuple[list[tuple[Rank, Callable[..., Any], tuple[Any, ...]]], deque[Action]]
"""What happens in one millisecond: first what has a rank, as a heap, then the rest as it was planned."""


def never() -> bool:
    """The end of a run that lasts as long as it was given."""
    return False


class Timeline:
    """A clock that jumps to whatever comes next.

    Much happens in the same millisecond of a large network, so the heap holds moments, not events: an event costs one
    entry of its moment's agenda.
    """

    def __init__(self, start: UnixMillis) -> None:
        """Begin at ``start`` with nothing planned."""
        self.now = start
        """The moment of what is done now: behind ``moment`` while somebody hears late what came before."""
        self.moment = start
        """How far time has come."""
        self._moments: list[int] = []
        """Heap of all moments that have an agenda."""
        self._agendas: dict[int, Agenda] = {}

    def at(self, delay_ms: int, act: Callable[..., Any], *arguments: Any) -> None:
        """Call ``act`` with these arguments after a while (ms)."""
        self._agenda(self.now + delay_ms)[1].append((act, arguments))

    def first_at(self, delay_ms: int, rank: Rank, act: Callable[..., Any], *arguments: Any) -> None:
        """Call ``act`` after a while (ms), before all of that moment that has a higher rank or none."""
        heapq.heappush(self._agenda(self.now + delay_ms)[0], (rank, act, arguments))

    def _agenda(self, moment: int) -> Agenda:
        agenda = self._agendas.get(moment)
        if agenda is None:
            if moment < self.moment:
                raise RuntimeError("planned for a moment that is over")
            agenda = self._agendas[moment] = ([], deque())
            heapq.heappush(self._moments, moment)
        return agenda

    def run(self, duration_ms: int, until: Callable[[], bool] = never) -> bool:
        """Let time pass; stop early and say so when ``until`` holds."""
        end = self.now + duration_ms
        moments = self._moments
        while moments and moments[0] <= end:
            self.now = self.moment = UnixMillis(moments[0])
            ranked, rest = self._agendas[moments[0]]
            while ranked or rest:
                act, arguments = heapq.heappop(ranked)[1:] if ranked else rest.popleft()
                act(*arguments)
                if until is not never and until():
                    return True
            del self._agendas[heapq.heappop(moments)]
        self.now = self.moment = UnixMillis(end)
        return until()
