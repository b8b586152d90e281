"""Staking once more, as simply as it can be told: lists of lots, exact fractions, and time walked through in stretches.

Nothing here is like the contract inside: no accumulator, no sum that is kept, no lazy settlement. What an account has
earned is added up for every lot in every stretch of time in which nothing changed.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from tests.contracts.conftest import (
    COORDINATOR_MINIMUM,
    EPOCH_S,
    MINER_MINIMUM,
    STREAM_S,
    UNBONDING_DELAY_S,
)

ONE = 10**27
MIN_EARNING = 10**18
FIRST_COMMISSION = 1000


@dataclass
class Lot:
    """Shares that one account added to a node at once."""

    account: str
    shares: int
    earns_from: int
    """Unix seconds."""


@dataclass
class Leaving:
    """Shares that an account took back."""

    node_id: int
    shares: int
    release_at: int


@dataclass
class Node:
    owner: str
    minimum: int
    price: int = ONE
    lots: list[Lot] = field(default_factory=list)
    unbonding: int = 0
    """Shares that are leaving."""
    commission: int = FIRST_COMMISSION
    announced: tuple[int, int] | None = None
    """Next commission, and from when (unix seconds)."""
    jailed_until: int | None = None
    frozen_until: int = 0
    in_debt: bool = False
    stream: Fraction = Fraction(0)
    stream_end: int = 0

    def value(self, shares: int) -> int:
        return shares * self.price // ONE

    def shares_for(self, amount: int) -> int:
        """Shares that at least cover an amount of wei."""
        return -(-amount * ONE // self.price)

    @property
    def bonded(self) -> int:
        return sum(lot.shares for lot in self.lots)

    def shares_of(self, account: str) -> int:
        return sum(lot.shares for lot in self.lots if lot.account == account)

    @property
    def own(self) -> int:
        return self.shares_of(self.owner)

    @property
    def active(self) -> bool:
        return self.value(self.own) > self.minimum and self.jailed_until is None and not self.in_debt

    def earning(self, now: int) -> int:
        return sum(lot.shares for lot in self.lots if lot.earns_from <= now)

    def take(self, account: str, shares: int) -> None:
        """Remove an account's shares, the youngest first."""
        for lot in sorted(self.lots, key=lambda lot: -lot.earns_from):
            if lot.account == account:
                part = min(shares, lot.shares)
                lot.shares -= part
                shares -= part
        assert shares == 0
        self.lots = [lot for lot in self.lots if lot.shares]


class Model:
    """The whole contract. Operations say whether the contract must accept them."""

    def __init__(self, now: int, rate: int, balances: dict[str, int]) -> None:
        self.now = now
        self.rate = rate
        self.balances = balances
        self.nodes: dict[int, Node] = {}
        self.leaving: dict[str, list[Leaving]] = {account: [] for account in balances}
        self.rewards: dict[tuple[int, str], Fraction] = {}
        self.pool = 0
        self.funded = 0
        """All that ever came in to be given out as rewards."""
        self.burnt = 0

    def advance(self, to: int) -> None:
        """Walk to a time in stretches without an epoch's beginning or a stream's end inside."""
        while self.now < to:
            ends = [node.stream_end for node in self.nodes.values() if node.stream_end > self.now]
            self._stretch(min([to, (self.now // EPOCH_S + 1) * EPOCH_S, *ends]))

    def _stretch(self, until: int) -> None:
        seconds = until - self.now
        weights = {i: node.value(node.earning(self.now)) for i, node in self.nodes.items() if node.active}
        total = sum(weights.values())
        emitted = min(self.rate * seconds, self.pool) if total >= MIN_EARNING else 0
        self.pool -= emitted
        for node_id, node in self.nodes.items():
            due = Fraction(emitted * weights.get(node_id, 0), max(total, 1))
            if node.stream_end > self.now:
                part = node.stream * seconds / (node.stream_end - self.now)
                node.stream -= part
                due += part
            self._share(node_id, node, due)
        self.now = until

    def _share(self, node_id: int, node: Node, due: Fraction) -> None:
        earning = node.earning(self.now)
        operators = due * node.commission / 10_000 if earning >= MIN_EARNING else due
        self._credit(node_id, node.owner, operators)
        for lot in node.lots:
            if lot.earns_from <= self.now and earning >= MIN_EARNING:
                self._credit(node_id, lot.account, (due - operators) * lot.shares / earning)

    def _credit(self, node_id: int, account: str, amount: Fraction) -> None:
        self.rewards[node_id, account] = self.rewards.get((node_id, account), Fraction(0)) + amount

    def _touch(self, node_id: int) -> Node | None:
        """Settle a node, if there is one: an announced commission whose time has come begins to hold."""
        node = self.nodes.get(node_id)
        if node is not None and node.announced is not None and node.announced[1] <= self.now:
            node.commission, node.announced = node.announced[0], None
        return node

    def register(self, account: str, role: int, amount: int) -> bool:
        minimum = COORDINATOR_MINIMUM if role == 2 else MINER_MINIMUM
        if amount <= minimum or amount > self.balances[account]:
            return False
        self.nodes[len(self.nodes) + 1] = node = Node(account, minimum)
        self._add(node, account, amount)
        return True

    def vote(self, account: str, node_id: int, amount: int) -> bool:
        node = self.nodes.get(node_id)
        if node is None or amount == 0 or amount > self.balances[account] or node.price < ONE // 10**6:
            return False
        self._touch(node_id)
        self._add(node, account, amount)
        return True

    def _add(self, node: Node, account: str, amount: int) -> None:
        self.balances[account] -= amount
        node.lots.append(Lot(account, amount * ONE // node.price, (self.now // EPOCH_S + 1) * EPOCH_S))

    def unvote(self, account: str, node_id: int, amount: int) -> bool:
        node = self.nodes.get(node_id)
        if node is None or amount == 0 or (node.in_debt and account == node.owner):
            return False
        shares = node.shares_of(account)
        if shares == 0:
            return False
        if amount != 2**256 - 1:
            if amount > node.value(shares):
                return False
            shares = node.shares_for(amount)
        self._touch(node_id)
        node.take(account, shares)
        node.unbonding += shares
        self.leaving[account].append(Leaving(node_id, shares, self.now + UNBONDING_DELAY_S))
        return True

    def withdraw(self, account: str, index: int) -> bool:
        if index >= len(self.leaving[account]) or self.leaving[account][index].shares == 0:
            return False
        entry = self.leaving[account][index]
        node = self.nodes[entry.node_id]
        if self.now < entry.release_at or (node.in_debt and account == node.owner):
            return False
        if self.now < node.frozen_until and self.now < entry.release_at + UNBONDING_DELAY_S:
            return False
        self.balances[account] += node.value(entry.shares)
        node.unbonding -= entry.shares
        entry.shares = 0
        return True

    def claimed(self, account: str, node_id: int, paid: int) -> Fraction:
        """Take in what the contract paid; gives what it should have been."""
        self._touch(node_id)
        self.balances[account] += paid
        return self.rewards.pop((node_id, account), Fraction(0))

    def poke(self, node_id: int) -> bool:
        return self._touch(node_id) is not None

    def fund(self, amount: int) -> bool:
        self.pool += amount
        self.funded += amount
        return True

    def pay(self, node_id: int, amount: int) -> bool:
        node = self._touch(node_id)
        if node is None or amount == 0:
            return False
        remaining = max(0, node.stream_end - self.now)
        total = node.stream + amount
        mean = (node.stream * remaining + amount * STREAM_S) / total
        node.stream, node.stream_end = (
            total,
            self.now + (2 * mean.numerator + mean.denominator) // (2 * mean.denominator),
        )
        self.funded += amount
        return True

    def slash(self, node_id: int, bps: int, receiver: str | None, bounty_bps: int) -> bool:
        """Slash for a person, or for the calling contract itself where there is none."""
        node = self._touch(node_id)
        if node is None:
            return False
        shares = node.bonded + node.unbonding
        before, own = node.value(shares), node.value(node.own)
        node.price = node.price * (10_000 - min(bps, 1000)) // 10_000
        slashed = before - node.value(shares)
        bounty = (own - node.value(node.own)) * min(bounty_bps, 1000 if receiver else 9000) // 10_000
        if receiver:
            self.balances[receiver] += bounty
        self.burnt += slashed - bounty
        return True

    def jail(self, node_id: int, seconds: int) -> bool:
        node = self._touch(node_id)
        if node is None:
            return False
        node.jailed_until = max(node.jailed_until or 0, self.now + seconds)
        return True

    def unjail(self, account: str, node_id: int) -> bool:
        node = self.nodes.get(node_id)
        if node is None or node.owner != account or node.jailed_until is None or self.now < node.jailed_until:
            return False
        if node.in_debt or node.value(node.own) <= node.minimum:
            return False
        self._touch(node_id)
        node.jailed_until = None
        return True

    def freeze(self, node_id: int, seconds: int) -> bool:
        node = self._touch(node_id)
        if node is None:
            return False
        node.frozen_until = self.now + min(seconds, UNBONDING_DELAY_S)
        return True

    def set_debt(self, node_id: int, in_debt: bool) -> bool:
        node = self._touch(node_id)
        if node is None:
            return False
        node.in_debt = in_debt
        return True

    def seize(self, node_id: int, amount: int, indices: list[int]) -> int | None:
        """Gives what is taken; None when the contract must refuse."""
        node = self._touch(node_id)
        if node is None:
            return None
        taken = min(amount, node.value(node.own))
        node.take(node.owner, node.shares_for(taken))
        for index in indices:
            if index < len(self.leaving[node.owner]):
                entry = self.leaving[node.owner][index]
                part = min(amount - taken, node.value(entry.shares)) if entry.node_id == node_id else 0
                entry.shares -= node.shares_for(part)
                node.unbonding -= node.shares_for(part)
                taken += part
        return taken

    def rotate(self, account: str, node_id: int) -> bool:
        node = self.nodes.get(node_id)
        if node is None or node.owner != account:
            return False
        self._touch(node_id)
        return True

    def set_commission(self, account: str, node_id: int, bps: int, most: int) -> bool:
        node = self.nodes.get(node_id)
        if node is None or node.owner != account or bps > most:
            return False
        self._touch(node_id)
        if node.bonded == node.own:
            node.commission, node.announced = bps, None
        else:
            node.announced = (bps, self.now + UNBONDING_DELAY_S)
        return True
