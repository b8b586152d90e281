"""An app's order, driven by hand: coordinators come, go, refuse, deliver and lie."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.params import MAX_PREVIEW_BYTES
from protocol.roles.app.app_events import (
    Drawn,
    Due,
    Find,
    Found,
    GivenUp,
    LinkDown,
    LinkUp,
    Moved,
    Open,
    OrderEffect,
    OrderEvent,
    Said,
    Say,
    SendInputs,
    Tell,
    WakeAt,
)
from protocol.roles.app.app_order import (
    ANSWER_MS,
    HELD_MS,
    LOOK_AGAIN_MS,
    MAX_LOSSES,
    OPEN_MS,
    ORDER_MS,
    PATIENCE_MS,
    REDIAL_MS,
    SEEK_MS,
    TAKEN_MS,
    AppOrder,
    Phase,
)
from protocol.roles.app.order_ends import FINAL_FAILURES
from protocol.units import Digest, PeerId, TaskId, UnixMillis, Wei
from protocol.wire.app_messages import (
    CoordinatorMessage,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderDone,
    OrderInputsWanted,
    OrderNews,
    OrderRefused,
)
from protocol.wire.app_messages import OrderTaken as Taken
from protocol.wire.codec import encode
from protocol.wire.messages import Claim, Receipt
from protocol.wire.statements import ClaimStatement
from tests.protocol.roles.frames import (
    ALICE_ID,
    CAROL_ID,
    NOTHING,
    PICTURE,
    award_of,
    receipt_of,
    result_of,
    signed,
)
from tests.support.networks import ALICE

NAME = b"o" * 16
ORDER = Order(order=NAME, prompt="a red heart", seed=7)
TASK, OTHER = TaskId(b"t" * 32), TaskId(b"v" * 32)
ANN, BEN = PeerId("ann"), PeerId("ben")
CLAIM = ClaimStatement(task=TASK, attempt=0, coordinator=CAROL_ID, miner=ALICE_ID, offer=NOTHING, nonce=b"n" * 16)


def receipt_for(task: TaskId) -> Receipt:
    claim = CLAIM.model_copy(update={"task": task})
    return receipt_of(result_of(award_of(Claim(statement=claim, signature=signed(ALICE, claim)))))


RECEIPT = receipt_for(TASK)
START = UnixMillis(1_700_000_000_000)


def accepted(task: TaskId = TASK) -> OrderAccepted:
    return OrderAccepted(order=NAME, task=task, price=Wei(1))


def news(stage: str, **fields: object) -> OrderNews:
    return OrderNews.model_validate({"order": NAME, "stage": stage, "attempt": 0} | fields)


def refused(code: str) -> OrderRefused:
    return OrderRefused(order=NAME, code=code, detail="why")


def done(task: TaskId = TASK, picture: bytes = PICTURE, receipt: bytes | None = None) -> OrderDone:
    return OrderDone(
        order=NAME,
        task=task,
        attempt=0,
        miner=ALICE_ID,
        artifact=Digest(hashlib.sha256(picture).digest()),
        media_type="image/png",
        receipt=encode(RECEIPT) if receipt is None else receipt,
        size=len(picture),
    )


class Desk:
    """One order, its time, and its last wish to be woken."""

    def __init__(self, *peers: PeerId) -> None:
        self.order = AppOrder(ORDER)
        self.now = START
        self.wake: UnixMillis | None = None
        self.all: list[OrderEffect] = []
        self._take(self.order.begin(self.now))
        if peers:
            self.hear(Found(peers))

    def _take(self, effects: tuple[OrderEffect, ...]) -> tuple[OrderEffect, ...]:
        for effect in effects:
            if isinstance(effect, WakeAt):
                self.wake = effect.at
        self.all.extend(effects)
        return tuple(effect for effect in effects if not isinstance(effect, WakeAt))

    def hear(self, *events: OrderEvent) -> tuple[OrderEffect, ...]:
        told: tuple[OrderEffect, ...] = ()
        for event in events:
            told += self._take(self.order.handle(event, self.now))
        return told

    def wait(self, milliseconds: int) -> tuple[OrderEffect, ...]:
        end, effects = UnixMillis(self.now + milliseconds), ()
        while self.wake is not None and self.wake <= end:
            self.now, self.wake = max(self.now, self.wake), None
            effects += self.hear(Due())
        self.now = end
        return effects

    def say(self, peer: PeerId, message: CoordinatorMessage, picture: bytes = b"") -> tuple[OrderEffect, ...]:
        return self.hear(Said(peer, message, picture))

    def held(self) -> "Desk":
        self.hear(LinkUp(ANN))
        self.say(ANN, accepted())
        return self

    def words(self) -> list[PeerId]:
        return [effect.peer for effect in self.all if isinstance(effect, Say) and isinstance(effect.message, Taken)]


def opened(effects: tuple[OrderEffect, ...]) -> list[PeerId]:
    return [effect.peer for effect in effects if isinstance(effect, Open)]


def given_up(effects: tuple[OrderEffect, ...]) -> list[str]:
    return [effect.code for effect in effects if isinstance(effect, GivenUp)]


def test_order__one_coordinator__asks_takes_and_gives_the_picture() -> None:
    desk = Desk()
    assert desk.all[0] == Find()
    assert desk.hear(Found((ANN,))) == (Open(ANN),)
    assert desk.hear(LinkUp(ANN)) == (Say(ANN, ORDER),)
    assert desk.say(ANN, accepted()) == (Tell(ANN, accepted()),)
    step = news("progress", miner=1, step=3, steps=10, preview=b"w" * MAX_PREVIEW_BYTES)
    assert desk.say(ANN, step) == (Tell(ANN, step),)
    assert desk.say(ANN, news("ready")) == (Say(ANN, Taken(order=NAME)), Tell(ANN, news("ready")))
    assert desk.say(ANN, done(), PICTURE) == (Drawn(ANN, done(), PICTURE, PICTURE),)
    assert desk.order.phase is Phase.ENDED
    assert not desk.say(ANN, done(), PICTURE)


@pytest.mark.parametrize("code", ["busy", "no_miner", "stopping", "unknown_model", "invalid_api_key"])
def test_refused__another_may_take_it__is_asked_at_once(code: str) -> None:
    desk = Desk(ANN, BEN)
    desk.hear(LinkUp(ANN))
    effects = desk.say(ANN, refused(code))
    assert (Moved(ANN, f"{code}: why"), opened(effects)) == (effects[0], [BEN])


@pytest.mark.parametrize("code", ["prompt_empty", "steps_out_of_range", "content_policy", "of_a_later_release"])
def test_refused__as_it_is_written__ends_at_once(code: str) -> None:
    desk = Desk(ANN, BEN)
    desk.hear(LinkUp(ANN))
    assert given_up(desk.say(ANN, refused(code))) == [code]


def test_refused__by_all_for_good__ends_with_the_last_reason() -> None:
    desk = Desk(ANN, BEN)
    desk.hear(LinkUp(ANN))
    desk.say(ANN, refused("unknown_model"))
    desk.hear(LinkUp(BEN))
    assert given_up(desk.say(BEN, refused("spend_limit"))) == ["spend_limit"]


def test_refused__by_all_for_now__all_are_looked_up_again_until_time_is_up() -> None:
    desk = Desk(ANN)
    effects: tuple[OrderEffect, ...] = ()
    rounds = 0
    while not given_up(effects):
        desk.hear(LinkUp(ANN))
        desk.say(ANN, refused("busy"))
        effects = desk.wait(LOOK_AGAIN_MS)
        if not given_up(effects):
            assert effects == (Find(),)
            assert opened(desk.hear(Found((ANN,)))) == [ANN]
            rounds += 1
    assert given_up(effects) == ["busy"]
    assert rounds == SEEK_MS // LOOK_AGAIN_MS - 1


def test_open__never_answered__next_one_is_tried() -> None:
    desk = Desk(ANN, BEN)
    assert not desk.wait(OPEN_MS - 1)
    assert opened(desk.wait(1)) == [BEN]


def test_asked__never_answered__counts_as_gone_and_is_dialled_again_and_again() -> None:
    desk = Desk(ANN, BEN)
    desk.wait(OPEN_MS - 1)
    desk.hear(LinkUp(ANN))
    assert not desk.wait(ANSWER_MS - 1)
    assert desk.wait(1) == (Moved(ANN, "the coordinator is gone; waiting for it"),)
    assert opened(desk.wait(REDIAL_MS)) == [ANN]
    assert not desk.wait(OPEN_MS - 1), "it is being dialled"
    assert opened(desk.wait(1)) == [ANN]


def test_down__long_after_it_was_accepted__there_is_time_for_the_next_one() -> None:
    desk = Desk(ANN, BEN).held()
    desk.wait(2 * SEEK_MS)
    desk.hear(LinkDown(ANN))
    assert opened(desk.wait(PATIENCE_MS + OPEN_MS))[-1] == BEN


def test_found__nobody__is_looked_up_again_and_given_up_in_time() -> None:
    desk = Desk()
    desk.hear(Found(()))
    effects = desk.wait(LOOK_AGAIN_MS)
    assert effects == (Find(),)
    assert given_up(desk.wait(SEEK_MS)) == ["no_coordinator"]


def test_down__never_reached__next_one_is_tried_without_waiting() -> None:
    desk = Desk(ANN, BEN)
    assert opened(desk.hear(LinkDown(ANN))) == [BEN]


def test_down__before_it_answered__it_is_waited_for_since_it_may_have_taken_the_order() -> None:
    desk = Desk(ANN, BEN)
    desk.hear(LinkUp(ANN))
    assert not opened(desk.hear(LinkDown(ANN)))
    assert opened(desk.wait(1000)) == [ANN]


def test_asked__says_nothing__is_taken_for_gone() -> None:
    desk = Desk(ANN, BEN)
    desk.hear(LinkUp(ANN))
    assert [type(effect) for effect in desk.wait(ANSWER_MS)] == [Moved]


def test_down__back_in_time__the_same_order_is_handed_in_again() -> None:
    desk = Desk(ANN, BEN).held()
    desk.hear(LinkDown(ANN))
    assert opened(desk.wait(1000)) == [ANN]
    assert desk.hear(LinkUp(ANN)) == (Say(ANN, ORDER),)
    desk.say(ANN, accepted())
    assert opened(desk.wait(PATIENCE_MS)) == []
    desk.say(ANN, news("ready"))
    assert isinstance(desk.say(ANN, done(), PICTURE)[-1], Drawn)


def gone_for(desk: Desk, milliseconds: int) -> list[PeerId]:
    """Ann does not answer for so long; gives whom the order turned to last."""
    turned: list[PeerId] = []
    for _ in range(milliseconds // 500):
        turned += opened(desk.wait(500))
        if desk.order.peer == ANN:
            desk.hear(LinkDown(ANN))
    return turned


def test_down__stays_away__order_goes_on_to_the_next_after_patience_and_not_before() -> None:
    desk = Desk(ANN, BEN).held()
    desk.hear(LinkDown(ANN))
    assert set(gone_for(desk, PATIENCE_MS - 500)) == {ANN}
    assert gone_for(desk, 1000)[-1] == BEN
    assert desk.hear(LinkUp(BEN)) == (Say(BEN, ORDER),)
    assert not desk.say(ANN, news("ready")), "who was left has nothing to say"
    other = OTHER
    desk.say(BEN, accepted(other))
    desk.say(BEN, news("ready"))
    assert desk.words() == [BEN]


def test_down__comes_and_goes__is_left_after_some_losses() -> None:
    desk = Desk(ANN, BEN)
    for _ in range(MAX_LOSSES + 1):
        desk.hear(LinkUp(ANN))
        desk.say(ANN, accepted())
        desk.hear(LinkDown(ANN))
        last = opened(desk.wait(600))
    assert last == [BEN]


def test_down__after_our_word__nobody_else_is_asked_and_it_ends_in_doubt() -> None:
    desk = Desk(ANN, BEN).held()
    desk.say(ANN, news("ready"))
    desk.hear(LinkDown(ANN))
    assert set(gone_for(desk, TAKEN_MS - 1000)) == {ANN}
    effects: tuple[OrderEffect, ...] = ()
    for _ in range(4):
        effects += desk.wait(500) + desk.hear(LinkDown(ANN))
    assert given_up(effects) == ["in_doubt"]
    assert desk.words() == [ANN]


def test_down__after_our_word_and_back__word_is_said_again_to_the_same() -> None:
    desk = Desk(ANN, BEN).held()
    desk.say(ANN, news("ready"))
    desk.hear(LinkDown(ANN))
    desk.wait(1000)
    desk.hear(LinkUp(ANN))
    desk.say(ANN, refused("stopping"))
    assert opened(desk.wait(1000)) == [ANN]
    desk.hear(LinkUp(ANN))
    desk.say(ANN, accepted())
    desk.say(ANN, news("ready"))
    assert desk.words() == [ANN, ANN]


def test_failed__goes_elsewhere__and_the_word_is_free_again() -> None:
    desk = Desk(ANN, BEN).held()
    desk.say(ANN, news("ready"))
    assert opened(desk.say(ANN, news("failed", reason="deadline"))) == [BEN]
    desk.hear(LinkUp(BEN))
    desk.say(BEN, accepted(OTHER))
    desk.say(BEN, news("ready"))
    assert desk.words() == [ANN, BEN]


def test_failed__long_after_our_word__next_one_is_asked_and_may_refuse() -> None:
    desk = Desk(ANN, BEN).held()
    desk.say(ANN, news("ready"))
    desk.wait(2 * SEEK_MS)
    assert opened(desk.say(ANN, news("failed", reason="deadline"))) == [BEN]
    desk.hear(LinkUp(BEN))
    assert given_up(desk.say(BEN, refused("prompt_empty"))) == ["prompt_empty"]


def test_refused__by_who_has_our_word__is_dialled_again() -> None:
    desk = Desk(ANN, BEN).held()
    desk.say(ANN, news("ready"))
    assert not desk.say(ANN, refused("stopping"))
    assert opened(desk.wait(REDIAL_MS)) == [ANN]


@pytest.mark.parametrize("reason", ["picture_refused", "not_reviewed", "artifact_expired", "of_a_later_release"])
def test_failed__after_our_word_and_perhaps_paid__goes_nowhere_else(reason: str) -> None:
    desk = Desk(ANN, BEN).held()
    desk.say(ANN, news("ready"))
    assert given_up(desk.say(ANN, news("failed", reason=reason))) == [reason]
    other = Desk(ANN, BEN).held()
    assert opened(other.say(ANN, news("failed", reason=reason))) == [BEN], "before it nobody can be paid"


@pytest.mark.parametrize("reason", sorted(FINAL_FAILURES))
def test_failed__would_fail_elsewhere_too__ends(reason: str) -> None:
    desk = Desk(ANN, BEN).held()
    assert given_up(desk.say(ANN, news("failed", reason=reason))) == [reason]


@pytest.mark.parametrize(
    ("message", "picture"),
    [
        (done(), PICTURE + b"x"),
        (done(picture=PICTURE + b"x"), PICTURE + b"x"),
        (done(task=OTHER), PICTURE),
        (done(task=OTHER, receipt=encode(receipt_for(OTHER))), PICTURE),
        (done(receipt=encode(receipt_for(OTHER))), PICTURE),
        (done().model_copy(update={"artifact": bytes(32)}), PICTURE),
        (done(receipt=b"no receipt"), PICTURE),
    ],
)
def test_done__not_what_the_receipt_names__ends_by_name_and_goes_nowhere(message: OrderDone, picture: bytes) -> None:
    desk = Desk(ANN, BEN).held()
    desk.say(ANN, news("ready"))
    assert given_up(desk.say(ANN, message, picture)) == ["wrong_picture"]


WANTED = OrderInputsWanted(order=NAME)


def test_wanted__pictures_that_it_begins_from__are_sent_once_for_each_time_that_it_is_asked() -> None:
    desk = Desk(ANN, BEN)
    assert not desk.say(ANN, WANTED), "it does not know the order yet"
    desk.hear(LinkUp(ANN))
    assert desk.say(ANN, WANTED) == (SendInputs(ANN),)
    assert not desk.say(ANN, WANTED)
    assert not desk.wait(2 * ANSWER_MS), "they may be long on their way"
    desk.hear(LinkDown(ANN))
    desk.wait(REDIAL_MS)
    assert desk.hear(LinkUp(ANN)) == (Say(ANN, ORDER),)
    assert desk.say(ANN, WANTED) == (SendInputs(ANN),)
    desk.say(ANN, accepted())
    assert not desk.say(ANN, WANTED), "they are on its disk"


def test_wanted__refused_long_after__next_one_is_asked() -> None:
    desk = Desk(ANN, BEN)
    desk.hear(LinkUp(ANN))
    desk.say(ANN, WANTED)
    desk.wait(2 * SEEK_MS)
    assert opened(desk.say(ANN, refused("timeout"))) == [BEN]
    desk.hear(LinkUp(BEN))
    assert desk.say(BEN, WANTED) == (SendInputs(BEN),)


def test_wanted__again_and_again_and_no_answer__is_left_as_soon_as_one_that_has_the_order() -> None:
    desk = Desk(ANN, BEN)
    desk.hear(LinkUp(ANN))
    for _ in range(19):
        desk.say(ANN, WANTED)
        assert not desk.wait(HELD_MS // 20)
    assert opened(desk.wait(HELD_MS // 20 + REDIAL_MS)) == [BEN]


def test_held__nothing_comes_for_longer_than_a_task_lives__is_taken_for_gone() -> None:
    desk = Desk(ANN, BEN).held()
    assert not desk.wait(HELD_MS - 1)
    effects = desk.wait(1)
    assert [type(effect) for effect in effects] == [Say, Moved, Open]
    assert (effects[0], opened(effects)) == (Say(ANN, OrderCancelled(order=NAME)), [BEN])


def test_accepted__again_and_again__order_is_left_as_soon_as_if_it_were_said_once() -> None:
    desk = Desk(ANN, BEN).held()
    for _ in range(19):
        desk.wait(HELD_MS // 20)
        assert not [one for one in desk.say(ANN, accepted()) if not isinstance(one, Tell)]
    assert opened(desk.wait(HELD_MS // 20)) == [BEN]


@pytest.mark.parametrize("has_word", [False, True], ids=["without our word", "with our word"])
def test_down__comes_back_again_and_again__is_left_in_time(has_word: bool) -> None:
    desk = Desk(ANN, BEN).held()
    if has_word:
        desk.say(ANN, news("ready"))
    effects: tuple[OrderEffect, ...] = ()
    for _ in range(3):
        effects += desk.wait(HELD_MS // 4) + desk.hear(LinkDown(ANN)) + desk.hear(LinkUp(ANN))
        effects += desk.say(ANN, accepted())
    assert not given_up(effects)
    effects = desk.wait(HELD_MS // 4)
    assert (given_up(effects), opened(effects)) == ((["in_doubt"], []) if has_word else ([], [BEN]))


def test_held__by_one_after_another_to_the_end__order_is_given_up_in_time() -> None:
    peers = [PeerId(f"coordinator {number}") for number in range(20)]
    desk = Desk(*peers)
    while desk.order.phase is not Phase.ENDED:
        assert desk.order.peer is not None
        desk.hear(LinkUp(desk.order.peer))
        desk.say(desk.order.peer, accepted())
        effects = desk.wait(HELD_MS)
        assert desk.now - START < ORDER_MS + HELD_MS
    assert given_up(effects) == ["timeout"]


PEERS = st.sampled_from([ANN, BEN, PeerId("cleo")])
MESSAGES = st.sampled_from(
    [
        accepted(),
        accepted(OTHER),
        news("queued"),
        news("ready"),
        news("failed", reason="deadline"),
        news("failed", reason="cancelled"),
        refused("busy"),
        refused("unknown_model"),
        done(),
        WANTED,
    ]
)
EVENTS = st.one_of(
    st.just(Due()),
    st.lists(PEERS, max_size=3, unique=True).map(lambda peers: Found(tuple(peers))),
    PEERS.map(LinkUp),
    PEERS.map(LinkDown),
    st.builds(Said, PEERS, MESSAGES, st.sampled_from([b"", PICTURE])),
)


@given(st.lists(st.tuples(EVENTS, st.integers(0, 30_000)), max_size=60))
@settings(max_examples=300)
def test_handle__any_events__one_end_and_one_word_at_a_time(events: list[tuple[OrderEvent, int]]) -> None:
    order, now = AppOrder(ORDER), START
    order.begin(now)
    has_word: PeerId | None = None
    ends = 0
    for event, pause in events:
        now = UnixMillis(now + pause)
        if isinstance(event, Said) and event.peer == has_word and event.message.kind == "order_news":
            has_word = None if event.message.stage == "failed" and order.phase is Phase.HELD else has_word
        for effect in order.handle(event, now):
            ends += isinstance(effect, Drawn | GivenUp)
            if isinstance(effect, Say) and isinstance(effect.message, Taken):
                assert has_word in {None, effect.peer}, "two have our word"
                has_word = effect.peer
            if isinstance(effect, Say) and isinstance(effect.message, Order):
                assert has_word in {None, effect.peer}, "another is asked while one has our word"
    assert ends <= 1
    assert (ends == 1) == (order.phase is Phase.ENDED)


def test_refused__with_words_that_a_terminal_takes_for_commands__they_are_made_harmless() -> None:
    desk = Desk(ANN)
    desk.hear(LinkUp(ANN))
    said = OrderRefused(order=NAME, code="prompt_too_long", detail="\x1b]52;c;ZXZpbA==\x07ä\u202e\n too long")
    given_up = GivenUp("prompt_too_long", "�]52;c;ZXZpbA==�ä�� too long", is_ours_to_mend=True)
    assert desk.say(ANN, said) == (given_up,)
