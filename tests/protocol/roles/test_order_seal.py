"""An app that seals an order gives its key for an award of that very order alone, by the coordinator that it asked."""

import hashlib
from collections.abc import Callable

import pytest

from protocol.crypto.envelope import seal
from protocol.crypto.keys import NodeKey
from protocol.crypto.sealing import open_body, open_key, sealing_key_of
from protocol.crypto.typed_data import Domain, digest
from protocol.errors import InvalidMessage
from protocol.roles.app.order_seal import CLOCKS_APART_MS, KnownNetwork, OrderSeal, seal_order
from protocol.stake.lottery import task_id
from protocol.task.offer import offer_digest
from protocol.units import Address, Digest, PeerId, TaskId, UnixMillis, Wei
from protocol.wire.app_messages import Order
from protocol.wire.codec import BODY_PLACE, decode, encode
from protocol.wire.messages import Claim
from protocol.wire.sealed_messages import (
    SealedBody,
    SealedOrder,
    ShownAward,
)
from tests.protocol.roles.frames import (
    ALICE_ID,
    BOB_ID,
    CAROL_ID,
    DOMAIN,
    EPOCH,
    MODEL,
    NETWORK_ID,
    NOW,
    award_of,
    capability,
    signed,
)
from tests.protocol.roles.sealing import (
    CONTENT_KEY,
    NAME,
    ORDER,
    PLAIN,
    SEALED,
    SECRET,
    Shown,
)
from tests.support.networks import ALICE, BOB, CAROL

APP = NodeKey(b"\x77" * 32)
ANN, BEN = CAROL.peer_id, BOB.peer_id
"""Two coordinators; the first is carol, who signs."""
KNOWN = KnownNetwork(NETWORK_ID, DOMAIN)


HONEST = Shown()


def a_seal(order: SealedOrder = ORDER, known: KnownNetwork | None = KNOWN) -> OrderSeal:
    return OrderSeal(order, CONTENT_KEY, APP, lambda count: b"e" * count, known)


def refused(shown: ShownAward, order: SealedOrder = ORDER, *, peer: PeerId = ANN, now: int = NOW) -> str:
    with pytest.raises(InvalidMessage) as caught:
        a_seal(order).check(peer, shown, UnixMillis(now))
    return caught.value.rule


def test_seal_order__any_order__holds_its_words_sealed_and_all_else_plain() -> None:
    wishes = {"model": "pocket-emoji", "size": (128, 128), "steps": 9, "guidance": 2.0, "scheduler": "euler a"}
    order = Order.model_validate(
        PLAIN.model_dump()
        | wishes
        | {"negative_prompt": "blue", "embed_prompt": True, "api_key": "k", "output": "webp"}
    )
    sealed = seal_order(order, CONTENT_KEY)
    body = decode(open_body(CONTENT_KEY, sealed.sealed), BODY_PLACE)
    assert body == SealedBody(prompt="a red heart", negative_prompt="blue", seed=PLAIN.seed, embed_prompt=True)
    assert {name: getattr(sealed, name) for name in wishes} == wishes
    assert (sealed.order, sealed.output, sealed.api_key) == (NAME, "webp", "k")
    assert b"heart" not in encode(sealed)


def test_check__honest_award__passes_with_and_without_a_known_network() -> None:
    a_seal().check(ANN, HONEST.shown, NOW)
    a_seal(known=None).check(ANN, HONEST.shown, NOW)


def test_check__wishes_that_are_kept__pass() -> None:
    wishes = {"model": MODEL.name, "size": (128, 128), "steps": 10, "guidance": 4.0, "scheduler": "ddim"}
    a_seal(ORDER.model_copy(update=wishes)).check(ANN, HONEST.shown, NOW)


def test_check__guidance_finer_than_is_ordered__is_kept_in_hundredths_as_coordinators_round_it() -> None:
    a_seal(ORDER.model_copy(update={"guidance": 4.003})).check(ANN, HONEST.shown, NOW)
    assert refused(HONEST.shown, ORDER.model_copy(update={"guidance": 4.006})) == "shown.specification"


@pytest.mark.parametrize(
    "known", [KnownNetwork(Digest(bytes(32)), DOMAIN), KnownNetwork(NETWORK_ID, Domain(1, Address(b"\x11" * 20)))]
)
def test_check__award_of_another_network__is_refused(known: KnownNetwork) -> None:
    with pytest.raises(InvalidMessage, match=r"^shown\.network"):
        a_seal(known=known).check(ANN, HONEST.shown, NOW)


@pytest.mark.parametrize(
    "wish",
    [
        {"model": "another"},
        {"size": (256, 128)},
        {"steps": 11},
        {"guidance": 5.0},
        {"output": "webp"},
        {"quality": 80, "output": "webp"},
        {"sealed": seal_order(PLAIN, b"d" * 32).sealed},
    ],
    ids=lambda wish: next(iter(wish)),
)
def test_check__not_what_was_ordered__is_refused(wish: dict[str, object]) -> None:
    assert refused(HONEST.shown, ORDER.model_copy(update=wish)) == "shown.specification"


def test_check__specification_that_is_none__is_refused() -> None:
    assert refused(HONEST.shown.model_copy(update={"specification": b"garbage"})) == "shown.specification"


def test_check__other_scheduler_than_was_ordered__is_refused() -> None:
    work = SEALED.model_copy(update={"scheduler": "EulerDiscreteScheduler"})
    assert refused(Shown(work=work).shown, ORDER.model_copy(update={"scheduler": "ddim"})) == "shown.specification"


def _restated(**changes: object) -> Callable[[], ShownAward]:
    """An award whose statement says something else, signed by carol."""

    def shown() -> ShownAward:
        statement = HONEST.award.statement.model_copy(update=changes)
        return Shown(award=statement, award_signature=signed(CAROL, statement)).shown

    return shown


def _reoffered(**changes: object) -> Callable[[], ShownAward]:
    return lambda: Shown(offer=HONEST.offer.model_copy(update=changes)).shown


def _of_another_number() -> ShownAward:
    """All of it fits together, but the task is not of its offer's number."""
    other = HONEST.offer.model_copy(update={"number": 5})
    field = Digest(hashlib.sha256(HONEST.field).digest())
    named = offer_digest(CAROL_ID, HONEST.epoch, HONEST.root, field, MODEL.name, other)
    claim = HONEST.claim.model_copy(update={"offer": named})
    award = award_of(Claim(statement=claim, signature=signed(ALICE, claim)), work=SEALED)
    return Shown(
        offer=other,
        claim=claim,
        claim_signature=signed(ALICE, claim),
        award=award.statement,
        award_signature=award.signature,
    ).shown


@pytest.mark.parametrize(
    "shown",
    [
        _restated(claim=Digest(bytes(32))),
        _restated(miner=BOB_ID),
        _restated(attempt=1),
        _restated(price=Wei(1)),
        _restated(task=TaskId(bytes(32))),
        _reoffered(pixels=256),
        _reoffered(pixel_steps=1),
        _reoffered(price=Wei(1)),
        lambda: Shown(field=b"\xff").shown,
        lambda: Shown(root=Digest(bytes(32))).shown,
        lambda: Shown(epoch=EPOCH + 1).shown,
        _of_another_number,
    ],
)
def test_check__claim_award_and_offer_do_not_fit__is_refused(shown: Callable[[], ShownAward]) -> None:
    assert refused(shown()) == "shown.offer"


def test_check__specification_of_another_salt__is_refused() -> None:
    assert refused(Shown(salt=b"t" * 16).shown) == "shown.specification"


def test_check__award_given_by_another_than_we_ask__is_refused() -> None:
    assert refused(HONEST.shown, peer=BEN) == "shown.signature"


def test_check__claim_that_the_winner_did_not_sign__is_refused() -> None:
    assert refused(Shown(claim_signature=signed(BOB, HONEST.claim)).shown) == "shown.signature"


def test_check__capability_that_the_claimant_did_not_sign__is_refused() -> None:
    # A coordinator puts a key of its own in the winner's place.
    said = capability(CAROL, ALICE_ID, expires_at=NOW + 60_000, sealing_key=sealing_key_of(b"m" * 32))
    assert refused(Shown(capability=said.body, capability_signature=said.signature).shown) == "shown.signature"


@pytest.mark.parametrize("signature", ["claim_signature", "award_signature", "capability_signature"])
def test_check__signature_that_is_none__is_refused(signature: str) -> None:
    assert refused(Shown(**{signature: bytes(65)}).shown) == "shown.signature"


@pytest.mark.parametrize("kind", ["of another miner", "without a key", "expired", "garbage"])
def test_check__capability_to_which_nothing_can_be_sealed__is_refused(kind: str) -> None:
    key, end = sealing_key_of(SECRET), NOW + 60_000
    said = {
        "of another miner": capability(ALICE, BOB_ID, sealing_key=key),
        "without a key": capability(ALICE, ALICE_ID),
        "expired": capability(ALICE, ALICE_ID, sealing_key=key, expires_at=end),
        "garbage": capability(ALICE, ALICE_ID, sealing_key=key),
    }[kind]
    body, signature = said.body, said.signature
    if kind == "garbage":
        body = b"\x81\xa1a\x01"
        signature = seal(ALICE, NETWORK_ID, body)
    now = end + CLOCKS_APART_MS + 1 if kind == "expired" else NOW
    shown = Shown(capability=body, capability_signature=signature).shown
    assert refused(shown, now=now) == "shown.capability"


def test_key_for__checked_award__opens_for_its_winner_alone() -> None:
    message = a_seal().key_for(HONEST.shown, NOW)
    assert open_key(message.sealed_key, SECRET, message.award) == CONTENT_KEY
    assert message.award == digest(DOMAIN, HONEST.award.statement)
    with pytest.raises(InvalidMessage):
        open_key(message.sealed_key, b"m" * 32, message.award)


def test_task_id__of_the_shown_offer__is_what_the_app_recomputes() -> None:
    assert HONEST.task == task_id(NETWORK_ID, CAROL_ID, HONEST.offer.accepted_epoch, 1, 0)
