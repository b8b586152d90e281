"""What a miner takes from a coordinator, ignores, and holds against it: one test each way for every rule."""

from typing import Any

import pytest

from protocol.effects import StartJob
from protocol.events import JobFinished
from protocol.params import MAX_ARTIFACT_BYTES
from protocol.records import ClaimSigned, ResultCommitted, ResultSettled, VoucherHeld
from protocol.task.receipt import MAX_PROMISE_WEI
from protocol.units import Digest, Wei
from protocol.wire.messages import Abandon, Award, Claim, Decline, Result
from protocol.wire.statements import DeclineStatement
from tests.protocol.roles.frames import (
    ALICE_ID,
    BOB_ID,
    CAROL_ID,
    NOTHING,
    PRICE,
    award_of,
    capability,
    hello,
    receipt_of,
    signed,
    voucher_of,
)
from tests.protocol.roles.seats import MinerSeat, ignored, judged, of_kind, persisted
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator, row


def started(effects: Any) -> int:
    return sum(isinstance(effect, StartJob) for effect in effects)


def test_miner__honest_line__claims_works_and_is_paid() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    effects = seat.say(CAROL, award_of(claim))
    assert started(effects) == 1
    done = seat.finish(award_of(claim))
    result = of_kind(done, Result)[0]
    paid = seat.say(CAROL, receipt_of(result))
    assert judged(effects + done + paid) == ignored(effects + done + paid) == []
    assert [record.cumulative for record in persisted(paid, VoucherHeld)] == [PRICE]
    assert len(persisted(paid, ResultSettled)) == 1


def test_miner__claim_and_commitment__are_persisted_before_they_leave() -> None:
    seat = MinerSeat()
    for effects, record, message in (
        (seat.offer(), ClaimSigned, Claim),
        (seat.finish_after_award(), ResultCommitted, Result),
    ):
        kinds = [type(effect).__name__ for effect in effects]
        assert len(persisted(effects, record)) == len(of_kind(effects, message)) == 1
        assert kinds.index("Persist") < min(kinds.index(name) for name in ("Send", "SendEncoded") if name in kinds)


# stream.standing


def test_miner__frame_of_a_peer_without_a_stream__is_ignored() -> None:
    effects = MinerSeat().say(DAVE, hello(CAROL_ID))
    assert ignored(effects) == ["stream.standing"]
    assert judged(effects) == []


def test_miner__coordinator_left_the_table__is_not_heard() -> None:
    seat = MinerSeat()
    seat.tables((row(ALICE, 1), row(BOB, 2), coordinator(CAROL, 3, active=False)))
    effects = seat.say(CAROL, hello(CAROL_ID))
    assert ignored(effects) == ["stream.standing"]
    assert judged(effects) == []


def test_miner__itself_left_the_table__gives_the_award_back_and_blames_nobody() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    seat.tables((row(ALICE, 1, active=False), row(BOB, 2), coordinator(CAROL, 3)))
    effects = seat.say(CAROL, award_of(claim))
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["not_registered"]
    assert judged(effects) == []


# message.unexpected_kind


def test_miner__message_of_a_miner__is_judged() -> None:
    assert judged(MinerSeat().say(CAROL, capability(ALICE, ALICE_ID))) == ["message.unexpected_kind"]


# hello


def test_miner__hello_of_another_node_or_network__is_judged() -> None:
    for greeting in (hello(BOB_ID), hello(CAROL_ID).model_copy(update={"network": NOTHING})):
        assert judged(MinerSeat().say(CAROL, greeting)) == ["hello.identity"]


def test_miner__hello_with_a_voucher_for_another__is_judged() -> None:
    assert judged(MinerSeat().say(CAROL, hello(CAROL_ID, voucher_of(PRICE, miner=BOB_ID)))) == ["hello.voucher"]


UNREDEEMABLE = {
    "above what can be paid": voucher_of(MAX_PROMISE_WEI + 1),
    "above the total": voucher_of(PRICE).model_copy(update={"issued_total": Wei(PRICE - 1)}),
}


@pytest.mark.parametrize("what", UNREDEEMABLE)
def test_miner__hello_with_a_voucher_that_no_contract_takes__is_judged_and_not_adopted(what: str) -> None:
    effects = MinerSeat().say(CAROL, hello(CAROL_ID, UNREDEEMABLE[what]))
    assert judged(effects) == ["voucher.unredeemable"]
    assert persisted(effects, VoucherHeld) == []


def test_miner__hello_with_the_highest_voucher_that_a_contract_takes__adopts_it() -> None:
    effects = MinerSeat().say(CAROL, hello(CAROL_ID, voucher_of(MAX_PROMISE_WEI)))
    assert [record.cumulative for record in persisted(effects, VoucherHeld)] == [MAX_PROMISE_WEI]


def test_miner__hello_with_a_higher_voucher__adopts_it() -> None:
    seat = MinerSeat()
    effects = seat.say(CAROL, hello(CAROL_ID, voucher_of(3 * PRICE)))
    assert [record.cumulative for record in persisted(effects, VoucherHeld)] == [3 * PRICE]
    assert persisted(seat.say(CAROL, hello(CAROL_ID, voucher_of(PRICE))), VoucherHeld) == []


def test_miner__hello_with_a_voucher_of_another_key__is_not_adopted_and_nobody_is_blamed() -> None:
    seat = MinerSeat()
    seat.wait(1000)
    effects = seat.say(CAROL, hello(CAROL_ID, voucher_of(PRICE), by=DAVE))
    assert ignored(effects) == ["hello.voucher_signature"]
    assert judged(effects) == persisted(effects, VoucherHeld) == []


# offer


def test_miner__offer_whose_task_is_not_of_its_number__is_judged_and_not_claimed() -> None:
    seat = MinerSeat()
    effects = seat.offer(task=b"t" * 32)
    assert judged(effects) == ["offer.task"]
    assert of_kind(effects, Claim) == []


# award

WRONG_AWARDS: dict[str, Any] = {
    "award.parties": {"miner": BOB_ID},
    "award.signature": {"by": BOB},
    "award.specification": {"specification": NOTHING},
}


@pytest.mark.parametrize("rule", WRONG_AWARDS)
def test_miner__award_that_no_honest_coordinator_sends__is_judged_and_not_begun(rule: str) -> None:
    seat = MinerSeat()
    effects = seat.say(CAROL, award_of(seat.claimed(), **WRONG_AWARDS[rule]))
    assert judged(effects) == [rule]
    assert started(effects) == 0


def test_miner__award_for_no_claim_that_binds_it__is_given_back_by_name() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    seat.wait(2000)
    effects = seat.say(CAROL, award_of(claim))
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["no_claim"]
    assert judged(effects) == []
    assert started(effects) == 0


@pytest.mark.parametrize("when", ["at work", "delivered"])
def test_miner__same_award_again__changes_nothing(when: str) -> None:
    seat = MinerSeat()
    award = award_of(seat.claimed())
    seat.say(CAROL, award)
    if when == "delivered":
        seat.finish(award)
    effects = seat.say(CAROL, award)
    assert effects == ()


# decline


def declined(claim: Claim, by: Any = CAROL) -> Decline:
    award = award_of(claim).statement
    statement = DeclineStatement(
        claim=award.claim,
        task=award.task,
        attempt=award.attempt,
        coordinator=CAROL_ID,
        winner=BOB_ID,
        rank=0,
        reason="awarded",
    )
    return Decline(statement=statement, signature=signed(by, statement))


def test_miner__decline_signed_by_another__is_judged_and_the_claim_still_binds() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    assert judged(seat.say(CAROL, declined(claim, by=BOB))) == ["decline.signature"]
    assert started(seat.say(CAROL, award_of(claim))) == 1


def test_miner__decline__frees_the_claim() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    assert judged(seat.say(CAROL, declined(claim))) == []
    effects = seat.say(CAROL, award_of(claim))
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["no_claim"]


# receipt

WRONG_RECEIPTS: dict[str, Any] = {
    "receipt.parties": {"miner": BOB_ID},
    "receipt.commitment": {"commitment": NOTHING},
    "receipt.voucher": {"voucher": voucher_of(PRICE, miner=BOB_ID)},
    "receipt.signature": {"by": BOB},
    "receipt.voucher_signature": {"voucher_by": BOB},
    "receipt.price": {"price": Wei(PRICE - 1)},
    "receipt.underpaid": {"voucher": voucher_of(PRICE - 1)},
    "voucher.unredeemable": {"voucher": voucher_of(MAX_PROMISE_WEI + 1)},
}


@pytest.mark.parametrize("rule", WRONG_RECEIPTS)
def test_miner__receipt_that_no_honest_coordinator_sends__is_judged_and_settles_nothing(rule: str) -> None:
    seat = MinerSeat()
    _, result = seat.delivered()
    effects = seat.say(CAROL, receipt_of(result, **WRONG_RECEIPTS[rule]))
    assert judged(effects) == [rule]
    assert persisted(effects, ResultSettled) == persisted(effects, VoucherHeld) == []
    assert of_kind(seat.wait(5000), Result) == [result], "it asks again for what it earned"


def test_miner__receipt_again__is_ignored() -> None:
    seat = MinerSeat()
    _, result = seat.delivered()
    seat.say(CAROL, receipt_of(result))
    effects = seat.say(CAROL, receipt_of(result))
    assert ignored(effects) == ["receipt.unknown"]
    assert judged(effects) == []


def test_miner__second_receipt_that_adds_nothing__is_judged() -> None:
    seat = MinerSeat()
    _, first = seat.delivered()
    seat.say(CAROL, receipt_of(first))
    _, second = seat.delivered()
    effects = seat.say(CAROL, receipt_of(second, voucher=voucher_of(PRICE, sequence=2)))
    assert judged(effects) == ["receipt.underpaid"]
    paid = seat.say(CAROL, receipt_of(second, voucher=voucher_of(2 * PRICE, sequence=2)))
    assert [record.cumulative for record in persisted(paid, VoucherHeld)] == [2 * PRICE]


def test_miner__earlier_receipt_after_a_later_one__settles_and_keeps_the_higher_voucher() -> None:
    seat = MinerSeat()
    seat.paid_before()
    _, first = seat.delivered()
    _, second = seat.delivered()
    seat.say(CAROL, receipt_of(second, voucher=voucher_of(2 * PRICE, sequence=2)))
    effects = seat.say(CAROL, receipt_of(first, voucher=voucher_of(PRICE, sequence=1)))
    assert judged(effects) == []
    assert [(record.cumulative, record.earned) for record in persisted(effects, VoucherHeld)] == [(2 * PRICE,) * 2]
    assert len(persisted(effects, ResultSettled)) == 1


def test_miner__award_of_a_coordinator_that_did_not_hear_the_claim__is_no_award() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    other = award_of(claim, claim=NOTHING)
    assert isinstance(other, Award)
    assert [abandon.reason for abandon in of_kind(seat.say(CAROL, other), Abandon)] == ["no_claim"]


def test_finished__larger_than_any_artifact_may_be__is_given_back_and_not_signed() -> None:
    seat = MinerSeat()
    award = award_of(seat.claimed())
    seat.say(CAROL, award)
    named, data = award.statement, bytes(MAX_ARTIFACT_BYTES + 1)
    effects = seat.hear(
        JobFinished(named.task, named.attempt, data, Digest(NOTHING), "image/png", Digest(NOTHING), Digest(NOTHING), 40)
    )
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["too_large"]
    assert persisted(effects, ResultCommitted) == []
