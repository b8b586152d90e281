"""Memory of what was seen lately: bounded in number and time. Spec: SPEC.md §4.3 (gossip.duplicate)."""

from collections import deque
from math import inf
from typing import final

from protocol.units import DurationMs, UnixMillis


@final
class Seen:
    """Remembers keys for a while; when full, the oldest goes first."""

    __slots__ = ("_capacity", "_first_expiry", "_keys", "_lifetime", "_oldest")

    def __init__(self, capacity: int, lifetime: DurationMs) -> None:
        """Remember at most ``capacity`` keys, each for ``lifetime`` ms."""
        if capacity < 1 or lifetime < 1:
            raise ValueError("capacity and lifetime are at least 1")
        self._capacity = capacity
        self._lifetime = lifetime
        self._keys: dict[bytes, UnixMillis] = {}
        """When each was added (unix ms)."""
        # The keys in the order of adding, which is the order of expiry. The dictionary has it too, but to find its
        # first takes the longer the more before it were deleted.
        self._oldest: deque[bytes] = deque()
        self._first_expiry: float = inf

    def __contains__(self, key: bytes) -> bool:
        """Say whether the key is remembered, counting some that have just expired."""
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes, now: UnixMillis) -> bool:
        """Remember a key; False when it was remembered already, which does not make it live longer."""
        if self.holds(key, now):
            return False
        self.put(key, now)
        return True

    def put(self, key: bytes, now: UnixMillis) -> None:
        """Remember a key of which ``holds`` has just said that it is not remembered."""
        keys = self._keys
        if len(keys) >= self._capacity:
            self._forget_oldest()
        keys[key] = now
        self._oldest.append(key)
        if len(keys) == 1:
            self._first_expiry = now + self._lifetime

    def holds(self, key: bytes, now: UnixMillis) -> bool:
        """Say whether the key was remembered and has not expired."""
        if now >= self._first_expiry:
            self.forget_expired(now)
        return key in self._keys

    def forget_expired(self, now: UnixMillis) -> None:
        """Drop what has expired; costs no more than what was added since."""
        while now >= self._first_expiry:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        del self._keys[self._oldest.popleft()]
        self._first_expiry = self._keys[self._oldest[0]] + self._lifetime if self._oldest else inf
