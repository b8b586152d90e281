"""How much unpaid work a miner does for one coordinator: one task at first, more with each that is paid.

A coordinator may take pictures and give no receipt, and no signature shows it. So what it can get for nothing is
bounded: results without a receipt stop us from claiming more of its tasks, for ever longer where it does not pay when
it is tried again. A receipt makes up for one that never came, so that nobody pays now and then and takes the rest.
Spec: SPEC.md §11.
"""

from collections.abc import Collection
from typing import Final, TypeVar, final

from protocol.units import DAY_MS, DurationMs, StakingId, UnixMillis

FIRST: Final = 1
"""Results that a coordinator which never paid us may leave without a receipt."""
MOST: Final = 16
"""The same of one that paid often; it doubles with each receipt until then."""
PATIENCE: Final = DurationMs(5000)
"""How long (ms) a result may wait for its receipt before it counts as unpaid: it has been sent twice by then."""
FORGOTTEN: Final = DurationMs(3_600_000)
"""How long (ms) until one result that was never paid is forgotten: no work means no receipt, so without this an honest
coordinator that was away would be left alone for ever, and with it one that never pays gets next to nothing."""
MOST_DOUBLED: Final = 3
"""How often that doubles, each time that it was tried again and did not pay: up to eight hours, in which an honest one
that was away again and again still comes back."""
PARDON: Final = DurationMs(7 * DAY_MS)
"""How long (ms) until a try that was not paid counts no more."""
REMEMBERED: Final = 4096
"""Coordinators whose credit is remembered; the one that changed longest ago is forgotten first."""

Kept = TypeVar("Kept")


@final
class Credit:
    """What each coordinator may owe one miner."""

    __slots__ = ("_allowed", "_lost", "_tries")

    def __init__(self) -> None:
        """Trust nobody further than one task."""
        self._allowed: dict[StakingId, int] = {}
        self._lost: dict[StakingId, tuple[int, UnixMillis]] = {}
        """Results that were never paid and not made up for, and from when on the next of them is forgotten."""
        self._tries: dict[StakingId, int] = {}
        """Of those that lost some: how often one was tried again since its last receipt, in vain."""

    def restore(self, coordinator: StakingId, receipts: int, lost: int, since: UnixMillis, tries: int) -> None:
        """Take up what an earlier run knew.

        Args:
            coordinator: Whose credit it is.
            receipts: As many of it as still count.
            lost: Results that were never paid, and not made up for by a receipt since.
            since: From when on the next of these is forgotten (unix ms).
            tries: How often it was tried again since then, in vain.
        """
        if receipts:
            self._put(self._allowed, coordinator, min(FIRST << min(receipts, MOST.bit_length()), MOST))
        if lost:
            self._put(self._lost, coordinator, (min(lost, self.allowed(coordinator)), since))
            self._put(self._tries, coordinator, tries)

    def kept(self, coordinator: StakingId) -> tuple[int, UnixMillis, int]:
        """Give what ``restore`` takes: results lost, since when, and tries in vain."""
        lost, since = self._lost.get(coordinator, (0, UnixMillis(0)))
        return lost, since, self._tries.get(coordinator, 0)

    def owing(self) -> Collection[StakingId]:
        """Give the coordinators with results that were never paid and not made up for."""
        return self._lost.keys()

    def allowed(self, coordinator: StakingId) -> int:
        """Give how many results may be without a receipt."""
        return self._allowed.get(coordinator, FIRST)

    def paid(self, coordinator: StakingId, now: UnixMillis) -> None:
        """Count a receipt: one result that was lost is forgiven, as are all tries, and twice as much may wait."""
        count, _ = self._still_lost(coordinator, now)
        self._lost.pop(coordinator, None)
        self._tries.pop(coordinator, None)
        if count > 1:
            self._put(self._lost, coordinator, (count - 1, now))
        self._put(self._allowed, coordinator, min(2 * self.allowed(coordinator), MOST))

    def has_paid(self, coordinator: StakingId) -> bool:
        """Say whether a receipt ever came."""
        return coordinator in self._allowed

    def unpaid(self, coordinator: StakingId, now: UnixMillis) -> None:
        """Count a result for which no receipt will come: no more of them than stop us, so that one pause is enough."""
        before, began = self._lost.get(coordinator, (0, now))
        count, since = self._still_lost(coordinator, now)
        tries = self._tries.get(coordinator, 0)
        if count < before:  # it was tried again, and did not pay then either
            tries = min(tries + 1, MOST_DOUBLED) if now - began < PARDON else 0
        self._put(self._lost, coordinator, (min(count + 1, self.allowed(coordinator)), since))
        self._put(self._tries, coordinator, tries)

    def is_spent(self, coordinator: StakingId, waiting: int, now: UnixMillis) -> bool:
        """Say whether to do no more for a coordinator from which so many receipts are overdue."""
        if not waiting and not self._lost:
            return False
        lost, _ = self._still_lost(coordinator, now)
        return waiting + lost >= self.allowed(coordinator)

    def again_in(self, coordinator: StakingId, now: UnixMillis) -> DurationMs:
        """Give the time (ms) until the next result is forgotten, where as many are lost as may be; else 0."""
        count, since = self._still_lost(coordinator, now)
        return DurationMs(since + self._pause(coordinator) - now if count >= self.allowed(coordinator) else 0)

    def _pause(self, coordinator: StakingId) -> int:
        """Give the time (ms) until one result of a coordinator is forgotten."""
        return FORGOTTEN << self._tries.get(coordinator, 0)

    def _still_lost(self, coordinator: StakingId, now: UnixMillis) -> tuple[int, UnixMillis]:
        """Give how many results are lost and not forgotten, and since when the oldest of them waits for that."""
        count, since = self._lost.get(coordinator, (0, now))
        pause = self._pause(coordinator)
        forgotten = max(now - since, 0) // pause
        return (count - forgotten, UnixMillis(since + forgotten * pause)) if forgotten < count else (0, now)

    @staticmethod
    def _put(kept: dict[StakingId, Kept], coordinator: StakingId, value: Kept) -> None:
        kept.pop(coordinator, None)
        kept[coordinator] = value
        if len(kept) > REMEMBERED:
            del kept[next(iter(kept))]
