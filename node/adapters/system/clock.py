"""Wall time that trio's clock moves, so that one ``MockClock`` moves timers and timestamps together."""

import sys
import time
from typing import Final, final

import trio

from protocol.units import UnixMillis

_MILLIS_PER_S: Final = 1000
_NANOS_PER_MILLI: Final = 1_000_000
_FORWARD_JUMP_MS: Final = 1000
"""How far (ms) the wall clock may be ahead of ours before we follow it: more than any slewing, less than a lease."""


@final
class SystemClock:
    """Unix time in milliseconds: the wall clock at construction plus what trio's clock has moved since.

    It never goes back. It does jump forward when the wall clock is more than a second ahead, as after the machine
    was suspended (trio's clock stands still then) or after a late first NTP correction: a node with an old clock
    would live in a past epoch. A correction backwards is not followed; ours goes on at the normal rate, and the
    node must be restarted when the correction was larger than the network tolerates. Under ``MockClock`` the wall
    clock is read once, at construction, unless ``start`` gives the first moment.
    """

    def __init__(self, start: UnixMillis | None = None) -> None:
        """Anchor the clock; call this inside a trio run. ``start`` replaces the wall clock for good."""
        self._follows_wall = start is None and not _is_mocked(trio.lowlevel.current_clock())
        self._anchor_ms = _wall_ms() if start is None else int(start)
        self._anchor_s = trio.current_time()

    def now(self) -> UnixMillis:
        """Give the present moment; never less than it gave before. Call this inside the same trio run."""
        moment = self._anchor_ms + int((trio.current_time() - self._anchor_s) * _MILLIS_PER_S)
        if self._follows_wall:
            behind = _wall_ms() - moment
            if behind > _FORWARD_JUMP_MS:
                self._anchor_ms += behind
                moment += behind
        return UnixMillis(moment)


def _is_mocked(clock: trio.abc.Clock) -> bool:
    """Say whether a test moves the clock; where nobody has loaded trio's tools for that, nobody does."""
    testing = sys.modules.get("trio.testing")  # to load it here takes 60 ms, pytest with it
    return testing is not None and isinstance(clock, testing.MockClock)


def _wall_ms() -> int:
    return time.time_ns() // _NANOS_PER_MILLI
