"""What a miner holds of the tasks that it was awarded. Spec: SPEC.md §9."""

from dataclasses import dataclass
from typing import Final

from protocol.records import ResultCommitted
from protocol.units import Digest, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.messages import Award, TaskSpecification

RESEND_MS: Final = 5000
"""Pause (ms) before an unacknowledged result is sent again."""


@dataclass(slots=True)
class Job:
    """One awarded attempt that the engine has."""

    task: TaskId
    attempt: int
    coordinator: StakingId
    peer: PeerId
    award: Award
    award_digest: Digest
    specification: TaskSpecification
    awarded_at: UnixMillis
    said: tuple[str, int] = ("", -1)
    said_at: UnixMillis = UnixMillis(0)
    preview: bytes | None = None
    """The latest, until it is told."""
    content_key: bytes | None = None
    """Of a sealed task that is open: its picture is sealed too, and nothing else is told of it."""


@dataclass(slots=True)
class Delivery:
    """A signed result that its coordinator has not acknowledged yet."""

    committed: ResultCommitted
    named: tuple[StakingId, Digest] | None = None
    """Who signed its commitment, and the digest of that; None where an earlier run did."""
    pause_ms: int = RESEND_MS
    """Until it is sent again."""
