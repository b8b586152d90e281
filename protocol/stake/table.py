"""The stake table: who is registered, with what effective stake, at one block.

Spec: SPEC.md §6.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import final

from protocol.units import Address, Digest, Epoch, Role, StakingId, Wei


@dataclass(frozen=True, slots=True)
class StakeRow:
    """One registered node."""

    id: StakingId
    address: Address
    """Ethereum address of the node's hot key, which is also its libp2p identity."""
    role: Role
    stake: Wei
    """Effective stake: its own and its voters'. The weight in the lottery."""
    active: bool
    """Own stake above the minimum of its role, neither jailed nor in debt: as the contract has it."""
    owner: Address | None = None
    """Who staked it, by the newest that the chain told of it; not in the root. None in a table of a record."""


@final
@dataclass(frozen=True)
class StakeTable:
    """All registered nodes after one block, sorted by id. Immutable: a table in use is never recomputed."""

    rows: tuple[StakeRow, ...]

    @classmethod
    def of(cls, rows: Iterable[StakeRow]) -> "StakeTable":
        """Build a table from rows in any order."""
        return cls(tuple(sorted(rows, key=lambda row: row.id)))

    @cached_property
    def root(self) -> Digest:
        """Digest of every row: two nodes with equal roots hold the same table."""
        state = hashlib.sha256(b"cuckoo/1/table")
        for row in self.rows:
            state.update(row.id.to_bytes(8, "big") + row.address + bytes([row.role, row.active]))
            state.update(row.stake.to_bytes(32, "big"))
        return Digest(state.digest())

    @cached_property
    def by_id(self) -> dict[StakingId, StakeRow]:
        """Rows by staking id."""
        return {row.id: row for row in self.rows}

    @cached_property
    def by_address(self) -> dict[Address, StakeRow]:
        """Rows by hot-key address."""
        return {row.address: row for row in self.rows}

    @cached_property
    def miners(self) -> tuple[StakeRow, ...]:
        """Active miners in address order: the order of the field's bits."""
        active = (row for row in self.rows if row.active and row.role is Role.MINER)
        return tuple(sorted(active, key=lambda row: row.address))

    @cached_property
    def miner_index(self) -> dict[StakingId, int]:
        """Index of each of ``miners`` by staking id."""
        return {row.id: index for index, row in enumerate(self.miners)}

    @cached_property
    def miner_stake(self) -> int:
        """Effective stake (wei) of all active miners together."""
        return sum(row.stake for row in self.miners)


@dataclass(frozen=True, slots=True)
class EpochView:
    """What one epoch is drawn from: its table, and a beacon that was unknown when the table was fixed."""

    epoch: Epoch
    table: StakeTable
    beacon: Digest
