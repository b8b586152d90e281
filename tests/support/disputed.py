"""Disputed results, for tests of everything that handles them: honest ones, and what a reporter may make of them."""

from dataclasses import replace
from typing import Any

from protocol.crypto.envelope import seal
from protocol.crypto.keys import NodeKey
from protocol.justice.bundle import Bundle, bundle_digest, make_bundle
from protocol.justice.dispute import DisputeSeen, Seat, Status
from protocol.units import Address, Digest, StakingId
from protocol.wire.codec import CAPABILITY_PLACE, decode, encode
from protocol.wire.messages import Award, CapabilityUpdate, Claim, Result, TaskSpecification
from protocol.wire.statements import ClaimStatement
from tests.protocol.roles.frames import (
    BOB_ID,
    CAROL_ID,
    NETWORK_ID,
    NOTHING,
    PICTURE,
    SPECIFICATION,
    award_of,
    capability,
    result_of,
    signed,
)
from tests.support.networks import BOB, CAROL

ACCUSED, REPORTER = BOB_ID, CAROL_ID
"""Bob drew it, and carol reports it."""
SIGNERS = (ACCUSED, ACCUSED, REPORTER)
"""Of result, capability and award."""
KEYS: tuple[Address, Address, Address] = (BOB.address, BOB.address, CAROL.address)
NUMERICS = "float32-cpu"
"""What bob says that he draws in."""


def claim_of(nonce: bytes = b"n" * 16) -> Claim:
    """A claim of bob's."""
    statement = ClaimStatement(
        task=b"t" * 32, attempt=0, coordinator=REPORTER, miner=ACCUSED, offer=NOTHING, nonce=nonce
    )
    return Claim(statement=statement, signature=signed(BOB, statement))


def award_to_bob(*, by: NodeKey = CAROL, work: TaskSpecification = SPECIFICATION, **changes: Any) -> Award:
    """Carol's yes to his claim."""
    return award_of(claim_of(), by=by, work=work, **{"miner": ACCUSED} | changes)


def result_by_bob(award: Award, /, *, picture: bytes = PICTURE, **changes: Any) -> Result:
    """What bob signs for a picture of his."""
    return result_of(award, by=BOB, data=picture, **changes)


def disputed(
    *,
    picture: bytes = PICTURE,
    work: TaskSpecification = SPECIFICATION,
    award: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
    shown: bytes | None = None,
    said: CapabilityUpdate | None = None,
) -> Bundle:
    """A bundle about a picture of bob's; changes are fields of his commitment and of its award."""
    given = award_to_bob(work=work, **award or {})
    made = result_by_bob(given, picture=picture, **result or {})
    return bundle_of(given, made, picture if shown is None else shown, said)


def said_by_bob(
    *, by: NodeKey = BOB, miner: StakingId = ACCUSED, network: Digest = NETWORK_ID, **served: Any
) -> CapabilityUpdate:
    """Bob's own word on what he draws with; changes are fields of his model."""
    usual = decode(capability(by, miner).body, CAPABILITY_PLACE)
    (model,) = usual.models
    body = encode(usual.model_copy(update={"models": (model.model_copy(update={"numerics": NUMERICS} | served),)}))
    return CapabilityUpdate(body=body, signature=seal(by, network, body))


def bundle_of(award: Award, result: Result, picture: bytes, said: CapabilityUpdate | None = None) -> Bundle:
    """Put it together."""
    return make_bundle(encode(award), encode(result), encode(said or said_by_bob()), picture)


def dispute_about(bundle: Bundle, **changes: Any) -> DisputeSeen:
    """A dispute about a bundle, in which the reader has no seat, until something is changed."""
    seen = DisputeSeen(
        number=7,
        accused=ACCUSED,
        reporter=REPORTER,
        evidence=bundle_digest(bundle.data()),
        status=Status.DRAWING,
        round=0,
        deadline_s=1_000,
        seats=3,
        taken=0,
        wrong=0,
        right=0,
        seed_block=104,
        tries=0,
        seat=Seat.NONE,
        is_kept=False,
        is_own_owners=False,
    )
    return replace(seen, **changes)
