"""Who does not pay gets little for nothing."""

from protocol.effects import Note
from protocol.notes import NoteName
from protocol.roles.credit import FIRST, MOST, PATIENCE, REMEMBERED, Credit
from protocol.roles.working import RESULT_KEPT_MS
from protocol.units import StakingId
from protocol.wire.messages import Claim
from tests.protocol.roles.frames import CAROL_ID, PRICE, receipt_of, voucher_of
from tests.protocol.roles.seats import MinerSeat, of_kind
from tests.support.networks import CAROL


def skipped(effects: object) -> list[str]:
    notes = [effect for effect in effects if isinstance(effect, Note)]  # type: ignore[attr-defined]
    return [str(note.fields["reason"]) for note in notes if note.name is NoteName.OFFER_SKIPPED]


def test_offer__of_a_coordinator_that_owes_a_receipt__is_skipped_until_it_pays() -> None:
    seat = MinerSeat()
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


def test_result__given_up_after_an_hour__still_counts_as_unpaid() -> None:
    seat = MinerSeat()
    seat.delivered()
    seat.wait(RESULT_KEPT_MS + 200_000)
    assert not seat.core._working._deliveries
    assert seat.core._working.is_in_debt(CAROL_ID)


def test_credit__each_receipt__doubles_it_up_to_its_bound() -> None:
    credit, other = Credit(), StakingId(9)
    for allowed in (FIRST, 2, 4, 8, 16, 16):
        assert credit.is_spent(CAROL_ID, allowed)
        assert not credit.is_spent(CAROL_ID, allowed - 1)
        credit.paid(CAROL_ID)
    assert credit.is_spent(CAROL_ID, MOST)
    assert credit.is_spent(other, FIRST), "another has its own"


def test_credit__what_was_given_up__counts_until_the_next_receipt() -> None:
    credit = Credit()
    credit.paid(CAROL_ID)
    credit.given_up(CAROL_ID)
    credit.given_up(CAROL_ID)
    assert credit.is_spent(CAROL_ID, 0)
    credit.paid(CAROL_ID)
    assert not credit.is_spent(CAROL_ID, 3)


def test_credit__of_many_coordinators__is_bounded() -> None:
    credit = Credit()
    for number in range(1, 2 * REMEMBERED):
        credit.paid(StakingId(number))
        credit.given_up(StakingId(number))
    assert len(credit._allowed) == len(credit._lost) == REMEMBERED
