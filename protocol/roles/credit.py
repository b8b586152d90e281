"""How much unpaid work a miner does for one coordinator: one task at first, more with each that is paid.

A coordinator may take pictures and give no receipt, and no signature shows it. So what it can get for nothing is
bounded: results without a receipt stop us from claiming more of its tasks. Spec: SPEC.md §11.
"""

from typing import Final, TypeVar, final

from protocol.units import DurationMs, StakingId, UnixMillis

FIRST: Final = 1
"""Results that a coordinator which never paid us may leave without a receipt."""
MOST: Final = 16
"""The same of one that paid often; it doubles with each receipt until then."""
PATIENCE: Final = DurationMs(5000)
"""How long (ms) a result may wait for its receipt before it counts as unpaid: it has been sent twice by then."""
FORGOTTEN: Final = DurationMs(3_600_000)
"""How long (ms) until one result that was never paid is forgotten: no work means no receipt, so without this an honest
coordinator that was away would be left alone for ever, and with it one that never pays gets next to nothing."""
REMEMBERED: Final = 1024
"""Coordinators whose credit is remembered; the one that changed longest ago is forgotten first."""

Kept = TypeVar("Kept")


@final
class Credit:
    """What each coordinator may owe one miner."""

    __slots__ = ("_allowed", "_lost")

    def __init__(self) -> None:
        """Trust nobody further than one task."""
        self._allowed: dict[StakingId, int] = {}
        self._lost: dict[StakingId, tuple[int, UnixMillis]] = {}
        """Results that were never paid since the last receipt, and from when on the next of them is forgotten."""

    def paid(self, coordinator: StakingId) -> None:
        """Count a receipt: what was lost is forgiven, and twice as much may wait."""
        self._lost.pop(coordinator, None)
        self._put(self._allowed, coordinator, min(2 * self._allowed.get(coordinator, FIRST), MOST))

    def has_paid(self, coordinator: StakingId) -> bool:
        """Say whether a receipt ever came."""
        return coordinator in self._allowed

    def unpaid(self, coordinator: StakingId, now: UnixMillis) -> None:
        """Count a result for which no receipt will come: no more of them than stop us, so that one hour is enough."""
        count, since = self._still_lost(coordinator, now)
        allowed = self._allowed.get(coordinator, FIRST)
        self._put(self._lost, coordinator, (min(count + 1, allowed), since))

    def is_spent(self, coordinator: StakingId, waiting: int, now: UnixMillis) -> bool:
        """Say whether to do no more for a coordinator from which so many receipts are overdue."""
        if not waiting and not self._lost:
            return False
        lost, _ = self._still_lost(coordinator, now)
        return waiting + lost >= self._allowed.get(coordinator, FIRST)

    def _still_lost(self, coordinator: StakingId, now: UnixMillis) -> tuple[int, UnixMillis]:
        """Give how many results are lost and not forgotten, and since when the oldest of them waits for that."""
        count, since = self._lost.get(coordinator, (0, now))
        forgotten = max(now - since, 0) // FORGOTTEN
        return (count - forgotten, UnixMillis(since + forgotten * FORGOTTEN)) if forgotten < count else (0, now)

    @staticmethod
    def _put(kept: dict[StakingId, Kept], coordinator: StakingId, value: Kept) -> None:
        kept.pop(coordinator, None)
        kept[coordinator] = value
        if len(kept) > REMEMBERED:
            del kept[next(iter(kept))]
