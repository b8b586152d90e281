"""Memory of what was seen lately: bounded in number and time. Spec: SPEC.md §4.3 (gossip.duplicate)."""

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
        self._until: dict[bytes, UnixMillis] = {}  # in the order of adding, which is the order of expiry
        self._next_at = UnixMillis(0)  # nothing expires before

    def __contains__(self, key: bytes) -> bool:
        """Say whether the key is remembered, counting some that have just expired."""
        return key in self._until

    def __len__(self) -> int:
        return len(self._until)

    def add(self, key: bytes, now: UnixMillis) -> bool:
        """Remember a key; False when it was remembered already, which does not make it live longer."""
        self.forget_expired(now)
        if key in self._until:
            return False
        if len(self._until) >= self._capacity:
            del self._until[next(iter(self._until))]
        self._until[key] = UnixMillis(now + self._lifetime)
        return True

    def forget_expired(self, now: UnixMillis) -> None:
        """Drop what has expired; costs no more than what was added since."""
        if now < self._next_at:
            return
        while self._until:
            oldest = next(iter(self._until))
            self._next_at = self._until[oldest]
            if self._next_at > now:
                return
            del self._until[oldest]
