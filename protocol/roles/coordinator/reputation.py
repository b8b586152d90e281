"""What a coordinator thinks of each miner, from outcomes that it saw itself: bounded, and fading with time.

It decides how often a miner's tasks are drawn again and, after several that others drew differently, that the miner is
left out for a while. It never moves a place in a draw. Spec: SPEC.md §12.9.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from protocol.records import ReputationKept
from protocol.roles.opinions import Opinion, Opinions
from protocol.units import StakingId, UnixMillis

MOST_DELIVERED: Final = 1000.0
MOST_LOST: Final = 100.0
MOST_PASSED: Final = 8.0
"""Bounds of what is remembered. Eight passed rechecks are two more than the lowest share of rechecks takes."""
MOST_DOUBT: Final = 12.0
SLIGHT: Final = 2.75
"""Doubt for a picture that others drew a little differently: rare honest ones are tipped over by 16-bit numbers."""
GRAVE: Final = 6.0
"""Doubt for one that shows something else."""
PASS: Final = 0.5
"""Doubt that a passed recheck takes away: who cheats in one task of ten must not be forgiven between two of them."""
LEFT_OUT_AT: Final = 8.0
"""Doubt at which a miner is left out: two grave ones, or three slight ones with none passed between."""
DELIVERIES_AS_PASS: Final = 100.0
"""Deliveries that speak for a miner as much as one passed recheck: nobody has looked at their pictures."""


@dataclass(slots=True)
class Account(Opinion):
    """What one miner did."""

    delivered: float = 0.0
    lost: float = 0.0
    """Leases that it lost."""
    passed: float = 0.0
    doubt: float = 0.0
    left_out_until: UnixMillis = UnixMillis(0)
    passed_ever: int = 0
    odd_ever: int = 0
    """Rechecks in which it was the odd one out."""

    def _shrink(self, rest: float) -> None:
        self.delivered, self.lost = self.delivered * rest, self.lost * rest
        self.passed, self.doubt = self.passed * rest, self.doubt * rest

    @property
    def standing(self) -> int:
        """How well it stands, 0 to 100: a newcomer in the middle, from where it can rise."""
        good = self.passed + self.delivered / DELIVERIES_AS_PASS
        return int(100 * (1 + good) / (2 + good + self.lost + self.doubt))


@final
class Reputation:
    """Accounts of miners; of whom there is doubt is heard less than of others, and must not be forgotten for that."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._accounts: Opinions[Account] = Opinions(Account, lambda _, account: account.doubt >= 1)

    def __len__(self) -> int:
        return len(self._accounts)

    def restore(self, record: ReputationKept) -> None:
        """Take up what an earlier run kept."""
        account = Account(
            record.at,
            record.delivered,
            record.lost,
            record.passed,
            record.doubt,
            record.left_out_until,
            record.passed_ever,
            record.odd_ever,
        )
        self._accounts.restore(record.miner, account)

    def record(self, miner: StakingId, now: UnixMillis) -> ReputationKept:
        """Give what is to be kept of a miner."""
        account = self.of(miner, now)
        return ReputationKept(
            miner,
            account.at,
            account.delivered,
            account.lost,
            account.passed,
            account.doubt,
            account.left_out_until,
            account.passed_ever,
            account.odd_ever,
        )

    def of(self, miner: StakingId, now: UnixMillis) -> Account:
        """Give a miner's account as of now; a new one for whom nothing is known of."""
        return self._accounts.of(miner, now)

    def delivered(self, miner: StakingId, now: UnixMillis) -> None:
        """A miner delivered, and was paid."""
        account = self._accounts.open(miner, now)
        account.delivered = min(account.delivered + 1, MOST_DELIVERED)

    def lost_lease(self, miner: StakingId, now: UnixMillis) -> None:
        """A miner lost a task that it was awarded."""
        account = self._accounts.open(miner, now)
        account.lost = min(account.lost + 1, MOST_LOST)

    def passed_recheck(self, miner: StakingId, now: UnixMillis, worth: float = 1.0) -> None:
        """A picture of a miner is what another miner drew.

        Args:
            miner: Whose.
            now: Present time.
            worth: How much that says, 0 to 1: less of a miner that did not show its steps.
        """
        account = self._accounts.open(miner, now)
        account.passed = min(account.passed + worth, MOST_PASSED)
        account.doubt = max(account.doubt - PASS * worth, 0.0)
        account.passed_ever += 1

    def was_odd(self, miner: StakingId, now: UnixMillis, weight: float) -> bool:
        """A picture of a miner is not what two others drew.

        Args:
            miner: Whose.
            now: Present time.
            weight: ``SLIGHT`` or ``GRAVE``.

        Returns:
            Whether it is to be left out: what speaks against it reaches ``LEFT_OUT_AT``.
        """
        account = self._accounts.open(miner, now)
        account.passed = 0.0
        account.doubt = min(account.doubt + weight, MOST_DOUBT)
        account.odd_ever += 1
        return account.doubt >= LEFT_OUT_AT

    def leave_out(self, miner: StakingId, until: UnixMillis) -> None:
        """A miner is left out until then."""
        account = self._accounts.find(miner)
        assert account is not None, "it was odd just now"
        account.left_out_until = until

    def is_left_out(self, miner: StakingId, now: UnixMillis) -> bool:
        """Say whether a miner is left out now for what others drew."""
        account = self._accounts.find(miner)
        return account is not None and account.left_out_until > now

    def accounts(self, now: UnixMillis) -> Iterator[tuple[StakingId, Account]]:
        """Give all accounts as of now, by staking id."""
        return self._accounts.all(now)
