"""Evidence: signed statements no honest node signs all of, each kind a type. What the Slashing contract takes as proof.

Everything here is checked as the contract checks it, in its order, but for the signatures, whose key only the stake
table or the chain knows. Spec: SPEC.md §11.4, contracts/SPEC.md §7.2.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final, Generic, TypeVar

from protocol.chain_records import CallValue, ContractCall
from protocol.crypto.keys import keccak256
from protocol.crypto.typed_data import Domain, signer
from protocol.task.receipt import MAX_PROMISE_WEI
from protocol.units import Address, Digest, Role, StakingId
from protocol.wire.statements import (
    AwardStatement,
    CommitmentStatement,
    ReceiptStatement,
    Statement,
    VerdictStatement,
    VoucherStatement,
)

S_co = TypeVar("S_co", bound=Statement, covariant=True)
MAX_RISES: Final = 8
"""Miners that one proof of an understated total may name."""


class Kind(IntEnum):
    """What is proven; the numbers are the contract's."""

    TWO_COMMITMENTS = 1
    TWO_AWARDS = 2
    TWO_RECEIPTS = 3
    TWO_VERDICTS = 4
    TWO_VOUCHERS = 5
    UNDERSTATED = 6

    @property
    def label(self) -> str:
        """Stable name, as in notes, files and the contract's functions: ``two_commitments``."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Signed(Generic[S_co]):
    """A statement with the signature that somebody made of it, 65 bytes."""

    statement: S_co
    signature: bytes


@dataclass(frozen=True, slots=True)
class Pair(Generic[S_co]):
    """Two different statements of one node about one thing."""

    first: Signed[S_co]
    """The one that was seen first."""
    second: Signed[S_co]

    KIND: ClassVar[Kind]
    ROLE: ClassVar[Role]
    STATEMENT: ClassVar[type[Statement]]
    SIGNER: ClassVar[str]
    """Field that names who signed."""
    ABOUT: ClassVar[tuple[str, ...]]
    """Fields that say what both are about."""
    MAY_DIFFER: ClassVar[str | None] = None
    """Field in which honest repetitions differ."""

    @property
    def signer(self) -> StakingId:
        """Who signed both."""
        return StakingId(getattr(self.first.statement, self.SIGNER))

    @property
    def subject(self) -> Digest:
        """What the signer can be slashed for once."""
        return Digest(getattr(self.first.statement, self.ABOUT[0]))

    @property
    def statements(self) -> tuple[Signed[Statement], ...]:
        """All of it, in the order in which the contract takes it."""
        return (self.first, self.second)

    def fault(self) -> str | None:
        """Say why it proves nothing, None when it does if both are signed."""
        one, other = self.first.statement, self.second.statement
        if getattr(one, self.SIGNER) != getattr(other, self.SIGNER):
            return "they are of two nodes"
        if any(getattr(one, name) != getattr(other, name) for name in self.ABOUT):
            return "they are about two things"
        if one == other:
            return "they are the same"
        if self.MAY_DIFFER is not None:
            same = {self.MAY_DIFFER: getattr(one, self.MAY_DIFFER)}
            if other.model_copy(update=same) == one:
                return f"they differ in {self.MAY_DIFFER} only"
        return None

    def arguments(self) -> tuple[CallValue, ...]:
        """Give what the contract's function takes, but for the receiver."""
        one, other = self.first, self.second
        return (_struct(one.statement), _struct(other.statement), one.signature, other.signature)


class TwoCommitments(Pair[CommitmentStatement]):
    """A miner committed to two results for one award."""

    __slots__ = ()
    KIND = Kind.TWO_COMMITMENTS
    ROLE = Role.MINER
    STATEMENT = CommitmentStatement
    SIGNER = "miner"
    ABOUT = ("award",)


class TwoAwards(Pair[AwardStatement]):
    """A coordinator gave one claim two awards."""

    __slots__ = ()
    KIND = Kind.TWO_AWARDS
    ROLE = Role.COORDINATOR
    STATEMENT = AwardStatement
    SIGNER = "coordinator"
    ABOUT = ("claim",)


class TwoReceipts(Pair[ReceiptStatement]):
    """A coordinator gave one commitment two receipts that differ in more than their time."""

    __slots__ = ()
    KIND = Kind.TWO_RECEIPTS
    ROLE = Role.COORDINATOR
    STATEMENT = ReceiptStatement
    SIGNER = "coordinator"
    ABOUT = ("commitment",)
    MAY_DIFFER = "accepted"


class TwoVerdicts(Pair[VerdictStatement]):
    """A juror gave two verdicts in one round of a dispute."""

    __slots__ = ()
    KIND = Kind.TWO_VERDICTS
    ROLE = Role.MINER
    STATEMENT = VerdictStatement
    SIGNER = "juror"
    ABOUT = ("dispute", "round")

    @property
    def subject(self) -> Digest:
        """The round."""
        statement = self.first.statement
        return keccak256(statement.dispute.to_bytes(32, "big") + statement.round.to_bytes(32, "big"))


class TwoVouchers(Pair[VoucherStatement]):
    """A coordinator gave two vouchers one place of one boot."""

    __slots__ = ()
    KIND = Kind.TWO_VOUCHERS
    ROLE = Role.COORDINATOR
    STATEMENT = VoucherStatement
    SIGNER = "coordinator"
    ABOUT = ("boot", "sequence")

    @property
    def subject(self) -> Digest:
        """The boot."""
        return _boot(self.first.statement)


@dataclass(frozen=True, slots=True)
class Rise:
    """Two vouchers of one miner between which its promise rose."""

    before: Signed[VoucherStatement]
    after: Signed[VoucherStatement]


@dataclass(frozen=True, slots=True)
class Understated:
    """A coordinator's total rose by less than its promises did, within one boot."""

    early: Signed[VoucherStatement]
    late: Signed[VoucherStatement]
    rises: tuple[Rise, ...] = ()
    """Of different miners, none earlier than ``early`` or later than ``late``. None where the total fell."""

    KIND: ClassVar[Kind] = Kind.UNDERSTATED
    ROLE: ClassVar[Role] = Role.COORDINATOR

    @property
    def signer(self) -> StakingId:
        """Whose vouchers they are."""
        return self.early.statement.coordinator

    @property
    def subject(self) -> Digest:
        """The boot."""
        return _boot(self.early.statement)

    @property
    def statements(self) -> tuple[Signed[Statement], ...]:
        """All of it, in the order in which the contract takes it."""
        return self._all

    def fault(self) -> str | None:
        """Say why it proves nothing, None when it does if all are signed."""
        first, last = self.early.statement, self.late.statement
        if any((one.statement.coordinator, one.statement.boot) != (first.coordinator, first.boot) for one in self._all):
            return "they are of two coordinators or boots"
        if first.sequence >= last.sequence:
            return "the late voucher is not later than the early one"
        miners = [rise.before.statement.miner for rise in self.rises]
        if len(miners) > MAX_RISES or len(set(miners)) != len(miners):
            return f"it names more than {MAX_RISES} miners, or one twice"
        if any(not self._is_inside(rise) for rise in self.rises):
            return "the vouchers of a rise are not of one miner, in order, and between the two"
        if max(one.statement.cumulative for one in self._all) > MAX_PROMISE_WEI or first.issued_total > MAX_PROMISE_WEI:
            return "a promise is above 2^128 wei"
        risen = sum(rise.after.statement.cumulative - rise.before.statement.cumulative for rise in self.rises)
        if first.issued_total + risen <= last.issued_total:
            return "the total rose by as much as the promises"
        return None

    def arguments(self) -> tuple[CallValue, ...]:
        """Give what the contract's function takes, but for the receiver."""
        rises = tuple((_signed(rise.before), _signed(rise.after)) for rise in self.rises)
        return (_signed(self.early), _signed(self.late), rises)

    @property
    def _all(self) -> tuple[Signed[VoucherStatement], ...]:
        return (self.early, self.late, *(one for rise in self.rises for one in (rise.before, rise.after)))

    def _is_inside(self, rise: Rise) -> bool:
        before, after = rise.before.statement, rise.after.statement
        return (
            before.miner == after.miner
            and self.early.statement.sequence <= before.sequence < after.sequence <= self.late.statement.sequence
            and before.cumulative <= after.cumulative
        )


PairEvidence = TwoCommitments | TwoAwards | TwoReceipts | TwoVerdicts | TwoVouchers
Evidence = PairEvidence | Understated
PAIRS: Final[tuple[type[PairEvidence], ...]] = (TwoCommitments, TwoAwards, TwoReceipts, TwoVerdicts, TwoVouchers)


def name_of(evidence: Evidence) -> str:
    """Give the stable name of a piece of evidence: the same signer, kind and subject are proven but once."""
    about = bytes([evidence.KIND]) + evidence.signer.to_bytes(8, "big") + evidence.subject
    return hashlib.sha256(b"cuckoo/1/evidence" + about).hexdigest()


def proof_call(evidence: Evidence, receiver: Address) -> ContractCall:
    """Give the call that shows it to the contract, with the bounty for ``receiver``."""
    return ContractCall("Slashing", f"prove_{evidence.KIND.label}", (*evidence.arguments(), bytes(receiver)))


def signers_of(evidence: Evidence, domain: Domain) -> set[Address]:
    """Give whose keys signed: those of one node, or it proves nothing.

    Raises:
        InvalidMessage: ``statement.signature``: no key made one of the signatures.
    """
    return {signer(domain, signed.statement, signed.signature) for signed in evidence.statements}


def of_pair(first: Signed[Statement], second: Signed[Statement]) -> Evidence | None:
    """Give what two statements prove as a pair; None when they contradict each other in no way."""
    for kind in PAIRS:
        if isinstance(first.statement, kind.STATEMENT) and isinstance(second.statement, kind.STATEMENT):
            found = kind(first, second)  # type: ignore[arg-type]  # the line above checked both
            return found if found.fault() is None else None
    return None


def of_vouchers(one: Signed[VoucherStatement], other: Signed[VoucherStatement]) -> TwoVouchers | Understated | None:
    """Give what two vouchers prove by themselves, in whichever order they come; None when they may both be honest."""
    if one.statement.sequence == other.statement.sequence:
        pair = TwoVouchers(one, other)
        return pair if pair.fault() is None else None
    early, late = (one, other) if one.statement.sequence < other.statement.sequence else (other, one)
    # A promise that fell says nothing: the highest is what is owed.
    is_rise = early.statement.miner == late.statement.miner and early.statement.cumulative <= late.statement.cumulative
    found = Understated(early, late, (Rise(early, late),) if is_rise else ())
    return found if found.fault() is None else None


def _boot(voucher: VoucherStatement) -> Digest:
    return Digest(voucher.boot.to_bytes(32, "big"))


def _struct(statement: Statement) -> tuple[CallValue, ...]:
    """Give a statement as the contract's struct, whose members are the fields in order."""
    return tuple(getattr(statement, name) for name in type(statement).model_fields)


def _signed(signed: Signed[VoucherStatement]) -> tuple[CallValue, ...]:
    return (_struct(signed.statement), signed.signature)
