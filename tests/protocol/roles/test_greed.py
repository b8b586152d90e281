"""What a registered but dishonest party tries: it gains nothing, and honest ones lose nothing."""

from protocol.effects import Accepted, Reply, StartJob
from protocol.events import GossipReceived, TaskCancelled, TaskSubmitted
from protocol.notes import NoteName
from protocol.records import ResultSettled, TaskAccepted
from protocol.roles.coordinator.roster import MAX_DELIVERING
from protocol.stake.lottery import last_slot_ms
from protocol.task.artifact import largest_picture
from protocol.units import StakingId
from protocol.wire.messages import Abandon, Alive, Award, Bulletin, CapabilityUpdate, Claim, Closure, Decline
from protocol.wire.topics import offers_topic
from tests.protocol.roles.frames import (
    ALICE_ID,
    CAROL_ID,
    MODEL,
    PARAMS,
    PRICE,
    SPECIFICATION,
    artifact_of,
    award_of,
    bulletin,
    capability,
    hello,
    receipt_of,
    result_of,
    voucher_of,
)
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, ignored, judged, noted, of_kind, persisted
from tests.support.networks import ALICE, BOB, CAROL, DAVE

TOPIC = offers_topic(PARAMS.name, MODEL.name)


def skipped(effects: object) -> list[object]:
    return [note.fields["reason"] for note in noted(effects, NoteName.OFFER_SKIPPED)]  # type: ignore[arg-type]


def changed(message: Bulletin, **changes: object) -> Bulletin:
    return message.model_copy(update={"offers": tuple(o.model_copy(update=changes) for o in message.offers)})


def test_bulletin__closure_of_another_coordinator__withdraws_nothing() -> None:
    for coordinator, claims in ((StakingId(4), 1), (CAROL_ID, 0)):
        seat = MinerSeat()
        award = award_of(seat.claimed())
        seat.say(CAROL, award)
        seat.offer(1)
        task = bulletin(seat.now, 1).offers[0].task
        closure = Closure(task=task, reason="done")
        empty = {"coordinator": coordinator, "offers": (), "closures": (closure,)}
        signer = CAROL if coordinator == CAROL_ID else DAVE
        seat.hear(GossipReceived(TOPIC, bulletin(seat.now, 1).model_copy(update=empty), signer.peer_id))
        effects = seat.finish(award) + seat.say(CAROL, receipt_of(result_of(award)))
        assert len(of_kind(effects, Claim)) == claims


def test_weigh__slots_far_longer_than_the_networks__are_not_waited_for() -> None:
    seat = MinerSeat()
    slow = changed(bulletin(seat.now, 0), allowance_ms=8 * PARAMS.claim_allowance_ms + 1)
    assert skipped(seat.hear(GossipReceived(TOPIC, slow, CAROL.peer_id))) == ["slots"]
    late = changed(bulletin(seat.now, 1), slot_step_ms=8 * PARAMS.slot_step_ms + 1)
    assert skipped(seat.hear(GossipReceived(TOPIC, late, CAROL.peer_id))) == ["slots"]


def test_claim__never_answered__its_coordinator_is_not_heard_for_growing_pauses() -> None:
    seat = MinerSeat()
    assert of_kind(seat.offer(), Claim)
    seat.wait(1300)
    assert skipped(seat.offer()) == ["unanswered"]
    seat.wait(1000)
    again = of_kind(seat.offer(), Claim)
    assert again
    seat.wait(1300)
    seat.wait(1000)
    assert skipped(seat.offer()) == ["unanswered"], "the second pause is longer"
    seat.wait(2000)
    claim = of_kind(seat.offer(), Claim)[0]
    award = award_of(claim)
    seat.say(CAROL, award)
    seat.finish(award)
    assert skipped(seat.offer()) == [], "an answer ends it"


def test_weigh__task_that_is_in_hand__is_not_claimed_again() -> None:
    seat = MinerSeat(places=4)
    claim = seat.claimed()
    seat.say(CAROL, award_of(claim))
    assert skipped(seat.offer(0, attempt=1)) == ["in_hand"]


def test_award__second_one_for_an_attempt_in_hand__is_given_back() -> None:
    seat = MinerSeat(places=4)
    first = award_of(seat.claimed())
    effects = seat.say(CAROL, first)
    assert [effect.task for effect in effects if isinstance(effect, StartJob)] == [first.statement.task]
    # The offer comes again after our claim, as if the first award had been lost; force the claim that is refused above.
    seat.core._working.has = lambda _task: False
    claims = of_kind(seat.offer(0), Claim)
    second = award_of(claims[0])
    effects = seat.say(CAROL, second)
    assert not [effect for effect in effects if isinstance(effect, StartJob)]
    assert len(of_kind(effects, Abandon)) == 1


def test_receipt__with_an_old_voucher_again__settles_nothing() -> None:
    seat = MinerSeat()
    first, result = seat.delivered()
    voucher = voucher_of(PRICE)
    effects = seat.say(CAROL, receipt_of(result, voucher=voucher))
    assert persisted(effects, ResultSettled)
    _, second = seat.delivered()
    effects = seat.say(CAROL, receipt_of(second, voucher=voucher))
    assert judged(effects) == ["receipt.underpaid"]
    assert not persisted(effects, ResultSettled)
    effects = seat.say(CAROL, receipt_of(second, voucher=voucher_of(2 * PRICE, sequence=2)))
    assert judged(effects) == []
    assert persisted(effects, ResultSettled)
    assert first.statement.price == PRICE


def test_hello__again_and_again__makes_nobody_repeat_itself() -> None:
    seat = MinerSeat()
    effects = seat.say(CAROL, hello(CAROL_ID))
    assert ignored(effects) == ["hello.repeated"]
    assert of_kind(effects, CapabilityUpdate) == []
    for _ in range(3):
        assert ignored(seat.say(CAROL, hello(CAROL_ID))) == ["hello.repeated"]
    assert len(of_kind(seat.wait(1000), CapabilityUpdate)) == 1, "one answer for all"
    seat.wait(1000)
    assert of_kind(seat.say(CAROL, hello(CAROL_ID)), CapabilityUpdate)


def test_claim__of_more_than_its_places_and_one__is_declined() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    answers = []
    for number in range(3):
        task = seat.submit(key=f"task {number}")
        seat.wait(last_slot_ms(0, 2, PARAMS.slot_step_ms))
        answers.append(seat.say(ALICE, seat.claim(ALICE, task, nonce=bytes([number]) * 16)) + seat.wait(300))
    assert [bool(of_kind(effects, Award)) for effects in answers] == [True, True, False]
    assert [decline.statement.reason for decline in of_kind(answers[2], Decline)] == ["no_place"]


def test_claim__of_a_miner_that_draws_in_batches__is_awarded_a_batch_ahead() -> None:
    batch = MAX_DELIVERING + 2
    seat = CoordinatorSeat(miners=(ALICE,))
    seat.say(ALICE, capability(ALICE, ALICE_ID, sequence=seat.now + 1, free=batch, places=batch, batch=batch))
    awards: list[Award] = []

    def is_awarded(number: int) -> bool:
        task = seat.submit(key=f"task {number}")
        seat.wait(2 * last_slot_ms(0, 2, PARAMS.slot_step_ms))
        won = of_kind(seat.say(ALICE, seat.claim(ALICE, task, nonce=bytes([number]) * 16)) + seat.wait(300), Award)
        awards.extend(won)
        for named in [award.statement for award in awards]:
            word = Alive(task=named.task, attempt=named.attempt, state="queued", step=0, steps=9, wait_ms=60_000)
            seat.say(ALICE, word)
        return bool(won)

    assert [is_awarded(number) for number in range(2 * batch + 1)] == [True] * 2 * batch + [False]
    # A batch ends all at once: its pictures are on their way together, and the first that is here makes room.
    for award in awards[:batch]:
        seat.say(ALICE, result_of(award))
    assert not is_awarded(100)
    seat.hear(artifact_of(awards[0]))
    assert is_awarded(101)


def test_claim__of_a_miner_whose_pictures_are_on_their_way__is_awarded_up_to_a_limit() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    reasons: list[str] = []
    awards: list[Award] = []
    for number in range(MAX_DELIVERING + 1):
        task = seat.submit(key=f"task {number}")
        if number == MAX_DELIVERING:
            # It is in no field any more: its slot comes behind those that are.
            seat.wait(last_slot_ms(0, 2, PARAMS.slot_step_ms))
        effects = seat.say(ALICE, seat.claim(ALICE, task, nonce=bytes([number]) * 16)) + seat.wait(300)
        for award in of_kind(effects, Award):
            awards.append(award)
            seat.say(ALICE, result_of(award))
        reasons += [decline.statement.reason for decline in of_kind(effects, Decline)]
    assert reasons == ["no_place"], "its engine is free, but nobody sends pictures for ever"
    seat.hear(artifact_of(awards[0]))
    task = seat.submit(key="once more")
    assert of_kind(seat.say(ALICE, seat.claim(ALICE, task)) + seat.wait(300), Award)


def test_alive__back_and_forth__is_no_progress() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    named = award.statement
    taken_back = False
    for second in range(40):
        step = second % 2
        word = Alive(task=named.task, attempt=named.attempt, state="step", step=step, steps=10, wait_ms=1000)
        effects = seat.say(ALICE, word) + seat.wait(1000)
        taken_back = taken_back or bool(noted(effects, NoteName.TASK_LEASE_EXPIRED))
    assert taken_back


def test_alive__endless_queue_stated__is_believed_for_a_bounded_time() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    named = seat.award().statement
    word = Alive(task=named.task, attempt=named.attempt, state="queued", step=0, steps=10, wait_ms=86_400_000)
    expired: list[object] = []
    for _ in range(150):
        expired += noted(seat.say(ALICE, word) + seat.wait(1000), NoteName.TASK_LEASE_EXPIRED)
    assert expired


def test_artifact__awaited__only_of_the_award_and_no_larger_than_such_a_picture() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    task, attempt = award.statement.task, award.statement.attempt
    most = largest_picture(SPECIFICATION.width, SPECIFICATION.height)

    def expected(peer: str, task: bytes = task, attempt: int = attempt, size: int = 1000) -> bool:
        return seat.core.expects_artifact(peer, task, attempt, size, seat.now)  # type: ignore[arg-type]

    assert expected(ALICE.peer_id)
    assert expected(ALICE.peer_id, size=most)
    assert not expected(ALICE.peer_id, size=most + 1)
    assert not expected(BOB.peer_id), "another miner's"
    assert not expected(ALICE.peer_id, task=bytes(32))
    assert not expected(ALICE.peer_id, attempt=attempt + 1)
    seat.hear(artifact_of(award))
    assert not expected(ALICE.peer_id), "once"
    assert most < 2**19


def test_offer_waiting__asked_for_often__passes_at_a_pace() -> None:
    seat = CoordinatorSeat()
    seat.wait(200)
    seat.core.emit()
    seat.core._offering.offer_waiting()
    seat.core._effects = []
    seat.core._offering.offer_waiting()
    assert [effect.key[0] for effect in seat.core._effects] == ["waiting"]  # type: ignore[union-attr]


def test_submit__key_of_a_task_that_just_ended__is_that_task() -> None:
    seat = CoordinatorSeat()
    task = seat.submit(key="once")
    seat.hear(TaskCancelled(task))  # type: ignore[arg-type]
    effects = seat.hear(TaskSubmitted(9, SPECIFICATION, True, "once"))
    assert [effect.answer for effect in effects if isinstance(effect, Reply)] == [Accepted(task)]  # type: ignore[arg-type]
    assert persisted(effects, TaskAccepted) == []
