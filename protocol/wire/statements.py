"""What nodes sign so that it may be shown to a contract: EIP-712 structs.

Each class is one struct. ``TYPE`` is its EIP-712 type string and the only description of how it is encoded;
its member names are the field names here, in order. ``protocol.crypto.typed_data`` hashes and signs them.
Chain and contract are in the EIP-712 domain. Nodes are named by staking id, so a key rotation loses nothing.
Rules for editors: a published ``TYPE`` never changes; a new meaning is a new struct. Spec: SPEC.md §5.
"""

from typing import Annotated, ClassVar, Final

from pydantic import Field

from protocol.wire.fields import (
    AddressField,
    AttemptField,
    DigestField,
    Frozen,
    MillisField,
    NobodyOrIdField,
    NonceField,
    ReasonText,
    SequenceField,
    StakingIdField,
    TaskIdField,
    WeiField,
)

NO_RANK: Final = 2**32 - 1
"""Rank on a decline where there is no winner, or it was outside the order."""


class Statement(Frozen):
    """Base of the EIP-712 structs."""

    TYPE: ClassVar[str]


class Registration(Statement):
    """The node key agrees to serve ``owner`` in a role until ``deadline`` (unix s). Checked by the staking contract."""

    TYPE = "Registration(address owner,uint8 role,uint256 deadline)"
    owner: AddressField
    role: Annotated[int, Field(ge=1, le=2)]
    deadline: Annotated[int, Field(ge=0, lt=2**64)]


class ClaimStatement(Statement):
    """A miner will do this attempt if it is awarded. The nonce is fresh, so each claim is one of a kind."""

    TYPE = "Claim(bytes32 task,uint32 attempt,uint64 coordinator,uint64 miner,bytes32 offer,bytes16 nonce)"
    task: TaskIdField
    attempt: AttemptField
    coordinator: StakingIdField
    miner: StakingIdField
    offer: DigestField
    """Digest of the public offer that it claims, as ``protocol.task.offer`` computes it."""
    nonce: NonceField


class AwardStatement(Statement):
    """The coordinator gives the attempt to the claim whose digest is ``claim``, for ``price`` wei."""

    TYPE = (
        "Award(bytes32 claim,bytes32 task,uint32 attempt,uint64 coordinator,uint64 miner,"
        "bytes32 offer,bytes32 specification,uint256 price)"
    )
    claim: DigestField
    task: TaskIdField
    attempt: AttemptField
    coordinator: StakingIdField
    miner: StakingIdField
    offer: DigestField
    """The claim's: the award is for what was offered, or for nothing."""
    specification: DigestField
    """Salted digest of the task specification: binds the work without showing it."""
    price: WeiField


class DeclineStatement(Statement):
    """The coordinator does not give the attempt to this claim, and says who has it and why."""

    TYPE = (
        "Decline(bytes32 claim,bytes32 task,uint32 attempt,uint64 coordinator,uint64 winner,uint32 rank,string reason)"
    )
    claim: DigestField
    task: TaskIdField
    attempt: AttemptField
    coordinator: StakingIdField
    winner: NobodyOrIdField
    rank: Annotated[int, Field(ge=0, le=NO_RANK)]
    """Rank of the winner, ``NO_RANK`` when there is none or it was outside the order."""
    reason: ReasonText


class CommitmentStatement(Statement):
    """The miner stands by this result. Two different ones for one award are proof of double-signing."""

    TYPE = (
        "Commitment(bytes32 award,bytes32 task,uint32 attempt,uint64 miner,bytes32 specification,"
        "bytes32 model,bytes32 artifact,bytes32 fingerprint)"
    )
    award: DigestField
    task: TaskIdField
    attempt: AttemptField
    miner: StakingIdField
    specification: DigestField
    model: DigestField
    artifact: DigestField
    """SHA-256 of the artifact's bytes."""
    fingerprint: DigestField
    """Root over per-step latent fingerprints (§12.7); 32 zero bytes where the engine takes none."""


class ReceiptStatement(Statement):
    """The coordinator accepted the result that ``commitment`` names; it was worth ``price`` wei."""

    TYPE = (
        "Receipt(bytes32 commitment,bytes32 task,uint32 attempt,uint64 coordinator,uint64 miner,"
        "bytes32 artifact,uint256 price,uint64 accepted)"
    )
    commitment: DigestField
    task: TaskIdField
    attempt: AttemptField
    coordinator: StakingIdField
    miner: StakingIdField
    artifact: DigestField
    price: WeiField
    accepted: MillisField


class VoucherStatement(Statement):
    """The coordinator owes the miner ``cumulative`` wei in all. The latest replaces all before.

    ``issued_total`` is the sum of all that the coordinator has promised to anyone at ``sequence``: the miner
    compares it with the escrow, and understating it contradicts another voucher of the same ``boot``. A coordinator
    that lost its disk counts anew under a new boot, and contradicts nobody.
    """

    TYPE = "Voucher(uint64 coordinator,uint64 miner,uint256 cumulative,uint64 boot,uint64 sequence,uint256 issuedTotal)"
    coordinator: StakingIdField
    miner: StakingIdField
    cumulative: WeiField
    boot: SequenceField
    sequence: SequenceField
    issued_total: WeiField


class VerdictStatement(Statement):
    """A juror's word on the result that a dispute is about. Two different ones for one round prove double-signing."""

    TYPE = "Verdict(uint256 dispute,uint32 round,uint64 juror,uint8 verdict)"
    dispute: Annotated[int, Field(ge=1, lt=2**256)]
    round: Annotated[int, Field(ge=0, le=1)]
    """0, and 1 after an appeal: there is no third."""
    juror: StakingIdField
    verdict: Annotated[int, Field(ge=1, le=3)]
    """1 the result is wrong, 2 it is right, 3 the juror cannot judge it: it does not serve that model."""
