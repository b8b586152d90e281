"""What must be on disk before anything that follows from it leaves the node.

The same records come back in ``Restored`` after a restart. Spec: SPEC.md §9.
"""

from dataclasses import dataclass
from enum import StrEnum

from protocol.chain_records import SettlementRead, TransactionRequested, TransactionSettled
from protocol.justice.evidence import Evidence
from protocol.task.priority import Priority
from protocol.units import Digest, Epoch, StakingId, TaskId, UnixMillis, Wei


@dataclass(frozen=True, slots=True)
class BootStarted:
    """A coordinator began a run. Task numbers restart at 0 under the new boot, and in each epoch of it."""

    boot: int


@dataclass(frozen=True, slots=True)
class TaskAccepted:
    """A task that the app may rely on from now on."""

    task: TaskId
    epoch: Epoch
    """Epoch of acceptance."""
    boot: int
    number: int
    """Place among the tasks accepted in this boot and epoch, from 0."""
    specification: bytes
    """Encoded ``TaskSpecification``."""
    salt: bytes
    price: Wei
    detached: bool
    idempotency_key: str | None
    accepted_at: UnixMillis
    deadline: UnixMillis
    priority: Priority = Priority.NORMAL
    account: str = ""
    """Whose use it counts as; empty is nobody's."""
    input_bytes: int = 0
    """Bytes of the pictures that it begins from, which are on disk as long as it is unfinished."""
    collected: bool = False
    """Whether it ends with a picture only on its app's word."""
    may_be_disputed: bool = False
    """Whether its app lets prompt and picture be shown to jurors, where the picture turns out to be wrong."""


@dataclass(frozen=True, slots=True)
class InputStored:
    """A picture that an accepted task begins from. It follows its task's record, and goes when the task ends.

    Where a ``RecheckKept`` of the task is open then, it goes when that has an outcome.
    """

    task: TaskId
    digest: Digest
    data: bytes


@dataclass(frozen=True, slots=True)
class InputsShared:
    """An accepted task begins from the pictures of another one, which is drawn again. It follows its task's record."""

    task: TaskId
    subject: TaskId


@dataclass(frozen=True, slots=True)
class TaskAwarded:
    """An attempt was given to a miner: written before the award is sent, so that a claim has one award."""

    task: TaskId
    attempt: int
    miner: StakingId
    claim: Digest
    award: bytes
    """Encoded ``Award`` message, for sending again byte for byte."""
    awarded_at: UnixMillis


@dataclass(frozen=True, slots=True)
class TaskDone:
    """The one result of a task, its receipt and voucher: one compare-and-set (done IS NULL)."""

    task: TaskId
    attempt: int
    miner: StakingId
    artifact: Digest
    media_type: str
    receipt: bytes
    """Encoded ``Receipt`` message, sent again byte for byte on every reconnect."""
    finished_at: UnixMillis
    generation_ms: int
    acceptance: bytes | None = None
    """Of a sealed task: the signed word of its app, on which it was done."""


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """The task ended without a picture, for a named reason."""

    task: TaskId
    reason: str
    finished_at: UnixMillis


@dataclass(frozen=True, slots=True)
class LeftPaid:
    """The miner of a failed task is paid: its picture was there in time, and its app left it."""

    task: TaskId
    attempt: int
    miner: StakingId
    artifact: Digest
    media_type: str
    receipt: bytes
    """Encoded ``Receipt`` message, sent again byte for byte."""


@dataclass(frozen=True, slots=True)
class VoucherIssued:
    """Highest promise of this coordinator to one miner, and its running totals."""

    miner: StakingId
    cumulative: Wei
    boot: int
    sequence: int
    issued_total: Wei
    signature: bytes


@dataclass(frozen=True, slots=True)
class ArtifactStored:
    """Bytes of a picture, kept as a file named by digest."""

    digest: Digest
    data: bytes


@dataclass(frozen=True, slots=True)
class ClaimSigned:
    """A miner's nonce: only a claim that is in the present store may be followed by a commitment."""

    task: TaskId
    attempt: int
    coordinator: StakingId
    nonce: bytes
    claim: Digest


@dataclass(frozen=True, slots=True)
class ResultCommitted:
    """The sign-once record of a miner: the only commitment that it ever signs for this award."""

    award: Digest
    task: TaskId
    attempt: int
    coordinator: StakingId
    artifact: Digest
    result: bytes
    """Encoded ``Result`` message, sent again byte for byte until acknowledged."""
    committed_at: UnixMillis
    price: Wei | None = None
    """What the award promised (wei); None where an older release wrote the record."""


@dataclass(frozen=True, slots=True)
class StepsKept:
    """The fingerprints that a miner committed to, for as long as its coordinator may ask to see some of them."""

    task: TaskId
    attempt: int
    coordinator: StakingId
    commitment: Digest
    """Digest of the commitment that carries their root."""
    root: Digest
    fingerprints: bytes
    """Of all steps, the first first, 128 bytes each."""
    kept_at: UnixMillis


@dataclass(frozen=True, slots=True)
class ResultSettled:
    """The coordinator acknowledged (or refused) a result: it need not be sent again."""

    award: Digest


@dataclass(frozen=True, slots=True)
class VoucherHeld:
    """The highest voucher that a miner holds of one coordinator, and what it has to cover at least."""

    coordinator: StakingId
    cumulative: Wei
    boot: int
    sequence: int
    issued_total: Wei
    signature: bytes
    earned: Wei
    """Sum of the prices of all receipts that the coordinator gave (wei)."""


@dataclass(frozen=True, slots=True)
class EvidenceFound:
    """Statements that contradict each other, as they were signed: on disk before anything else is done about them."""

    evidence: Evidence
    found_at: UnixMillis


class CaseState(StrEnum):
    """How far a piece of evidence has come."""

    FOUND = "found"
    ASKED = "asked"
    """A transaction is to show it to the contract."""
    PROVEN = "proven"
    """Ours did."""
    ALREADY_PROVEN = "already_proven"
    """Somebody else did."""
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class CaseChanged:
    """What came of a piece of evidence. The last one counts."""

    name: str
    """As ``protocol.justice.evidence.name_of`` gives it."""
    state: CaseState
    at: UnixMillis
    detail: str = ""
    """Why it was given up: for people."""
    transaction: Digest | None = None
    """Which proved it."""
    slashed: Wei = Wei(0)
    """What the signer and its voters lost (wei)."""
    bounty: Wei = Wei(0)
    """What of that our owner was paid (wei)."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One miner's picture of a task that is drawn again, with what it signed for it."""

    task: TaskId
    attempt: int
    miner: StakingId
    artifact: Digest
    result: bytes
    """Encoded ``Result`` message: its signed commitment is evidence."""
    numerics: str
    """The class of arithmetic in which the miner said that it draws."""
    steps: str = ""
    """What came of the question for its steps, a stable name of ``protocol.task.recheck``; empty before."""
    opened: bytes = b""
    """Encoded ``OpenedSteps`` message, as the miner answered."""
    capability: bytes = b""
    """The encoded ``CapabilityUpdate`` in which it said so; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class RecheckKept:
    """How far a recheck is: written with whatever changes it, and again once it is over."""

    subject: TaskId
    """The finished task whose picture is looked at."""
    specification: bytes
    """Encoded ``TaskSpecification``."""
    planned_at: UnixMillis
    due_at: UnixMillis
    """When the next drawing is ordered."""
    tries: int
    """Drawings ordered or put off so far."""
    pending: TaskId | None
    """The task that is drawn now."""
    spent: Wei
    drawings: tuple[Drawing, ...]
    outcome: str = ""
    """A stable name once it is over."""
    odd: tuple[StakingId, ...] = ()
    """Miners whose pictures differ from those that agree."""
    far: tuple[StakingId, ...] = ()
    """Of these, whose pictures show something else: no juror finds any other wrong."""
    may_be_disputed: bool = False
    """Whether the app, or the coordinator's owner for all apps, lets jurors see prompt and picture."""


@dataclass(frozen=True, slots=True)
class ReputationKept:
    """What a coordinator thinks of a miner, as of a moment: numbers fade from there."""

    miner: StakingId
    at: UnixMillis
    delivered: float
    lost: float
    passed: float
    doubt: float
    left_out_until: UnixMillis
    passed_ever: int
    odd_ever: int


@dataclass(frozen=True, slots=True)
class PayerKept:
    """What a miner thinks of a coordinator, as of a moment: the first numbers fade from there."""

    coordinator: StakingId
    at: UnixMillis
    paid: float
    unpaid: float
    rejected: float
    taken_back: float
    short: float
    paid_ever: int
    allowed: Wei
    """What it may leave without a receipt, by those that it gave."""
    lost: Wei
    """What results were worth that were never paid, were not made up for by a receipt, and are not forgotten."""
    dearest: Wei
    """What the dearest of them was worth: as much is forgotten at a time."""
    lost_since: UnixMillis
    """From when on the next of it is forgotten; 0 without any."""
    tries: int
    """How often it was tried again since the last receipt, and did not pay then either; in halves."""


@dataclass(frozen=True, slots=True)
class VerdictKept:
    """The sign-once record of a juror: the only verdict that it ever signs in this round of this dispute."""

    dispute: int
    round: int
    evidence: Digest
    """Digest of what it judged."""
    verdict: int
    """1 wrong, 2 right, 3 cannot judge."""
    signature: bytes
    reason: str
    """Why: a stable name."""
    signed_at: UnixMillis
    juror: StakingId
    """As whom it was signed: a seat is a node's, whatever its key is by now. 0 where an earlier version kept it."""


Record = (
    BootStarted
    | TaskAccepted
    | InputStored
    | InputsShared
    | TaskAwarded
    | TaskDone
    | TaskFailed
    | LeftPaid
    | VoucherIssued
    | ArtifactStored
    | ClaimSigned
    | ResultCommitted
    | StepsKept
    | ResultSettled
    | VoucherHeld
    | EvidenceFound
    | CaseChanged
    | RecheckKept
    | ReputationKept
    | PayerKept
    | VerdictKept
    | SettlementRead
    | TransactionRequested
    | TransactionSettled
)
