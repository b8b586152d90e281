"""Everything that a core can hear, as one closed union.

If a rule needs something that is not here, add a field: cores never reach out. Spec: SPEC.md §3.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from protocol.chain_records import Confirmed, Failed, SettlementRead
from protocol.justice.dispute import DisputeSeen
from protocol.records import Record
from protocol.stake.table import EpochView
from protocol.task_events import Acceptance as Acceptance
from protocol.task_events import AppLeft as AppLeft
from protocol.task_events import AppReturned as AppReturned
from protocol.task_events import KeyGiven as KeyGiven
from protocol.task_events import PictureRejected as PictureRejected
from protocol.task_events import TaskCancelled as TaskCancelled
from protocol.task_events import TaskSubmitted as TaskSubmitted
from protocol.task_events import TaskTaken as TaskTaken
from protocol.units import Address, BlockNumber, Digest, PeerId, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.fields import ANY_NUMERICS
from protocol.wire.messages import GossipMessage
from protocol.wire.specification import MediaType, Work


@dataclass(frozen=True, slots=True)
class Restored:
    """First event of every run: what the store holds of earlier runs, empty on a new node."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class GossipReceived:
    """A gossip message that this core judged ACCEPT. ``signer`` is who published it, not who forwarded it."""

    topic: str
    message: GossipMessage
    signer: PeerId


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The work stream with this peer is ready in both directions."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class StreamReceived:
    """One frame from a work stream, not yet decoded, at most MAX_MESSAGE_BYTES."""

    peer: PeerId
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The work stream with this peer is gone, for whatever reason."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class ArtifactReceived:
    """A whole artifact stream: the header's names and the bytes, whose SHA-256 equals the header's digest."""

    peer: PeerId
    task: TaskId
    attempt: int
    digest: Digest
    data: bytes


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A connection to this peer is authenticated. Its standing is read from the stake table."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerDown:
    """The last connection to this peer is gone."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class ProvidersFound:
    """A DHT look-up ended. Records are hints: nobody here is known to be alive or honest."""

    key: str
    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer set by ``SetTimer`` is due."""

    key: tuple[str, bytes, int]


@dataclass(frozen=True, slots=True)
class StakeChanged:
    """The table and beacon of one epoch are fixed. Comes half an epoch before the epoch begins, and at start."""

    view: EpochView


@dataclass(frozen=True, slots=True)
class BlockSeen:
    """The follower is at this canonical block."""

    number: BlockNumber
    timestamp: UnixMillis


@dataclass(frozen=True, slots=True)
class ActivityChanged:
    """Other nodes than before are inactive now, in the newest confirmed block. Tables stay as they are."""

    inactive: frozenset[StakingId]
    """All registered nodes that are jailed or below their minimum."""


@dataclass(frozen=True, slots=True)
class SettlementSeen:
    """The Settlement contract after the newest confirmed block: what is new of escrows, and of our own payments.

    Comes with every confirmed block while this node is registered, first with all that is known.
    """

    read: SettlementRead
    gas_price: Wei | None
    """What one gas costs in that block (wei of the chain's coin); None where this is not the newest block yet, and more
    follows at once."""


@dataclass(frozen=True, slots=True)
class TxConfirmed:
    """The transaction of this key took effect, in a block with enough blocks on it."""

    key: str
    outcome: Confirmed


@dataclass(frozen=True, slots=True)
class TxFailed:
    """The transaction of this key has no effect and never will."""

    key: str
    outcome: Failed


class Provability(StrEnum):
    """What the chain says of a piece of evidence now."""

    PROVABLE = "provable"
    ALREADY_PROVEN = "already_proven"
    RESPITE = "respite"
    """Its signer was slashed lately: a proof would jail it only, and pays no bounty."""
    NOTHING_LEFT = "nothing_left"
    """Its signer has no stake any more."""
    REFUSED = "refused"
    """The contract does not take it; its words are the detail."""


@dataclass(frozen=True, slots=True)
class EvidenceChecked:
    """The answer to one ``CheckEvidence``."""

    name: str
    """Of the evidence."""
    answer: Provability
    detail: str
    """The contract's own sentence, or ours: for people."""
    receiver: Address
    """Owner of this node, who is to have the bounty; the zero address while the contract has no such node."""
    gas_price: Wei
    """What one gas costs now (wei of the chain's coin)."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """What the engine can do with one model."""

    model: str
    digest: Digest
    warm: bool
    pixel_steps_per_s: int
    """Of one usual picture by itself."""
    max_batch: int
    """How many usual pictures it draws together."""
    sizes: tuple[tuple[int, int], ...]
    """(width, height) in pixels that it draws well."""
    max_steps: int
    works: tuple[Work, ...] = ("text_to_image",)
    """Kinds of work that it does with it."""
    numerics: str = ANY_NUMERICS
    """The class of arithmetic in which it draws; ``any`` says nothing."""


@dataclass(frozen=True, slots=True)
class EngineChanged:
    """The engine came up, loaded or lost a model, or went down (then both are empty and zero)."""

    models: tuple[ModelState, ...]
    places: int
    """Jobs that it runs at once."""


@dataclass(frozen=True, slots=True)
class ServiceChanged:
    """A miner's owner, its hours or its device's heat lets it take work from now on, or no longer."""

    is_open: bool
    """Closed, it claims nothing and says that it serves nothing; what it was awarded is finished."""
    give_back: bool = False
    """What it was awarded is given back now, and what it claimed is not taken."""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """The engine's child answered: this job is in this state."""

    task: TaskId
    attempt: int
    state: Literal["queued", "loading", "step", "encoding"]
    step: int
    steps: int
    step_ms: int
    """Measured time of one step (ms), 0 while unknown."""
    preview: bytes | None = None
    """What the picture may become: a small WebP file, now and then."""


@dataclass(frozen=True, slots=True)
class JobFinished:
    """The picture is there. ``digest`` is the SHA-256 of ``data``."""

    task: TaskId
    attempt: int
    data: bytes
    digest: Digest
    media_type: MediaType
    model: Digest
    fingerprint: Digest
    """Root over ``fingerprints``; 32 zero bytes where there are none."""
    generation_ms: int
    fingerprints: bytes = b""
    """Of all steps, the first first, 128 bytes each; empty where the engine sees no latents."""


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The engine cannot make this picture; ``reason`` is a stable name."""

    task: TaskId
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class PicturesCompared:
    """How far apart two artifacts look: the answer to ``ComparePictures``."""

    subject: TaskId
    one: Digest
    other: Digest
    apart: int | None
    """The distance in parts per million, ``UNREADABLE`` where no decoder reads one of them; None where they could not
    be compared, for which nobody is to blame."""


@dataclass(frozen=True, slots=True)
class DisputesSeen:
    """The disputes in which this node has a part, after a confirmed block.

    Comes with every confirmed block while there are any: each that is open, and one that has ended once more.
    """

    block: BlockNumber
    at_s: int
    """Time of the block (unix s)."""
    gas_price: Wei
    """What one gas costs now (wei of the chain's coin)."""
    disputes: tuple[DisputeSeen, ...]


@dataclass(frozen=True, slots=True)
class BundleFetched:
    """The answer to one ``FetchBundle``."""

    dispute: int
    round: int
    data: bytes | None
    """What the reporter showed, with the digest that was asked for; None where it did not."""
    reason: str = ""
    """Why there is nothing: a stable name."""
    signed_by: tuple[StakingId | None, ...] = ()
    """Whose keys signed result, capability and award, by the staking contract, also keys that were changed lately; None
    for nobody's."""
    is_ours: bool = False
    """Whether there is nothing for a reason of our own: the reporter showed it, and no chain node says who signed."""


Event = (
    Restored
    | GossipReceived
    | StreamOpened
    | StreamReceived
    | StreamClosed
    | ArtifactReceived
    | PeerUp
    | PeerDown
    | ProvidersFound
    | TimerFired
    | StakeChanged
    | BlockSeen
    | ActivityChanged
    | TxConfirmed
    | TxFailed
    | EvidenceChecked
    | EngineChanged
    | ServiceChanged
    | JobProgress
    | JobFinished
    | JobFailed
    | TaskSubmitted
    | TaskCancelled
    | TaskTaken
    | KeyGiven
    | PictureRejected
    | AppLeft
    | AppReturned
    | SettlementSeen
    | PicturesCompared
    | DisputesSeen
    | BundleFetched
)
