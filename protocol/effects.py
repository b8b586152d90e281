"""Everything that a core can ask for, as one closed union.

Effects run in order. ``Persist`` is durable before what follows it runs, so that a crash replays safely.
Spec: SPEC.md §3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from protocol.chain_records import ContractCall
from protocol.justice.evidence import Evidence
from protocol.notes import NoteName
from protocol.records import Record
from protocol.units import Digest, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.messages import GossipMessage, TaskSpecification, WorkMessage
from protocol.wire.sealed_messages import ShownAward

TimerKey = tuple[str, bytes, int]
"""(what, task or empty, attempt or 0)."""


class Lane(Enum):
    """Order in which a crowded outbox is emptied."""

    PRIORITY = 0
    """Claims, awards, results, receipts: a delay costs a task."""
    NORMAL = 1
    """Alive, capability."""


class Offence(Enum):
    """How bad an act of a peer is: about how many of them end in a ban."""

    GRAVE = 5
    """What deceives or could harm: malformed, wrongly signed, not what was promised."""
    MINOR = 20
    """What wastes some of our time: unasked for, too many, too slow."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Hear this gossip topic from now on."""

    topic: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Gossip this message, signed by our node key."""

    topic: str
    message: GossipMessage
    first: tuple[PeerId, ...] = ()
    """Who is to hear it before others, of those that we reach straight away."""
    head_start_ms: int = 0
    """How long (ms) before the others, if we reach all of them so; the next message ends it."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Have a connection to this peer, whose addresses the DHT or peer store knows. Success is a ``PeerUp``."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Open the work stream to a connected peer. Success is a ``StreamOpened``, failure a ``StreamClosed``."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Send:
    """One message on the work stream. Dropped and counted when the stream is gone or its outbox full."""

    peer: PeerId
    message: WorkMessage
    lane: Lane = Lane.PRIORITY


@dataclass(frozen=True, slots=True)
class SendEncoded:
    """As ``Send``, for bytes that were persisted and must go out unchanged."""

    peer: PeerId
    data: bytes


@dataclass(frozen=True, slots=True)
class SendArtifact:
    """One artifact on a stream of its own, read from the store by digest."""

    peer: PeerId
    task: TaskId
    attempt: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class SendInput:
    """A picture that an awarded task begins from, as ``SendArtifact`` but read from the inputs of unfinished tasks."""

    peer: PeerId
    task: TaskId
    attempt: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Provide:
    """Announce ourselves under this key in the DHT and keep the record fresh."""

    key: str


@dataclass(frozen=True, slots=True)
class FindProviders:
    """Look this key up in the DHT; answered by one ``ProvidersFound``, empty when nobody was found."""

    key: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fire ``TimerFired(key)`` at ``at`` or soon after; replaces a timer of the same key."""

    key: TimerKey
    at: UnixMillis


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget this timer; nothing happens when there is none."""

    key: TimerKey


@dataclass(frozen=True, slots=True)
class StartJob:
    """Give a task to the engine. Answered by progress and then exactly one ``JobFinished`` or ``JobFailed``."""

    task: TaskId
    attempt: int
    specification: TaskSpecification
    source: bytes | None = None
    """The picture that it begins from, a file whose digest and header are checked."""
    mask: bytes | None = None


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Stop this job between two steps. It still ends with ``JobFailed(reason="cancelled")`` or ``JobFinished``."""

    task: TaskId
    attempt: int


@dataclass(frozen=True, slots=True)
class Persist:
    """Make these records durable, all or none, before the next effect runs."""

    records: tuple[Record, ...]
    may_wait: bool = False
    """Nobody relies on them yet, and after a crash whoever told us what they say tells it again, or has left with his
    connection: they may become durable with the next records that may not wait, or some tenths of a second later.
    SPEC.md §3."""


@dataclass(frozen=True, slots=True)
class SubmitTx:
    """Make this call in a transaction, paid by the gas key. Answered by one ``TxConfirmed`` or ``TxFailed``.

    The wish is on disk before any effect of its batch runs. The same key again, also in another run, is the same
    wish: it makes no second transaction, and an outcome that is known already is told again.
    """

    key: str
    """Stable name of the wish, 1 to 128 characters, derived from what it is about."""
    call: ContractCall


@dataclass(frozen=True, slots=True)
class CheckEvidence:
    """Ask the chain whether a piece of evidence can be proven now, without sending anything.

    Answered by one ``EvidenceChecked`` as soon as a chain node answers.
    """

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class FetchBundle:
    """Ask the reporter of a dispute for its evidence, as a juror. Answered by one ``BundleFetched``."""

    dispute: int
    round: int
    evidence: Digest
    peer: PeerId
    """The reporter, whose addresses the DHT or peer store knows."""


@dataclass(frozen=True, slots=True)
class ComparePictures:
    """Decode two stored artifacts and say how far apart they look. Answered by one ``PicturesCompared``."""

    subject: TaskId
    """The task whose recheck asks, or what stands for a dispute."""
    one: Digest
    other: Digest


@dataclass(frozen=True, slots=True)
class Accepted:
    """The task will end with a picture or a named reason. It is on disk, unless it ends with its app's connection."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class Refused:
    """The task was not taken: ``code`` is stable, ``detail`` says what would be possible."""

    code: str
    detail: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one ``TaskSubmitted``."""

    request: int
    answer: Accepted | Refused


class Stage(StrEnum):
    """Where a task stands, as an app sees it."""

    QUEUED = "queued"
    OFFERED = "offered"
    CLAIMED = "claimed"
    PROGRESS = "progress"
    READY = "ready"
    """Its picture is here and good; of a collected task, which now waits for its app's word."""
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Update:
    """One piece of news about a task, for whoever waits for it."""

    stage: Stage
    at: UnixMillis
    attempt: int = 0
    miner: StakingId | None = None
    step: int = 0
    steps: int = 0
    artifact: Digest | None = None
    receipt: bytes | None = None
    """Encoded ``Receipt`` message, with ``DONE`` only."""
    reason: str | None = None
    """With ``FAILED``: why it ended. With ``QUEUED``: why it waits."""
    preview: bytes | None = None
    """With ``PROGRESS``, now and then: a small WebP file of what the picture may become."""
    award: ShownAward | None = None
    """With ``CLAIMED`` of a sealed task: what its app is to give the key for."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Tell the app. ``DONE`` and ``FAILED`` come once, and last."""

    task: TaskId
    update: Update


@dataclass(frozen=True, slots=True)
class Judge:
    """A peer did what honest peers do not. The transport drops the connection once its credit is spent."""

    peer: PeerId
    offence: Offence
    rule: str


@dataclass(frozen=True, slots=True)
class Note:
    """A domain event for people: becomes a log line, a metric and a trace. Never holds a prompt or a key."""

    name: NoteName
    task: TaskId | None = None
    fields: Mapping[str, str | int] = field(default_factory=dict)


Effect = (
    Subscribe
    | Publish
    | Connect
    | OpenStream
    | Send
    | SendEncoded
    | SendArtifact
    | SendInput
    | Provide
    | FindProviders
    | SetTimer
    | CancelTimer
    | StartJob
    | CancelJob
    | Persist
    | SubmitTx
    | CheckEvidence
    | ComparePictures
    | FetchBundle
    | Reply
    | Deliver
    | Judge
    | Note
)
