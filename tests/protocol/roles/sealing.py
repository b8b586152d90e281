"""A sealed order made by hand, and what its app, its miner and its coordinator know of it."""

import hashlib

from protocol.crypto.sealing import seal_key, seal_picture, sealing_key_of
from protocol.crypto.typed_data import digest
from protocol.roles.app.order_seal import seal_order
from protocol.task.offer import offer_digest
from protocol.units import Digest, TaskId
from protocol.wire.app_messages import Order
from protocol.wire.messages import Award, Claim, TaskSpecification
from protocol.wire.sealed_messages import ShownAward
from protocol.wire.statements import ClaimStatement
from tests.protocol.roles.frames import (
    ALICE_ID,
    CAROL_ID,
    DOMAIN,
    MODEL,
    NETWORK_ID,
    NOW,
    PICTURE,
    SPECIFICATION,
    award_of,
    bulletin,
    capability,
    signed,
)
from tests.support.networks import ALICE

CONTENT_KEY = b"c" * 32
SECRET = bytes(range(32))
"""Of alice's sealing key."""
NAME = b"o" * 16
PLAIN = Order(order=NAME, prompt=SPECIFICATION.prompt, seed=SPECIFICATION.seed)
ORDER = seal_order(PLAIN, CONTENT_KEY)
SEALED = TaskSpecification.model_validate(
    SPECIFICATION.model_dump() | {"version": 3, "prompt": "", "seed": 0, "sealed": ORDER.sealed}
)
"""As a coordinator completes it; opened it is ``SPECIFICATION``."""


def award_digest(award: Award) -> Digest:
    return digest(DOMAIN, award.statement)


def with_key(award: Award, to: bytes, *, of: Award | None = None, content_key: bytes = CONTENT_KEY) -> Award:
    """The same award with the key, sealed for it or for another."""
    sealed = seal_key(content_key, to, award_digest(of or award), b"e" * 32)
    return award.model_copy(update={"sealed_key": sealed})


def sealed_picture(award: Award, *, of: Award | None = None, content_key: bytes = CONTENT_KEY) -> bytes:
    """What an honest miner sends for an award."""
    return seal_picture(content_key, award_digest(of or award), PICTURE, b"s" * 32)


class Shown:
    """An award of a sealed order by carol to alice, as it is shown; honest unless told otherwise."""

    def __init__(self, number: int = 0, *, attempt: int = 0, work: object = SEALED, **changes: object) -> None:
        sheet = bulletin(NOW, number, attempt=attempt)
        (self.offer,) = sheet.offers
        self.epoch, self.root, self.field = sheet.epoch, sheet.root, sheet.field
        field = Digest(hashlib.sha256(self.field).digest())
        named = offer_digest(CAROL_ID, self.epoch, self.root, field, MODEL.name, self.offer)
        self.claim = ClaimStatement(
            task=self.offer.task,
            attempt=attempt,
            coordinator=CAROL_ID,
            miner=ALICE_ID,
            offer=named,
            nonce=b"n" * 16,
        )
        claim = Claim(statement=self.claim, signature=signed(ALICE, self.claim))
        self.award: Award = award_of(claim, work=work)  # type: ignore[arg-type]
        said = capability(ALICE, ALICE_ID, expires_at=NOW + 60_000, sealing_key=sealing_key_of(SECRET))
        self.fields: dict[str, object] = {
            "network": NETWORK_ID,
            "chain_id": DOMAIN.chain_id,
            "contract": DOMAIN.contract,
            "claim": self.claim,
            "claim_signature": claim.signature,
            "award": self.award.statement,
            "award_signature": self.award.signature,
            "specification": self.award.specification,
            "salt": self.award.salt,
            "capability": said.body,
            "capability_signature": said.signature,
            "epoch": self.epoch,
            "root": self.root,
            "field": self.field,
            "offer": self.offer,
        } | changes

    @property
    def shown(self) -> ShownAward:
        return ShownAward.model_validate(self.fields)

    @property
    def task(self) -> TaskId:
        return TaskId(self.offer.task)
