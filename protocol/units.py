"""The quantities of the protocol as distinct types, so that a block number is never taken for an epoch.

All of them are plain ``int``, ``bytes`` or ``str`` at run time. Ranges are enforced where a value enters
from outside (wire, contract, configuration), not here.
"""

from enum import IntEnum
from typing import Final, NewType

Wei = NewType("Wei", int)
"""An amount of CAI in 10^-18 units, 0 ≤ value < 2^256."""

UnixMillis = NewType("UnixMillis", int)
"""A moment: milliseconds since 1970-01-01 UTC."""

DurationMs = NewType("DurationMs", int)
"""A span of time in milliseconds."""

BlockNumber = NewType("BlockNumber", int)
"""Height of a block of the chain that holds the contracts."""

Epoch = NewType("Epoch", int)
"""floor(unix seconds / epoch length): the span for which one stake table holds."""

StakingId = NewType("StakingId", int)
"""The number that the staking contract gave a node, ≥ 1, < 2^64. It survives a key rotation. 0 means nobody."""

Address = NewType("Address", bytes)
"""An Ethereum address, 20 bytes."""

Digest = NewType("Digest", bytes)
"""A 32-byte hash."""

TaskId = NewType("TaskId", bytes)
"""A 32-byte task name, derived from (network, coordinator, boot, number)."""

PeerId = NewType("PeerId", str)
"""A libp2p peer id in base58 text form, as it stands at the end of a multiaddress."""

CAI: Final = 10**18
"""Wei in one CAI."""

DAY_MS: Final = DurationMs(86_400_000)
"""24 hours."""


class Role(IntEnum):
    """What a registered node is. The values are those of the staking contract."""

    MINER = 1
    COORDINATOR = 2
