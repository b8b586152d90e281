"""What an app and a coordinator say about a sealed order beside all else (``app_messages``). Spec: SPEC.md §9.10.

The coordinator carries what the app and the winner seal to each other, and shows the app all that it signed for the
winner, so that the app knows to whom it seals.
"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.params import MAX_ARTIFACT_BYTES, MAX_PROMPT_CHARACTERS
from protocol.wire.fields import (
    SEALED_KEY_BYTES,
    SEALED_OVERHEAD,
    AddressField,
    AttemptField,
    DigestField,
    EpochField,
    Frozen,
    NonceField,
    SignatureField,
    TaskIdField,
)
from protocol.wire.offer import Offer
from protocol.wire.specification import MediaType, Output, Pixels, SealedField
from protocol.wire.statements import AwardStatement, ClaimStatement

Name = Annotated[str, Field(min_length=1, max_length=64)]
SealedKeyField = Annotated[bytes, Field(min_length=SEALED_KEY_BYTES, max_length=SEALED_KEY_BYTES)]


class SealedBody(Frozen):
    """What of an order its app and the winner alone read. It travels sealed inside a specification of version 3."""

    kind: Literal["sealed_body"] = "sealed_body"
    version: Literal[1] = 1
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
    negative_prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)] = ""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)]
    embed_prompt: bool = False


class SealedOrder(Frozen):
    """App to coordinator: have this drawn by whom I give its key. What is left out is the model's own."""

    kind: Literal["sealed_order"] = "sealed_order"
    version: Literal[1] = 1
    order: NonceField
    sealed: SealedField
    """A ``SealedBody``, encoded and sealed."""
    model: Name | None = None
    size: Annotated[tuple[Pixels, ...], Field(min_length=2, max_length=2)] | None = None
    """(width, height)."""
    steps: Annotated[int, Field(ge=1, le=200)] | None = None
    guidance: Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)] | None = None
    scheduler: Name | None = None
    output: Output = "png"
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    priority: Literal["low", "normal", "high"] = "normal"
    api_key: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The app's key at this coordinator; None: it has none."""


class OrderKey(Frozen):
    """App to coordinator: this opens the order, for the winner of this award alone. It is carried to the winner."""

    kind: Literal["order_key"] = "order_key"
    version: Literal[1] = 1
    order: NonceField
    attempt: AttemptField
    award: DigestField
    """Digest of the award for which it is sealed."""
    sealed_key: SealedKeyField


class OrderAcceptance(Frozen):
    """App to coordinator: I have opened the picture of this attempt, and take it from you and from nobody else."""

    kind: Literal["order_acceptance"] = "order_acceptance"
    version: Literal[1] = 1
    order: NonceField
    attempt: AttemptField
    signature: SignatureField
    """By the app's key, of ``protocol.task.acceptance``."""


class OrderRejection(Frozen):
    """App to coordinator: what came for this attempt cannot be opened, or is no picture as it was ordered."""

    kind: Literal["order_rejection"] = "order_rejection"
    version: Literal[1] = 1
    order: NonceField
    attempt: AttemptField


class ShownAward(Frozen):
    """All that a coordinator and a miner signed for one award, and what the miner was drawn from."""

    network: DigestField
    """Id of the network."""
    chain_id: Annotated[int, Field(ge=1, lt=2**64)]
    contract: AddressField
    """The staking contract: with the chain, for which the signatures hold."""
    claim: ClaimStatement
    claim_signature: SignatureField
    award: AwardStatement
    award_signature: SignatureField
    specification: Annotated[bytes, Field(min_length=1, max_length=20 * 1024)]
    """As it stands in the award."""
    salt: NonceField
    capability: Annotated[bytes, Field(min_length=1, max_length=20 * 1024)]
    """The winner's, as it signed it: with the key to which is sealed."""
    capability_signature: SignatureField
    epoch: EpochField
    """The bulletin's, as are the next three: what the offer's digest is of."""
    root: DigestField
    field: Annotated[bytes, Field(max_length=2500)]
    offer: Offer


class OrderAwarded(Frozen):
    """Coordinator to app: this miner has it, and waits for its key."""

    kind: Literal["order_awarded"] = "order_awarded"
    version: Literal[1] = 1
    order: NonceField
    shown: ShownAward


class OrderSealed(Frozen):
    """Coordinator to app: a picture is here, sealed by the miner; exactly ``size`` bytes follow."""

    kind: Literal["order_sealed"] = "order_sealed"
    version: Literal[1] = 1
    order: NonceField
    task: TaskIdField
    attempt: AttemptField
    artifact: DigestField
    """SHA-256 of these bytes."""
    media_type: MediaType
    size: Annotated[int, Field(ge=SEALED_OVERHEAD, le=MAX_ARTIFACT_BYTES)]


SealedAppMessage = SealedOrder | OrderKey | OrderAcceptance | OrderRejection
"""What an app may say about a sealed order."""
SealedCoordinatorMessage = OrderAwarded | OrderSealed
"""What a coordinator may answer."""
