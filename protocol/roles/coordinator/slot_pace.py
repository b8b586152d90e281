"""How far apart slots are: δ and A of an offer follow how long claims take to come, and news of awards to spread.

With slots closer together than the news of an award travels, every miner claims every task: each such claim is signed,
written, checked and declined for nothing, and that slows everybody down, so that still more come. Spec: SPEC.md §7.4.
"""

from collections import deque
from collections.abc import Collection
from typing import Final, final

from protocol.params import Params
from protocol.task.offer import MAX_STRETCH
from protocol.units import StakingId

REMEMBERED: Final = 64
"""Claims that are looked at: seconds of a busy coordinator, and so few that one slow minute is soon forgotten."""
FEWEST: Final = 8
"""Claims before anything follows from them."""
SHARE: Final = 0.9
"""Share of claims that are to come within δ. With more, few slow miners could make everybody wait."""
SHARE_WAITED_FOR: Final = 0.97
"""Share of claims of the best rank that are to come within A: it is waited for only where it does not come at all."""


@final
class SlotPace:
    """δ and A for the next offer of one coordinator."""

    def __init__(self, params: Params) -> None:
        """Begin with the network's numbers, below which neither falls."""
        self._params = params
        self._best_ms: deque[int] = deque(maxlen=REMEMBERED)
        self._others_ms: deque[int] = deque(maxlen=REMEMBERED)
        self._in_vain_ms: dict[StakingId, int] = {}

    def heard_best(self, delay_ms: int) -> None:
        """Take how long (ms) after publication the claim of rank 0, which waits for no slot, came."""
        self._best_ms.append(delay_ms)

    def heard_other(self, delay_ms: int) -> None:
        """Take how long (ms) after its slot another claim came: what there is to go by while few of rank 0 did."""
        self._others_ms.append(delay_ms)

    def heard_in_vain(self, miner: StakingId, delay_ms: int) -> None:
        """Take how long (ms) after an award a claim came whose miner had not heard of it.

        Only the last of each miner counts, so that nobody slows slots down alone by claims that it sends late.
        """
        self._in_vain_ms.pop(miner, None)
        self._in_vain_ms[miner] = delay_ms
        if len(self._in_vain_ms) > REMEMBERED:
            del self._in_vain_ms[next(iter(self._in_vain_ms))]

    def slot_step_ms(self, interval_ms: int) -> int:
        """Give δ (ms): as long as an award waits for its bulletin (``interval_ms``), claims take, and news travels."""
        least = self._params.slot_step_ms
        news = self._usual_ms([*self._in_vain_ms.values()], SHARE)
        return min(max(least, interval_ms, self._claims_ms(SHARE), news), MAX_STRETCH * least)

    def allowance_ms(self) -> int:
        """Give A (ms): as long as claims of the best rank take."""
        least = self._params.claim_allowance_ms
        return min(max(least, self._claims_ms(SHARE_WAITED_FOR)), MAX_STRETCH * least)

    def _claims_ms(self, share: float) -> int:
        known = self._best_ms if len(self._best_ms) >= FEWEST else [*self._best_ms, *self._others_ms]
        return self._usual_ms(known, share)

    @staticmethod
    def _usual_ms(delays_ms: Collection[int], share: float) -> int:
        """Give the time (ms) within which a share of the claims came; 0 as long as there were few."""
        if len(delays_ms) < FEWEST:
            return 0
        return sorted(delays_ms)[int(share * (len(delays_ms) - 1))]
