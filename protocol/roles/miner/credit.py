"""How much unpaid work a miner does for one coordinator: one task at first, more with each that is paid.

A coordinator may take pictures and give no receipt, and no signature shows it. So what it can get for nothing is
bounded, by what the pictures are worth and not by their number: results without a receipt stop us from claiming more of
its tasks, for ever longer where it does not pay when it is tried again. A receipt makes up for as much as it pays, so
that nobody pays little ones now and then and takes the large ones. Spec: SPEC.md §11.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, TypeVar, final

from protocol.units import DAY_MS, DurationMs, StakingId, UnixMillis, Wei

MOST: Final = 16
"""How many tasks like the one that it paid last a coordinator may leave without a receipt; it begins with one."""
ANY: Final = Wei(2**255)
"""More (wei) than any task costs: while nothing is unpaid, one of any size is claimed."""
PATIENCE: Final = DurationMs(5000)
"""How long (ms) a result may wait for its receipt before it counts as unpaid: it has been sent twice by then."""
FORGOTTEN: Final = DurationMs(3_600_000)
"""How long (ms) until one result that was never paid is forgotten: no work means no receipt, so without this an honest
coordinator that was away would be left alone for ever, and with it one that never pays gets next to nothing."""
TRY: Final = 2
"""What a try in vain counts, in halves: a result without an answer for an hour."""
HALF_TRY: Final = 1
"""What it counts where the result was rejected: another may have been first, or its app may have rejected it."""
MOST_TRIES: Final = 3 * TRY
"""Tries in vain that count: the pause doubles with each whole one, up to eight hours, in which an honest coordinator
that was away again and again still comes back."""
PARDON: Final = DurationMs(7 * DAY_MS)
"""How long (ms) until a try that was not paid counts no more."""
REMEMBERED: Final = 4096
"""Coordinators whose credit is remembered; the one that changed longest ago is forgotten first."""

Kept = TypeVar("Kept")


def worth(price: int | None) -> Wei:
    """Give what a result counts (wei): a price that is not known or 0 is still a task's work."""
    return Wei(max(price or 0, 1))


@dataclass(frozen=True, slots=True)
class Lost:
    """What a coordinator never paid, and what was not made up for since."""

    wei: Wei = Wei(0)
    since: UnixMillis = UnixMillis(0)
    """From when on the next of it is forgotten."""
    dearest: Wei = Wei(0)
    """What the dearest result of it was worth: as much is forgotten at a time."""
    tries: int = 0
    """How often the coordinator was tried again since its last receipt, in vain; in halves."""


@final
class Credit:
    """What each coordinator may owe one miner."""

    __slots__ = ("_allowed", "_lost")

    def __init__(self) -> None:
        """Trust nobody further than one task."""
        self._allowed: dict[StakingId, Wei] = {}
        """Of who has paid: what may be without a receipt."""
        self._lost: dict[StakingId, Lost] = {}

    def restore(self, coordinator: StakingId, allowed: Wei | None, lost: Lost) -> None:
        """Take up what an earlier run knew.

        Args:
            coordinator: Whose credit it is.
            allowed: What may be without a receipt (wei); None where it has never paid.
            lost: What it never paid.
        """
        if allowed is not None:
            self._put(self._allowed, coordinator, allowed)
        if lost.wei:
            self._put(self._lost, coordinator, lost)

    def kept(self, coordinator: StakingId) -> Lost:
        """Give what ``restore`` takes of what was lost."""
        return self._lost.get(coordinator, Lost())

    def owing(self) -> Collection[StakingId]:
        """Give the coordinators with results that were never paid and not made up for."""
        return self._lost.keys()

    def allowed(self, coordinator: StakingId) -> Wei:
        """Give what may be without a receipt (wei); 0 of who never paid, and has one task all the same."""
        return self._allowed.get(coordinator, Wei(0))

    def paid(self, coordinator: StakingId, price: Wei, now: UnixMillis) -> None:
        """Count a receipt: as much of what was lost is made up for, and up to twice as much may wait.

        No more than ``MOST`` tasks of this price, unless dearer ones were paid before: so small ones buy no large one.
        One that pays for the dearest result that was lost forgives all tries.
        """
        paid, lost = worth(price), self._still_lost(coordinator, now)
        self._lost.pop(coordinator, None)
        if lost.wei > paid:
            tries = lost.tries if paid < lost.dearest else 0
            self._put(self._lost, coordinator, Lost(Wei(lost.wei - paid), lost.since, lost.dearest, tries))
        before = self.allowed(coordinator)
        self._put(self._allowed, coordinator, max(before, Wei(min(2 * max(before, paid), MOST * paid))))

    def has_paid(self, coordinator: StakingId) -> bool:
        """Say whether a receipt ever came."""
        return coordinator in self._allowed

    def unpaid(self, coordinator: StakingId, price: int | None, now: UnixMillis, counts: int = TRY) -> None:
        """Count a result for which no receipt will come: no more of them than stop us, so that one pause is enough.

        Where the coordinator was left alone, and something was forgotten since, this was a try in vain.
        """
        before, lost = self._lost.get(coordinator, Lost(since=now)), self._still_lost(coordinator, now)
        price, allowed, tries = worth(price), self.allowed(coordinator), before.tries
        if lost.wei < before.wei and now - before.since >= PARDON:
            tries = 0
        elif lost.wei < before.wei and before.wei + before.dearest > allowed:
            tries = min(tries + counts, MOST_TRIES)
        dearest = max(lost.dearest, price)
        most = max(allowed, dearest)
        self._put(self._lost, coordinator, Lost(min(Wei(lost.wei + price), most), lost.since, dearest, tries))

    def room(self, coordinator: StakingId, waiting: int, now: UnixMillis) -> Wei:
        """Give up to which price (wei) to do one more task for a coordinator from which so much (wei) is overdue."""
        if not waiting and not self._lost:
            return ANY
        lost = self._still_lost(coordinator, now).wei
        return Wei(max(self.allowed(coordinator) - waiting - lost, 0)) if waiting or lost else ANY

    def again_in(self, coordinator: StakingId, now: UnixMillis) -> DurationMs:
        """Give the time (ms) until more is forgotten, where no task as dear as what was lost is claimed; else 0."""
        lost = self._still_lost(coordinator, now)
        is_left_alone = lost.wei and lost.wei + lost.dearest > self.allowed(coordinator)
        return DurationMs(lost.since + _pause(lost.tries) - now if is_left_alone else 0)

    def _still_lost(self, coordinator: StakingId, now: UnixMillis) -> Lost:
        """Give what is lost and not forgotten."""
        lost = self._lost.get(coordinator)
        if lost is None:
            return Lost(since=now)
        pause = _pause(lost.tries)
        times = max(now - lost.since, 0) // pause
        left = lost.wei - times * lost.dearest
        if left <= 0:
            return Lost(since=now)
        return Lost(Wei(left), UnixMillis(lost.since + times * pause), lost.dearest, lost.tries)

    @staticmethod
    def _put(kept: dict[StakingId, Kept], coordinator: StakingId, value: Kept) -> None:
        kept.pop(coordinator, None)
        kept[coordinator] = value
        if len(kept) > REMEMBERED:
            del kept[next(iter(kept))]


def _pause(tries: int) -> int:
    """Give the time (ms) until one result is forgotten, of a coordinator that was tried so often in vain."""
    return FORGOTTEN << (tries // TRY)
