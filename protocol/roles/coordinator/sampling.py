"""Which finished tasks a coordinator has drawn again, when, and what that may cost. Spec: SPEC.md §12.8."""

import hashlib
from dataclasses import dataclass
from math import exp2
from typing import Final

from protocol.units import CAI, DAY_MS, DurationMs, TaskId, UnixMillis, Wei

_TAG: Final = b"cuckoo/1/recheck"
_SPAN: Final = 2**64
EARLIEST_MS: Final = DurationMs(60_000)
LATEST_MS: Final = DurationMs(600_000)
DAILY_LIMIT: Final = Wei(500 * CAI)
"""Some 240 pictures of 1024x1024 pixels in 20 steps at the price of all networks so far: the limit of a day where its
owner named none, unless ``PART_OF_PRICES`` is more."""
QUESTIONS: Final = 0.5
"""Share of tasks that nobody draws again and of whose steps some are asked for all the same. Only for who was drawn
again it would be a warning: a cheat that hears it would work honestly for a while (tests/bench/AUDITS.md)."""
LATE_QUESTIONS: Final = 0.5
"""Share of these that are asked as late as where a picture was contradicted, and three others drew it. The others are
asked soon, and once more after that, as where steps were."""
DRAWN_AGAIN: Final = 3
"""How often a task is drawn again then at least."""
PART_OF_PRICES: Final = 20
"""One in so many wei that the tasks of a day cost may be ordered for their rechecks then: of very many tasks 240 would
be so few that cheating pays (tests/bench/AUDITS.md)."""
HOUR_MS: Final = 3_600_000
DEAR_PART: Final = 16
"""An order is dear that costs more than one in so many of the daily limit."""
PAUSE_MS: Final = DurationMs(7 * DAY_MS)
"""As long as what is thought of a miner takes to count half: a cheat earns less before it is caught (SPEC.md §12.8)."""


@dataclass(frozen=True, slots=True)
class RecheckPolicy:
    """How much a coordinator looks after its miners. It tells nobody."""

    share: float = 0.02
    """Share of a well-known miner's tasks that are drawn again, 0 to 1."""
    newcomer_share: float = 0.5
    """The same of one that never passed, or that gave reason for doubt; it halves with each recheck that is passed."""
    earliest: DurationMs = EARLIEST_MS
    """Least time (ms) between a result, or a drawing that does not count, and the next drawing."""
    latest: DurationMs = LATEST_MS
    """Most: each moment between them is as likely."""
    daily_limit: Wei | None = None
    """Most (wei) that is ordered for rechecks within 24 hours; None for what ``Spending.most`` says."""
    pause: DurationMs = PAUSE_MS
    """How long (ms) a miner is left out that was the odd one again and again."""
    with_inputs: bool = True
    """Whether tasks that begin from pictures are drawn again, too: these go to one more miner then."""
    must_open: bool = True
    """Whether it speaks against a miner that it opens no steps where another one does; else it is looked at more."""
    all_may_be_disputed: bool = False
    """Whether all apps have agreed that jurors may see what they ordered (SPEC.md §12.10)."""

    def delay(self, drawn: float) -> int:
        """Give the time (ms) until the next drawing, by a fraction of 1 that was drawn for it."""
        return self.earliest + int(drawn * max(self.latest - self.earliest, 0))

    def chance(self, passed: float, doubt: float) -> float:
        """Give the chance that a task of a miner is drawn again.

        Args:
            passed: Rechecks that it passed, older ones counting less.
            doubt: What speaks against it, 1 and more being reason for doubt.
        """
        if doubt >= 1:
            return max(self.share, self.newcomer_share)
        return max(self.share, self.newcomer_share * exp2(-passed))


def recheck_lot(secret: bytes, task: TaskId, tries: int) -> tuple[float, float]:
    """Draw two fractions of 1 for a task: nobody without the secret can know them.

    Args:
        secret: 32 unpredictable bytes of this run.
        task: The finished task.
        tries: How often it was drawn again before.
    """
    drawn = hashlib.sha256(_TAG + secret + task + tries.to_bytes(2, "big")).digest()
    return int.from_bytes(drawn[:8], "big") / _SPAN, int.from_bytes(drawn[8:16], "big") / _SPAN


def question_pauses(policy: RecheckPolicy, secret: bytes, task: TaskId) -> tuple[int, ...]:
    """Draw when to ask for steps of a task that nobody draws again: as if others contradicted it, in either way.

    Returns:
        The time (ms) until the first question, and where there is a second, from the end of the first until that.
    """
    delays = [policy.delay(recheck_lot(secret, task, tries)[1]) for tries in range(DRAWN_AGAIN)]
    is_late = recheck_lot(secret, task, DRAWN_AGAIN)[0] < LATE_QUESTIONS
    return (sum(delays),) if is_late else tuple(delays[:2])


class Spending:
    """What was ordered for rechecks within the last 24 hours."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._orders: list[tuple[UnixMillis, Wei]] = []
        self._prices: dict[int, int] = {}
        """What tasks cost that ended in each hour of this run."""
        self._asked: dict[bool, int] = {}
        """When a dear order was asked for last, and when another."""

    def add(self, at: UnixMillis, price: Wei) -> None:
        """Count one order."""
        self._orders.append((at, price))

    def ended(self, now: UnixMillis, price: Wei) -> None:
        """Count a task that was drawn and is no recheck: the more there are, the more may be looked at."""
        hour = now // HOUR_MS
        self._prices[hour] = self._prices.get(hour, 0) + price

    def most(self, now: UnixMillis) -> Wei:
        """Give what may be ordered within 24 hours (wei) where nobody named a limit: it grows with what tasks cost."""
        since = (now - DAY_MS) // HOUR_MS
        self._prices = {hour: wei for hour, wei in self._prices.items() if hour > since}
        return Wei(max(DAILY_LIMIT, sum(self._prices.values()) // PART_OF_PRICES))

    def admits(self, now: UnixMillis, price: Wei, limit: Wei) -> bool:
        """Say whether one more order is within the limit of a day: half of it is for dear ones, half for the others.

        So a task or two of the dearest kind, which a friend of a cheat may order, leave all others looked at, and many
        cheap ones leave room for the dear. The first one of its kind may take more than its half, and all may while
        nobody has asked for the other kind for a day.
        """
        spent_in_all, dear = self.since_yesterday(now), limit // DEAR_PART
        is_dear = price > dear
        self._asked[is_dear] = now
        others = [at for at, spent in self._orders if (spent > dear) != is_dear]
        is_shared = bool(others) or self._asked.get(not is_dear, now - DAY_MS) > now - DAY_MS
        of_its_kind = sum(spent for _, spent in self._orders if (spent > dear) == is_dear)
        if is_shared and of_its_kind and of_its_kind + price > limit // 2:
            return False
        return spent_in_all + price <= limit

    def since_yesterday(self, now: UnixMillis) -> Wei:
        """Give the sum (wei)."""
        self._orders = [(at, price) for at, price in self._orders if at > now - DAY_MS]
        return Wei(sum(price for _, price in self._orders))
