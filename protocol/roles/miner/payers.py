"""What a miner thinks of each coordinator, from outcomes that it saw itself: bounded, and fading with time.

It decides how much one may leave unpaid, and how soon one that did not pay is tried again; never whose offer
comes first, and no place in a draw. Spec: SPEC.md §11, §12.9.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from protocol.records import PayerKept
from protocol.roles.miner.credit import HALF_TRY, Credit, Lost
from protocol.roles.opinions import HALF_LIFE_MS, Opinion, Opinions
from protocol.units import StakingId, UnixMillis, Wei

MOST_PAID: Final = 1000.0
"""Bound of the receipts that are remembered: who paid for years is not trusted for ever."""
MOST_WRONG: Final = 100.0
"""Bound of each number that speaks against a coordinator."""
REJECTED: Final = 0.5
"""What a rejected result weighs beside one that was left unpaid: another may have been first."""
TAKEN_BACK: Final = 0.25
"""What an award weighs that was taken back although we said that we are at it: lines lose words."""
SHORT: Final = 2.0
"""What an escrow weighs that does not cover what was promised us."""


@dataclass(slots=True)
class Dealings(Opinion):
    """What came of one coordinator."""

    paid: float = 0.0
    """Receipts."""
    unpaid: float = 0.0
    """Results that had none within an hour."""
    rejected: float = 0.0
    taken_back: float = 0.0
    """Awards that it ended although we had given it no reason."""
    short: float = 0.0
    """Times at which its escrow did not cover any more what it had promised us."""
    paid_ever: int = 0

    def _shrink(self, rest: float) -> None:
        self.paid, self.unpaid, self.rejected = self.paid * rest, self.unpaid * rest, self.rejected * rest
        self.taken_back, self.short = self.taken_back * rest, self.short * rest

    @property
    def standing(self) -> int:
        """How well it stands, 0 to 100: a newcomer in the middle, from where it can rise."""
        against = self.unpaid + REJECTED * self.rejected + TAKEN_BACK * self.taken_back + SHORT * self.short
        return int(100 * (1 + self.paid) / (2 + self.paid + against))


@final
class Payers:
    """Dealings with coordinators; of who owes is heard less than of others, and must not be forgotten for that."""

    __slots__ = ("_known", "credit")

    def __init__(self) -> None:
        """Start with nobody."""
        self.credit = Credit()
        self._known: Opinions[Dealings] = Opinions(Dealings, lambda coordinator, _: coordinator in self.credit.owing())

    def __len__(self) -> int:
        return len(self._known)

    def restore(self, record: PayerKept, now: UnixMillis) -> None:
        """Take up what an earlier run kept."""
        dealings = Dealings(
            record.at,
            record.paid,
            record.unpaid,
            record.rejected,
            record.taken_back,
            record.short,
            record.paid_ever,
        )
        dealings.fade(now)
        allowed = Wei(record.allowed >> max(now - record.at, 0) // HALF_LIFE_MS)  # as all else, but in steps
        lost = Lost(record.lost, record.lost_since, record.dearest, record.tries)
        self.credit.restore(record.coordinator, allowed if dealings.paid_ever else None, lost)
        self._known.restore(record.coordinator, dealings)

    def record(self, coordinator: StakingId, now: UnixMillis) -> PayerKept:
        """Give what is to be kept of a coordinator."""
        dealings = self.of(coordinator, now)
        lost = self.credit.kept(coordinator)
        return PayerKept(
            coordinator,
            dealings.at,
            dealings.paid,
            dealings.unpaid,
            dealings.rejected,
            dealings.taken_back,
            dealings.short,
            dealings.paid_ever,
            self.credit.allowed(coordinator),
            lost.wei,
            lost.dearest,
            lost.since,
            lost.tries,
        )

    def of(self, coordinator: StakingId, now: UnixMillis) -> Dealings:
        """Give the dealings with a coordinator as of now; new ones with whom there were none."""
        return self._known.of(coordinator, now)

    def all(self, now: UnixMillis) -> Iterator[tuple[StakingId, Dealings]]:
        """Give all dealings as of now, by staking id."""
        return self._known.all(now)

    def paid(self, coordinator: StakingId, price: Wei, now: UnixMillis) -> None:
        """A receipt came, with its voucher."""
        dealings = self._known.open(coordinator, now)
        dealings.paid = min(dealings.paid + 1, MOST_PAID)
        dealings.paid_ever += 1
        self.credit.paid(coordinator, price, now)

    def left_unpaid(self, coordinator: StakingId, price: Wei | None, now: UnixMillis) -> None:
        """A result was given up: no receipt came within an hour."""
        dealings = self._known.open(coordinator, now)
        dealings.unpaid = min(dealings.unpaid + 1, MOST_WRONG)
        self.credit.unpaid(coordinator, price, now)

    def rejected(self, coordinator: StakingId, price: Wei | None, now: UnixMillis) -> None:
        """A result was not taken; whether for a good reason we cannot tell."""
        dealings = self._known.open(coordinator, now)
        dealings.rejected = min(dealings.rejected + 1, MOST_WRONG)
        self.credit.unpaid(coordinator, price, now, HALF_TRY)

    def withheld(self, coordinator: StakingId, price: Wei, now: UnixMillis) -> None:
        """An award came to nothing, since what the task begins from did not come: it costs credit as a result does."""
        self.took_back(coordinator, now)
        self.credit.unpaid(coordinator, price, now)

    def took_back(self, coordinator: StakingId, now: UnixMillis) -> None:
        """An award was ended as silent although our last word was fresh."""
        dealings = self._known.open(coordinator, now)
        dealings.taken_back = min(dealings.taken_back + 1, MOST_WRONG)

    def fell_short(self, coordinator: StakingId, now: UnixMillis) -> None:
        """An escrow does not cover any more what was promised us."""
        dealings = self._known.open(coordinator, now)
        dealings.short = min(dealings.short + 1, MOST_WRONG)
