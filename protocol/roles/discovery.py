"""Looking peers up in the DHT with growing pauses, and dialling who is found. Spec: SPEC.md §8.1.

Records are hints: whoever is found is only dialled; its standing and its signed capability decide the rest.
"""

from collections.abc import Iterable
from typing import Final

from protocol.effects import Connect, Effect, FindProviders, SetTimer, TimerKey
from protocol.units import PeerId, UnixMillis

FIRST_PAUSE_MS: Final = 500
"""Pause (ms) after the loss of a peer. After a look-up it is twice as long: a network that starts together finds itself
in about a second."""
LAST_PAUSE_MS: Final = 60_000
"""Longest pause (ms): newcomers dial by themselves, so this only repairs what was missed."""
MAX_DIALS: Final = 64
"""Most peers dialled after one look-up, so that a poisoned key cannot make us dial for ever."""


class Discovery:
    """Looks one DHT key up again and again, ever more rarely while it finds nothing new."""

    def __init__(self, key: str, own: PeerId) -> None:
        """Look up ``key``; ``own`` is never dialled."""
        self.key = key
        self._own = own
        self._pause_ms = FIRST_PAUSE_MS
        self._known: frozenset[PeerId] = frozenset()
        self._dialled_last = PeerId("")

    @property
    def timer(self) -> TimerKey:
        """Key of the timer that starts the next look-up."""
        return ("discover", self.key.encode(), 0)

    def look_up(self) -> tuple[Effect, ...]:
        """Begin a look-up now."""
        return (FindProviders(self.key),)

    def soon(self, now: UnixMillis) -> tuple[Effect, ...]:
        """Look up again shortly: something changed, such as the loss of a peer."""
        self._pause_ms = FIRST_PAUSE_MS
        return (SetTimer(self.timer, UnixMillis(now + self._pause_ms)),)

    def found(self, peers: Iterable[PeerId], connected: Iterable[PeerId], now: UnixMillis) -> tuple[Effect, ...]:
        """Dial who is new, and plan the next look-up."""
        present = frozenset(peers) - {self._own}
        self._pause_ms = FIRST_PAUSE_MS * 2 if present - self._known else min(self._pause_ms * 2, LAST_PAUSE_MS)
        self._known = present
        missing = sorted(present - frozenset(connected), key=lambda peer: (peer <= self._dialled_last, peer))[
            :MAX_DIALS
        ]
        if missing:
            # The next round goes on where this one ends, so that dead records hide nobody behind them.
            self._dialled_last = missing[-1]
        dials = tuple(Connect(peer) for peer in missing)
        return (*dials, SetTimer(self.timer, UnixMillis(now + self._pause_ms)))
