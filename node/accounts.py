"""The accounts of a node: what was promised, what was paid for it, and what is still to come, to the wei.

Promises come from vouchers, payments from the chain. Both are in the store of the node; nothing here asks the chain.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.adapters.store.accounts import StoredAccounts, read_accounts
from protocol.chain_records import Escrow, Payment
from protocol.roles.miner.coverage import CONTRADICTED, UNCOVERED, still_promised
from protocol.roles.miner.redeeming import coordinators_of
from protocol.units import DAY_MS, BlockNumber, StakingId, Wei

BEFORE: Final = 0
"""The day under which an older release's promises stand."""


@dataclass(frozen=True, slots=True)
class Account:
    """Between this node and one other."""

    party: StakingId
    promised: Wei
    """By the highest voucher."""
    redeemed: Wei
    """Paid out by the contract."""
    owed: Wei
    """Shown to the contract, which could not pay it."""
    is_under_way: bool = False
    """A transaction that redeems it has no outcome yet."""
    refused: str | None = None
    """Why this miner does no more work for the coordinator; None when it does."""

    @property
    def pending(self) -> Wei:
        """Promised and not paid."""
        return Wei(self.promised - self.redeemed)


@dataclass(frozen=True, slots=True)
class Day:
    """What one day brought."""

    day: int
    """Days since 1970-01-01 (UTC); 0 for all that an older release did."""
    promised: Wei
    vouchers: int
    redeemed: Wei
    payments: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """All accounts of a node."""

    own: StakingId | None
    block: BlockNumber | None
    """Up to which the chain was read."""
    accounts: tuple[Account, ...]
    days: tuple[Day, ...]
    escrows: tuple[Escrow, ...]
    unfinished: Wei

    @property
    def promised(self) -> Wei:
        """By all vouchers."""
        return Wei(sum(one.promised for one in self.accounts))

    @property
    def redeemed(self) -> Wei:
        """Of all pairs."""
        return Wei(sum(one.redeemed for one in self.accounts))

    @property
    def pending(self) -> Wei:
        """Promised and not paid, of all pairs."""
        return Wei(sum(one.pending for one in self.accounts))


def earnings_of(folder: Path) -> Accounts:
    """Read the accounts of a miner.

    Raises:
        ConfigError: There is no store, or another release wrote it.
    """
    stored = read_accounts(folder, "held")
    escrows = {escrow.coordinator: escrow for escrow in stored.escrows}
    under_way = {coordinator for wish in stored.wishes for coordinator in coordinators_of(wish)}
    last = {payment.coordinator: payment for payment in stored.payments}
    totals = {promise.party: promise for promise in stored.promises}
    accounts = []
    for party in sorted(totals.keys() | last.keys()):
        promise, payment = totals.get(party), last.get(party)
        account = _account(party, promise.cumulative if promise is not None else Wei(0), payment)
        escrow = escrows.get(party)
        still = still_promised(promise.issued_total if promise is not None else 0, account.pending, escrow)
        refused = UNCOVERED if escrow is None or escrow.usable <= still else None
        accounts.append(
            Account(
                party,
                account.promised,
                account.redeemed,
                account.owed,
                is_under_way=party in under_way,
                refused=CONTRADICTED if party in stored.false_nodes else refused,
            )
        )
    return _with_days(stored, tuple(accounts))


def spending_of(folder: Path) -> Accounts:
    """Read the accounts of a coordinator.

    Raises:
        ConfigError: There is no store, or another release wrote it.
    """
    stored = read_accounts(folder, "issued")
    last = {payment.miner: payment for payment in stored.payments}
    promised = {promise.party: promise.cumulative for promise in stored.promises}
    parties = sorted(promised.keys() | last.keys())
    return _with_days(stored, tuple(_account(party, promised.get(party, Wei(0)), last.get(party)) for party in parties))


def _account(party: StakingId, promised: Wei, payment: Payment | None) -> Account:
    """Put a promise and the last payment of a pair together.

    Who restored an old store may know of a lower voucher than was shown to the contract: the higher one counts.
    """
    if payment is None:
        return Account(party, promised, Wei(0), Wei(0))
    return Account(party, Wei(max(promised, payment.acknowledged)), payment.redeemed, payment.unpaid)


def _with_days(stored: StoredAccounts, accounts: tuple[Account, ...]) -> Accounts:
    """Add up by days."""
    numbers = sorted({one.day for one in stored.days} | {payment.at // DAY_MS for payment in stored.payments})
    days = []
    for number in numbers:
        promises = [one for one in stored.days if one.day == number]
        payments = [payment for payment in stored.payments if payment.at // DAY_MS == number]
        days.append(
            Day(
                number,
                Wei(sum(one.wei for one in promises)),
                sum(one.vouchers for one in promises),
                Wei(sum(payment.amount for payment in payments)),
                len(payments),
            )
        )
    return Accounts(stored.own, stored.block, accounts, tuple(days), stored.escrows, stored.unfinished)
