"""Virtual time: what is planned happens in order of time, and in the order of planning within one millisecond."""

import hashlib
import heapq
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from protocol.units import UnixMillis

FACTS_AT_ONCE: Final = 16_384
"""Numbers that are hashed together: one call for each event would cost as much as the event."""
FACTS_OF_EVENT: Final = 4

Action = tuple[Callable[..., Any], tuple[Any, ...]]


def never() -> bool:
    """The end of a run that lasts as long as it was given."""
    return False


class Timeline:
    """A clock that jumps to whatever comes next, and the digest of all that came.

    Much happens in the same millisecond of a large network, so the heap holds moments, not events: an event costs one
    entry of its moment's agenda.
    """

    def __init__(self, start: UnixMillis) -> None:
        """Begin at ``start`` with nothing planned."""
        self.now = start
        self._moments: list[int] = []
        """Heap of all moments that have an agenda."""
        self._agendas: dict[int, deque[Action]] = {}
        self._digest = hashlib.sha256()
        self.facts: list[int] = []
        """Four small numbers for each event, as it is handled; they go into the digest from time to time."""
        self._hashed = 0

    def at(self, delay_ms: int, act: Callable[..., Any], *arguments: Any) -> None:
        """Call ``act`` with these arguments after a while (ms)."""
        moment = self.now + delay_ms
        agenda = self._agendas.get(moment)
        if agenda is None:
            agenda = self._agendas[moment] = deque()
            heapq.heappush(self._moments, moment)
        agenda.append((act, arguments))

    def run(self, duration_ms: int, until: Callable[[], bool] = never) -> bool:
        """Let time pass; stop early and say so when ``until`` holds."""
        end = self.now + duration_ms
        moments = self._moments
        while moments and moments[0] <= end:
            self.now = UnixMillis(moments[0])
            agenda = self._agendas[moments[0]]
            while agenda:
                act, arguments = agenda.popleft()
                act(*arguments)
                if until is not never and until():
                    return True
            del self._agendas[heapq.heappop(moments)]
            if len(self.facts) >= FACTS_AT_ONCE:
                self._flush()
        self.now = UnixMillis(end)
        return until()

    @property
    def events(self) -> int:
        """Handled so far."""
        return (self._hashed + len(self.facts)) // FACTS_OF_EVENT

    def _flush(self) -> None:
        """Hash in one byte order, whatever this machine's is."""
        self._digest.update(struct.pack(f"<{len(self.facts)}q", *self.facts))
        self._hashed += len(self.facts)
        self.facts.clear()

    @property
    def digest(self) -> "hashlib._Hash":
        """SHA-256 of all events so far: equal runs have equal digests, on any machine."""
        self._flush()
        return self._digest
