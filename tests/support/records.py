"""Builders of records with defaults, so that a test names only what it is about."""

import hashlib

from protocol.records import (
    ArtifactStored,
    ClaimSigned,
    ResultCommitted,
    TaskAccepted,
    TaskAwarded,
    TaskDone,
    TaskFailed,
    VoucherHeld,
    VoucherIssued,
)
from protocol.units import CAI, Digest, Epoch, StakingId, TaskId, UnixMillis, Wei

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


def issued(cumulative: int, sequence: int, miner: int = 9, boot: int = 1) -> VoucherIssued:
    return VoucherIssued(StakingId(miner), Wei(cumulative), boot, sequence, Wei(cumulative * 2), SIGNATURE)


def held(cumulative: int, sequence: int, coordinator: int = 4, boot: int = 1, earned: int = 0) -> VoucherHeld:
    total = Wei(cumulative * 2)
    return VoucherHeld(StakingId(coordinator), Wei(cumulative), boot, sequence, total, SIGNATURE, Wei(earned))
