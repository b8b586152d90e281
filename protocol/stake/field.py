"""The field: what a coordinator says of every active miner, two bits each, in the order of the table.

With the table and the ticket it is all that the draw depends on, so anyone can repeat the draw. A miner that is
left out is a cleared bit, never an entry of a list. Spec: SPEC.md §7.1.
"""

import hashlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self, final

from protocol.errors import InvalidMessage
from protocol.stake.table import StakeRow
from protocol.units import Digest, StakingId

MEMBER: Final = 1
"""Bit: live, capable and free as the coordinator knows it."""
WARM: Final = 2
"""Bit, only together with ``MEMBER``: has the model in memory."""
_PER_BYTE: Final = 4
_SPREAD: Final = tuple(bytes(byte >> shift & 3 for shift in (0, 2, 4, 6)) for byte in range(256))
"""The four codes of each byte, lowest bits first."""


@final
@dataclass(frozen=True)
class Field:
    """One code per active miner: 0 outside, 1 in the field and cold, 3 in the field and warm. 2 does not exist."""

    codes: bytes

    @classmethod
    def of(cls, miners: Sequence[StakeRow], members: AbstractSet[StakingId], warm: AbstractSet[StakingId]) -> Self:
        """Build the field of a table's active miners.

        Args:
            miners: ``StakeTable.miners``: active miners in address order.
            members: Who is in the field; ids that are no active miner are left out.
            warm: Who of them has the model in memory; ids outside ``members`` are left out.
        """
        codes = dict.fromkeys(members, MEMBER) | dict.fromkeys(warm & members, MEMBER | WARM)
        return cls(bytes([codes.get(row.id, 0) for row in miners]))  # a list: generators cost twice the time

    @classmethod
    def from_bytes(cls, data: bytes, count: int) -> Self:
        """Read a received field for a table with ``count`` active miners.

        Raises:
            InvalidMessage: ``field.length`` for another length, ``field.padding`` for bits beyond the last miner,
                ``field.warm`` for a miner that is warm outside the field: each field has one form only.
        """
        if len(data) != -(-count // _PER_BYTE):
            raise InvalidMessage("field.length", f"{len(data)} bytes for {count} miners")
        codes = b"".join([_SPREAD[byte] for byte in data])
        if any(codes[count:]):
            raise InvalidMessage("field.padding")
        if WARM in codes:
            raise InvalidMessage("field.warm")
        return cls(codes[:count])

    def to_bytes(self) -> bytes:
        """Give the field as it travels: the first miner in the lowest bits of the first byte, zeros after the last."""
        padded = self.codes + bytes(-len(self.codes) % _PER_BYTE)
        first, second, third, fourth = (padded[start::_PER_BYTE] for start in range(_PER_BYTE))
        return bytes(a | b << 2 | c << 4 | d << 6 for a, b, c, d in zip(first, second, third, fourth, strict=True))

    def is_member(self, index: int) -> bool:
        """Say whether the miner at this place of the table is in the field."""
        return self.codes[index] != 0

    def is_warm(self, index: int) -> bool:
        """Say whether the miner at this place of the table is in the field and warm."""
        return self.codes[index] == MEMBER | WARM

    @cached_property
    def digest(self) -> Digest:
        """SHA-256 of the field as it travels: what claims and awards bind to."""
        return Digest(hashlib.sha256(self.to_bytes()).digest())

    @cached_property
    def members(self) -> int:
        """How many are in the field."""
        return len(self.codes) - self.codes.count(0)
