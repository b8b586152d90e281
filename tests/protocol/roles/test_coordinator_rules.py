"""What a coordinator takes from a miner, ignores, and holds against it: one test each way for every rule."""

from typing import Any

import pytest

from protocol.effects import Deliver, Publish, SendEncoded, Stage
from protocol.events import ActivityChanged, StreamReceived
from protocol.notes import NoteName
from protocol.records import TaskDone, VoucherIssued
from protocol.roles.coordinator.settlement import REMEMBERED_RECEIPTS
from protocol.stake.field import Field
from protocol.units import Digest, TaskId
from protocol.wire.codec import encode
from protocol.wire.messages import Alive, Award, Cancel, Decline, Hello, Receipt, Reject
from tests.protocol.roles.frames import (
    ALICE_ID,
    BOB_ID,
    CAROL_ID,
    EPOCH,
    NETWORK_ID,
    NOTHING,
    NOW,
    PARAMS,
    PICTURE,
    PRICE,
    artifact_of,
    award_of,
    capability,
    hello,
    result_of,
    signed,
    voucher_of,
)
from tests.protocol.roles.seats import CoordinatorSeat, ignored, judged, noted, of_kind, persisted
from tests.support import networks
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator, row
from tests.support.pictures import png


def test_coordinator__honest_line__ends_with_receipt_and_judges_nobody() -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    alive = Alive(task=award.statement.task, attempt=0, state="step", step=1, steps=10, wait_ms=20)
    effects = seat.say(ALICE, alive) + seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award))
    assert judged(effects) == ignored(effects) == []
    receipt = of_kind(effects, Receipt)[0]
    assert receipt.statement.price == receipt.voucher.cumulative == PRICE
    assert [record.task for record in persisted(effects, TaskDone)] == [award.statement.task]
    assert [e.update.stage for e in effects if isinstance(e, Deliver)][-1] is Stage.DONE


# stream.standing


def test_coordinator__frame_of_a_peer_that_is_no_miner__is_ignored() -> None:
    seat = CoordinatorSeat()
    effects = seat.hear(StreamReceived(DAVE.peer_id, encode(hello(ALICE_ID))))
    assert ignored(effects) == ["stream.standing"]
    assert judged(effects) == []


def test_coordinator__miner_left_the_table__is_not_heard_nor_counted_on_until_it_returns() -> None:
    seat = CoordinatorSeat()
    assert len(seat.core.roster) == 1
    seat.tables((row(ALICE, 1, active=False), row(BOB, 2), coordinator(CAROL, 3)))
    assert len(seat.core.roster) == 0
    effects = seat.say(ALICE, hello(ALICE_ID))
    assert ignored(effects) == ["stream.standing"]
    assert judged(effects) == []


def test_coordinator__itself_left_the_table__holds_no_claim_or_greeting_against_anybody() -> None:
    seat = CoordinatorSeat()
    task = seat.submit()
    claim = seat.claim(ALICE, task)
    seat.tables((row(ALICE, 1), row(BOB, 2), coordinator(CAROL, 3, active=False)))
    effects = seat.say(ALICE, claim) + seat.say(ALICE, hello(ALICE_ID, voucher_of(PRICE)))
    assert judged(effects) == []


def test_coordinator__miner_jailed__leaves_the_field_at_once_and_returns_when_it_is_free() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    root = networks.view(EPOCH).table.root
    seat.hear(ActivityChanged(frozenset({ALICE_ID})))
    assert [miner.id for miner in seat.core.roster] == [BOB_ID]
    effects = seat.say(ALICE, hello(ALICE_ID))
    assert ignored(effects) == ["stream.standing"]
    seat.submit()
    offered = [effect.message for effect in seat.wait(2000) if isinstance(effect, Publish)][-1]
    field = Field.from_bytes(offered.field, 2)
    places = [row.id for row in networks.view(EPOCH).table.miners]
    assert offered.root == root
    assert [field.is_member(places.index(miner)) for miner in (ALICE_ID, BOB_ID)] == [False, True]
    seat.hear(ActivityChanged(frozenset()))
    assert sorted(miner.id for miner in seat.core.roster) == [ALICE_ID, BOB_ID]


def test_coordinator__jailed_itself__offers_nothing_and_takes_no_task_until_it_is_free() -> None:
    seat = CoordinatorSeat()
    seat.hear(ActivityChanged(frozenset({CAROL_ID})))
    assert seat.core.own_id() is None
    seat.hear(ActivityChanged(frozenset()))
    assert seat.core.own_id() == CAROL_ID


# message.unexpected_kind


def test_coordinator__message_of_a_coordinator__is_judged() -> None:
    seat = CoordinatorSeat()
    effects = seat.say(ALICE, award_of(seat.claim(ALICE, seat.submit())))
    assert judged(effects) == ["message.unexpected_kind"]


# hello


@pytest.mark.parametrize(
    "greeting", [hello(BOB_ID), hello(ALICE_ID).model_copy(update={"network": NOTHING})], ids=["other id", "network"]
)
def test_coordinator__hello_of_another_node_or_network__is_judged(greeting: Hello) -> None:
    assert judged(CoordinatorSeat().say(ALICE, greeting)) == ["hello.identity"]


def test_coordinator__hello_with_a_voucher_for_another__is_judged() -> None:
    greeting = hello(ALICE_ID, voucher_of(PRICE, miner=BOB_ID))
    assert judged(CoordinatorSeat().say(ALICE, greeting)) == ["hello.voucher"]


def test_coordinator__hello_with_a_higher_voucher__adopts_it_and_promises_on_top() -> None:
    seat = CoordinatorSeat()
    effects = seat.say(ALICE, hello(ALICE_ID, voucher_of(2 * PRICE, sequence=4)))
    effects += seat.say(ALICE, hello(ALICE_ID, voucher_of(5 * PRICE, sequence=9)))
    assert [record.cumulative for record in persisted(effects, VoucherIssued)] == [2 * PRICE, 5 * PRICE]
    award = seat.award()
    effects = seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award))
    voucher = of_kind(effects, Receipt)[0].voucher
    assert (voucher.cumulative, voucher.sequence, voucher.issued_total) == (6 * PRICE, 10, 6 * PRICE)


def test_coordinator__hello_with_a_lower_voucher__keeps_its_own() -> None:
    seat = CoordinatorSeat()
    seat.say(ALICE, hello(ALICE_ID, voucher_of(5 * PRICE, sequence=9)))
    assert persisted(seat.say(ALICE, hello(ALICE_ID, voucher_of(PRICE))), VoucherIssued) == []


def test_coordinator__hello_with_a_voucher_of_another_key__is_not_adopted_and_nobody_is_blamed() -> None:
    effects = CoordinatorSeat().say(ALICE, hello(ALICE_ID, voucher_of(PRICE), by=DAVE))
    assert ignored(effects) == ["hello.voucher_signature"]
    assert judged(effects) == []
    assert persisted(effects, VoucherIssued) == []


# capability


def test_coordinator__capability_signed_by_another__is_judged() -> None:
    effects = CoordinatorSeat().say(ALICE, capability(BOB, ALICE_ID, sequence=NOW + 1))
    assert judged(effects) == ["capability.signature"]


def test_coordinator__capability_of_another_miner__is_judged() -> None:
    assert judged(CoordinatorSeat().say(ALICE, capability(ALICE, BOB_ID, sequence=NOW + 1))) == ["capability.miner"]


def test_coordinator__capability_of_a_clock_within_tolerance__is_taken() -> None:
    seat = CoordinatorSeat()
    late = NOW - PARAMS.boundary_tolerance_s * 1000 + 1
    effects = seat.say(ALICE, capability(ALICE, ALICE_ID, sequence=NOW + 1, expires_at=late))
    assert len(noted(effects, NoteName.CAPABILITY_RECEIVED)) == 1


def test_coordinator__capability_expired__is_ignored() -> None:
    late = NOW - PARAMS.boundary_tolerance_s * 1000
    effects = CoordinatorSeat().say(ALICE, capability(ALICE, ALICE_ID, sequence=NOW + 1, expires_at=late))
    assert ignored(effects) == ["capability.expired"]
    assert judged(effects) == []


def test_coordinator__capability_not_newer__is_ignored() -> None:
    effects = CoordinatorSeat().say(ALICE, capability(ALICE, ALICE_ID, sequence=NOW))
    assert ignored(effects) == ["capability.old"]


# claim


def test_coordinator__claim_in_another_name__is_judged_and_not_awarded() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    effects = seat.say(ALICE, seat.claim(BOB, seat.submit())) + seat.wait(100)
    assert judged(effects) == ["claim.parties"]
    assert of_kind(effects, Award) == []


def test_coordinator__claim_signed_by_another__is_judged_and_not_awarded() -> None:
    seat = CoordinatorSeat()
    claim = seat.claim(ALICE, seat.submit())
    forged = claim.model_copy(update={"signature": signed(BOB, claim.statement)})
    effects = seat.say(ALICE, forged) + seat.wait(100)
    assert judged(effects) == ["claim.signature"]
    assert of_kind(effects, Award) == []


def test_coordinator__same_claim_again__gets_the_same_award_byte_for_byte() -> None:
    seat = CoordinatorSeat()
    task = seat.submit()
    claim = seat.claim(ALICE, task)
    first = of_kind(seat.say(ALICE, claim) + seat.wait(300), Award)
    again = of_kind(seat.say(ALICE, claim), Award)
    assert [encode(award) for award in again] == [encode(award) for award in first]


def test_coordinator__second_claim_after_the_award__is_declined_with_the_winner() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    late = seat.claim(BOB, task)
    seat.say(ALICE, seat.claim(ALICE, task))
    seat.wait(300)
    decline = of_kind(seat.say(BOB, late), Decline)[0].statement
    assert (decline.reason, decline.winner) == ("awarded", ALICE_ID)


# result


LIES: dict[str, Any] = {
    "result.award": {"award": NOTHING},
    "result.specification": {"specification": NOTHING},
    "result.model": {"model": NOTHING},
    "result.signature": {"by": BOB},
}


@pytest.mark.parametrize("rule", LIES)
def test_coordinator__result_that_no_honest_miner_sends__is_judged_and_costs_the_task(rule: str) -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    effects = seat.say(ALICE, result_of(award, **LIES[rule])) + seat.hear(artifact_of(award))
    assert judged(effects) == [rule]
    assert [reject.reason for reject in of_kind(effects, Reject)] == ["invalid"]
    assert of_kind(effects, Receipt) == []
    task = seat.core.task(award.statement.task)
    assert task is not None
    assert task.excluded == {ALICE_ID}


def test_coordinator__result_of_another_miners_attempt__is_superseded_and_shows_no_receipt() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    seat.say(ALICE, result_of(award))
    seat.hear(artifact_of(award))
    stolen = result_of(award, by=BOB, miner=BOB_ID)
    effects = seat.say(BOB, stolen)
    assert [reject.reason for reject in of_kind(effects, Reject)] == ["superseded"]
    assert of_kind(effects, Receipt) == []
    assert judged(effects) == []


def test_coordinator__result_again_after_the_end__gets_the_same_receipt() -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    first = seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award))
    again = seat.say(ALICE, result_of(award))
    assert of_kind(again, Receipt) == of_kind(first, Receipt)
    assert persisted(again, VoucherIssued) == []


# artifact


def test_coordinator__artifact_of_no_task_of_its_sender__is_ignored() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    effects = seat.hear(artifact_of(award, by=BOB))
    assert ignored(effects) == ["artifact.unknown_task"]
    assert judged(effects) == []


def test_coordinator__artifact_other_than_the_commitment_names__is_judged() -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    seat.say(ALICE, result_of(award))
    effects = seat.hear(artifact_of(award, data=png(128, 128, 9)))
    assert judged(effects) == ["artifact.digest"]
    assert of_kind(seat.hear(artifact_of(award)), Receipt)


@pytest.mark.parametrize("first", ["artifact", "result"])
def test_coordinator__artifact_and_result_in_any_order__end_the_task(first: str) -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    if first == "artifact":
        effects = seat.hear(artifact_of(award)) + seat.say(ALICE, result_of(award))
    else:
        effects = seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award))
    assert len(of_kind(effects, Receipt)) == 1
    effects += seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award)) + seat.wait(5000)
    told = [effect.update.stage for effect in effects if isinstance(effect, Deliver)]
    assert told == [Stage.DONE], "once, whatever comes after it"


def test_coordinator__artifact_of_another_size_than_stated__is_judged_and_costs_the_task() -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    seat.hear(artifact_of(award))
    lie = result_of(award).model_copy(update={"size": len(PICTURE) + 1})
    effects = seat.say(ALICE, lie)
    assert judged(effects) == ["artifact.mismatch"]
    assert of_kind(effects, Receipt) == []


def test_coordinator__artifact_before_a_commitment_to_another__is_judged_and_costs_the_task() -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    other = png(128, 128, 9)
    seat.hear(artifact_of(award, data=other))
    effects = seat.say(ALICE, result_of(award).model_copy(update={"size": len(other)}))
    assert judged(effects) == ["artifact.mismatch"]
    assert of_kind(effects, Receipt) == []


def test_coordinator__artifact_that_is_no_picture__is_judged_and_costs_the_task() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    garbage = b"no picture" * 10
    seat.say(ALICE, result_of(award, data=garbage))
    effects = seat.hear(artifact_of(award, data=garbage))
    assert judged(effects) == ["artifact.signature"]
    assert [cancel.reason for cancel in of_kind(effects, Cancel)] == ["invalid_artifact"]


def test_result__of_a_task_that_ended__brings_its_receipt_of_as_many_as_are_remembered() -> None:
    ended = [TaskId(number.to_bytes(32, "big")) for number in range(REMEMBERED_RECEIPTS + 1)]
    records = (TaskDone(task, 0, ALICE_ID, Digest(bytes(32)), "image/png", task, NOW, 1) for task in ended)
    seat = CoordinatorSeat(tuple(records))
    of_another = seat.award()
    forgotten, oldest = (seat.say(ALICE, result_of(of_another, task=task)) for task in ended[:2])
    assert [reject.reason for reject in of_kind(forgotten, Reject)] == ["superseded"]
    assert [effect.data for effect in oldest if isinstance(effect, SendEncoded)] == [ended[1]], "byte for byte"


def test_coordinator__greets_with_its_id_and_highest_voucher() -> None:
    seat = CoordinatorSeat()
    seat.say(ALICE, hello(ALICE_ID, voucher_of(2 * PRICE)))
    greeting = of_kind(seat.greet(ALICE), Hello)[0]
    assert (greeting.node, greeting.network) == (CAROL_ID, NETWORK_ID)
    assert greeting.voucher == voucher_of(2 * PRICE)
