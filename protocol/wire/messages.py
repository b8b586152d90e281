"""Every message that nodes exchange: gossip, work stream and artifact stream.

A message is a msgpack map with ``kind`` and ``version``. A new field is a new version; an unknown kind or newer
version is ignored and counted; what is malformed is rejected and judged. Spec: SPEC.md §4.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from protocol.params import MAX_ARTIFACT_BYTES, MAX_PREVIEW_BYTES
from protocol.wire.app_messages import AppMessage, CoordinatorMessage
from protocol.wire.fields import (
    ANY_NUMERICS,
    AttemptField,
    DigestField,
    DurationField,
    EpochField,
    Frozen,
    MillisField,
    ModelName,
    MultiaddressText,
    NonceField,
    Numerics,
    ReasonText,
    SealingKey,
    SequenceField,
    SignatureField,
    StakingIdField,
    StepCount,
    StepPlace,
    TaskIdField,
    WeiField,
)
from protocol.wire.offer import Offer as Offer
from protocol.wire.sealed_messages import SealedBody as SealedBody
from protocol.wire.specification import MediaType as MediaType
from protocol.wire.specification import Pixels as Pixels
from protocol.wire.specification import TaskSpecification as TaskSpecification
from protocol.wire.specification import Work as Work
from protocol.wire.statements import (
    AwardStatement,
    ClaimStatement,
    CommitmentStatement,
    DeclineStatement,
    ReceiptStatement,
    VoucherStatement,
)

WORK_PROTOCOL: Final = "/cuckoo/1/work"
"""The kept stream between one miner and one coordinator."""
ARTIFACT_PROTOCOL: Final = "/cuckoo/1/artifact"
"""One stream per artifact, so that a large picture never holds up a claim."""


class AwardNotice(Frozen):
    """Public word that an attempt has a winner, so that later slots stay silent."""

    task: TaskIdField
    attempt: AttemptField
    winner: StakingIdField


ClosureReason = Literal["done", "failed", "cancelled"]
"""How a task ended, as everybody may know it."""


class Closure(Frozen):
    """Public word that a task needs no more claims."""

    task: TaskIdField
    reason: ClosureReason


class Bulletin(Frozen):
    """One gossip message of a coordinator on the topic of one model: offers, awards and closures together."""

    kind: Literal["bulletin"] = "bulletin"
    version: Literal[1] = 1
    coordinator: StakingIdField
    model: ModelName
    addresses: Annotated[tuple[MultiaddressText, ...], Field(max_length=8)]
    epoch: EpochField
    root: DigestField
    field: Annotated[bytes, Field(max_length=2500)]
    """Two bits per active miner of the table in address order: in the field, warm. 10,000 miners at most."""
    sent_at: MillisField
    offers: Annotated[tuple[Offer, ...], Field(max_length=64)]
    awards: Annotated[tuple[AwardNotice, ...], Field(max_length=64)]
    closures: Annotated[tuple[Closure, ...], Field(max_length=64)]


class Objection(Frozen):
    """Miner to everybody: the coordinator declined my claim for a worse rank, by its own signature. Gossiped."""

    kind: Literal["objection"] = "objection"
    version: Literal[1] = 1
    sent_at: MillisField
    claim: ClaimStatement
    claim_signature: SignatureField
    decline: DeclineStatement
    decline_signature: SignatureField


GossipMessage = Bulletin | Objection
"""Everything that may be gossiped."""


class ServedModel(Frozen):
    """One model that a miner serves now."""

    model: ModelName
    digest: DigestField
    warm: bool
    works: Annotated[tuple[Work, ...], Field(min_length=1, max_length=3)] = ("text_to_image",)
    numerics: Numerics = ANY_NUMERICS
    pixel_steps_per_s: Annotated[int, Field(ge=1, le=2**48)]
    """Of one usual picture by itself."""
    max_batch: Annotated[int, Field(ge=1, le=256)]
    """How many usual pictures it draws together."""


class Capability(Frozen):
    """What a miner serves now. Signed as an envelope; the highest sequence not expired is true."""

    kind: Literal["capability"] = "capability"
    version: Literal[1] = 1
    miner: StakingIdField
    sequence: SequenceField
    expires_at: MillisField
    models: Annotated[tuple[ServedModel, ...], Field(max_length=64)]
    free_places: Annotated[int, Field(ge=0, le=1024)]
    places: Annotated[int, Field(ge=0, le=1024)]
    price_floor: WeiField
    """Least price per pixel-step (wei) for which this miner claims."""
    addresses: Annotated[tuple[MultiaddressText, ...], Field(max_length=8)]
    sealing_key: SealingKey | None = None
    """Key to which specifications may be sealed; None: this miner takes none that are."""


class Hello(Frozen):
    """First message in both directions of a work stream: who speaks, on which network, and the highest voucher held."""

    kind: Literal["hello"] = "hello"
    version: Literal[1] = 1
    network: DigestField
    node: StakingIdField
    voucher: VoucherStatement | None
    voucher_signature: SignatureField | None


class CapabilityUpdate(Frozen):
    """A capability as the miner signed it. ``body`` is kept as received, so that it can be shown to others."""

    kind: Literal["capability_update"] = "capability_update"
    version: Literal[1] = 1
    body: Annotated[bytes, Field(max_length=20 * 1024)]
    signature: SignatureField


class Claim(Frozen):
    """Miner to coordinator: I will do it."""

    kind: Literal["claim"] = "claim"
    version: Literal[1] = 1
    statement: ClaimStatement
    signature: SignatureField


class Award(Frozen):
    """Coordinator to miner: it is yours, and this is the work."""

    kind: Literal["award"] = "award"
    version: Literal[1] = 1
    statement: AwardStatement
    signature: SignatureField
    specification: Annotated[bytes, Field(min_length=1, max_length=20 * 1024)]
    """An encoded ``TaskSpecification``."""
    salt: NonceField
    sealed_key: Annotated[bytes, Field(max_length=128)] | None = None
    """Key of a sealed specification, sealed to the miner; None: it is plain, or its app has not said it yet."""


class Decline(Frozen):
    """Coordinator to miner: not yours, with the reason and the winner."""

    kind: Literal["decline"] = "decline"
    version: Literal[1] = 1
    statement: DeclineStatement
    signature: SignatureField


class Alive(Frozen):
    """Miner to coordinator, every second of an awarded attempt: still here, and this far."""

    kind: Literal["alive"] = "alive"
    version: Literal[1] = 1
    task: TaskIdField
    attempt: AttemptField
    state: Literal["queued", "loading", "step", "encoding"]
    step: StepCount
    steps: StepCount
    wait_ms: DurationField
    """In ``queued``: expected wait. In ``step``: measured time of one step. Otherwise 0."""


class Preview(Frozen):
    """Miner to coordinator, now and then between two steps: what the picture may become. It binds nobody."""

    kind: Literal["preview"] = "preview"
    version: Literal[1] = 1
    task: TaskIdField
    attempt: AttemptField
    data: Annotated[bytes, Field(min_length=1, max_length=MAX_PREVIEW_BYTES)]
    """A small WebP file."""


class Result(Frozen):
    """Miner to coordinator: done, and this is what I stand by. The bytes come on an artifact stream."""

    kind: Literal["result"] = "result"
    version: Literal[1, 2] = 1
    """2 for any picture but a PNG."""
    commitment: CommitmentStatement
    signature: SignatureField
    media_type: MediaType
    size: Annotated[int, Field(ge=1, le=MAX_ARTIFACT_BYTES)]
    generation_ms: DurationField

    @model_validator(mode="after")
    def _check_version(self) -> Self:
        """Refuse a type that the version does not have."""
        if self.version == 1 and self.media_type != "image/png":
            raise ValueError("version 1 knows image/png only")
        return self


class Abandon(Frozen):
    """Miner to coordinator: I cannot finish this attempt, for this named reason."""

    kind: Literal["abandon"] = "abandon"
    version: Literal[1] = 1
    task: TaskIdField
    attempt: AttemptField
    reason: ReasonText


class Receipt(Frozen):
    """Coordinator to miner: accepted, and this is what you are owed."""

    kind: Literal["receipt"] = "receipt"
    version: Literal[1] = 1
    statement: ReceiptStatement
    signature: SignatureField
    voucher: VoucherStatement
    voucher_signature: SignatureField


class Reject(Frozen):
    """Coordinator to miner: this result is not taken (``superseded``: another was first; nobody is blamed)."""

    kind: Literal["reject"] = "reject"
    version: Literal[1] = 1
    task: TaskIdField
    attempt: AttemptField
    reason: ReasonText


class Cancel(Frozen):
    """Coordinator to miner: stop this attempt now."""

    kind: Literal["cancel"] = "cancel"
    version: Literal[1] = 1
    task: TaskIdField
    attempt: AttemptField
    reason: ReasonText


MAX_OPENED_STEPS: Final = 16
"""Most steps of one picture that are opened at once."""


class OpenSteps(Frozen):
    """Coordinator to miner, after the end of its task: show the fingerprints of these steps. See SPEC.md §12.8."""

    kind: Literal["open_steps"] = "open_steps"
    version: Literal[1] = 1
    task: TaskIdField
    attempt: AttemptField
    commitment: DigestField
    """Digest of the commitment whose root binds them."""
    steps: Annotated[tuple[StepPlace, ...], Field(min_length=1, max_length=MAX_OPENED_STEPS)]
    """In rising order."""


class OpenedStep(Frozen):
    """The fingerprint of one step, and what ties it to the root."""

    step: StepPlace
    fingerprint: Annotated[bytes, Field(min_length=128, max_length=128)]
    path: Annotated[tuple[DigestField, ...], Field(max_length=8)]
    """The hash beside the way to the root at each level that has one, from the leaf on."""


class OpenedSteps(Frozen):
    """Miner to coordinator: these are the steps that were asked for, or why there are none."""

    kind: Literal["opened_steps"] = "opened_steps"
    version: Literal[1] = 1
    task: TaskIdField
    attempt: AttemptField
    commitment: DigestField
    opened: Annotated[tuple[OpenedStep, ...], Field(max_length=MAX_OPENED_STEPS)]
    reason: ReasonText | None = None
    """``not_kept`` and what later releases may say; None with steps."""

    @model_validator(mode="after")
    def _check_either(self) -> Self:
        """Refuse steps with a reason for none, and neither."""
        if bool(self.opened) == (self.reason is not None):
            raise ValueError("either steps or a reason")
        return self


class ArtifactHeader(Frozen):
    """First frame of an artifact stream; exactly ``size`` bytes follow."""

    kind: Literal["artifact"] = "artifact"
    version: Literal[1] = 1
    task: TaskIdField
    attempt: AttemptField
    digest: DigestField
    size: Annotated[int, Field(ge=1, le=MAX_ARTIFACT_BYTES)]


WorkMessage = (
    Hello
    | CapabilityUpdate
    | Claim
    | Award
    | Decline
    | Alive
    | Preview
    | Result
    | Abandon
    | Receipt
    | Reject
    | Cancel
    | OpenSteps
    | OpenedSteps
)
"""Everything that may stand on a work stream."""

Message = (
    Bulletin
    | Objection
    | WorkMessage
    | ArtifactHeader
    | Capability
    | TaskSpecification
    | SealedBody
    | AppMessage
    | CoordinatorMessage
)
"""Everything that the codec encodes and decodes."""
