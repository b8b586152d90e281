"""Pictures that tasks begin from: kept, sent to the winner alone, waited for, and gone with their task."""

import hashlib

import pytest

from protocol.effects import CancelJob, Persist, Publish, Refused, Reply, SendArtifact, SendInput, StartJob
from protocol.errors import InvalidMessage
from protocol.events import ArtifactReceived, ServiceChanged, TaskSubmitted
from protocol.notes import NoteName
from protocol.records import InputStored, TaskAccepted, TaskDone, TaskFailed
from protocol.roles.coordinator import input_sending
from protocol.roles.coordinator.input_sending import MAX_SENDS, SEND_PACE_MS
from protocol.roles.miner import input_waiting
from protocol.roles.miner.input_waiting import ASK_AGAIN_MS, WAIT_MS
from protocol.task.inputs import check_inputs
from protocol.units import Digest, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Abandon, Alive, Award, Claim, Result, TaskSpecification
from tests.protocol.roles.frames import (
    ALICE_ID,
    BOB_ID,
    CATALOG,
    MODEL,
    PARAMS,
    PRICE,
    artifact_of,
    award_of,
    capability,
    result_of,
)
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, ignored, judged, noted, of_kind, persisted
from tests.support.networks import ALICE, BOB, CAROL
from tests.support.pictures import png, vp8, webp

SOURCE, MASK = png(64, 48), png(64, 48, seed=5)
SOURCE_DIGEST, MASK_DIGEST = (Digest(hashlib.sha256(data).digest()) for data in (SOURCE, MASK))
BOTH = {SOURCE_DIGEST: SOURCE, MASK_DIGEST: MASK}
WORK = TaskSpecification(
    work="inpaint",
    model=MODEL.name,
    prompt="a red heart",
    width=128,
    height=128,
    steps=10,
    guidance=4.0,
    seed=7,
    source=SOURCE_DIGEST,
    mask=MASK_DIGEST,
    strength=0.5,
)
WORK_PRICE = Wei(WORK.pixel_steps * PARAMS.price_per_pixel_step_wei)


def coordinator(*, records: tuple = ()) -> CoordinatorSeat:
    """Carol, with alice who does all kinds of work and bob who draws from text alone."""
    seat = CoordinatorSeat(records, miners=(ALICE, BOB))
    for miner, works in ((ALICE, MODEL.works), (BOB, ("text_to_image",))):
        seat.say(miner, capability(miner, seat.number(miner), sequence=seat.now + 1, works=works))
    return seat


def sent(effects) -> list[tuple[str, bytes]]:
    return [(effect.peer, effect.digest) for effect in effects if isinstance(effect, SendInput)]


def awarded(seat: CoordinatorSeat) -> tuple[bytes, tuple]:
    """A task that alice won and waits for the pictures of, and what that brought."""
    task = seat.submit(work=WORK, inputs=BOTH)
    effects = seat.say(ALICE, seat.claim(ALICE, task)) + seat.wait(300)
    assert len(of_kind(effects, Award)) == 1
    assert not sent(effects), "nobody awaits them before the award has come"
    return task, seat.say(ALICE, waits(task))


def waits(task: bytes) -> Alive:
    return Alive(task=task, attempt=0, state="queued", step=0, steps=5, wait_ms=60_000)


# The coordinator


def test_submit__with_its_pictures__they_are_on_disk_with_the_task_and_in_no_message():
    seat = coordinator()
    effects = seat.hear(TaskSubmitted(1, WORK, False, inputs=BOTH))
    (accepted,) = persisted(effects, TaskAccepted)
    stored = persisted(effects, InputStored)
    assert {(one.task, one.digest, one.data) for one in stored} == {(accepted.task, *pair) for pair in BOTH.items()}
    assert accepted.input_bytes == len(SOURCE) + len(MASK)
    assert not any(effect.may_wait for effect in effects if isinstance(effect, Persist))
    assert accepted.price == WORK_PRICE < PRICE
    effects += seat.wait(50)
    published = [encode(effect.message) for effect in effects if isinstance(effect, Publish)]
    assert published
    assert not sent(effects)
    assert not any(digest in message for digest in BOTH for message in published)


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({SOURCE_DIGEST: SOURCE}, "input_missing"),
        ({**BOTH, Digest(b"x" * 32): SOURCE}, "input_unexpected"),
        ({SOURCE_DIGEST: SOURCE, MASK_DIGEST: b"GIF89a"}, "input_format"),
        ({SOURCE_DIGEST: SOURCE, MASK_DIGEST: png(32, 48)}, "input_mask"),
    ],
)
def test_submit__other_pictures_than_it_names__is_refused_before_the_queue(inputs, code):
    seat = coordinator()
    effects = seat.hear(TaskSubmitted(1, WORK, True, inputs=inputs))
    (answer,) = [effect.answer for effect in effects if isinstance(effect, Reply)]
    assert isinstance(answer, Refused)
    assert answer.code == code
    assert not persisted(effects, TaskAccepted)


def test_submit__more_pictures_than_there_is_room_for__is_busy_until_some_end(monkeypatch):
    monkeypatch.setattr(input_sending, "MAX_INPUTS_ON_DISK", 3 * sum(len(data) for data in BOTH.values()))
    seat = coordinator()

    def submit(account: str) -> object:
        effects = seat.hear(TaskSubmitted(1, WORK, True, account=account, inputs=BOTH))
        return next(effect.answer for effect in effects if isinstance(effect, Reply))

    first = submit("alice")
    assert not isinstance(first, Refused)
    refused = submit("alice")
    assert isinstance(refused, Refused), "one account takes no more than is left for all others"
    assert refused.code == "busy"
    assert not isinstance(submit("bob"), Refused)
    seat.core._settlement.fail(seat.core.task(first.task), "cancelled")
    assert not isinstance(submit("alice"), Refused)


def test_restart__unfinished_task_with_pictures__their_room_is_still_taken(monkeypatch):
    seat = coordinator()
    effects = seat.hear(TaskSubmitted(1, WORK, True, account="alice", inputs=BOTH))
    (record,) = persisted(effects, TaskAccepted)
    monkeypatch.setattr(input_sending, "MAX_INPUTS_ON_DISK", record.input_bytes + 10)
    again = coordinator(records=(record,))
    (answer,) = [e.answer for e in again.hear(TaskSubmitted(2, WORK, True, inputs=BOTH)) if isinstance(e, Reply)]
    assert answer.code == "busy"


def test_submit__work_that_no_miner_does__is_refused_with_the_reason():
    seat = CoordinatorSeat(miners=(BOB,))
    (answer,) = [e.answer for e in seat.hear(TaskSubmitted(1, WORK, True, inputs=BOTH)) if isinstance(e, Reply)]
    assert (answer.code, answer.detail) == ("no_miner", f"no connected miner does inpaint with {MODEL.name}")


def test_offer__work_that_one_miner_does__the_other_is_not_in_its_field():
    seat = coordinator()
    task = seat.submit(work=WORK, inputs=BOTH)
    assert set(seat.core.task(task).open.order) <= {ALICE_ID}
    plain = seat.submit()
    assert set(seat.core.task(plain).open.order) == {ALICE_ID, BOB_ID}


def test_award__task_with_pictures__they_go_to_the_winner_alone():
    seat = coordinator()
    task, effects = awarded(seat)
    assert sent(effects) == [(ALICE.peer_id, SOURCE_DIGEST), (ALICE.peer_id, MASK_DIGEST)]
    assert sent(seat.say(ALICE, waits(task))) == [], "once"


def test_claim__repeated_by_the_winner__pictures_go_again_at_a_pace_and_not_for_ever():
    seat = coordinator()
    task, _ = awarded(seat)
    claim = seat.claim(ALICE, task)
    claim = claim.model_copy(update={"statement": claim.statement.model_copy(update={"offer": _offer_of(seat, task)})})
    claim = _signed_again(seat, claim)
    effects = seat.say(ALICE, claim)
    assert len(of_kind(effects, Award)) == 1
    assert sent(effects) == []
    assert "input.pace" in ignored(effects)
    times = 1
    for _ in range(MAX_SENDS + 3):
        _keep_alive(seat, task, SEND_PACE_MS)
        times += bool(sent(seat.say(ALICE, claim)))
    assert times == MAX_SENDS


def test_claim__repeated_by_who_lost_the_task__brings_no_pictures():
    seat = coordinator()
    task, _ = awarded(seat)
    claim = seat.claim(ALICE, task)
    claim = claim.model_copy(update={"statement": claim.statement.model_copy(update={"offer": _offer_of(seat, task)})})
    claim = _signed_again(seat, claim)
    seat.say(ALICE, Abandon(task=task, attempt=0, reason="out_of_memory"))
    seat.wait(SEND_PACE_MS)
    effects = seat.say(ALICE, claim)
    assert len(of_kind(effects, Award)) == 1, "it has none for what it won then but this one"
    assert sent(effects) == []


def _offer_of(seat: CoordinatorSeat, task: bytes) -> bytes:
    return seat.core.task(task).holder.award.statement.offer


def _signed_again(seat: CoordinatorSeat, claim: Claim) -> Claim:
    from tests.protocol.roles.frames import signed

    return Claim(statement=claim.statement, signature=signed(ALICE, claim.statement))


def _keep_alive(seat: CoordinatorSeat, task: bytes, milliseconds: int) -> None:
    for _ in range(milliseconds // 1000):
        seat.wait(1000)
        seat.say(ALICE, waits(task))


def abandon(seat: CoordinatorSeat, task: bytes, reason: str):
    return seat.say(ALICE, Abandon(task=task, attempt=seat.core.task(task).attempt, reason=reason))


def test_abandon__pictures_did_not_come__its_miner_is_forgiven_once():
    seat = coordinator()
    task, _ = awarded(seat)
    abandon(seat, task, "no_input")
    assert ALICE_ID not in seat.core.task(task).excluded
    seat.wait(20)
    seat.say(ALICE, seat.claim(ALICE, task))
    seat.wait(300)
    effects = abandon(seat, task, "no_input")
    assert noted(effects, NoteName.MINER_PAUSED)


def test_abandon__pictures_that_cannot_be_decoded__pauses_nobody_and_ends_the_task_at_the_second_word():
    seat = coordinator()
    task, _ = awarded(seat)
    effects = abandon(seat, task, "input_invalid")
    assert not noted(effects, NoteName.MINER_PAUSED)
    assert not persisted(effects, TaskFailed), "one miner's word ends no task"
    seat.wait(20)
    seat.say(ALICE, seat.claim(ALICE, task))
    seat.wait(300)
    effects = abandon(seat, task, "input_invalid")
    assert [record.reason for record in persisted(effects, TaskFailed)] == ["input_invalid"]
    assert not noted(effects, NoteName.MINER_PAUSED)


def test_abandon__input_invalid_of_a_task_without_pictures__is_held_against_its_miner():
    seat = CoordinatorSeat()
    award = seat.award()
    effects = seat.say(ALICE, Abandon(task=award.statement.task, attempt=0, reason="input_invalid"))
    assert noted(effects, NoteName.MINER_PAUSED)


def test_coordinator__result_in_another_format_than_ordered__is_judged_and_costs_the_task():
    seat = CoordinatorSeat()
    ordered = CATALOG.complete("a red heart", seed=7, output="webp")
    task = seat.submit(work=ordered)
    (award,) = of_kind(seat.say(ALICE, seat.claim(ALICE, task)) + seat.wait(300), Award)
    effects = seat.say(ALICE, result_of(award))
    assert judged(effects) == ["result.media_type"]
    assert seat.core.task(task).declines == {"invalid_result": 1}


def test_coordinator__webp_that_was_ordered__ends_the_task():
    seat = CoordinatorSeat()
    task = seat.submit(work=CATALOG.complete("a red heart", seed=7, output="webp"))
    (award,) = of_kind(seat.say(ALICE, seat.claim(ALICE, task)) + seat.wait(300), Award)
    data = webp(vp8(128, 128))
    result = result_of(award, data=data)
    seat.say(ALICE, Result(**result.model_dump() | {"version": 2, "media_type": "image/webp"}))
    effects = seat.hear(artifact_of(award, data=data))
    (done,) = persisted(effects, TaskDone)
    assert done.media_type == "image/webp"
    assert not judged(effects)


# The miner


def begun(seat: MinerSeat) -> Award:
    """An award of work that begins from two pictures."""
    changes = {"work": "inpaint", "pixel_steps": WORK.pixel_steps, "price": WORK_PRICE}
    (claim,) = of_kind(seat.offer(**changes), Claim)
    award = award_of(claim, work=WORK, price=WORK_PRICE)
    effects = seat.say(CAROL, award)
    assert not [effect for effect in effects if isinstance(effect, StartJob)]
    assert [alive.state for alive in of_kind(effects, Alive)] == ["queued"]
    return award


def bring(seat: MinerSeat, award: Award, data: bytes, by=CAROL):
    statement, digest = award.statement, Digest(hashlib.sha256(data).digest())
    return seat.hear(ArtifactReceived(by.peer_id, statement.task, statement.attempt, digest, data))


def expects(seat: MinerSeat, award: Award, size: int, by=CAROL) -> bool:
    return seat.core.expects_artifact(by.peer_id, award.statement.task, award.statement.attempt, size, seat.now)


def test_award__with_pictures__the_job_begins_when_both_are_here():
    seat = MinerSeat(works=MODEL.works)
    award = begun(seat)
    assert expects(seat, award, len(MASK))
    assert not [effect for effect in bring(seat, award, MASK) if isinstance(effect, StartJob)]
    (job,) = [effect for effect in bring(seat, award, SOURCE) if isinstance(effect, StartJob)]
    assert (job.source, job.mask, job.specification) == (SOURCE, MASK, WORK)
    assert not expects(seat, award, len(SOURCE))
    effects = seat.finish(award)
    assert [effect.digest for effect in effects if isinstance(effect, SendArtifact)]


def test_award__pictures_do_not_come__it_stays_alive_asks_again_and_gives_back_in_time():
    seat = MinerSeat(works=MODEL.works)
    award = begun(seat)
    effects = seat.wait(WAIT_MS - 1000)
    assert len(of_kind(effects, Alive)) >= (WAIT_MS - 1000) // PARAMS.alive_interval_ms - 1
    assert len(of_kind(effects, Claim)) == pytest.approx((WAIT_MS - 1000) // ASK_AGAIN_MS, abs=2)
    assert {claim.statement.nonce for claim in of_kind(effects, Claim)} == {_own_claim_nonce(seat, award)}, (
        "the very claim that was awarded"
    )
    effects = seat.wait(2000)
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["no_input"]
    assert not expects(seat, award, len(SOURCE))
    assert not [effect for effect in bring(seat, award, SOURCE) if isinstance(effect, StartJob)]


def _own_claim_nonce(seat: MinerSeat, award: Award) -> bytes:
    (awaited,) = [one for key, one in seat.core._working.inputs._awaited.items() if key[0] == award.statement.task]
    return awaited.claim.statement.nonce


def test_artifact__not_named_by_the_task__is_held_against_its_sender():
    seat = MinerSeat(works=MODEL.works)
    award = begun(seat)
    assert judged(bring(seat, award, png(16, 16))) == ["input.digest"]


def test_artifact__of_another_peer__is_not_awaited():
    seat = MinerSeat(works=MODEL.works)
    award = begun(seat)
    assert not expects(seat, award, len(SOURCE), by=BOB)
    assert "artifact.unexpected" in ignored(bring(seat, award, SOURCE, by=BOB))


def test_expects__more_bytes_than_a_miner_holds__waits(monkeypatch):
    seat = MinerSeat(works=MODEL.works)
    award = begun(seat)
    bring(seat, award, SOURCE)
    monkeypatch.setattr(input_waiting, "MAX_HELD_BYTES", len(SOURCE) + len(MASK) - 1)
    assert not expects(seat, award, len(MASK))
    monkeypatch.setattr(input_waiting, "MAX_HELD_BYTES", len(SOURCE) + len(MASK))
    assert expects(seat, award, len(MASK))
    assert not expects(seat, award, 8 * 1024 * 1024 + 1)


def test_award__pictures_that_no_honest_coordinator_takes__is_given_back_and_judged():
    seat = MinerSeat(works=MODEL.works)
    other = png(32, 48)
    work = WORK.model_copy(update={"mask": Digest(hashlib.sha256(other).digest())})
    with pytest.raises(InvalidMessage):
        check_inputs(work, {SOURCE_DIGEST: SOURCE, work.mask: other})
    changes = {"work": "inpaint", "pixel_steps": WORK.pixel_steps, "price": WORK_PRICE}
    (claim,) = of_kind(seat.offer(**changes), Claim)
    award = award_of(claim, work=work, price=WORK_PRICE)
    seat.say(CAROL, award)
    bring(seat, award, SOURCE)
    effects = bring(seat, award, other)
    assert judged(effects) == ["input.mask"]
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["not_as_offered"]


def test_cancel__while_pictures_are_on_their_way__ends_the_waiting():
    from protocol.wire.messages import Cancel

    seat = MinerSeat(works=MODEL.works)
    award = begun(seat)
    statement = award.statement
    effects = seat.say(CAROL, Cancel(task=statement.task, attempt=statement.attempt, reason="cancelled"))
    assert [effect for effect in effects if isinstance(effect, CancelJob)]
    assert not expects(seat, award, len(SOURCE))
    assert not of_kind(seat.wait(10_000), Alive)


def test_service__closed_with_give_back_while_pictures_are_on_their_way__ends_the_waiting():
    seat = MinerSeat(works=MODEL.works)
    award = begun(seat)
    effects = seat.hear(ServiceChanged(is_open=False, give_back=True))
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["paused"]
    assert not expects(seat, award, len(SOURCE))
    assert not [effect for data in BOTH.values() for effect in bring(seat, award, data) if isinstance(effect, StartJob)]
    effects = seat.wait(WAIT_MS + 1000)
    assert not of_kind(effects, Alive)
    assert not of_kind(effects, Abandon), "it was given back already"


def test_offer__work_that_the_engine_does_not_do__is_skipped_by_name():
    effects = MinerSeat().offer(work="inpaint")
    assert [note.fields["reason"] for note in noted(effects, NoteName.OFFER_SKIPPED)] == ["work"]
