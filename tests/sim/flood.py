"""When a flood reaches each machine, worked out at once for all of them.

A hop takes as long whichever way the message came to its beginning, so the latency of every hop can be drawn when the
message is published; the flood is then the shortest ways through the graph. With arrays these take a thousand machines
a tenth of what they take hop by hop.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

NEVER: Final = 2**29
"""Later (ms) than anything arrives: six days. With a latency more it still fits 32 bits."""


class Ways:
    """All hops of one graph, in an order that depends on the graph alone."""

    def __init__(self, near: Mapping[int, Sequence[int]]) -> None:
        """List the hops between neighbours; each has the other as its neighbour."""
        self._last = max(near, default=0)
        hearers = [hearer for hearer in sorted(near) if near[hearer]]
        hops = [(speaker, hearer) for hearer in hearers for speaker in near[hearer]]
        self.places: dict[tuple[int, int], int] = {hop: place for place, hop in enumerate(hops)}
        """Where each hop (speaker, hearer) stands in the order."""
        self._hearers = np.array(hearers, dtype=np.intp)
        self._speakers = np.array([speaker for speaker, _ in hops], dtype=np.intp)
        self._begins = np.cumsum([0, *(len(near[hearer]) for hearer in hearers[:-1])], dtype=np.intp)
        """Where the hops to each hearer begin."""

    def __len__(self) -> int:
        """Count the hops."""
        return len(self.places)

    def arrivals(self, origin: int, delays: NDArray[np.int32]) -> list[int]:
        """Give when (ms after it begins) a message of ``origin`` comes to each machine, ``NEVER`` where it does not.

        Args:
            origin: Who publishes it.
            delays: How long (ms) each hop takes, in our order.
        """
        times = np.full(max(self._last, origin) + 1, NEVER, dtype=np.int32)
        times[origin] = 0
        while len(self):
            # Whoever is reached over one hop more than the round before; few messages take more than ten.
            sooner = np.minimum.reduceat(times[self._speakers] + delays, self._begins)
            known = times[self._hearers]
            if (sooner >= known).all():
                break
            times[self._hearers] = np.minimum(sooner, known)
        return times.tolist()
