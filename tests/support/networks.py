"""Builders of params, keys, tables and views, with defaults: alice and bob are miners, carol coordinates."""

import hashlib
from collections.abc import Iterable

from protocol.crypto.keys import NodeKey
from protocol.params import Params
from protocol.stake.table import EpochView, StakeRow, StakeTable
from protocol.units import CAI, Digest, Epoch, Role, StakingId, Wei

NETWORK = Digest(hashlib.sha256(b"a network for tests").digest())
ALICE, BOB, CAROL, DAVE = (NodeKey(hashlib.sha256(name).digest()) for name in (b"alice", b"bob", b"carol", b"dave"))


def network_params(**changes: object) -> Params:
    """Numbers of a network with minute-long epochs."""
    numbers: dict[str, object] = {
        "name": "test",
        "epoch_s": 60,
        "boundary_tolerance_s": 10,
        "head_max_age_s": 30,
        "slot_step_ms": 100,
        "claim_allowance_ms": 50,
        "price_per_pixel_step_wei": 10**9,
    }
    return Params.model_validate(numbers | changes)


def row(
    key: NodeKey, identity: int, *, role: Role = Role.MINER, stake: int = 50_000 * CAI, active: bool = True
) -> StakeRow:
    """One registered node."""
    return StakeRow(StakingId(identity), key.address, role, Wei(stake), active)


def coordinator(key: NodeKey, identity: int, *, stake: int = 3_000_000 * CAI, active: bool = True) -> StakeRow:
    """One registered coordinator."""
    return row(key, identity, role=Role.COORDINATOR, stake=stake, active=active)


def trio() -> tuple[StakeRow, ...]:
    """Alice (1) and bob (2) mine, carol (3) coordinates."""
    return row(ALICE, 1), row(BOB, 2, stake=100_000 * CAI), coordinator(CAROL, 3)


def view(epoch: int, rows: Iterable[StakeRow] | None = None) -> EpochView:
    """The view of an epoch, by default of alice, bob and carol."""
    table = StakeTable.of(trio() if rows is None else rows)
    return EpochView(Epoch(epoch), table, Digest(hashlib.sha256(b"beacon %d" % epoch).digest()))
