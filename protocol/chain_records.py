"""What a node keeps of the chain over a restart: its place among the blocks, stake rows, payments, transactions.

Pure data: who reads a chain fills it, who has a disk keeps it, and neither knows the other. Spec: SPEC.md §3.1, §6.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from protocol.stake.table import StakeRow
from protocol.units import BlockNumber, Digest, StakingId, UnixMillis, Wei

CallValue: TypeAlias = "bool | int | str | bytes | tuple[CallValue, ...]"
"""What a contract's function takes and its events hold: an address is its 20 bytes, a struct or array a tuple."""


@dataclass(frozen=True, slots=True)
class ContractCall:
    """A call of one function of one contract of the set, in our own words; an adapter encodes it."""

    contract: str
    """Name in the set of contracts, as ``Settlement``."""
    function: str
    arguments: tuple[CallValue, ...]


@dataclass(frozen=True, slots=True)
class ContractEvent:
    """One event that a transaction made, of a contract of the set."""

    contract: str
    name: str
    fields: Mapping[str, CallValue]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The transaction is in a block that is deep enough, and the contract took it."""

    block: BlockNumber
    transaction: Digest
    events: tuple[ContractEvent, ...]
    fee: Wei
    """What it cost in the chain's own coin (wei)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The transaction will never have an effect."""

    reason: str
    """Stable name: ``no_gas_key`` ``bad_call`` ``refused`` (never sent) ``reverted`` (mined, without effect)."""
    detail: str
    """The contract's own sentence, or ours: for people."""


@dataclass(frozen=True, slots=True)
class TransactionRequested:
    """A core wants this call made. The same key again is the same wish: at most one transaction takes effect."""

    key: str
    call: ContractCall


@dataclass(frozen=True, slots=True)
class TransactionSettled:
    """The core has taken in the outcome, so that it need not be told again after a restart."""

    key: str


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """One signed version of a transaction. All versions have one nonce, so at most one of them can be mined."""

    hash: Digest
    raw: bytes
    fee_cap: Wei
    """Most that it pays for one gas (wei)."""
    tip: Wei
    """What of that the block's maker gets at most (wei)."""
    gas: int
    """Gas that it may use."""
    signed_at: UnixMillis


@dataclass(frozen=True, slots=True)
class Transaction:
    """All that is known of one transaction."""

    key: str
    call: ContractCall
    nonce: int | None = None
    """None until one is signed."""
    versions: tuple[SignedTransaction, ...] = ()
    """Oldest first. Each is on disk before it is sent."""
    outcome: Confirmed | Failed | None = None
    settled: bool = False
    """The core has heard the outcome."""


@dataclass(frozen=True, slots=True)
class Header:
    """What we need of a block."""

    number: BlockNumber
    hash: bytes
    parent: bytes
    timestamp: UnixMillis


@dataclass(frozen=True, slots=True)
class RowChange:
    """A node's row as an event in this block left it."""

    block: BlockNumber
    row: StakeRow


@dataclass(frozen=True, slots=True)
class ChainPlace:
    """How far a contract's events are read, and what they said. It goes on from the last anchor."""

    settled: BlockNumber
    """No table before this block can be asked for: of older rows only the newest of each node is kept."""
    anchors: tuple[Header, ...]
    """Blocks seen to be canonical, ascending; events are read up to and with the last."""
    changes: tuple[RowChange, ...]
    """In the order of the chain."""


@dataclass(frozen=True, slots=True)
class ChainStep:
    """What changed since the last step: kept as a whole or not at all."""

    kept: BlockNumber
    """Anchors and changes after this block are taken back first; -1 takes back everything."""
    settled: BlockNumber
    """As in ``ChainPlace``, after this step."""
    anchors: tuple[Header, ...] = ()
    """New ones, ascending."""
    changes: tuple[RowChange, ...] = ()
    """New ones, in the order of the chain."""
    dropped: frozenset[BlockNumber] = field(default_factory=frozenset)
    """Anchors that are no longer needed."""


@dataclass(frozen=True, slots=True)
class Escrow:
    """What the Settlement contract says of one coordinator after a confirmed block."""

    coordinator: StakingId
    deposited: Wei
    """What is there for its miners (wei)."""
    withdrawing: Wei
    """What of that its owner has announced to take back (wei)."""
    redeemed: Wei
    """What all miners together were ever paid from it (wei)."""
    owed: Wei
    """What was shown to the contract and could not be paid yet (wei)."""

    @property
    def usable(self) -> Wei:
        """What promises may count on (wei)."""
        return Wei(max(self.deposited - self.withdrawing, 0))


@dataclass(frozen=True, slots=True)
class Payment:
    """One redemption of a voucher between this node and another, as its block says."""

    block: BlockNumber
    place: int
    """Of the event in its block."""
    transaction: Digest
    at: UnixMillis
    """Time of the block."""
    coordinator: StakingId
    miner: StakingId
    amount: Wei
    """What was paid by it (wei)."""
    acknowledged: Wei
    """The highest promise that was shown so far (wei)."""
    unpaid: Wei
    """What of that is still to be paid (wei)."""

    @property
    def redeemed(self) -> Wei:
        """What the pair was paid so far, this payment included (wei)."""
        return Wei(self.acknowledged - self.unpaid)


@dataclass(frozen=True, slots=True)
class SettlementRead:
    """What is new in the Settlement contract, up to a confirmed block: kept as a whole or not at all.

    After a restart one of these, ``anew``, says all that was kept: of the payments the last one of each pair.
    """

    contract: str
    """Which one, on which chain, for which node: what was kept of another one says nothing of this."""
    block: BlockNumber
    """Everything up to this block is read."""
    hash: Digest
    payments: tuple[Payment, ...] = ()
    """New ones of this node, in the order of the chain."""
    escrows: tuple[Escrow, ...] = ()
    """Of coordinators where it changed."""
    anew: bool = False
    """It says all that there is: what was known before is forgotten."""
