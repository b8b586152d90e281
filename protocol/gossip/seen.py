"""Memory of what was seen lately: bounded in number and time. Spec: SPEC.md §4.3 (gossip.duplicate)."""

from collections import deque
from typing import final

from protocol.units import DurationMs, UnixMillis


@final
class Seen:
    """Remembers keys for a while; when full, the oldest goes first."""

    def __init__(self, capacity: int, lifetime: DurationMs) -> None:
        """Remember at most ``capacity`` keys, each for ``lifetime`` ms."""
        if capacity < 1 or lifetime < 1:
            raise ValueError("capacity and lifetime are at least 1")
        self._capacity = capacity
        self._lifetime = lifetime
        self._keys: set[bytes] = set()
        # When each expires, in the order of adding, which is the order of expiry. The first of a dictionary would do,
        # but to find it takes the longer the more before it were deleted.
        self._expiry: deque[tuple[UnixMillis, bytes]] = deque()

    def __contains__(self, key: bytes) -> bool:
        """Say whether the key is remembered, counting some that have just expired."""
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes, now: UnixMillis) -> bool:
        """Remember a key; False when it was remembered already, which does not make it live longer."""
        self.forget_expired(now)
        if key in self._keys:
            return False
        if len(self._keys) >= self._capacity:
            self._forget_oldest()
        self._keys.add(key)
        self._expiry.append((UnixMillis(now + self._lifetime), key))
        return True

    def forget_expired(self, now: UnixMillis) -> None:
        """Drop what has expired; costs no more than what was added since."""
        expiry = self._expiry
        while expiry and expiry[0][0] <= now:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, key = self._expiry.popleft()
        self._keys.remove(key)
