"""The life of one task at its coordinator, as a table of states.

Rules for editors: states change only through ``Task.move``; the table below is the specification. A task ends once.
Spec: SPEC.md §9.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from protocol.stake.table import StakeTable
from protocol.units import Digest, Epoch, PeerId, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.fields import ANY_NUMERICS
from protocol.wire.messages import Award, CapabilityUpdate, Claim, Offer, Result, TaskSpecification


class TaskState(Enum):
    """Where a task stands."""

    QUEUED = "queued"
    """On disk, not offered at this moment."""
    OFFERED = "offered"
    """An attempt is public and nobody has it."""
    AWARDED = "awarded"
    """A miner holds a lease on it."""
    DONE = "done"
    FAILED = "failed"


NEXT: Final[Mapping[TaskState, frozenset[TaskState]]] = {
    TaskState.QUEUED: frozenset({TaskState.OFFERED, TaskState.AWARDED, TaskState.DONE, TaskState.FAILED}),
    TaskState.OFFERED: frozenset({TaskState.QUEUED, TaskState.AWARDED, TaskState.DONE, TaskState.FAILED}),
    TaskState.AWARDED: frozenset({TaskState.QUEUED, TaskState.DONE, TaskState.FAILED}),
    TaskState.DONE: frozenset(),
    TaskState.FAILED: frozenset(),
}
"""What may follow what. ``DONE`` is reachable from every open state: any awarded attempt may win, also a late one."""


@dataclass(frozen=True, slots=True)
class PendingClaim:
    """A valid claim that waits for a better rank to speak or pass."""

    peer: PeerId
    claim: Claim
    digest: Digest
    rank: int | None
    """Place in the order; None outside it."""
    place: float
    """The rank, or the place behind the order."""


@dataclass(frozen=True, slots=True)
class DrawnFrom:
    """What a bulletin said of one offer: with the table and its beacon, the whole draw."""

    epoch: Epoch
    root: Digest
    field: bytes
    offer: Offer


@dataclass(slots=True)
class OpenAttempt:
    """One public attempt of a task."""

    published_at: UnixMillis
    """t0: only the coordinator's clock counts."""
    offer: Digest
    """Digest of the offer as published: a claim must name it."""
    ticket: Digest
    table: StakeTable
    """What it is drawn from."""
    order: tuple[StakingId, ...]
    slot_step_ms: int
    allowance_ms: int
    clock_set_back: int = 0
    """How often the coordinator's clock had been set back by then: if it is again, no claim can be called early."""
    drawn_from: DrawnFrom | None = None
    """Of a sealed task, whose app is shown it."""
    claims: dict[StakingId, PendingClaim] = field(default_factory=dict)
    too_early: set[StakingId] = field(default_factory=set)
    """Miners that raced and are out for this attempt."""


@dataclass(slots=True)
class AwardedAttempt:
    """One attempt that a miner was given. It may deliver even after its lease ended."""

    attempt: int
    miner: StakingId
    peer: PeerId
    award: Award
    award_digest: Digest
    awarded_at: UnixMillis
    rank: int | None
    """The winner's in the draw, NO_RANK outside it; None when an earlier run gave the award: it is not on disk."""
    last_alive: UnixMillis
    progress_deadline: UnixMillis
    progress: tuple[str, int] = ("awarded", 0)
    """Last (state, step) heard: a new one moves the progress deadline."""
    stated_wait_ms: int = 0
    """How long (ms) the miner said that it would be queued."""
    previewed_at: UnixMillis = UnixMillis(0)
    inputs_sent: int = 0
    """How often the pictures that the task begins from were sent to the miner."""
    inputs_sent_at: UnixMillis = UnixMillis(0)
    steps_end_by: UnixMillis | None = None
    """When all its steps must be done, by the speed that its miner states; None before the first."""
    result: Result | None = None
    artifact: bytes | None = None
    artifact_digest: Digest | None = None
    """SHA-256 of ``artifact``."""
    sealed_key: bytes | None = None
    """Of a sealed task: what its app sealed to the miner for this award."""
    sealed_key_at: UnixMillis = UnixMillis(0)
    said: CapabilityUpdate | None = None
    """What its miner said, signed, that it serves when it was given this; None when an earlier run gave the award."""
    numerics: str = ANY_NUMERICS
    """The class of arithmetic that it named in that for the task's model."""

    def message(self) -> Award:
        """Give the award as it is sent again: with the key, once there is one."""
        return self.award if self.sealed_key is None else self.award.model_copy(update={"sealed_key": self.sealed_key})


@dataclass(slots=True)
class Task:
    """Everything a coordinator knows of one unfinished task."""

    id: TaskId
    epoch: Epoch
    """Epoch of acceptance: part of its name, and what it is drawn from as long as that is acceptable."""
    boot: int
    number: int
    specification: TaskSpecification
    encoded: bytes
    """The specification as persisted: its digest and the award are over these bytes."""
    salt: bytes
    price: Wei
    detached: bool
    idempotency_key: str | None
    accepted_at: UnixMillis
    deadline: UnixMillis
    account: str = ""
    """Whose share of the queue it takes."""
    input_bytes: int = 0
    """Bytes of the pictures that it begins from, on this disk."""
    collected: bool = False
    """Whether it ends with a picture only once its app takes this."""
    may_be_disputed: bool = False
    """Whether its app lets jurors see prompt and picture."""
    taken: bool = False
    """Whether its app has said so."""
    acceptance: bytes | None = None
    """Of a sealed one: the signature by which it has."""
    ready: int | None = None
    """The attempt whose picture is here and waits for that word."""
    returned_for: int | None = None
    """The attempt for whose picture its app was given time anew, since it came back."""
    input_faults: int = 0
    """How many miners could not read these."""
    state: TaskState = TaskState.QUEUED
    attempt: int = -1
    """Number of the last attempt made public; -1 before the first."""
    failures: int = 0
    """Attempts that were awarded and did not deliver."""
    rounds: int = 0
    """Attempts since the last award or start that nobody claimed: sets the pause before the next."""
    excluded: frozenset[StakingId] = frozenset()
    """Miners that failed this task: their field bits are cleared for it."""
    forgiven: frozenset[StakingId] = frozenset()
    """Miners whose claim had expired when its award came: once is the network's fault, twice is theirs."""
    refused_by: frozenset[StakingId] = frozenset()
    """Miners whose owners do not let it be drawn."""
    offered: OpenAttempt | None = None
    """The last attempt that was made public; forgotten once the miner that has it gives a sign of life."""
    awards: dict[int, AwardedAttempt] = field(default_factory=dict)
    declines: dict[str, int] = field(default_factory=dict)
    """Why it waits: declines and abandons, counted by reason."""

    @property
    def open(self) -> OpenAttempt | None:
        """The attempt that is public now."""
        return self.offered if self.state is TaskState.OFFERED else None

    def move(self, state: TaskState) -> None:
        """Go to another state; a move that the table does not have is a fault of ours."""
        assert state in NEXT[self.state], f"{self.state} -> {state}"
        self.state = state

    @property
    def holder(self) -> AwardedAttempt | None:
        """The attempt that holds the lease now."""
        return self.awards.get(self.attempt) if self.state is TaskState.AWARDED else None

    def count(self, reason: str) -> None:
        """Remember one more reason for waiting."""
        if reason in self.declines or len(self.declines) < 32:
            self.declines[reason] = self.declines.get(reason, 0) + 1

    def why_waiting(self) -> str:
        """Say why nobody works on it yet, for people."""
        counted = ", ".join(f"{reason} x{count}" for reason, count in sorted(self.declines.items()))
        return counted or "no miner has claimed it yet"
