"""What a miner thinks of coordinators: its own outcomes, bounded, fading, kept; and what follows from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.effects import Effect
from protocol.events import ActivityChanged, GossipReceived, JobProgress
from protocol.records import PayerKept
from protocol.roles.miner.credit import FORGOTTEN, HALF_TRY, PARDON, TRY, Credit
from protocol.roles.miner.delivering import RESULT_KEPT_MS
from protocol.roles.miner.payers import MOST_PAID, MOST_WRONG, Payers
from protocol.roles.opinions import HALF_LIFE_MS, REMEMBERED
from protocol.units import StakingId, UnixMillis, Wei
from protocol.wire.messages import Cancel, Claim, Reject
from protocol.wire.topics import objections_topic
from tests.protocol.roles.frames import CAROL_ID, NOW, PRICE, award_of, receipt_of
from tests.protocol.roles.pay import escrow_of, hold, promise
from tests.protocol.roles.seats import MinerSeat, of_kind, persisted
from tests.protocol.roles.test_credit import is_spent, skipped
from tests.support.networks import ALICE, CAROL
from tests.support.signed_gossip import PARAMS, objection, offer

HOUR = FORGOTTEN


def kept(effects: tuple[Effect, ...]) -> list[PayerKept]:
    return persisted(effects, PayerKept)


PRICED = {"paid", "left_unpaid", "rejected", "withheld"}


def happens(known: Payers, outcome: str, coordinator: StakingId = CAROL_ID, now: UnixMillis = NOW) -> None:
    """Tell of one outcome, of a task of the usual price."""
    price = (PRICE,) if outcome in PRICED else ()
    getattr(known, outcome)(coordinator, *price, now)


def test_standing__of_a_newcomer__is_the_middle_and_rises_with_each_receipt() -> None:
    known, now = Payers(), NOW
    seen = [known.of(CAROL_ID, now).standing]
    for _ in range(3):
        known.paid(CAROL_ID, PRICE, now)
        seen.append(known.of(CAROL_ID, now).standing)
    assert seen == [50, 66, 75, 80]


def test_standing__each_outcome__weighs_as_is_said() -> None:
    def standing(what: str) -> int:
        known = Payers()
        happens(known, "paid")
        happens(known, what)
        return known.of(CAROL_ID, NOW).standing

    assert [standing(what) for what in ("took_back", "rejected", "left_unpaid", "fell_short")] == [61, 57, 50, 40]


@given(st.lists(st.sampled_from(["paid", "left_unpaid", "rejected", "withheld", "took_back", "fell_short"])))
def test_payers__whatever_happens__stay_within_their_bounds(outcomes: list[str]) -> None:
    known = Payers()
    for outcome in outcomes * 40:
        happens(known, outcome)
    dealings = known.of(CAROL_ID, NOW)
    assert 0 <= dealings.standing <= 100
    assert dealings.paid <= MOST_PAID
    assert max(dealings.unpaid, dealings.rejected, dealings.taken_back, dealings.short) <= MOST_WRONG
    assert 0 <= known.credit.allowed(CAROL_ID) <= 16 * PRICE
    assert known.credit.kept(CAROL_ID).wei <= 16 * PRICE
    assert 0 <= known.credit.again_in(CAROL_ID, NOW) <= 8 * HOUR


def test_payers__a_half_life_later__count_half() -> None:
    known = Payers()
    for outcome in ("paid", "left_unpaid", "rejected", "took_back", "fell_short"):
        happens(known, outcome)
    later = known.of(CAROL_ID, UnixMillis(NOW + HALF_LIFE_MS))
    assert (later.paid, later.unpaid, later.rejected, later.taken_back, later.short) == (0.5,) * 5
    assert later.paid_ever == 1


def test_payers__of_more_coordinators_than_are_remembered__forget_first_who_owes_nothing() -> None:
    known = Payers()
    happens(known, "left_unpaid")
    for number in range(100, 100 + REMEMBERED):
        happens(known, "paid", StakingId(number))
    assert len(known) == REMEMBERED
    assert known.of(CAROL_ID, NOW).unpaid == 1, "the oldest, and it owes"
    assert known.of(StakingId(100), NOW).paid == 0


def test_payers__restored_from_their_records__are_the_same() -> None:
    known, again, later = Payers(), Payers(), UnixMillis(NOW + 1000)
    for outcome in ("paid", "paid", "paid", "rejected", "left_unpaid", "took_back", "fell_short"):
        happens(known, outcome)
    again.restore(known.record(CAROL_ID, NOW), later)
    assert again.record(CAROL_ID, later) == known.record(CAROL_ID, later)
    for waiting in range(20):
        assert is_spent(again.credit, waiting, later) == is_spent(known.credit, waiting, later)


def test_credit__tried_again_and_not_paid__is_left_alone_for_twice_as_long_up_to_eight_hours() -> None:
    credit, now, pauses = Credit(), NOW, []
    for _ in range(6):
        credit.unpaid(CAROL_ID, PRICE, now)
        pauses.append(credit.again_in(CAROL_ID, now) // HOUR)
        now = UnixMillis(now + credit.again_in(CAROL_ID, now))
        assert is_spent(credit, 0, UnixMillis(now - 1))
        assert not is_spent(credit, 0, now)
    assert pauses == [1, 2, 4, 8, 8, 8]
    credit.paid(CAROL_ID, PRICE, now)
    for _ in range(2):
        credit.unpaid(CAROL_ID, PRICE, now)
    assert credit.again_in(CAROL_ID, now) == HOUR, "a receipt forgives all tries"


def test_credit__tried_again_and_rejected__counts_half_a_try() -> None:
    credit, now, pauses = Credit(), NOW, []
    for _ in range(8):
        credit.unpaid(CAROL_ID, PRICE, now, HALF_TRY)
        pauses.append(credit.again_in(CAROL_ID, now) // HOUR)
        now = UnixMillis(now + credit.again_in(CAROL_ID, now))
    assert pauses == [1, 1, 2, 2, 4, 4, 8, 8], "one that says so each time is left alone for as long in the end"


def test_credit__lost_now_and_then_by_one_that_was_never_left_alone__is_no_try() -> None:
    credit, now = Credit(), NOW
    for _ in range(4):
        credit.paid(CAROL_ID, PRICE, now)
    for _ in range(6):
        credit.unpaid(CAROL_ID, PRICE, now, TRY)
        now = UnixMillis(now + HOUR)
        assert credit.kept(CAROL_ID).tries == 0, "it had little to do, and nothing was withheld from it"
    for _ in range(16):
        credit.unpaid(CAROL_ID, PRICE, now)
    assert credit.again_in(CAROL_ID, now) == HOUR


def test_reject__of_one_that_is_tried_again__doubles_the_pause_the_second_time_only() -> None:
    seat = MinerSeat()
    for pause in (HOUR, HOUR, 2 * HOUR):
        award, _ = seat.delivered()
        seat.say(CAROL, Reject(task=award.statement.task, attempt=award.statement.attempt, reason="superseded"))
        assert seat.core.payers.credit.again_in(CAROL_ID, seat.now) == pause
        seat.wait(pause)


def test_credit__receipt_that_pays_for_less_than_was_lost__forgives_no_tries() -> None:
    credit, now = Credit(), NOW
    for _ in range(3):
        credit.unpaid(CAROL_ID, PRICE, now)
        now = UnixMillis(now + credit.again_in(CAROL_ID, now))
    credit.unpaid(CAROL_ID, PRICE, now)
    credit.paid(CAROL_ID, Wei(1), now)
    assert credit.again_in(CAROL_ID, now) == 8 * HOUR
    credit.paid(CAROL_ID, Wei(PRICE), now)
    assert credit.again_in(CAROL_ID, now) == 0


def test_restore__weeks_later__may_owe_less() -> None:
    known = Payers()
    for _ in range(4):
        happens(known, "paid")
    record = known.record(CAROL_ID, NOW)
    for weeks, allowed in ((0, 16), (1, 8), (4, 1)):
        again = Payers()
        again.restore(record, UnixMillis(NOW + weeks * HALF_LIFE_MS))
        assert again.credit.allowed(CAROL_ID) == allowed * PRICE


def test_credit__many_lost_at_once__is_one_fault_and_the_first_pause_an_hour() -> None:
    credit = Credit()
    for _ in range(4):
        credit.paid(CAROL_ID, PRICE, NOW)
    for _ in range(16):
        credit.unpaid(CAROL_ID, PRICE, NOW)
    assert credit.again_in(CAROL_ID, NOW) == HOUR


def test_credit__tries_of_long_ago__count_no_more() -> None:
    credit, now = Credit(), NOW
    for _ in range(3):
        credit.unpaid(CAROL_ID, PRICE, now)
        now = UnixMillis(now + credit.again_in(CAROL_ID, now))
    credit.unpaid(CAROL_ID, PRICE, UnixMillis(now + PARDON))
    assert credit.again_in(CAROL_ID, UnixMillis(now + PARDON)) == HOUR


def test_restart__coordinator_that_did_not_pay__is_not_tried_again_sooner() -> None:
    seat = MinerSeat()
    award, _ = seat.delivered()
    (record,) = kept(seat.say(CAROL, Reject(task=award.statement.task, attempt=0, reason="superseded")))
    assert (record.coordinator, record.rejected, record.lost) == (CAROL_ID, 1.0, PRICE)
    again = MinerSeat(records=(record,))
    assert skipped(again.offer()) == ["unpaid"]
    again.wait(HOUR)
    assert len(of_kind(again.offer(), Claim)) == 1


def test_restart__coordinator_that_paid__is_trusted_as_before() -> None:
    seat = MinerSeat()
    _, result = seat.delivered()
    (record,) = kept(seat.say(CAROL, receipt_of(result)))
    assert (record.paid, record.paid_ever, record.lost) == (1.0, 1, 0)
    again = MinerSeat(records=(record,))
    assert again.core.payers.credit.allowed(CAROL_ID) == 2 * PRICE
    assert again.core.payers.credit.has_paid(CAROL_ID)


def test_result__given_up__is_kept_as_left_unpaid() -> None:
    seat = MinerSeat()
    seat.delivered()
    (record,) = kept(seat.wait(RESULT_KEPT_MS + 200_000))
    assert (record.unpaid > 0.99, record.lost, record.tries) == (True, PRICE, 0)


@pytest.mark.parametrize(("reason", "counted"), [("lease_expired", 1), ("cancelled", 0), ("closed", 0)])
def test_cancel__although_we_spoke_a_moment_ago__is_kept_as_taken_back(reason: str, counted: int) -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    seat.say(CAROL, award_of(claim))
    seat.hear(JobProgress(claim.statement.task, claim.statement.attempt, "step", 1, 10, 5))
    said = claim.statement
    records = kept(seat.say(CAROL, Cancel(task=said.task, attempt=said.attempt, reason=reason)))
    assert [round(record.taken_back) for record in records] == [1] * counted
    assert skipped(seat.offer()) == [], "it costs no credit: lines lose words"


def test_cancel__after_we_were_silent_for_a_lease__is_held_against_nobody() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    seat.say(CAROL, award_of(claim))
    seat.hear(JobProgress(claim.statement.task, claim.statement.attempt, "step", 1, 10, 5))
    seat.wait(seat.core.params.lease_ms)
    said = claim.statement
    assert kept(seat.say(CAROL, Cancel(task=said.task, attempt=said.attempt, reason="lease_expired"))) == []


def test_escrow__does_not_cover_any_more_what_was_promised_us__is_kept_once() -> None:
    seat = MinerSeat()
    hold(seat, promise(3))
    (record,) = kept(seat.escrows(escrow_of(2)))
    assert (record.coordinator, record.short) == (CAROL_ID, 1.0)
    assert kept(seat.escrows(escrow_of(1))) == [], "it is no news"
    in_debt = seat.escrows(escrow_of(1, owed=1)) + seat.hear(ActivityChanged(frozenset({CAROL_ID})))
    assert seat.core.refused() == {CAROL_ID: "in_debt"}
    assert kept(in_debt) == [], "nor is what follows from it"


def test_escrow__too_small_of_one_that_promised_us_nothing__is_held_against_nobody() -> None:
    assert kept(MinerSeat().escrows(escrow_of(0))) == []


def test_offers__of_two_coordinators__are_claimed_in_the_same_order_whatever_we_think_of_them() -> None:
    claims = []
    for disliked in (False, True):
        seat = MinerSeat()
        seat.paid_before()
        for _ in range(20 * disliked):
            seat.core.payers.took_back(CAROL_ID, seat.now)
            seat.core.payers.fell_short(CAROL_ID, seat.now)
        offered = seat.offer()
        claims.append([one.statement.task for one in of_kind(offered, Claim)])
    assert claims[0] == claims[1] != []


def test_gossip__of_objections_against_a_coordinator__changes_no_opinion_of_it() -> None:
    seat = MinerSeat()
    said = objection(offer(), 2, 1, 1, by=CAROL_ID)
    effects = seat.hear(GossipReceived(objections_topic(PARAMS.name), said, ALICE.peer_id))
    assert kept(effects) == []
    assert list(seat.core.payers.all(seat.now)) == []
