"""A sealed order under way: its app gives the key to each winner, and its word for what it can open alone."""

import hashlib
from collections.abc import Callable

import pytest

from protocol.crypto.keys import NodeKey
from protocol.crypto.sealing import seal_picture
from protocol.roles.app.app_events import (
    AwardChecked,
    CheckAward,
    Drawn,
    Due,
    Found,
    GivenUp,
    KeySealed,
    LinkDown,
    LinkUp,
    Moved,
    OrderEffect,
    Said,
    Say,
    Tell,
    WakeAt,
)
from protocol.roles.app.app_order import MOST_WINNERS, PATIENCE_MS, AppOrder
from protocol.roles.app.order_seal import KnownNetwork, OrderSeal
from protocol.task.acceptance import check_acceptance
from protocol.units import Digest, UnixMillis, Wei
from protocol.wire.app_messages import OrderAccepted, OrderCancelled, OrderDone, OrderNews, OrderTaken
from protocol.wire.codec import encode
from protocol.wire.messages import Award
from protocol.wire.sealed_messages import (
    OrderAcceptance,
    OrderAwarded,
    OrderKey,
    OrderRejection,
    OrderSealed,
    SealedOrder,
    ShownAward,
)
from tests.protocol.roles.frames import (
    ALICE_ID,
    DOMAIN,
    NETWORK_ID,
    NOW,
    PICTURE,
    receipt_of,
    result_of,
)
from tests.protocol.roles.sealing import CONTENT_KEY, NAME, ORDER, Shown, award_digest, sealed_picture
from tests.support.networks import BOB, CAROL
from tests.support.pictures import png

APP = NodeKey(b"\x77" * 32)
ANN, BEN = CAROL.peer_id, BOB.peer_id
"""Two coordinators; the first is carol, who signs."""
KNOWN = KnownNetwork(NETWORK_ID, DOMAIN)


HONEST = Shown()


def a_seal(order: SealedOrder = ORDER, known: KnownNetwork | None = KNOWN) -> OrderSeal:
    return OrderSeal(order, CONTENT_KEY, APP, lambda count: b"e" * count, known)


class Desk:
    """One sealed order, its time, and its last wish to be woken."""

    def __init__(self) -> None:
        self.order = AppOrder(ORDER, seal=a_seal())
        self.now = NOW
        self.order.begin(self.now)
        self.hear(Found((ANN, BEN)), LinkUp(ANN))

    def hear(self, *events: object) -> tuple[OrderEffect, ...]:
        effects: tuple[OrderEffect, ...] = ()
        for event in events:
            effects += self.order.handle(event, self.now)  # type: ignore[arg-type]
        return tuple(effect for effect in effects if not isinstance(effect, WakeAt))

    def say(self, message: object, body: bytes = b"") -> tuple[OrderEffect, ...]:
        return self.hear(Said(ANN, message, body))  # type: ignore[arg-type]

    def accepted(self) -> "Desk":
        self.say(OrderAccepted(order=NAME, task=HONEST.task, price=Wei(1)))
        return self

    def keyed(self, shown: ShownAward | None = None) -> OrderKey:
        """Show an award, and pass it."""
        shown = shown or HONEST.shown
        (asked,) = self.say(OrderAwarded(order=NAME, shown=shown))
        assert asked == CheckAward(ANN, shown)
        said, told = self.hear(AwardChecked(ANN, shown, "looked up"))
        assert told == KeySealed(ANN, shown.award.miner, shown.award.attempt, "looked up")
        assert isinstance(said, Say)
        assert isinstance(said.message, OrderKey)
        return said.message


def sealed_message(award: Award, data: bytes) -> OrderSealed:
    return OrderSealed(
        order=NAME,
        task=award.statement.task,
        attempt=award.statement.attempt,
        artifact=hashlib.sha256(data).digest(),
        media_type="image/png",
        size=len(data),
    )


def done_message(award: Award, data: bytes) -> OrderDone:
    receipt = receipt_of(result_of(award, data=data))
    return OrderDone(
        order=NAME,
        task=award.statement.task,
        attempt=award.statement.attempt,
        miner=ALICE_ID,
        artifact=hashlib.sha256(data).digest(),
        media_type="image/png",
        receipt=encode(receipt),
        size=len(data),
    )


def test_order__sealed__gives_the_key_takes_what_it_can_open_and_ends_with_the_picture() -> None:
    desk = Desk().accepted()
    key = desk.keyed()
    assert (key.attempt, key.award) == (0, award_digest(HONEST.award))
    data = sealed_picture(HONEST.award)
    said, told = desk.say(sealed_message(HONEST.award, data), data)
    assert isinstance(said, Say)
    assert isinstance(said.message, OrderAcceptance)
    artifact = Digest(hashlib.sha256(data).digest())
    check_acceptance(APP.address, NETWORK_ID, key.award, artifact, said.message.signature)
    assert isinstance(told, Tell)
    assert desk.order.taken_by == ANN
    done = done_message(HONEST.award, data)
    assert desk.say(done, data) == (Drawn(ANN, done, PICTURE, data),)


def test_awarded__not_of_our_order__coordinator_is_told_and_left() -> None:
    desk = Desk().accepted()
    effects = desk.say(OrderAwarded(order=NAME, shown=Shown(salt=b"t" * 16).shown))
    assert effects[0] == Say(ANN, OrderCancelled(order=NAME))
    assert isinstance(effects[1], Moved)
    assert "shown.specification" in effects[1].why
    assert desk.order.peer == BEN


def test_awarded__found_to_be_made_up__coordinator_is_told_and_left() -> None:
    desk = Desk().accepted()
    shown = HONEST.shown
    desk.say(OrderAwarded(order=NAME, shown=shown))
    effects = desk.hear(AwardChecked(ANN, shown, "", "award.unregistered: miner 1 is not active"))
    assert effects[0] == Say(ANN, OrderCancelled(order=NAME))
    assert desk.order.peer == BEN
    assert not any(isinstance(effect, Say) and isinstance(effect.message, OrderKey) for effect in effects)


def test_awarded__of_another_task_than_was_accepted__gets_no_key() -> None:
    desk = Desk().accepted()
    assert desk.say(OrderAwarded(order=NAME, shown=Shown(3).shown)) == ()


def test_awarded__told_again__gets_the_same_key_unasked() -> None:
    desk = Desk().accepted()
    key = desk.keyed()
    assert desk.say(OrderAwarded(order=NAME, shown=HONEST.shown)) == (Say(ANN, key),)


def test_awarded__next_attempt__gets_a_key_of_its_own_and_the_one_before_none() -> None:
    desk = Desk().accepted()
    first = desk.keyed()
    later = Shown(attempt=1)
    second = desk.keyed(later.shown)
    assert first.award != second.award
    assert desk.say(OrderAwarded(order=NAME, shown=HONEST.shown)) == ()
    data = sealed_picture(later.award)
    said, _ = desk.say(sealed_message(later.award, data), data)
    assert isinstance(said, Say)
    assert isinstance(said.message, OrderAcceptance)


def test_accepted__again_after_the_coordinator_was_gone__hears_the_key_again() -> None:
    desk = Desk().accepted()
    key = desk.keyed()
    desk.hear(LinkDown(ANN), LinkUp(ANN))
    effects = desk.say(OrderAccepted(order=NAME, task=HONEST.task, price=Wei(1)))
    assert Say(ANN, key) in effects


def test_checked__of_a_coordinator_that_was_left__changes_nothing() -> None:
    desk = Desk().accepted()
    shown = HONEST.shown
    desk.say(OrderAwarded(order=NAME, shown=shown))
    desk.hear(LinkDown(ANN))
    desk.now = UnixMillis(desk.now + PATIENCE_MS)
    desk.hear(Due())
    assert desk.order.peer == BEN
    assert desk.hear(AwardChecked(ANN, shown, "looked up")) == ()


def _unsealed(award: Award) -> bytes:
    return PICTURE + bytes(48)


def _of_other_size(award: Award) -> bytes:
    return seal_picture(CONTENT_KEY, award_digest(award), png(64, 64), b"s" * 32)


def _no_picture(award: Award) -> bytes:
    return seal_picture(CONTENT_KEY, award_digest(award), b"GIF89a", b"s" * 32)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (_unsealed, "sealed.picture"),
        (lambda award: sealed_picture(award)[:-1], "sealed.picture"),
        (lambda award: bytes([sealed_picture(award)[0] ^ 1]) + sealed_picture(award)[1:], "sealed.picture"),
        (lambda award: sealed_picture(award, of=Shown(attempt=1).award), "sealed.picture"),
        (lambda award: sealed_picture(award, content_key=b"d" * 32), "sealed.picture"),
        (_of_other_size, "artifact.size"),
        (_no_picture, "artifact.signature"),
    ],
    ids=["not sealed", "cut off", "changed", "of another award", "of another order", "other size", "no picture"],
)
def test_sealed__what_is_not_the_picture__is_refused_by_name_and_not_taken(
    made: Callable[[Award], bytes], reason: str
) -> None:
    desk = Desk().accepted()
    desk.keyed()
    data = made(HONEST.award)
    said, moved = desk.say(sealed_message(HONEST.award, data), data)
    assert said == Say(ANN, OrderRejection(order=NAME, attempt=0))
    assert isinstance(moved, Moved)
    assert reason in moved.why
    assert desk.order.taken_by is None


def test_sealed__bytes_that_its_digest_does_not_name__are_refused() -> None:
    desk = Desk().accepted()
    desk.keyed()
    data = sealed_picture(HONEST.award)
    said, _ = desk.say(sealed_message(HONEST.award, b"x" * 64), data)
    assert said == Say(ANN, OrderRejection(order=NAME, attempt=0))


def test_sealed__before_anybody_has_the_key__is_refused() -> None:
    desk = Desk().accepted()
    data = sealed_picture(HONEST.award)
    said, _ = desk.say(sealed_message(HONEST.award, data), data)
    assert said == Say(ANN, OrderRejection(order=NAME, attempt=0))


def test_ready__told_as_of_a_plain_order__gets_no_word() -> None:
    desk = Desk().accepted()
    assert desk.say(OrderNews(order=NAME, stage="ready", attempt=0)) == ()
    assert desk.order.taken_by is None


def test_done__without_our_word__is_no_picture() -> None:
    desk = Desk().accepted()
    desk.keyed()
    data = sealed_picture(HONEST.award)
    (end,) = desk.say(done_message(HONEST.award, data), data)
    assert isinstance(end, GivenUp)
    assert end.code == "wrong_picture"


def test_done__of_another_picture_than_we_took__is_no_picture() -> None:
    desk = Desk().accepted()
    desk.keyed()
    data = sealed_picture(HONEST.award)
    desk.say(sealed_message(HONEST.award, data), data)
    other = b"x" * 64
    (end,) = desk.say(done_message(HONEST.award, other), other)
    assert isinstance(end, GivenUp)


@pytest.mark.parametrize("reason", ["app_gone", "not_accepted", "sealed_invalid"])
def test_failed__for_what_pays_nobody__goes_elsewhere(reason: str) -> None:
    desk = Desk().accepted()
    desk.keyed()
    desk.say(OrderNews(order=NAME, stage="failed", attempt=0, reason=reason))
    assert desk.order.peer == BEN
    assert not any(
        isinstance(effect, Say) and isinstance(effect.message, OrderTaken) for effect in desk.hear(LinkUp(BEN))
    )


def _keys(effects: tuple[OrderEffect, ...]) -> list[OrderKey]:
    said = [effect.message for effect in effects if isinstance(effect, Say)]
    return [message for message in said if isinstance(message, OrderKey)]


def _pass_all(desk: Desk, effects: tuple[OrderEffect, ...]) -> list[OrderKey]:
    asked = [effect.shown for effect in effects if isinstance(effect, CheckAward)]
    return [key for shown in asked for key in _keys(desk.hear(AwardChecked(ANN, shown, "looked up")))]


def test_awarded__many_at_once__only_the_last_one_gets_a_key() -> None:
    desk = Desk().accepted()
    effects: tuple[OrderEffect, ...] = ()
    for attempt in range(MOST_WINNERS):
        effects += desk.say(OrderAwarded(order=NAME, shown=Shown(attempt=attempt).shown))
    assert [key.attempt for key in _pass_all(desk, effects)] == [MOST_WINNERS - 1]


def test_awarded__told_again_while_it_is_looked_up__is_looked_up_once() -> None:
    desk = Desk().accepted()
    effects: tuple[OrderEffect, ...] = ()
    for _ in range(100):
        effects += desk.say(OrderAwarded(order=NAME, shown=HONEST.shown))
    assert effects == (CheckAward(ANN, HONEST.shown),)
    assert len(_pass_all(desk, effects)) == 1


def test_awarded__two_miners_for_one_attempt__only_one_gets_the_key() -> None:
    desk = Desk().accepted()
    other = Shown(salt=b"\0" * 16)
    other.fields["award_signature"] = HONEST.award.signature
    effects = desk.say(OrderAwarded(order=NAME, shown=HONEST.shown))
    effects += desk.say(OrderAwarded(order=NAME, shown=other.shown))
    assert len(_pass_all(desk, effects)) == 1
    assert desk.order.peer == ANN, "it is not even looked at"


def test_awarded__of_ever_other_tasks__no_more_miners_get_the_key_than_of_one() -> None:
    desk, keys = Desk(), []
    for number in range(2 * MOST_WINNERS):
        shown = Shown(number)
        desk.say(OrderAccepted(order=NAME, task=shown.task, price=Wei(1)))
        keys += _pass_all(desk, desk.say(OrderAwarded(order=NAME, shown=shown.shown)))
    assert len(keys) == MOST_WINNERS
    assert desk.order.peer == BEN


def test_awarded__to_more_miners_than_an_honest_coordinator_ever_asks_for__gets_no_key() -> None:
    desk = Desk().accepted()
    for attempt in range(MOST_WINNERS):
        desk.keyed(Shown(attempt=attempt).shown)
    effects = desk.say(OrderAwarded(order=NAME, shown=Shown(attempt=MOST_WINNERS).shown))
    assert effects[0] == Say(ANN, OrderCancelled(order=NAME))
    assert desk.order.peer == BEN
