"""Who does not pay gets little for nothing."""

from protocol.effects import Note
from protocol.events import StreamClosed, StreamOpened
from protocol.notes import NoteName
from protocol.roles.miner.credit import ANY, FORGOTTEN, MOST, PATIENCE, REMEMBERED, Credit
from protocol.roles.miner.delivering import RESEND_MS, RESULT_KEPT_MS
from protocol.units import StakingId, UnixMillis, Wei
from protocol.wire.messages import Claim, Reject, Result
from tests.protocol.roles.frames import CAROL_ID, NOW, PRICE, SPECIFICATION, award_of, hello, receipt_of, voucher_of
from tests.protocol.roles.seats import MinerSeat, of_kind
from tests.support.networks import CAROL

SMALL = SPECIFICATION.model_copy(update={"steps": 1})


def skipped(effects: object) -> list[str]:
    notes = [effect for effect in effects if isinstance(effect, Note)]  # type: ignore[attr-defined]
    return [str(note.fields["reason"]) for note in notes if note.name is NoteName.OFFER_SKIPPED]


def test_claims__of_a_coordinator_that_never_paid__wait_for_its_first_receipt() -> None:
    seat = MinerSeat()
    _, result = seat.delivered()
    heard = seat.offer()
    assert (skipped(heard), of_kind(heard, Claim)) == ([], []), "the receipt may be on its way"
    assert len(of_kind(seat.say(CAROL, receipt_of(result)), Claim)) == 1


def test_claims__of_a_coordinator_that_never_paid__are_no_more_than_the_places_had_before_the_first_result() -> None:
    seat = MinerSeat(places=3)
    for _ in range(5):
        seat.offer()
    awards = [award_of(one.claim) for one in list(seat.core._claiming._claims.values())]
    assert len(awards) == 3
    for award in awards:
        seat.say(CAROL, award)
    assert of_kind(seat.finish(awards[0]) + seat.offer() + seat.wait(2000), Claim) == []


def test_offer__of_a_coordinator_that_owes_receipts__is_skipped_until_it_pays() -> None:
    seat = MinerSeat()
    seat.paid_before()
    seat.delivered()
    _, result = seat.delivered()
    seat.wait(PATIENCE - 1000)
    assert len(of_kind(seat.offer(), Claim)) == 1, "the receipt may be on its way"
    seat.wait(5000)
    effects = seat.offer()
    assert skipped(effects) == ["unpaid"]
    assert of_kind(effects, Claim) == []
    seat.say(CAROL, receipt_of(result))
    assert len(of_kind(seat.offer(), Claim)) == 1


def test_offer__heard_before_its_coordinator_owed_too_much__is_not_claimed_later() -> None:
    seat = MinerSeat()
    seat.paid_before()
    seat.delivered()
    seat.delivered()
    seat.wait(PATIENCE - 500)
    seat.claimed()
    assert skipped(seat.offer()) == [], "nothing is overdue yet"
    later = seat.wait(3000)
    assert of_kind(later, Claim) == [], "the claim is unanswered by then, and the place is free"


def test_claims__of_a_coordinator_that_paid_often__go_on_while_more_receipts_wait() -> None:
    seat = MinerSeat()
    _, result = seat.delivered()
    seat.say(CAROL, receipt_of(result))
    for _ in range(2):
        seat.delivered()
    seat.wait(PATIENCE)
    assert skipped(seat.offer()) == ["unpaid"]
    again = MinerSeat()
    for paid in range(1, 3):
        _, result = again.delivered()
        again.say(CAROL, receipt_of(result, voucher=voucher_of(paid * PRICE, sequence=paid)))
    for _ in range(2):
        again.delivered()
    again.wait(PATIENCE)
    assert len(of_kind(again.offer(), Claim)) == 1


def test_results__taken_and_rejected_one_after_the_other__end_with_the_first_and_go_on_once_one_is_paid() -> None:
    seat = MinerSeat()
    award, _ = seat.delivered()
    reject = Reject(task=award.statement.task, attempt=award.statement.attempt, reason="superseded")
    seat.say(CAROL, reject)
    effects = seat.offer()
    assert skipped(effects) == ["unpaid"]
    assert of_kind(effects, Claim) == []
    seat.wait(FORGOTTEN)
    _, result = seat.delivered()
    seat.say(CAROL, receipt_of(result))
    award, _ = seat.delivered()
    seat.say(CAROL, Reject(task=award.statement.task, attempt=award.statement.attempt, reason="superseded"))
    assert len(of_kind(seat.offer(), Claim)) == 1, "one of two"


def test_result__given_up_after_an_hour__still_counts_as_unpaid() -> None:
    seat = MinerSeat()
    seat.delivered()
    seat.wait(RESULT_KEPT_MS + 200_000)
    assert not seat.core._working.delivering.undelivered()
    assert skipped(seat.offer()) == ["unpaid"]


def test_result__given_up__is_forgotten_after_another_hour_and_its_coordinator_gets_work_again() -> None:
    seat = MinerSeat()
    seat.delivered()
    seat.hear(StreamClosed(CAROL.peer_id))
    seat.wait(RESULT_KEPT_MS + RESEND_MS)
    assert not seat.core._working.delivering.undelivered()
    seat.hear(StreamOpened(CAROL.peer_id))
    seat.say(CAROL, hello(CAROL_ID))
    assert skipped(seat.offer()) == ["unpaid"]
    seat.wait(FORGOTTEN)
    assert len(of_kind(seat.offer(), Claim)) == 1


def is_spent(credit: Credit, waiting: int, now: UnixMillis, coordinator: StakingId = CAROL_ID) -> bool:
    """Say whether one more task of the usual price is too much, beside so many that wait."""
    return credit.room(coordinator, waiting * PRICE, now) < PRICE


def test_credit__each_receipt__doubles_it_up_to_its_bound() -> None:
    credit, other = Credit(), StakingId(9)
    for allowed in (1, 2, 4, 8, 16, 16):
        assert is_spent(credit, allowed, NOW)
        assert not is_spent(credit, allowed - 1, NOW)
        credit.paid(CAROL_ID, PRICE, NOW)
    assert is_spent(credit, MOST, NOW)
    assert is_spent(credit, 1, NOW, other), "another has its own"


def test_credit__what_was_never_paid__is_made_up_for_by_what_receipts_pay() -> None:
    credit = Credit()
    credit.paid(CAROL_ID, PRICE, NOW)
    credit.unpaid(CAROL_ID, PRICE, NOW)
    credit.unpaid(CAROL_ID, PRICE, NOW)
    assert is_spent(credit, 0, NOW)
    credit.paid(CAROL_ID, PRICE, NOW)
    assert not is_spent(credit, 2, NOW)
    assert is_spent(credit, 3, NOW), "one of two is still owed, of four that may be"
    credit.paid(CAROL_ID, PRICE, NOW)
    assert not is_spent(credit, 7, NOW)


def test_credit__receipts_of_small_tasks__buy_no_large_one() -> None:
    credit, small, large = Credit(), Wei(3), Wei(1000)
    for _ in range(200):
        credit.paid(CAROL_ID, small, NOW)
    assert credit.allowed(CAROL_ID) == MOST * small
    assert credit.room(CAROL_ID, 1, NOW) < large, "while anything at all is unpaid"
    assert credit.room(CAROL_ID, 0, NOW) == ANY, "one, as of a newcomer"
    credit.unpaid(CAROL_ID, large, NOW)
    assert credit.room(CAROL_ID, 0, NOW) == 0, "nor more small ones, until an hour is over or it has paid"
    for _ in range(large // small):
        assert credit.room(CAROL_ID, 0, NOW) <= MOST * small
        credit.paid(CAROL_ID, small, NOW)
    assert credit.room(CAROL_ID, 0, NOW) < large, "a wei is missing yet"
    credit.paid(CAROL_ID, small, NOW)
    assert credit.room(CAROL_ID, 0, NOW) == ANY, "they have paid for it"


def test_credit__small_receipts_after_a_large_one__raise_nothing() -> None:
    credit, large = Credit(), Wei(1000)
    credit.paid(CAROL_ID, large, NOW)
    for _ in range(50):
        credit.paid(CAROL_ID, Wei(3), NOW)
    assert credit.allowed(CAROL_ID) == 2 * large
    credit.paid(CAROL_ID, large, NOW)
    assert credit.allowed(CAROL_ID) == 4 * large


def test_credit__tasks_that_cost_nothing__are_bounded_by_their_number() -> None:
    credit, free = Credit(), Wei(0)
    credit.unpaid(CAROL_ID, free, NOW)
    assert credit.room(CAROL_ID, 0, NOW) == 0
    for _ in range(6):
        credit.paid(CAROL_ID, free, NOW)
    assert credit.allowed(CAROL_ID) == MOST


def test_results__of_a_coordinator_that_pays_small_ones_and_takes_large_ones__end_with_the_first_large_one() -> None:
    seat = MinerSeat()
    small = {"pixel_steps": SMALL.pixel_steps, "price": PRICE // SPECIFICATION.steps}
    for paid in range(1, 30):
        (claim,) = of_kind(seat.offer(**small), Claim)
        award = award_of(claim, work=SMALL, price=small["price"])
        seat.say(CAROL, award)
        (result,) = of_kind(seat.finish(award), Result)
        seat.say(
            CAROL, receipt_of(result, price=small["price"], voucher=voucher_of(paid * small["price"], sequence=paid))
        )
    award, _ = seat.delivered()
    seat.say(CAROL, Reject(task=award.statement.task, attempt=award.statement.attempt, reason="superseded"))
    assert skipped(seat.offer()) == ["unpaid"]
    effects = seat.offer(**small)
    assert len(of_kind(effects, Claim)) == 1, "of 16 small ones six are left: those it may pay, and make up for it"


def test_results__of_a_coordinator_that_pays_only_where_it_must__are_unpaid_no_more_often_than_paid() -> None:
    seat = MinerSeat()
    paid = taken = 0
    for _ in range(200):
        award, result = seat.delivered()
        lost = seat.core.payers.credit.kept(CAROL_ID).wei
        if paid < MOST or lost + PRICE == MOST * PRICE:
            paid += 1
            seat.say(CAROL, receipt_of(result, voucher=voucher_of(paid * PRICE, sequence=paid)))
        else:
            taken += 1
            seat.say(CAROL, Reject(task=award.statement.task, attempt=award.statement.attempt, reason="superseded"))
    assert taken <= paid


def test_credit__what_was_never_paid__is_forgotten_one_an_hour() -> None:
    credit = Credit()
    credit.paid(CAROL_ID, PRICE, NOW)
    for _ in range(5):
        credit.unpaid(CAROL_ID, PRICE, NOW)
    assert is_spent(credit, 0, UnixMillis(NOW + FORGOTTEN - 1))
    assert not is_spent(credit, 0, UnixMillis(NOW + FORGOTTEN)), "however many they were"
    assert is_spent(credit, 1, UnixMillis(NOW + FORGOTTEN)), "one of two"
    assert not is_spent(credit, 1, UnixMillis(NOW + 2 * FORGOTTEN))
    credit.unpaid(CAROL_ID, PRICE, UnixMillis(NOW + FORGOTTEN + 1000))
    assert is_spent(credit, 0, UnixMillis(NOW + 2 * FORGOTTEN - 1))
    assert is_spent(credit, 0, UnixMillis(NOW - 5000)), "a clock that is set back forgets nothing"


def test_credit__of_many_coordinators__is_bounded() -> None:
    credit = Credit()
    for number in range(1, 2 * REMEMBERED):
        credit.paid(StakingId(number), PRICE, NOW)
        credit.unpaid(StakingId(number), PRICE, NOW)
    assert len(credit._allowed) == len(credit._lost) == REMEMBERED
