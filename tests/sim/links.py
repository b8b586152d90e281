"""How long what is sent takes, and what never arrives: drawn from the world's one seed."""

import random
import struct
from dataclasses import dataclass, field
from typing import Final

DRAWN_AT_ONCE: Final = 8192
"""Latencies drawn together, for floods: one after the other they would cost as much as what arrives."""


@dataclass
class Links:
    """One distribution of latency for all pairs, with a share of slow ones, and the rates at which links fail."""

    random: random.Random
    latency_ms: tuple[int, int] = (2, 8)
    """Least and most of the ordinary (one way)."""
    slow_share: float = 0.0
    """Share of what is sent that takes up to ``slow_times`` as long: a busy router, a lost packet sent again."""
    slow_times: int = 5
    loss: float = 0.0
    """Share of gossip hops, frames and artifacts that never arrive."""
    duplication: float = 0.0
    """Share of frames that arrive twice."""
    _drawn: list[int] = field(default_factory=list)

    def delay(self) -> int:
        """Draw a latency (ms)."""
        low, high = self.latency_ms
        drawn = low + int(self.random.random() * (high - low + 1))
        if self.slow_share and self.random.random() < self.slow_share:
            drawn *= 1 + int(self.random.random() * self.slow_times)
        return drawn

    def delays(self, number: int) -> list[int]:
        """Draw so many latencies (ms)."""
        if self.slow_share:
            return [self.delay() for _ in range(number)]
        if len(self._drawn) < number:
            low, high = self.latency_ms
            words = struct.unpack(f"<{DRAWN_AT_ONCE}H", self.random.randbytes(2 * DRAWN_AT_ONCE))
            self._drawn = [low + (word * (high - low + 1) >> 16) for word in words]
        left = len(self._drawn) - number
        taken = self._drawn[left:]
        del self._drawn[left:]
        return taken

    def loses(self) -> bool:
        """Draw whether one thing is lost."""
        return self.loss > 0 and self.random.random() < self.loss

    def repeats(self) -> bool:
        """Draw whether one frame comes twice."""
        return self.duplication > 0 and self.random.random() < self.duplication
