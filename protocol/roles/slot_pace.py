"""How far apart slots are: δ and A of an offer follow how long claims of the best rank take to come.

With slots closer together than the news of an award travels, every miner claims every task: each such claim is signed,
written, checked and declined for nothing, and that slows everybody down, so that still more come. Spec: SPEC.md §7.4.
"""

from collections import deque
from typing import Final, final

from protocol.params import Params
from protocol.roles.claiming import MAX_STRETCH

REMEMBERED: Final = 64
"""Claims that are looked at: seconds of a busy coordinator, and so few that one slow minute is soon forgotten."""
FEWEST: Final = 8
"""Claims before anything follows from them."""
SHARE: Final = 0.9
"""Share of claims that are to come within δ and A. With more, few slow miners could make everybody wait."""


@final
class SlotPace:
    """δ and A for the next offer of one coordinator."""

    def __init__(self, params: Params) -> None:
        """Begin with the network's numbers, below which neither falls."""
        self._params = params
        self._delays_ms: deque[int] = deque(maxlen=REMEMBERED)

    def heard_best(self, delay_ms: int) -> None:
        """Take how long (ms) after publication the claim of rank 0, which waits for no slot, came."""
        self._delays_ms.append(delay_ms)

    def slot_step_ms(self, interval_ms: int) -> int:
        """Give δ (ms): as long as an award waits for its bulletin (``interval_ms``), and as claims take."""
        least = self._params.slot_step_ms
        return min(max(least, interval_ms, self._usual_ms()), MAX_STRETCH * least)

    def allowance_ms(self) -> int:
        """Give A (ms): as long as claims take."""
        least = self._params.claim_allowance_ms
        return min(max(least, self._usual_ms()), MAX_STRETCH * least)

    def _usual_ms(self) -> int:
        """Give the time (ms) within which ``SHARE`` of the last claims came; 0 as long as there were few."""
        if len(self._delays_ms) < FEWEST:
            return 0
        return sorted(self._delays_ms)[int(SHARE * (len(self._delays_ms) - 1))]
