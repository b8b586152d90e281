"""A coordinator of tasks that it cannot read: it carries keys and pictures, and pays on the app's signed word alone."""

from collections.abc import Callable

import pytest

from protocol.effects import Effect, Publish, Refused, Reply, Stage
from protocol.events import KeyGiven, PictureRejected, TaskSubmitted, TaskTaken
from protocol.notes import NoteName
from protocol.records import ArtifactStored, TaskAccepted, TaskAwarded, TaskDone, VoucherIssued
from protocol.roles.coordinator.award_showing import KEY_MS
from protocol.roles.coordinator.collecting import APP_LEASE_MS
from protocol.roles.coordinator.sampling import RecheckPolicy
from protocol.roles.coordinator.untaken import MOST
from protocol.stake.field import Field
from protocol.task.artifact import largest_picture
from protocol.units import Digest, TaskId, UnixMillis
from protocol.wire.fields import SEALED_OVERHEAD
from protocol.wire.messages import Abandon, Alive, Award, Bulletin, Cancel, Decline, Preview, Receipt
from tests.protocol.roles.frames import (
    ALICE_ID,
    PARAMS,
    SPECIFICATION,
    artifact_of,
    result_of,
)
from tests.protocol.roles.sealed_seat import (
    KEY,
    HalfSealedSeat,
    SealedSeat,
    acceptance,
    awarded,
    drawn,
    failures,
    key_for,
    ready,
    stages,
    submitted,
    told,
)
from tests.protocol.roles.sealing import SEALED, award_digest, sealed_picture
from tests.protocol.roles.seats import CoordinatorSeat, ignored, judged, noted, of_kind, persisted
from tests.support import networks
from tests.support.networks import ALICE, BOB
from tests.support.pictures import vp8, webp

Effects = tuple[Effect, ...]


def test_award__sealed_task__shows_its_app_all_that_was_signed_and_drawn() -> None:
    seat = SealedSeat(miners=(ALICE, BOB))
    task, effects = submitted(seat)
    (bulletin,) = [e.message for e in effects if isinstance(e, Publish) and isinstance(e.message, Bulletin)]
    award, update = awarded(seat, task=task)
    shown = update.award
    assert shown is not None
    assert (shown.award, shown.award_signature) == (award.statement, award.signature)
    assert (shown.specification, shown.salt) == (award.specification, award.salt)
    assert shown.claim.nonce == b"n" * 16
    assert (shown.epoch, shown.root, shown.field) == (bulletin.epoch, bulletin.root, bulletin.field)
    assert shown.offer == bulletin.offers[0]
    assert award.sealed_key is None, "the app has not said it yet"


def test_award__plain_task__shows_nothing() -> None:
    seat = SealedSeat()
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, "an order", collected=True)) + seat.wait(20)
    (accepted,) = persisted(effects, TaskAccepted)
    _, update = awarded(seat, task=accepted.task)
    assert update.award is None
    assert ("key", accepted.task, 0) not in seat.timers


def test_key__for_the_holders_award__goes_to_the_miner_with_it() -> None:
    seat = SealedSeat()
    award, _ = awarded(seat)
    (sent,) = of_kind(seat.hear(key_for(award)), Award)
    assert sent == award.model_copy(update={"sealed_key": KEY})
    assert ("key", award.statement.task, 0) not in seat.timers


def test_key__said_again_and_otherwise__goes_nowhere_and_the_first_one_stands() -> None:
    seat = SealedSeat()
    task, _ = submitted(seat)
    claim = seat.claim(ALICE, task)
    (award,) = of_kind(seat.say(ALICE, claim) + seat.wait(300), Award)
    seat.hear(key_for(award))
    for key in (KEY, b"x" * 80):
        effects = seat.hear(key_for(award, key))
        assert (of_kind(effects, Award), ignored(effects)) == ([], ["order_key.repeated"]), "no app fills a line"
    assert [one.sealed_key for one in of_kind(seat.say(ALICE, claim), Award)] == [KEY]


def test_key__of_another_attempt_or_award__is_ignored() -> None:
    seat = SealedSeat()
    award, _ = awarded(seat)
    other = award.model_copy(update={"statement": award.statement.model_copy(update={"attempt": 1})})
    for stale in (key_for(other), key_for(award, of=other)):
        effects = seat.hear(stale)
        assert not of_kind(effects, Award)
        assert ignored(effects) == ["order_key.stale"]


def test_key__of_a_task_that_is_not_sealed_or_known__changes_nothing() -> None:
    seat = SealedSeat()
    plain = seat.award()
    assert not seat.hear(key_for(plain))
    assert not seat.hear(KeyGiven(TaskId(b"u" * 32), 0, award_digest(plain), KEY))


def test_key__claim_is_said_again__is_answered_with_it() -> None:
    seat = SealedSeat()
    task, _ = submitted(seat)
    claim = seat.claim(ALICE, task)
    (award,) = of_kind(seat.say(ALICE, claim) + seat.wait(300), Award)
    assert of_kind(seat.say(ALICE, claim), Award) == [award]
    seat.hear(key_for(award))
    assert [one.sealed_key for one in of_kind(seat.say(ALICE, claim), Award)] == [KEY]


def test_key__does_not_come__ends_by_name_and_frees_the_miner() -> None:
    seat = SealedSeat()
    award, _ = awarded(seat)
    statement = award.statement
    effects: tuple[Effect, ...] = ()
    for _ in range(KEY_MS // 1000 - 1):
        alive = Alive(task=statement.task, attempt=0, state="queued", step=0, steps=10, wait_ms=12_000)
        effects += seat.say(ALICE, alive) + seat.wait(1000)
    assert not failures(effects)
    effects = seat.say(ALICE, alive) + seat.wait(1000)
    assert failures(effects) == ["app_gone"]
    assert [cancel.reason for cancel in of_kind(effects, Cancel)] == ["app_gone"]
    assert not noted(effects, NoteName.MINER_PAUSED), "it waited as it should"


def test_key__does_not_come_again_and_again__account_has_few_more_awarded() -> None:
    seat = SealedSeat()
    for number in range(MOST + 1):  # one is forgotten meanwhile
        task, _ = submitted(seat, f"order {number}")
        awarded(seat, task=task)
        waits = Alive(task=task, attempt=0, state="queued", step=0, steps=10, wait_ms=12_000)
        effects: tuple[Effect, ...] = ()
        for _ in range(KEY_MS // 1000):
            effects += seat.say(ALICE, waits) + seat.wait(1000)
        assert failures(effects) == ["app_gone"]
        seat.greet(ALICE)
    effects = seat.hear(TaskSubmitted(1, SEALED, True, "one more", account="app", collected=True))
    (reply,) = [effect.answer for effect in effects if isinstance(effect, Reply)]
    assert isinstance(reply, Refused)
    assert reply.code == "rate_limited"


def _give_no_key(seat: SealedSeat, task: TaskId) -> Effects:
    awarded(seat, task=task)
    waits = Alive(task=task, attempt=0, state="queued", step=0, steps=10, wait_ms=12_000)
    effects: Effects = ()
    for _ in range(KEY_MS // 1000):
        effects += seat.say(ALICE, waits) + seat.wait(1000)
    return effects


def _give_a_key_that_opens_nothing(seat: SealedSeat, task: TaskId) -> Effects:
    effects: Effects = ()
    for attempt, miner in enumerate((ALICE, BOB)):
        award, _ = awarded(seat, miner, task)
        seat.hear(key_for(award))
        effects += seat.say(miner, Abandon(task=task, attempt=attempt, reason="sealed_invalid")) + seat.wait(2000)
    return effects


def _reject(seat: SealedSeat, task: TaskId) -> Effects:
    award, _ = awarded(seat, task=task)
    seat.hear(key_for(award))
    drawn(seat, award)
    return seat.hear(PictureRejected(task, 0))


@pytest.mark.parametrize("waste", [_give_no_key, _give_a_key_that_opens_nothing, _reject])
def test_untaken__app_wastes_the_time_of_miners__what_else_it_has_waiting_ends(
    waste: Callable[[SealedSeat, TaskId], Effects],
) -> None:
    seat = SealedSeat(miners=(ALICE, BOB))
    wasted, _ = submitted(seat)
    waiting = [submitted(seat, f"waits {number}")[0] for number in range(20)]
    known = seat.core.task(wasted)
    assert known is not None
    for _ in range(MOST - 1):
        seat.core._settlement.untaken.add(known)
    effects = waste(seat, wasted)
    assert not any(seat.core.task(task) for task in waiting), "each would cost miners as much again"
    assert failures(effects).count("client_gone") >= len(waiting)


def test_lease_lost__next_winner_is_shown_anew_and_the_old_key_is_worth_nothing() -> None:
    seat = SealedSeat(miners=(ALICE, BOB))
    first, _ = awarded(seat)
    seat.hear(key_for(first))
    task = TaskId(first.statement.task)
    seat.wait(PARAMS.lease_ms + 5000)
    effects = seat.say(BOB, seat.claim(BOB, task)) + seat.wait(300)
    (second,) = of_kind(effects, Award)
    (update,) = [one for one in told(effects) if one.stage is Stage.CLAIMED]
    assert update.award is not None
    assert update.award.award == second.statement
    assert second.sealed_key is None
    assert ignored(seat.hear(key_for(first))) == ["order_key.stale"]
    assert [one.sealed_key for one in of_kind(seat.hear(key_for(second, b"2" * 80)), Award)] == [b"2" * 80]
    assert stages(drawn(seat, second, BOB)) == [Stage.READY]
    done = seat.hear(acceptance(second))
    assert persisted(done, TaskDone)[0].miner == second.statement.miner


def test_ready__without_a_signed_word__nothing_is_signed() -> None:
    seat, award = ready()
    effects = seat.hear(TaskTaken(TaskId(award.statement.task)))
    assert ignored(effects) == ["acceptance.missing"]
    assert not persisted(effects, VoucherIssued)


def test_ready__on_the_apps_signed_word__is_paid_once() -> None:
    seat, award = ready()
    word = acceptance(award)
    effects = seat.hear(word)
    assert stages(effects) == [Stage.DONE]
    assert word.acceptance is not None
    assert persisted(effects, TaskDone)[0].acceptance == word.acceptance.signature, "it is kept"
    assert len(persisted(effects, VoucherIssued)) == len(of_kind(effects, Receipt)) == 1
    assert not persisted(seat.hear(acceptance(award)), VoucherIssued)


@pytest.mark.parametrize("wrong", ["another app", "another network", "another picture"])
def test_ready__word_of_another_app_network_or_picture__is_worth_nothing(wrong: str) -> None:
    seat, award = ready()
    other = award.model_copy(update={"statement": award.statement.model_copy(update={"attempt": 1})})
    word = {
        "another app": lambda: acceptance(award, by=BOB),
        "another network": lambda: acceptance(award, network=Digest(bytes(32))),
        "another picture": lambda: acceptance(award, of=other),
    }[wrong]()
    effects = seat.hear(word)
    assert ignored(effects) == ["acceptance.signature"]
    assert not persisted(effects, TaskDone)
    assert failures(seat.wait(APP_LEASE_MS)) == ["not_taken"]


def test_word__before_the_picture__is_worth_nothing() -> None:
    seat = SealedSeat()
    award, _ = awarded(seat)
    seat.hear(key_for(award))
    seat.hear(acceptance(award))
    assert stages(drawn(seat, award)) == [Stage.READY], "nobody takes what he has not seen"


def test_result__sealed_picture__is_kept_as_it_came_and_never_looked_at() -> None:
    seat = SealedSeat()
    award, _ = awarded(seat)
    seat.hear(key_for(award))
    data = sealed_picture(award)
    seat.say(ALICE, result_of(award, data=data))
    (stored,) = persisted(seat.hear(artifact_of(award, data=data)), ArtifactStored)
    assert stored.data == data


def test_artifact__sealed__too_short_to_be_anything__is_the_miners_fault() -> None:
    seat = SealedSeat(miners=(ALICE, BOB))
    award, _ = awarded(seat)
    seat.hear(key_for(award))
    for data in (b"tiny", bytes(SEALED_OVERHEAD)):
        effects = seat.say(ALICE, result_of(award, data=data)) + seat.hear(artifact_of(award, data=data))
        assert Stage.READY not in stages(effects), "no message to its app can carry it"
        assert judged(effects) == ["artifact.sealed"]


def test_artifact__sealed__may_be_larger_by_what_sealing_adds() -> None:
    seat = SealedSeat()
    award, _ = awarded(seat)
    task, most = TaskId(award.statement.task), largest_picture(128, 128) + SEALED_OVERHEAD
    assert seat.core.expects_artifact(ALICE.peer_id, task, 0, most, seat.now)
    assert not seat.core.expects_artifact(ALICE.peer_id, task, 0, most + 1, seat.now)


def test_preview__of_a_sealed_task__is_shown_to_nobody() -> None:
    seat = SealedSeat()
    award, _ = awarded(seat)
    seat.hear(key_for(award))
    effects = seat.say(ALICE, Preview(task=award.statement.task, attempt=0, data=webp(vp8(64, 64))))
    assert ignored(effects) == ["preview.sealed"]
    assert not told(effects)


def test_offer__sealed_task__miners_without_a_sealing_key_are_outside_the_field() -> None:
    seat = HalfSealedSeat(miners=(ALICE, BOB))
    _, effects = submitted(seat)
    (bulletin,) = [e.message for e in effects if isinstance(e, Publish) and isinstance(e.message, Bulletin)]
    table = networks.view(bulletin.epoch).table
    assert bulletin.field == Field.of(table.miners, {ALICE_ID}, {ALICE_ID}).to_bytes()


def test_claim__of_a_miner_without_a_sealing_key__is_declined_by_name() -> None:
    seat = HalfSealedSeat(miners=(ALICE, BOB))
    task, _ = submitted(seat)
    seat.wait(2000)
    task_now = seat.core.task(task)
    assert task_now is not None
    effects = seat.say(BOB, seat.claim(BOB, task))
    assert [decline.statement.reason for decline in of_kind(effects, Decline)] == ["no_sealing_key"]


def test_submit__nobody_names_a_sealing_key__is_refused() -> None:
    seat = CoordinatorSeat()
    effects = seat.hear(TaskSubmitted(1, SEALED, True, "an order", collected=True))
    (reply,) = [effect.answer for effect in effects if isinstance(effect, Reply)]
    assert isinstance(reply, Refused)
    assert (reply.code, "opens sealed orders" in reply.detail) == ("no_miner", True)


def test_submit__sealed_and_not_collected__is_refused() -> None:
    seat = SealedSeat()
    effects = seat.hear(TaskSubmitted(1, SEALED, True, "an order"))
    (reply,) = [effect.answer for effect in effects if isinstance(effect, Reply)]
    assert isinstance(reply, Refused)
    assert reply.code == "sealed_not_taken"


def test_restart__key_was_said__comes_from_the_app_again_and_goes_on() -> None:
    seat = SealedSeat()
    task, effects = submitted(seat)
    records = persisted(effects, TaskAccepted)
    effects = seat.say(ALICE, seat.claim(ALICE, task)) + seat.wait(300)
    (award,), kept = of_kind(effects, Award), persisted(effects, TaskAwarded)
    seat.hear(key_for(award))
    again = SealedSeat((*records, *kept), ())
    again.now = UnixMillis(seat.now + 500)
    again.greet(ALICE)
    assert [one.sealed_key for one in of_kind(again.hear(key_for(award)), Award)] == [KEY]
    assert stages(drawn(again, award)) == [Stage.READY]
    assert stages(again.hear(acceptance(award))) == [Stage.DONE]


def test_done__sealed_task__is_never_drawn_again() -> None:
    seat = SealedSeat(miners=(ALICE, BOB))
    seat.core._rechecking._policy = RecheckPolicy(share=1.0, newcomer_share=1.0)
    seat.core._rechecking._secret = b"s" * 32
    award, _ = awarded(seat)
    seat.hear(key_for(award))
    drawn(seat, award)
    effects = seat.hear(acceptance(award))
    assert stages(effects) == [Stage.DONE]
    assert not noted(effects, NoteName.RECHECK_PLANNED)
