"""Virtual time: one heap of what will happen, ordered by (moment, order of asking). Same asking, same order."""

import hashlib
import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from protocol.units import UnixMillis

LINES_AT_ONCE = 4096
"""Lines of the trace that are hashed together: one call for each would cost as much as the line."""


def never() -> bool:
    """The end of a run that lasts as long as it was given."""
    return False


class Timeline:
    """A clock that jumps to whatever comes next, and the digest of all that came."""

    def __init__(self, start: UnixMillis) -> None:
        """Begin at ``start`` with nothing planned."""
        self.now = start
        self.events = 0
        """Handled so far."""
        self._heap: list[tuple[int, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._order = count()
        self._digest = hashlib.sha256()
        self._lines: list[str] = []
        self.on_line: Callable[[str], None] | None = None
        """Hears every line of the trace."""

    def at(self, delay_ms: int, act: Callable[..., Any], *arguments: Any) -> None:
        """Call ``act`` with these arguments after a while (ms)."""
        heapq.heappush(self._heap, (self.now + delay_ms, next(self._order), act, arguments))

    def run(self, duration_ms: int, until: Callable[[], bool] = never) -> bool:
        """Let time pass; stop early and say so when ``until`` holds."""
        end = self.now + duration_ms
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= end:
            at, _, act, arguments = pop(heap)
            self.now = UnixMillis(at)
            act(*arguments)
            if until is not never and until():
                return True
        self.now = UnixMillis(end)
        return until()

    def trace(self, line: str) -> None:
        """Take one line into the digest."""
        self.events += 1
        self._lines.append(line)
        if len(self._lines) >= LINES_AT_ONCE:
            self._flush()
        if self.on_line is not None:
            self.on_line(line)

    def _flush(self) -> None:
        self._digest.update("\n".join(self._lines).encode())
        self._lines.clear()

    @property
    def digest(self) -> "hashlib._Hash":
        """SHA-256 of the trace so far: equal runs have equal digests."""
        self._flush()
        return self._digest
