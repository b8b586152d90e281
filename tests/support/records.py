"""Builders of records with defaults, so that a test names only what it is about."""

import hashlib

from protocol.chain_records import Escrow, Payment, SettlementRead
from protocol.justice.evidence import Rise, Signed, Understated, name_of
from protocol.records import (
    ArtifactStored,
    CaseChanged,
    CaseState,
    ClaimSigned,
    Drawing,
    EvidenceFound,
    LeftPaid,
    PayerKept,
    RecheckKept,
    ReputationKept,
    ResultCommitted,
    StepsKept,
    TaskAccepted,
    TaskAwarded,
    TaskDone,
    TaskFailed,
    VerdictKept,
    VoucherHeld,
    VoucherIssued,
)
from protocol.units import CAI, BlockNumber, Digest, Epoch, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.statements import VoucherStatement

NOW = UnixMillis(1_800_000_000_000)
SIGNATURE = b"\x11" * 65


def digest_of(*parts: object) -> Digest:
    return Digest(hashlib.sha256(repr(parts).encode()).digest())


def task_id(number: int) -> TaskId:
    return TaskId(digest_of("task", number))


def accepted(number: int = 1, *, key: str | None = None, at: UnixMillis = NOW, detached: bool = True) -> TaskAccepted:
    return TaskAccepted(
        task=task_id(number),
        epoch=Epoch(7),
        boot=1_800_000_000,
        number=number,
        specification=b"specification " + str(number).encode(),
        salt=b"s" * 16,
        price=Wei(2**70 + number),
        detached=detached,
        idempotency_key=key,
        accepted_at=at,
        deadline=UnixMillis(at + 600_000),
    )


def awarded(number: int = 1, attempt: int = 0, miner: int = 2**64 - 1) -> TaskAwarded:
    return TaskAwarded(
        task=task_id(number),
        attempt=attempt,
        miner=StakingId(miner),
        claim=digest_of("claim", number, attempt),
        award=b"award bytes",
        awarded_at=NOW,
    )


def done(
    number: int = 1, *, at: UnixMillis = NOW, artifact: bytes = b"picture", receipt: bytes = b"receipt"
) -> TaskDone:
    return TaskDone(
        task=task_id(number),
        attempt=0,
        miner=StakingId(9),
        artifact=Digest(hashlib.sha256(artifact).digest()),
        media_type="image/png",
        receipt=receipt,
        finished_at=at,
        generation_ms=412,
    )


def failed(number: int = 1, reason: str = "no_miner") -> TaskFailed:
    return TaskFailed(task_id(number), reason, NOW)


def left_paid(number: int = 1, *, artifact: bytes = b"picture", receipt: bytes = b"receipt") -> LeftPaid:
    named = Digest(hashlib.sha256(artifact).digest())
    return LeftPaid(task_id(number), 0, StakingId(9), named, "image/png", receipt)


def picture(data: bytes = b"picture") -> ArtifactStored:
    return ArtifactStored(Digest(hashlib.sha256(data).digest()), data)


def claim(number: int = 1, attempt: int = 0) -> ClaimSigned:
    return ClaimSigned(
        task=task_id(number),
        attempt=attempt,
        coordinator=StakingId(4),
        nonce=digest_of("nonce", number, attempt)[:16],
        claim=digest_of("claim", number, attempt),
    )


def committed(number: int = 1, attempt: int = 0, artifact: bytes = b"picture") -> ResultCommitted:
    return ResultCommitted(
        award=digest_of("award", number, attempt),
        task=task_id(number),
        attempt=attempt,
        coordinator=StakingId(4),
        artifact=Digest(hashlib.sha256(artifact).digest()),
        result=b"result bytes",
        committed_at=NOW,
        price=Wei(12 * CAI),
    )


def steps_kept(number: int = 1, *, at: UnixMillis = NOW) -> StepsKept:
    root = digest_of("root", number)
    return StepsKept(task_id(number), 0, StakingId(2**63), digest_of("signed", number), root, b"steps" * 64, at)


def issued(cumulative: int, sequence: int, miner: int = 9, boot: int = 1) -> VoucherIssued:
    return VoucherIssued(StakingId(miner), Wei(cumulative), boot, sequence, Wei(cumulative * 2), SIGNATURE)


def held(cumulative: int, sequence: int, coordinator: int = 4, boot: int = 1, earned: int = 0) -> VoucherHeld:
    total = Wei(cumulative * 2)
    return VoucherHeld(StakingId(coordinator), Wei(cumulative), boot, sequence, total, SIGNATURE, Wei(earned))


def escrow(deposited: int = 100 * CAI, *, coordinator: int = 4, withdrawing: int = 0, redeemed: int = 0) -> Escrow:
    return Escrow(StakingId(coordinator), Wei(deposited), Wei(withdrawing), Wei(redeemed), Wei(0))


def payment(
    amount: int, *, block: int = 5, place: int = 0, coordinator: int = 4, miner: int = 9, acknowledged: int = 0
) -> Payment:
    return Payment(
        block=BlockNumber(block),
        place=place,
        transaction=digest_of("redemption", block),
        at=UnixMillis(NOW + 1000 * block),
        coordinator=StakingId(coordinator),
        miner=StakingId(miner),
        amount=Wei(amount),
        acknowledged=Wei(acknowledged or amount),
        unpaid=Wei(0),
    )


def settlement_read(
    *payments: Payment, block: int = 5, contract: str = "contract", anew: bool = False, escrows: tuple[Escrow, ...] = ()
) -> SettlementRead:
    return SettlementRead(contract, BlockNumber(block), digest_of("block", block), payments, escrows, anew)


def voucher(cumulative: int, sequence: int, issued_total: int) -> VoucherStatement:
    return VoucherStatement(
        coordinator=StakingId(4),
        miner=StakingId(9),
        cumulative=Wei(cumulative),
        boot=1,
        sequence=sequence,
        issued_total=Wei(issued_total),
    )


def proven(evidence: EvidenceFound) -> CaseChanged:
    """What a proof of it came to."""
    return CaseChanged(
        name_of(evidence.evidence),
        CaseState.PROVEN,
        UnixMillis(NOW + 5000),
        "",
        digest_of("proof"),
        Wei(100 * CAI),
        Wei(10 * CAI),
    )


def contradicting(signer: int = 4) -> EvidenceFound:
    """Two vouchers of one coordinator, whose total rose by less than its promise."""
    early, late = (
        Signed(one.model_copy(update={"coordinator": StakingId(signer)}), SIGNATURE)
        for one in (voucher(10, 1, 10), voucher(20, 2, 12))
    )
    return EvidenceFound(Understated(early, late, (Rise(early, late),)), NOW)


def drawing(number: int = 1, *, miner: int = 9, artifact: bytes = b"picture", capability: bytes = b"said") -> Drawing:
    digest = Digest(hashlib.sha256(artifact).digest())
    return Drawing(task_id(number), 0, StakingId(miner), digest, b"result bytes", "float32-cpu", capability=capability)


def recheck(
    number: int = 1,
    *drawings: Drawing,
    at: UnixMillis = NOW,
    pending: int | None = None,
    outcome: str = "",
    odd: tuple[int, ...] = (),
    far: tuple[int, ...] = (),
    may_be_disputed: bool = False,
) -> RecheckKept:
    return RecheckKept(
        subject=task_id(number),
        specification=b"specification",
        planned_at=at,
        due_at=UnixMillis(at + 60_000),
        tries=len(drawings),
        pending=None if pending is None else task_id(pending),
        spent=Wei(2**70),
        drawings=drawings or (drawing(number),),
        outcome=outcome,
        odd=tuple(map(StakingId, odd)),
        far=tuple(map(StakingId, far)),
        may_be_disputed=may_be_disputed,
    )


def verdict(dispute: int = 7, *, round_: int = 0, verdict: int = 1) -> VerdictKept:
    return VerdictKept(dispute, round_, Digest(b"e" * 32), verdict, b"\x05" * 65, "apart", NOW, StakingId(9))


def reputation(miner: int = 2**64 - 1, *, at: UnixMillis = NOW, doubt: float = 2.5, until: int = 0) -> ReputationKept:
    return ReputationKept(StakingId(miner), at, 12.25, 0.5, 3.0, doubt, UnixMillis(until), 4, 1)


def payer(coordinator: int = 2**64 - 1, *, at: UnixMillis = NOW, lost: int = 1) -> PayerKept:
    wei = (Wei(2**255), Wei(lost), Wei(1))
    return PayerKept(StakingId(coordinator), at, 12.25, 0.5, 1.5, 0.25, 1.0, 14, *wei, UnixMillis(at - 1), 4)
