"""Which offers a miner takes, when, and for whom."""

from dataclasses import replace

import pytest

from protocol.crypto.typed_data import digest
from protocol.effects import Effect, OpenStream, SendArtifact, SetTimer
from protocol.events import (
    ActivityChanged,
    EngineChanged,
    GossipReceived,
    ModelState,
    PeerDown,
    PeerUp,
    StakeChanged,
    StreamClosed,
    StreamOpened,
    TimerFired,
)
from protocol.notes import NoteName
from protocol.records import ResultCommitted, ResultSettled
from protocol.roles.miner.announcing import BUSY_PAUSE_MS
from protocol.roles.miner.claiming import MAX_OPEN_OFFERS
from protocol.roles.miner.delivering import RESULT_KEPT_MS
from protocol.roles.miner.miner import FIRST_REOPEN_MS, LAST_REOPEN_MS
from protocol.roles.miner.open_offers import CHOICE, OpenOffers
from protocol.roles.miner.urgency import MAX_HEARD_PER_COORDINATOR
from protocol.stake.field import Field
from protocol.stake.lottery import last_slot_ms
from protocol.units import Digest, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.codec import CAPABILITY_PLACE, decode, encode
from protocol.wire.messages import AwardNotice, CapabilityUpdate, Claim, Closure, Decline
from protocol.wire.statements import DeclineStatement
from protocol.wire.topics import offers_topic
from tests.protocol.roles.frames import (
    ALICE_ID,
    BOB_ID,
    CAROL_ID,
    DOMAIN,
    EPOCH,
    MODEL,
    NOTHING,
    NOW,
    PARAMS,
    award_of,
    bulletin,
    hello,
    receipt_of,
    result_of,
    signed,
)
from tests.protocol.roles.seats import MinerSeat, ignored, judged, noted, of_kind, persisted
from tests.support import networks
from tests.support.networks import ALICE, BOB, CAROL, coordinator, row

SLOTS_MS = 2 * last_slot_ms(1, 2, PARAMS.slot_step_ms) + PARAMS.claim_allowance_ms
"""After so long an offer with one rank, of two miners, is backlog for whoever looks ahead."""


def decline_of(claim: Claim, reason: str, *, named: Digest | None = None) -> Decline:
    statement = DeclineStatement(
        claim=named or digest(DOMAIN, claim.statement),
        task=claim.statement.task,
        attempt=claim.statement.attempt,
        coordinator=CAROL_ID,
        winner=BOB_ID,
        rank=0,
        reason=reason,
    )
    return Decline(statement=statement, signature=signed(CAROL, statement))


def test_fill__busy_miner__leaves_a_fresh_offer_to_idle_ones_and_takes_one_of_the_backlog() -> None:
    seat = MinerSeat()
    seat.say(CAROL, award_of(seat.claimed()))
    assert of_kind(seat.offer(), Claim) == [], "an idle miner is better placed"
    seat.offer()
    effects = seat.wait(SLOTS_MS) + seat.say(CAROL, hello(CAROL_ID)) + seat.say(CAROL, hello(CAROL_ID))
    assert len(of_kind(effects, Claim)) == 1, "no more than the look-ahead"


def test_fill__place_is_claimed_for_long_work__says_so_at_once_and_again_that_it_is_free() -> None:
    seat = MinerSeat()
    slow = ModelState(MODEL.name, MODEL.digest, True, 100_000, 1, MODEL.sizes, MODEL.max_steps)
    seat.hear(EngineChanged((slow,), 1))
    effects = hear_offer(seat)
    claim = of_kind(effects, Claim)[0]
    assert [decode(update.body, CAPABILITY_PLACE).free_places for update in of_kind(effects, CapabilityUpdate)] == [0]
    effects = seat.say(CAROL, decline_of(claim, "awarded"))
    assert [decode(update.body, CAPABILITY_PLACE).free_places for update in of_kind(effects, CapabilityUpdate)] == [1]


@pytest.mark.parametrize(("by", "claims"), [(CAROL_ID, 0), (StakingId(4), 1)])
def test_on_bulletin__award_or_closure_before_its_offer__it_is_not_claimed(by: StakingId, claims: int) -> None:
    for news in ("awards", "closures"):
        seat = MinerSeat()
        task = bulletin(seat.now, 0).offers[0].task
        notice = AwardNotice(task=task, attempt=0, winner=BOB_ID)
        told = {"awards": (notice,)} if news == "awards" else {"closures": (Closure(task=task, reason="cancelled"),)}
        message = bulletin(seat.now, 0).model_copy(update={"offers": (), "coordinator": by} | told)
        seat.hear(GossipReceived(offers_topic(PARAMS.name, MODEL.name), message, CAROL.peer_id))
        effects = seat.offer(0)
        assert len(of_kind(effects, Claim)) == claims
        if not claims:
            assert [note.fields["reason"] for note in noted(effects, NoteName.OFFER_SKIPPED)] == ["ended"]
            assert len(of_kind(seat.offer(0, attempt=1), Claim)) == (news == "awards"), "the lease was lost"


def test_end__news_of_offers_that_never_come__is_bounded() -> None:
    claiming = MinerSeat().core._claiming
    for number in range(MAX_OPEN_OFFERS + 10):
        claiming._end([((CAROL_ID, TaskId(number.to_bytes(32, "big"))), 0)])
    assert len(claiming._ended) == MAX_OPEN_OFFERS


def test_on_slot_timer__first_offer_is_over__wakes_the_miner_for_the_next_slot() -> None:
    seat = MinerSeat()
    others = Field.of(networks.view(EPOCH).table.miners, {StakingId(2)}, {StakingId(2)}).to_bytes()

    def hear(number: int, **changes: object) -> tuple[Effect, ...]:
        message = bulletin(seat.now, number, slot_step_ms=PARAMS.slot_step_ms * (number + 1))
        message = message.model_copy(update={"field": others} | changes)
        return seat.hear(GossipReceived(offers_topic(PARAMS.name, MODEL.name), message, CAROL.peer_id))

    assert not of_kind(hear(0) + hear(1), Claim), "a miner outside the field comes last"
    assert sum(what == "slot" for what, _, _ in seat.timers) == 1
    first, second = (bulletin(seat.now, number).offers[0].task for number in (0, 1))
    hear(0, offers=(), closures=(Closure(task=first, reason="done"),))
    effects = seat.wait(last_slot_ms(1, 2, 2 * PARAMS.slot_step_ms))
    assert [claim.statement.task for claim in of_kind(effects, Claim)] == [second]


def test_forget__last_offer_is_over__wakes_the_miner_for_the_slot_of_the_next_and_not_before() -> None:
    seat = MinerSeat()
    others = Field.of(networks.view(EPOCH).table.miners, {StakingId(2)}, {StakingId(2)}).to_bytes()

    def hear(number: int, **changes: object) -> tuple[Effect, ...]:
        message = bulletin(seat.now, number).model_copy(update={"field": others} | changes)
        return seat.hear(GossipReceived(offers_topic(PARAMS.name, MODEL.name), message, CAROL.peer_id))

    hear(0)
    slot_at = seat.timers["slot", b"", 0]
    first = bulletin(seat.now, 0).offers[0].task
    hear(0, offers=(), closures=(Closure(task=first, reason="done"),))
    assert ("slot", b"", 0) not in seat.timers
    seat.now = UnixMillis(seat.now + 100)
    hear(1)
    assert seat.timers["slot", b"", 0] > slot_at


def test_fill__no_room__woken_for_no_slot_until_there_is_room() -> None:
    seat = MinerSeat()
    seat.paid_before()
    won = award_of(seat.claimed())
    seat.say(CAROL, won)
    ahead = seat.offer() + seat.wait(SLOTS_MS)
    assert of_kind(ahead, Claim), "the look-ahead"
    effects = seat.offer()
    assert not [effect for effect in effects if isinstance(effect, SetTimer) and effect.key[0] == "slot"]
    assert of_kind(seat.finish(won) + seat.wait(SLOTS_MS), Claim), "room came"


def test_next__many_due_and_more_come__takes_each_of_the_oldest_soon() -> None:
    seat = MinerSeat()
    claiming = seat.core._claiming
    seat.say(CAROL, award_of(seat.claimed()))
    seat.offer(1)
    mine = next(iter(claiming._offers.values()))
    claiming._offers = OpenOffers()
    claiming._heard[CAROL_ID] = 100 * CHOICE
    oldest = {}
    # Each that comes is nearer to its draw than all before it.
    for number in range(50 * CHOICE):
        known = replace(
            mine, offer=bulletin(NOW, number).offers[0], clock=mine.clock / (1 + number), second_slot_at=NOW
        )
        claiming._offers[known.offer.task] = known
        if number < CHOICE:
            oldest[known.offer.task] = known
            continue
        claiming._fresh_from = claiming._ahead_from = 0
        seat.core.now = UnixMillis(NOW + 1000 + 20 * number)
        chosen = claiming._next(is_free=False)
        assert chosen is not None
        claiming._forget(chosen.offer.task)
    assert not oldest.keys() & claiming._offers.keys()


def test_fill__claim_never_answered__counts_as_service_of_that_coordinator() -> None:
    seat = MinerSeat()
    seat.offer()
    assert CAROL_ID not in seat.core._claiming._service._served
    seat.wait(2000)
    assert seat.core._claiming._service._served[CAROL_ID] > 0
    assert not seat.core._claiming._claims


def test_fill__claim_answered_too_late__its_coordinator_is_heard_again() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    seat.wait(1200)
    assert seat.core._claiming._service.why_quiet(CAROL_ID) == "unanswered"
    for named, heard in ((NOTHING, False), (digest(DOMAIN, claim.statement), True)):
        seat.say(CAROL, decline_of(claim, "awarded", named=named))
        is_heard = seat.core._claiming._service.why_quiet(CAROL_ID) is None
        assert is_heard == heard, "a word about another claim is no answer"


def test_next__two_coordinators__serves_the_one_that_was_served_least() -> None:
    seat = MinerSeat()
    claiming = seat.core._claiming
    seat.say(CAROL, award_of(seat.claimed()))
    seat.offer(1)
    mine = next(iter(claiming._offers.values()))
    other = StakingId(9)
    claiming.streams[PeerId("other")] = other
    seat.escrows(of=other)
    claiming._offers = OpenOffers()
    for coordinator_, peer in ((CAROL_ID, CAROL.peer_id), (other, PeerId("other"))):
        offer = mine.offer.model_copy(update={"task": bytes([coordinator_]) * 32})
        claiming._offers[offer.task] = replace(
            mine, offer=offer, coordinator=coordinator_, peer=peer, slot_at=NOW, second_slot_at=NOW
        )
    claiming._fresh_from = claiming._ahead_from = 0
    chosen = claiming._next(is_free=True)
    assert chosen is not None
    assert chosen.coordinator == other


def test_next__two_coordinators_served_alike__turns_to_either() -> None:
    seat = MinerSeat()
    claiming = seat.core._claiming
    seat.say(CAROL, award_of(seat.claimed()))
    seat.offer(1)
    mine = next(iter(claiming._offers.values()))
    alike = (StakingId(8), StakingId(9))
    for one in alike:
        claiming.streams[PeerId(f"peer {one}")] = one
        seat.escrows(of=one)
    chosen = set()
    for number in range(20):
        claiming._offers = OpenOffers()
        for one in alike:
            offer = bulletin(NOW, one * 1000 + number).offers[0]
            claiming._offers[offer.task] = replace(mine, offer=offer, coordinator=one, slot_at=UnixMillis(NOW))
        best = claiming._next(is_free=True)
        assert best is not None
        chosen.add(best.coordinator)
    assert chosen == set(alike)


def test_next__one_coordinator_has_many_that_are_more_urgent__the_other_is_served_too() -> None:
    seat = MinerSeat()
    claiming = seat.core._claiming
    seat.say(CAROL, award_of(seat.claimed()))
    seat.offer(1)
    mine = next(iter(claiming._offers.values()))
    few, many = StakingId(8), StakingId(9)
    claiming._offers = OpenOffers()
    for one, count, deadline in ((many, 2 * CHOICE, NOW + 500_000), (few, 1, NOW + 600_000)):
        claiming.streams[PeerId(f"peer {one}")] = one
        claiming._heard[one] = count
        seat.escrows(of=one)
        for number in range(count):
            offer = bulletin(NOW, one * 1000 + number, deadline=UnixMillis(deadline)).offers[0]
            claiming._offers[offer.task] = replace(mine, offer=offer, coordinator=one, slot_at=UnixMillis(NOW))
    due, _ = claiming._look(is_free=True)
    assert due.keys() == {many, few}


def test_decline__of_an_attempt_behind_which_a_newer_one_is_open__is_followed_by_the_claim_of_that_one() -> None:
    seat = MinerSeat(places=2)
    claim = seat.claimed()
    assert of_kind(seat.offer(0, attempt=1), Claim) == [], "one claim of a task at a time"
    (again,) = of_kind(seat.say(CAROL, decline_of(claim, "stale")), Claim)
    assert (again.statement.task, again.statement.attempt) == (claim.statement.task, 1)


def test_on_bulletin__flood_of_one_coordinator__is_bounded_and_counted_right() -> None:
    seat = MinerSeat()
    seat.say(CAROL, award_of(seat.claimed()))
    claiming = seat.core._claiming
    for number in range(1, 4):
        seat.offer(number)
    assert sum(claiming._heard.values()) == len(claiming._offers) == 3 - claiming.outstanding()
    claiming._heard[CAROL_ID] = MAX_HEARD_PER_COORDINATOR
    seat.offer(50)
    assert bulletin(NOW, 50).offers[0].task not in claiming._offers


def test_receipt__ends_the_timer_of_its_result() -> None:
    seat = MinerSeat()
    _, result = seat.delivered()
    assert any(what == "resend" for what, _, _ in seat.timers)
    seat.say(CAROL, receipt_of(result))
    assert {what for what, _, _ in seat.timers} <= {"capability", "discover", "epoch", "reopen"}


def test_restored_result__its_coordinator_never_returns__is_given_up_after_an_hour() -> None:
    seat = MinerSeat()
    award = award_of(seat.claimed())
    result = result_of(award)
    record = ResultCommitted(
        result.commitment.award, award.statement.task, 0, StakingId(99), result.commitment.artifact, encode(result), NOW
    )
    again = MinerSeat((record,))
    effects = again.wait(RESULT_KEPT_MS + 10_000)
    assert len(persisted(effects, ResultSettled)) == 1
    assert not again.core._working.delivering.undelivered()


def test_restored_result__its_coordinator_greets__is_sent_again_unchanged() -> None:
    seat = MinerSeat()
    award, result = seat.delivered()
    record = ResultCommitted(
        result.commitment.award, award.statement.task, 0, CAROL_ID, result.commitment.artifact, encode(result), NOW
    )
    again = MinerSeat((record,))
    again.wait(1000)
    effects = again.say(CAROL, hello(CAROL_ID))
    assert of_kind(effects, type(result)) == [result]
    assert [e.digest for e in effects if isinstance(e, SendArtifact)] == [result.commitment.artifact]
    paid = again.say(CAROL, receipt_of(result))
    assert judged(paid) == []
    assert len(persisted(paid, ResultSettled)) == 1


# Streams and tables


def test_stream__coordinator_that_never_greets__is_tried_ever_more_rarely() -> None:
    seat = MinerSeat()
    pauses = []
    for _ in range(12):
        effects = seat.hear(StreamClosed(CAROL.peer_id))
        pauses += [e.at - seat.now for e in effects if isinstance(e, SetTimer) and e.key[0] == "reopen"]
        reopened = seat.hear(TimerFired(("reopen", CAROL.peer_id.encode(), 0)))
        assert [e.peer for e in reopened if isinstance(e, OpenStream)] == [CAROL.peer_id]
    assert pauses[0] == FIRST_REOPEN_MS
    assert pauses[-1] == LAST_REOPEN_MS
    assert pauses == sorted(pauses)
    seat.hear(StreamOpened(CAROL.peer_id))
    seat.say(CAROL, hello(CAROL_ID))
    effects = seat.hear(StreamClosed(CAROL.peer_id))
    assert [e.at - seat.now for e in effects if isinstance(e, SetTimer) and e.key[0] == "reopen"] == [FIRST_REOPEN_MS]


def test_stream__of_a_stranger_closes__leaves_no_timer() -> None:
    seat = MinerSeat()
    effects = seat.hear(StreamClosed(PeerId("whatever a peer says")))
    assert not [effect for effect in effects if isinstance(effect, SetTimer)]


def test_table__registered_from_the_next_epoch_on__opens_streams_when_that_begins() -> None:
    seat = MinerSeat()
    seat.hear(StreamClosed(CAROL.peer_id))
    seat.hear(PeerDown(CAROL.peer_id))
    without = (row(ALICE, 1), row(BOB, 2))
    seat.hear(StakeChanged(networks.view(EPOCH + 2, without)))
    seat.hear(StakeChanged(networks.view(EPOCH + 3, (*without, coordinator(CAROL, 3)))))
    epoch_ms = PARAMS.epoch_s * 1000
    seat.wait((EPOCH + 2) * epoch_ms - seat.now)
    assert not [e for e in seat.hear(PeerUp(CAROL.peer_id)) if isinstance(e, OpenStream)]
    effects = seat.wait(epoch_ms)
    assert [e.peer for e in effects if isinstance(e, OpenStream)] == [CAROL.peer_id]


def test_jailed__miner__claims_nothing_until_it_is_free() -> None:
    seat = MinerSeat()
    seat.hear(ActivityChanged(frozenset({ALICE_ID})))
    assert of_kind(seat.offer(), Claim) == []
    seat.hear(ActivityChanged(frozenset()))
    assert len(of_kind(seat.offer(), Claim)) == 1


def test_jailed__coordinator__is_not_heard_on_its_stream_until_it_is_free() -> None:
    seat = MinerSeat()
    seat.hear(ActivityChanged(frozenset({CAROL_ID})))
    effects = seat.say(CAROL, hello(CAROL_ID))
    assert ignored(effects) == ["stream.standing"]
    seat.hear(ActivityChanged(frozenset()))
    assert of_kind(seat.offer(), Claim) != []


def test_capability__is_renewed_also_after_we_were_out_of_the_table_for_a_while() -> None:
    seat = MinerSeat()
    seat.hear(StakeChanged(networks.view(EPOCH + 2, (row(ALICE, 1, active=False), coordinator(CAROL, 3)))))
    seat.hear(StakeChanged(networks.view(EPOCH + 3)))
    epoch_ms = PARAMS.epoch_s * 1000
    seat.wait((EPOCH + 2) * epoch_ms - seat.now)
    assert of_kind(seat.wait(epoch_ms - 1), CapabilityUpdate) == []
    assert len(of_kind(seat.wait(25_000), CapabilityUpdate)) >= 1


# Announcing


def hear_offer(seat: MinerSeat) -> tuple[Effect, ...]:
    """An offer in which alice is drawn first, without a wait."""
    return seat.hear(GossipReceived(offers_topic(PARAMS.name, MODEL.name), bulletin(seat.now, 0), CAROL.peer_id))


def test_busy__for_a_moment__is_no_news() -> None:
    seat = MinerSeat()
    effects = hear_offer(seat)
    claim = of_kind(effects, Claim)[0]
    effects += seat.wait(BUSY_PAUSE_MS - 1)
    effects += seat.say(CAROL, award_of(claim)) + seat.finish(award_of(claim)) + seat.wait(BUSY_PAUSE_MS)
    assert of_kind(effects, CapabilityUpdate) == []


def test_busy__for_longer__is_said_once_and_so_is_its_end() -> None:
    seat = MinerSeat()
    effects = hear_offer(seat)
    won = award_of(of_kind(effects, Claim)[0])
    effects += seat.say(CAROL, won)
    assert of_kind(effects + seat.wait(BUSY_PAUSE_MS - 1), CapabilityUpdate) == []
    [busy] = of_kind(seat.wait(1 + 10 * BUSY_PAUSE_MS), CapabilityUpdate)
    assert decode(busy.body, CAPABILITY_PLACE).free_places == 0
    [free] = of_kind(seat.finish(won), CapabilityUpdate)
    assert decode(free.body, CAPABILITY_PLACE).free_places == 1
