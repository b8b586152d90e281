"""What an app and a coordinator say to each other on a submit stream. Spec: SPEC.md §9.9.

An app names each of its orders by 16 bytes that it draws once; with the key of its stream they are the order, whoever
has it. A stream carries many orders.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from protocol.params import MAX_ARTIFACT_BYTES, MAX_INPUT_BYTES, MAX_PREVIEW_BYTES, MAX_PROMPT_CHARACTERS
from protocol.wire.fields import (
    AttemptField,
    DigestField,
    Frozen,
    NonceField,
    ReasonText,
    StakingIdField,
    StepCount,
    TaskIdField,
    WeiField,
)
from protocol.wire.sealed_messages import SealedAppMessage, SealedCoordinatorMessage, SealedOrder
from protocol.wire.specification import MediaType, Output, Pixels

SUBMIT_PROTOCOL: Final = "/cuckoo/1/submit"
"""The stream on which an app hands in orders."""
MAX_DETAIL: Final = 600
"""Longest explanation (characters) of a refusal."""

MAX_INPUT_PART: Final = 64 * 1024
"""Most bytes of a picture in one part: what an app says of its other orders waits behind no more."""
SECOND_VERSION_FIELDS: Final = frozenset({"source", "mask", "strength", "may_be_disputed"})
"""What version 1 of an order does not have."""

Name = Annotated[str, Field(min_length=1, max_length=64)]


class NamedInput(Frozen):
    """A picture that an order begins from; its bytes come when the coordinator asks for them."""

    digest: DigestField
    """SHA-256 of the file."""
    size: Annotated[int, Field(ge=1, le=MAX_INPUT_BYTES)]
    """Of the file (bytes)."""


class Order(Frozen):
    """App to coordinator: have this drawn. What is left out is the model's own. The same order again finds its task."""

    kind: Literal["order"] = "order"
    version: Literal[1, 2] = 1
    """2 where a field of version 2 is other than its default; its writer sees to that."""
    order: NonceField
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
    negative_prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)] = ""
    model: Name | None = None
    """A model of the coordinator's catalog, or an alias."""
    size: Annotated[tuple[Pixels, ...], Field(min_length=2, max_length=2)] | None = None
    """(width, height)."""
    steps: Annotated[int, Field(ge=1, le=200)] | None = None
    guidance: Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)]
    """Drawn by the app, so that every coordinator has the same picture drawn."""
    scheduler: Name | None = None
    output: Output = "png"
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    embed_prompt: bool = False
    priority: Literal["low", "normal", "high"] = "normal"
    api_key: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The app's key at this coordinator; None: it has none."""
    source: NamedInput | None = None
    """Picture to begin from. From version 2 on, as all that follows."""
    mask: NamedInput | None = None
    """Where it is transparent, or without transparency where it is light, the source is drawn anew."""
    strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """How far the source is left behind."""
    may_be_disputed: bool = False
    """Whether the coordinator may show prompt and picture to jurors, should the picture turn out to be wrong; not of
    pictures that begin from others."""

    @model_validator(mode="after")
    def _check_version(self) -> Self:
        """Refuse fields that the version does not have, and one picture of two sizes."""
        if self.version == 1:
            if self.model_fields_set & SECOND_VERSION_FIELDS:
                raise ValueError("version 1 has no source, mask, strength or may_be_disputed")
        elif self.source and self.mask and self.source.digest == self.mask.digest and self.source != self.mask:
            raise ValueError("source and mask are one file, which has one size")
        return self

    @model_serializer(mode="wrap")
    def _leave_out(self, whole: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Write the fields of the version only."""
        fields: dict[str, object] = whole(self)
        if self.version > 1:
            return fields
        return {name: value for name, value in fields.items() if name not in SECOND_VERSION_FIELDS}

    @property
    def inputs(self) -> tuple[NamedInput, ...]:
        """The pictures that it begins from, each once: source, mask."""
        return tuple(dict.fromkeys(named for named in (self.source, self.mask) if named is not None))


class OrderInput(Frozen):
    """App to coordinator: the next bytes of a picture that the order begins from; exactly ``size`` of them follow."""

    kind: Literal["order_input"] = "order_input"
    version: Literal[1] = 1
    order: NonceField
    digest: DigestField
    """Of the whole picture."""
    size: Annotated[int, Field(ge=1, le=MAX_INPUT_PART)]


class OrderTaken(Frozen):
    """App to coordinator: I take the picture of this order from you, and from nobody else."""

    kind: Literal["order_taken"] = "order_taken"
    version: Literal[1] = 1
    order: NonceField


class OrderCancelled(Frozen):
    """App to coordinator: I want it no more."""

    kind: Literal["order_cancelled"] = "order_cancelled"
    version: Literal[1] = 1
    order: NonceField


class OrderInputsWanted(Frozen):
    """Coordinator to app: send the pictures that this order begins from."""

    kind: Literal["order_inputs_wanted"] = "order_inputs_wanted"
    version: Literal[1] = 1
    order: NonceField


class OrderAccepted(Frozen):
    """Coordinator to app: it is this task, and on my disk."""

    kind: Literal["order_accepted"] = "order_accepted"
    version: Literal[1] = 1
    order: NonceField
    task: TaskIdField
    price: WeiField
    """What the coordinator owes the miner for it (wei)."""


class OrderRefused(Frozen):
    """Coordinator to app: not here, or not so."""

    kind: Literal["order_refused"] = "order_refused"
    version: Literal[1] = 1
    order: NonceField
    code: ReasonText
    """Stable; as in the HTTP API."""
    detail: Annotated[str, Field(max_length=MAX_DETAIL)]
    """For people."""


class OrderNews(Frozen):
    """Coordinator to app: where it stands. ``ready`` waits for ``order_taken``; ``failed`` is the last word."""

    kind: Literal["order_news"] = "order_news"
    version: Literal[1] = 1
    order: NonceField
    stage: Literal["queued", "offered", "claimed", "progress", "ready", "failed"]
    attempt: AttemptField
    miner: StakingIdField | None = None
    step: StepCount = 0
    steps: StepCount = 0
    reason: ReasonText | None = None
    preview: Annotated[bytes, Field(min_length=1, max_length=MAX_PREVIEW_BYTES)] | None = None
    """A small WebP file of what it may become."""


class OrderDone(Frozen):
    """Coordinator to app: the last word of an order that ended well; exactly ``size`` bytes of the picture follow."""

    kind: Literal["order_done"] = "order_done"
    version: Literal[1] = 1
    order: NonceField
    task: TaskIdField
    attempt: AttemptField
    miner: StakingIdField
    artifact: DigestField
    """SHA-256 of the picture."""
    media_type: MediaType
    receipt: Annotated[bytes, Field(min_length=1, max_length=4096)]
    """An encoded ``Receipt``."""
    size: Annotated[int, Field(ge=1, le=MAX_ARTIFACT_BYTES)]


AnyOrder = Order | SealedOrder
"""An order, plain or sealed."""
AppMessage = Order | OrderInput | OrderTaken | OrderCancelled | SealedAppMessage
"""What an app may say."""
CoordinatorMessage = OrderInputsWanted | OrderAccepted | OrderRefused | OrderNews | OrderDone | SealedCoordinatorMessage
"""What a coordinator may answer."""
