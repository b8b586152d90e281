"""The lottery: for one task, the stake-weighted order of the miners, and when each rank may claim.

Everybody computes the same order from the table, the field and the ticket. Each miner draws an exponential clock
whose rate is its stake; the smallest reading is first (Efraimidis and Spirakis, "Weighted random sampling with a
reservoir", 2006). This is weighted drawing without replacement, and splitting a stake over several nodes changes
nothing. Nothing that an app or a coordinator can choose enters the ticket. Spec: SPEC.md §7.
"""

import hashlib
from collections.abc import Sequence
from math import inf, log, log2
from struct import Struct
from typing import Final

from protocol.params import Params
from protocol.stake.field import MEMBER, WARM, Field
from protocol.stake.table import StakeRow, StakeTable
from protocol.units import Digest, Epoch, StakingId, TaskId, UnixMillis

_UNIT: Final = 2.0**-53
"""Distance of the 2^53 points of the unit interval that a draw can take."""
_DRAW: Final = Struct(">QI20x")
"""How a miner's 32-byte hash is read: the first 53 bits draw its clock, bits 64 to 95 whether it is dropped."""
_PLACE: Final = Struct(">QQQQ")
"""Coordinator, epoch of acceptance, boot and number of a task."""
_WARM: Final = MEMBER | WARM
LAST_OUTSIDE: Final = 4
"""Clocks expected before one's own, for each miner: of miners with one stake, one in 55 is placed at the last."""
FIRST_OUTSIDE: Final = 8
"""Most miners, free or busy, whose slots are expected in the first δ behind an order; twice as many in the next, and so
on. Where one in F of them is free, the first comes within some δ·log2(F/8), and one more while its award is on its way:
as many claims in a network of any size.
"""
SMALL: Final = 16
"""In a network of fewer than ``SMALL * FIRST_OUTSIDE`` miners it is one in so many of them, and one at least: else all
of a small network would claim at once."""


def _coordinates(coordinator: StakingId, accepted_epoch: Epoch, boot: int, number: int) -> bytes:
    """Give the place of a task in its coordinator's sequence as 32 bytes."""
    return _PLACE.pack(coordinator, accepted_epoch, boot, number)


def ticket(
    network: Digest, beacon: Digest, coordinator: StakingId, accepted_epoch: Epoch, boot: int, number: int
) -> Digest:
    """Give the seed of one task's draw: fixed by the beacon and the task's place in its coordinator's sequence."""
    data = b"cuckoo/1/ticket" + network + beacon + _coordinates(coordinator, accepted_epoch, boot, number)
    return Digest(hashlib.sha256(data).digest())


def task_id(network: Digest, coordinator: StakingId, accepted_epoch: Epoch, boot: int, number: int) -> TaskId:
    """Give the name of a task, which anybody can derive and nobody can choose."""
    data = b"cuckoo/1/task" + network + _coordinates(coordinator, accepted_epoch, boot, number)
    return TaskId(hashlib.sha256(data).digest())


def ignores_warmth(ticket: Digest, params: Params) -> bool:
    """Say whether this ticket is of the share that draws warm and cold alike, so that cold models get warm."""
    return int.from_bytes(ticket[28:], "big") * 1000 < params.catalog_permille << 32


def clock(ticket: Digest, miner: StakeRow) -> float:
    """Give what the exponential clock of one miner reads in one task's draw: ``order`` sorts by it."""
    high, _ = _DRAW.unpack(hashlib.sha256(ticket + miner.id.to_bytes(8, "big")).digest())
    return -log(((high >> 11) + 0.5) * _UNIT) / miner.stake if miner.stake else inf


def order(miners: Sequence[StakeRow], field: Field, ticket: Digest, params: Params) -> tuple[StakingId, ...]:
    """Give the miners of the field in the order in which they may claim: warm ones, then cold ones. See ``readings``.

    Raises:
        ValueError: The field is of another table.
    """
    return tuple(readings(miners, field, ticket, params))


def readings(miners: Sequence[StakeRow], field: Field, ticket: Digest, params: Params) -> dict[StakingId, float]:
    """Give what the clocks of the miners of the field read, in the order in which they may claim: warm, then cold.

    Computed for each attempt: while a task is drawn from its epoch of acceptance its ticket stays the same, so any
    two miners keep their places; only who is in the field, and warm, may change. A share of the field
    (``field_dropout_permille``) is dropped by the ticket. Ties, which do not occur in practice, go by address.

    Args:
        miners: ``StakeTable.miners``: active miners in address order.
        field: Their field.
        ticket: The task's ticket.
        params: The network's numbers.

    Raises:
        ValueError: The field is of another table.
    """
    if len(field.codes) != len(miners):
        raise ValueError(f"a field of {len(field.codes)} does not fit {len(miners)} miners")
    present = [row for row, code in zip(miners, field.codes, strict=True) if code]
    codes = field.codes.replace(b"\0", b"")
    sha256 = hashlib.sha256  # a local name: this line is half the cost of a draw
    digests = b"".join([sha256(ticket + row.id.to_bytes(8, "big")).digest() for row in present])
    dropped_below = -(-(params.field_dropout_permille << 32) // 1000)
    mixed = ignores_warmth(ticket, params)
    blocks: tuple[tuple[list[float], list[StakingId]], ...] = (([], []), ([], []))
    for row, code, (high, low) in zip(present, codes, _DRAW.iter_unpack(digests), strict=True):
        if low >= dropped_below:
            clocks, ids = blocks[0 if mixed or code == _WARM else 1]
            clocks.append(-log(((high >> 11) + 0.5) * _UNIT) / row.stake if row.stake else inf)
            ids.append(row.id)
    ordered: dict[StakingId, float] = {}
    for clocks, ids in blocks:
        # sorting is stable, so equal clocks stay in address order
        ordered |= {ids[place]: clocks[place] for place in sorted(range(len(ids)), key=clocks.__getitem__)}
    return ordered


def outside_place(ranked: int, ticket: Digest, miner: StakingId, table: StakeTable) -> float:
    """Give the place of a miner that is outside an order of so many: behind it, in the order of the clocks.

    How many of a whole table's clocks are expected to read less than one's own is one's reading times all stake. So
    nobody has to draw for miners that are not free, and no two of them have one place.
    """
    row = table.by_id.get(miner)
    return place_behind(ranked, clock(ticket, row) * table.miner_stake if row is not None else inf, len(table.miners))


def place_behind(ranked: int, before: float, miners: int) -> float:
    """Give the place behind an order of so many, with so many of all miners' clocks expected before one's own.

    Its slot comes after the last of the order by as long as that of rank ``before / first`` comes after the first, with
    as many ``first`` as are expected in the first δ.
    """
    first = min(max(miners / SMALL, 1.0), FIRST_OUTSIDE)
    return (1 + ranked) * (1 + min(before, LAST_OUTSIDE * miners) / first) - 1


def slot_ms(place: float, slot_step_ms: int) -> int:
    """Give how long (ms) after publication rank or place r (from 0) may have its claim arrive: δ·log2(1+r), rounded."""
    return round(slot_step_ms * log2(1 + place))


def last_slot_ms(ranked: int, miners: int, slot_step_ms: int) -> int:
    """Give how long (ms) after publication all slots have passed, where so many of all miners are in the order."""
    return slot_ms(place_behind(ranked, inf, miners), slot_step_ms)


def award_at(rank: int, arrival: UnixMillis, t0: UnixMillis, slot_step_ms: int, allowance_ms: int) -> UnixMillis:
    """Give when a claim may be awarded: rank 0 on arrival, others once every better rank had its slot and A.

    Args:
        rank: Rank of the claimant, from 0.
        arrival: When its claim arrived, by the coordinator's clock.
        t0: When the offer was published, by the same clock.
        slot_step_ms: δ of the offer (ms).
        allowance_ms: A of the offer (ms).
    """
    if rank == 0:
        return arrival
    return UnixMillis(max(arrival, t0 + round(slot_step_ms * log2(rank)) + allowance_ms))
