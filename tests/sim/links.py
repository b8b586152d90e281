"""How long what is sent takes, and what never arrives: drawn from the world's one seed."""

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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

    def delay(self) -> int:
        """Draw a latency (ms)."""
        low, high = self.latency_ms
        drawn = low + int(self.random.random() * (high - low + 1))
        if self.slow_share and self.random.random() < self.slow_share:
            drawn *= 1 + int(self.random.random() * self.slow_times)
        return drawn

    def delays(self, number: int) -> NDArray[np.int32]:
        """Draw so many latencies (ms): of all hops of a flood, which would cost as much as the rest one by one."""
        if self.slow_share:
            return np.array([self.delay() for _ in range(number)], dtype=np.int32)
        low, high = self.latency_ms
        words = np.frombuffer(self.random.randbytes(2 * number), dtype="<u2").astype(np.int64)
        return (low + (words * (high - low + 1) >> 16)).astype(np.int32)

    def loses(self) -> bool:
        """Draw whether one thing is lost."""
        return self.loss > 0 and self.random.random() < self.loss

    def repeats(self) -> bool:
        """Draw whether one frame comes twice."""
        return self.duplication > 0 and self.random.random() < self.duplication
