"""How much unpaid work a miner does for one coordinator: one task at first, more with each that is paid.

A coordinator may take pictures and give no receipt, and no signature shows it. So what it can get for nothing is
bounded: results without a receipt stop us from claiming more of its tasks. Spec: SPEC.md §11.
"""

from typing import Final, final

from protocol.units import DurationMs, StakingId

FIRST: Final = 1
"""Results that a coordinator which never paid us may leave without a receipt."""
MOST: Final = 16
"""The same of one that paid often; it doubles with each receipt until then."""
PATIENCE: Final = DurationMs(5000)
"""How long (ms) a result may wait for its receipt before it counts as unpaid: it has been sent twice by then."""
REMEMBERED: Final = 1024
"""Coordinators whose credit is remembered; the one that changed longest ago is forgotten first."""


@final
class Credit:
    """What each coordinator may owe one miner."""

    def __init__(self) -> None:
        """Trust nobody further than one task."""
        self._allowed: dict[StakingId, int] = {}
        self._lost: dict[StakingId, int] = {}
        """Results that were given up without a receipt since the last one."""

    def paid(self, coordinator: StakingId) -> None:
        """Count a receipt: what was lost is forgiven, and twice as much may wait."""
        self._lost.pop(coordinator, None)
        self._put(self._allowed, coordinator, min(2 * self._allowed.get(coordinator, FIRST), MOST))

    def given_up(self, coordinator: StakingId) -> None:
        """Count a result for which no receipt ever came."""
        self._put(self._lost, coordinator, self._lost.get(coordinator, 0) + 1)

    def is_spent(self, coordinator: StakingId, waiting: int) -> bool:
        """Say whether to do no more for a coordinator from which so many receipts are overdue."""
        return waiting + self._lost.get(coordinator, 0) >= self._allowed.get(coordinator, FIRST)

    @staticmethod
    def _put(counts: dict[StakingId, int], coordinator: StakingId, count: int) -> None:
        counts.pop(coordinator, None)
        counts[coordinator] = count
        if len(counts) > REMEMBERED:
            del counts[next(iter(counts))]
