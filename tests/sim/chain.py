"""The chain as the simulated nodes follow it: blocks, tables of epochs, jailing, forks, transactions."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from protocol.chain_records import (
    Confirmed,
    ContractCall,
    Escrow,
    Failed,
    Payment,
    SettlementRead,
    TransactionRequested,
)
from protocol.effects import SubmitTx
from protocol.events import ActivityChanged, BlockSeen, SettlementSeen, StakeChanged, TxConfirmed, TxFailed
from protocol.stake.epoch import epoch_at
from protocol.stake.table import EpochView, StakeRow, StakeTable
from protocol.units import CAI, BlockNumber, Digest, Epoch, Role, StakingId, UnixMillis, Wei
from tests.sim.machine import Machine

if TYPE_CHECKING:
    from tests.sim.world import World

BLOCK_MS = 5000
ESCROW = Wei(10**6 * CAI)
"""Of each coordinator at first: more than any run promises."""


class Chain:
    """One contract state, and what each node has heard of it."""

    def __init__(self, world: "World", rows: tuple[StakeRow, ...]) -> None:
        """Begin with these nodes registered."""
        self._world = world
        self.rows = rows
        """What tables that are fixed from now on say."""
        self.jailed: set[StakingId] = set()
        self.contract: Callable[[ContractCall], Confirmed | Failed] = lambda _call: Failed("no_gas_key", "")
        self.deaf: set[str] = set()
        """Machines whose chain nodes are down: they hear of no block and no table."""
        self.forked: dict[str, tuple[StakeRow, ...]] = {}
        """Machines whose chain node is on another branch, with what tables say there."""
        self.escrows = {
            row.id: Escrow(row.id, ESCROW, Wei(0), Wei(0), Wei(0)) for row in rows if row.role is Role.COORDINATOR
        }
        """What each coordinator has in the Settlement contract."""
        self.payments: list[Payment] = []
        self.is_settling = False
        """Blocks tell of the Settlement contract; else only the start of a node does."""
        self._shown: dict[str, int] = {}
        """Up to which block each machine has heard of the contract."""
        self.lost_transactions = 0
        """So many transactions to come are dropped by the chain: their outcome comes only when asked again."""
        self._views: dict[Epoch, EpochView] = {}
        self.height = 1
        self._seen_at: dict[str, int] = {}
        """When each follower sees the last block in which somebody was jailed or set free."""

    def view(self, epoch: Epoch) -> EpochView:
        """Give what one epoch is drawn from; it is fixed when first asked for."""
        if epoch not in self._views:
            self._views[epoch] = EpochView(epoch, StakeTable.of(self.rows), self._beacon(epoch, b"beacon"))
        return self._views[epoch]

    @staticmethod
    def _beacon(epoch: Epoch, branch: bytes) -> Digest:
        return Digest(hashlib.sha256(branch + epoch.to_bytes(8, "big")).digest())

    def start(self, machine: Machine) -> None:
        """Tell a machine that starts what holds now."""
        world = self._world
        world.post(machine, ActivityChanged(frozenset(self.jailed)))
        for waiting in world.disk(machine.store.open_transactions(256)):
            self._transact(machine, waiting.key)
        epoch = epoch_at(world.now, world.params)
        for number in (epoch - 1, epoch, epoch + 1):
            world.post(machine, StakeChanged(self.view(Epoch(number))))
        world.post(machine, BlockSeen(BlockNumber(self.height), world.now))
        self._show_settlement(machine, anew=True)

    def _show_settlement(self, machine: Machine, *, anew: bool = False) -> None:
        """Tell a machine of escrows and payments up to this block: a coordinator hears of its own alone."""
        own = machine.staking_id
        if machine.role is None or not own:
            return
        hears = {own} if machine.role is Role.COORDINATOR else self.escrows.keys()
        last = -1 if anew else self._shown.get(machine.name, -1)
        read = SettlementRead(
            contract="sim",
            block=BlockNumber(self.height),
            hash=Digest(bytes(32)),
            payments=tuple(
                one for one in self.payments if last < one.block <= self.height and own in (one.coordinator, one.miner)
            ),
            escrows=tuple(escrow for coordinator, escrow in self.escrows.items() if coordinator in hears),
            anew=anew,
        )
        self._shown[machine.name] = self.height
        self._world.post(machine, SettlementSeen(read, Wei(0)))

    def follow(self) -> None:
        """Give everybody a new head every 5 s, and the next epoch's table half an epoch before it begins."""
        self._world.at(0, self._tick)

    def _tick(self) -> None:
        world = self._world
        epoch_ms = world.params.epoch_s * 1000
        number = epoch_at(UnixMillis(world.now + epoch_ms // 2), world.params)
        fresh = number not in self._views
        self.height += 1
        for machine in world.everybody:
            if machine.name in self.deaf:
                continue
            if fresh:
                world.post(machine, StakeChanged(self._view_of(machine, number)))
            world.post(machine, BlockSeen(BlockNumber(self.height), UnixMillis(world.now + machine.skew_ms)))
            if self.is_settling and machine.core is not None:
                self._show_settlement(machine)
        world.at(min(BLOCK_MS, epoch_ms // 4), self._tick)

    def _view_of(self, machine: Machine, epoch: Epoch) -> EpochView:
        rows = self.forked.get(machine.name)
        if rows is None:
            return self.view(epoch)
        return EpochView(epoch, StakeTable.of(rows), self._beacon(epoch, b"other branch"))

    def catch_up(self, machine: Machine) -> None:
        """A machine's chain node is back: it hears of what it missed."""
        self.deaf.discard(machine.name)
        self._show(machine, ActivityChanged(frozenset(self.jailed)), 0)
        epoch = epoch_at(self._world.now, self._world.params)
        for number in sorted(known for known in self._views if known >= epoch - 1):
            self._world.post(machine, StakeChanged(self._views[number]))
        self._world.post(machine, BlockSeen(BlockNumber(self.height), UnixMillis(self._world.now + machine.skew_ms)))

    def jail(self, node: StakingId, *, free: bool = False) -> None:
        """Jail a node, or set it free: each follower sees the block after a latency of its own."""
        (self.jailed.discard if free else self.jailed.add)(node)
        changed = ActivityChanged(frozenset(self.jailed))
        for machine in self._world.everybody:
            if machine.name not in self.deaf:
                self._show(machine, changed, self._world.links.delay())

    def _show(self, machine: Machine, changed: ActivityChanged, delay_ms: int) -> None:
        """Have a follower see a block after so long, and after the blocks before it."""
        now = self._world.now
        seen_at = self._seen_at[machine.name] = max(now + delay_ms, self._seen_at.get(machine.name, 0))
        self._world.post(machine, changed, seen_at - now)

    def reorganise(self) -> None:
        """The last block goes, and with it what it said; blocks of another branch come in its place."""
        self.height -= 1
        for machine in self._world.everybody:
            self._world.post(machine, BlockSeen(BlockNumber(self.height), UnixMillis(self._world.now)))

    # Transactions

    def submit(self, machine: Machine, effect: SubmitTx) -> None:
        """Take a wish; its one outcome comes later."""
        self._world.disk(machine.store.persist((TransactionRequested(effect.key, effect.call),)))
        self._transact(machine, effect.key)

    def _transact(self, machine: Machine, key: str) -> None:
        """Give a transaction its outcome, durable before it is told, and told until the core has taken it in."""
        if self.lost_transactions > 0:
            self.lost_transactions -= 1
            self._world.at(BLOCK_MS, self._transact, machine, key)
            return
        self._world.at(self._world.links.delay(), self._mine, machine, key)

    def _mine(self, machine: Machine, key: str) -> None:
        world = self._world
        known = world.disk(machine.store.transaction(key))
        if known is None or machine.core is None:
            return
        outcome = known.outcome or self.contract(known.call)
        world.disk(machine.store.keep_transactions([replace(known, outcome=outcome)]))
        told = TxConfirmed(key, outcome) if isinstance(outcome, Confirmed) else TxFailed(key, outcome)
        world.post(machine, told)
