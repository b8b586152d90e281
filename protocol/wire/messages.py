"""Every message that nodes exchange: gossip, work stream and artifact stream.

A message is a msgpack map with ``kind`` and ``version``. A new field is a new version; an unknown kind or newer
version is ignored and counted; what is malformed is rejected and judged. Spec: SPEC.md §4.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from protocol.params import MAX_ARTIFACT_BYTES, MAX_PREVIEW_BYTES, MAX_PROMPT_CHARACTERS
from protocol.wire.fields import (
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
    TaskIdField,
    WeiField,
)
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

Pixels = Annotated[int, Field(ge=16, le=4096)]
Work = Literal["text_to_image", "image_to_image", "inpaint"]
"""Kinds of work that the wire format can name; the catalog says which a network offers."""


class TaskSpecification(Frozen):
    """What an app asks for. It travels only inside an award, to the winner alone."""

    kind: Literal["specification"] = "specification"
    version: Literal[1] = 1
    work: Work = "text_to_image"
    model: ModelName
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
    negative_prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)] = ""
    width: Pixels
    height: Pixels
    steps: Annotated[int, Field(ge=1, le=200)]
    guidance: Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)]
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)]
    source: DigestField | None = None
    """SHA-256 of the picture to begin from; needed by all work but text_to_image."""
    mask: DigestField | None = None
    """SHA-256 of the mask; needed by inpaint."""
    strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """How far the source may be left behind; None leaves it to the model."""
    scheduler: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{0,64}$")] = ""
    """Class name of a diffusers scheduler; empty is the model's own."""
    numerics: Numerics = "any"

    @model_validator(mode="after")
    def _check_inputs(self) -> Self:
        """Refuse inputs that the kind of work does not have, and the lack of those that it needs."""
        if (self.source is not None) != (self.work != "text_to_image"):
            raise ValueError("source belongs to image_to_image and inpaint")
        if (self.mask is not None) != (self.work == "inpaint"):
            raise ValueError("mask belongs to inpaint")
        if self.strength is not None and self.work == "text_to_image":
            raise ValueError("strength belongs to image_to_image and inpaint")
        return self

    @property
    def pixels(self) -> int:
        """Size of the picture: width × height."""
        return self.width * self.height

    @property
    def pixel_steps(self) -> int:
        """Size of the work: pixels × steps."""
        return self.pixels * self.steps


class Offer(Frozen):
    """The public header of one task. Nothing here tells what the picture will show."""

    task: TaskIdField
    accepted_epoch: EpochField
    """Epoch in which the task was accepted; part of its name. Another than the bulletin's: it was drawn again."""
    boot: SequenceField
    number: SequenceField
    """Place among the tasks accepted in this boot and epoch, from 0."""
    attempt: AttemptField
    work: Work = "text_to_image"
    pixels: Annotated[int, Field(ge=256, le=2**24)]
    """Width × height of one picture."""
    pixel_steps: Annotated[int, Field(ge=1, le=2**48)]
    price: WeiField
    deadline: MillisField
    slot_step_ms: Annotated[int, Field(ge=1, le=10_000)]
    allowance_ms: Annotated[int, Field(ge=1, le=10_000)]


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
    numerics: Numerics = "any"
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
    """Key of a sealed specification, sealed to the miner; None: the specification is plain."""


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
    version: Literal[1] = 1
    commitment: CommitmentStatement
    signature: SignatureField
    media_type: Literal["image/png"]
    size: Annotated[int, Field(ge=1, le=MAX_ARTIFACT_BYTES)]
    generation_ms: DurationField


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


class ArtifactHeader(Frozen):
    """First frame of an artifact stream; exactly ``size`` bytes follow."""

    kind: Literal["artifact"] = "artifact"
    version: Literal[1] = 1
    task: TaskIdField
    attempt: AttemptField
    digest: DigestField
    size: Annotated[int, Field(ge=1, le=MAX_ARTIFACT_BYTES)]


WorkMessage = (
    Hello | CapabilityUpdate | Claim | Award | Decline | Alive | Preview | Result | Abandon | Receipt | Reject | Cancel
)
"""Everything that may stand on a work stream."""

Message = Bulletin | Objection | WorkMessage | ArtifactHeader | Capability | TaskSpecification
"""Everything that the codec encodes and decodes."""
