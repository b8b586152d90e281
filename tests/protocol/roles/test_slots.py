"""Who gets an attempt and when, which offers a miner leaves alone, and what a claim binds: SPEC.md §7.4, §9, §10."""

from dataclasses import replace
from typing import Any

import pytest

from protocol.effects import CancelJob, Publish, Refused, Reply, StartJob
from protocol.events import PeerUp, StreamOpened, TaskCancelled, TaskSubmitted
from protocol.notes import NoteName
from protocol.records import BootStarted, ResultSettled, TaskAccepted, TaskFailed
from protocol.roles.coordinator.conduct import FALSE_WARM_MS, FIRST_PAUSE_MS
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.stake.field import WARM, Field
from protocol.stake.lottery import last_slot_ms, outside_place, slot_ms
from protocol.task.states import TaskState
from protocol.units import StakingId, TaskId, UnixMillis, Wei
from protocol.wire.codec import CAPABILITY_PLACE, decode
from protocol.wire.fields import MAX_ATTEMPT
from protocol.wire.messages import (
    Abandon,
    Alive,
    Award,
    Cancel,
    CapabilityUpdate,
    Claim,
    Decline,
    Reject,
    Result,
)
from protocol.wire.statements import DeclineStatement
from tests.protocol.roles.frames import (
    ALICE_ID,
    BOB_ID,
    CAROL_ID,
    EPOCH,
    PARAMS,
    PRICE,
    SPECIFICATION,
    award_of,
    capability,
    hello,
    signed,
)
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, judged, noted, of_kind, persisted
from tests.support import networks
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator

STEP_MS, ALLOWANCE_MS = PARAMS.slot_step_ms, PARAMS.claim_allowance_ms
"""Alice has rank 0 and bob rank 1 (see ``NETWORK_ID``); ``submit`` ends 20 ms after the offer was published."""
DAVE_ID = StakingId(4)


def reasons(effects: Any) -> list[str]:
    return [decline.statement.reason for decline in of_kind(effects, Decline)]


def winners(effects: Any) -> list[int]:
    return [award.statement.miner for award in of_kind(effects, Award)]


def abandon(award: Award, reason: str = "out_of_memory") -> Abandon:
    return Abandon(task=award.statement.task, attempt=award.statement.attempt, reason=reason)


# Slots


def test_claim__better_rank_comes_while_a_worse_one_waits__wins_at_once() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    seat.wait(STEP_MS - 20)
    assert winners(seat.say(BOB, seat.claim(BOB, task))) == []
    effects = seat.say(ALICE, seat.claim(ALICE, task))
    assert (winners(effects), reasons(effects)) == ([ALICE_ID], ["awarded"])


def test_claim__worse_rank_alone__wins_when_the_better_one_was_waited_for() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    seat.wait(STEP_MS - 20)
    seat.say(BOB, seat.claim(BOB, task))
    assert winners(seat.wait(ALLOWANCE_MS - STEP_MS - 1)) == []
    assert winners(seat.wait(1)) == [BOB_ID]


def busy(seat: CoordinatorSeat) -> tuple[Any, ...]:
    """Alice says that she has no place."""
    return seat.say(ALICE, capability(ALICE, ALICE_ID, sequence=seat.now + 1, expires_at=seat.now + 60_000, free=0))


def waited_for(seat: CoordinatorSeat, task: bytes) -> None:
    """Give a task an allowance longer than a slot, so that bob's claim waits for alice."""
    known = seat.core.task(TaskId(task))
    assert known is not None
    assert known.open is not None
    known.open.allowance_ms = 2 * STEP_MS


def test_claim__better_rank_said_that_it_has_no_place__wins_on_arrival() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    seat.wait(STEP_MS - 20)
    busy(seat)
    assert winners(seat.say(BOB, seat.claim(BOB, task))) == [BOB_ID]


def test_claim__better_rank_says_that_it_has_no_place_while_it_is_waited_for__wins_then() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    waited_for(seat, task)
    seat.wait(STEP_MS - 20)
    assert winners(seat.say(BOB, seat.claim(BOB, task))) == []
    assert winners(busy(seat)) == [BOB_ID]


def test_claim__its_miner_won_as_many_as_it_may_hold_while_it_waited__is_declined() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    tasks = [seat.submit() for _ in range(3)]
    for task in tasks:
        waited_for(seat, task)
    seat.wait(STEP_MS - 20)
    for task in tasks:
        assert winners(seat.say(BOB, seat.claim(BOB, task, nonce=task[:16]))) == []
    effects = seat.wait(2 * ALLOWANCE_MS)
    assert winners(effects) == [BOB_ID] * 2, "one place, and one task to look ahead"
    assert reasons(effects) == ["no_place"]


def test_claim__before_its_slot__is_declined_and_its_miner_out_for_this_attempt() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    assert reasons(seat.say(BOB, seat.claim(BOB, task))) == ["early"]
    seat.wait(STEP_MS)
    effects = seat.say(BOB, seat.claim(BOB, task, nonce=b"m" * 16)) + seat.wait(ALLOWANCE_MS)
    assert (reasons(effects), winners(effects)) == (["excluded"], [])
    seat.wait(500)
    seat.wait(STEP_MS)
    effects = seat.say(BOB, seat.claim(BOB, task, nonce=b"o" * 16)) + seat.wait(ALLOWANCE_MS)
    assert winners(effects) == [BOB_ID], "the next attempt is another chance"


def test_claim__in_its_slot_after_our_clock_was_set_back__is_not_early() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    seat.wait(STEP_MS)
    seat.now = UnixMillis(seat.now - 879)
    assert reasons(seat.say(BOB, seat.claim(BOB, task))) == []


def test_claim__within_the_tolerance_of_its_slot__is_taken() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    seat.wait(STEP_MS - 20 - PARAMS.early_tolerance_ms)
    assert reasons(seat.say(BOB, seat.claim(BOB, task))) == []


def test_claim__outside_the_order__has_a_place_behind_it_by_its_clock() -> None:
    for early_by, early in ((PARAMS.early_tolerance_ms + 1, ["early"]), (PARAMS.early_tolerance_ms, [])):
        seat = CoordinatorSeat(miners=(ALICE, BOB))
        seat.say(BOB, capability(BOB, BOB_ID, sequence=seat.now + 1, expires_at=seat.now + 60_000, free=0))
        task = seat.submit()
        known = seat.core.task(task)  # type: ignore[arg-type]
        assert known is not None
        assert known.open is not None
        assert known.open.order == (ALICE_ID,)
        place = outside_place(1, known.open.ticket, BOB_ID, known.open.table)
        assert place > 1
        seat.wait(known.open.published_at + slot_ms(place, STEP_MS) - early_by - seat.now)
        effects = seat.say(BOB, seat.claim(BOB, task))
        assert reasons(effects) == early
        assert winners(effects) == []
        assert winners(seat.wait(ALLOWANCE_MS)) == ([] if early else [BOB_ID])


# Why a claim is declined


def test_claim__of_a_miner_that_failed_the_task__is_declined() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    seat.say(ALICE, abandon(award))
    seat.wait(last_slot_ms(1, 2, STEP_MS))
    effects = seat.say(ALICE, seat.claim(ALICE, award.statement.task, nonce=b"m" * 16)) + seat.wait(ALLOWANCE_MS)
    assert (reasons(effects), winners(effects)) == (["excluded"], [])


def test_claim__of_an_attempt_that_is_over__is_declined_stale() -> None:
    seat = CoordinatorSeat()
    task = seat.submit()
    late = seat.claim(ALICE, task)
    seat.wait(800)
    effects = seat.say(ALICE, late)
    assert (reasons(effects), judged(effects)) == (["stale"], [])


def test_claim__of_a_task_that_ended__is_declined_closed() -> None:
    seat = CoordinatorSeat()
    task = seat.submit()
    late = seat.claim(ALICE, task)
    seat.hear(TaskCancelled(task))  # type: ignore[arg-type]
    effects = seat.say(ALICE, late)
    assert (reasons(effects), judged(effects)) == (["closed"], [])


# The two clocks, and what follows from a lost lease


def test_alive__same_step_again_and_again__loses_the_task_at_the_progress_deadline() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    named = award.statement
    task = seat.core.task(named.task)
    assert task is not None
    alive = Alive(task=named.task, attempt=0, state="step", step=3, steps=10, wait_ms=100)
    limit = 4 * 100 + PARAMS.step_grace_ms
    seat.say(ALICE, alive)
    for _ in range(limit // 400):
        assert task.state is TaskState.AWARDED
        effects = seat.wait(400)
        seat.say(ALICE, alive)
    assert task.state is not TaskState.AWARDED
    assert [note.fields["reason"] for note in noted(effects, NoteName.TASK_LEASE_EXPIRED)] == ["stuck_step"]


def is_warm(seat: CoordinatorSeat) -> bool:
    """Whether alice stands as warm in the field of the next offer."""
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, None)) + seat.wait(100)
    message = next(effect.message for effect in effects if isinstance(effect, Publish) and effect.message.offers)
    rows = networks.view(EPOCH).table.miners
    codes = Field.from_bytes(message.field, len(rows)).codes
    return bool(codes[[row.id for row in rows].index(ALICE_ID)] & WARM)


def test_offer__first_of_its_order__is_to_hear_it_first() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, None)) + seat.wait(100)
    offered = next(effect for effect in effects if isinstance(effect, Publish) and effect.message.offers)
    task = seat.core.task(offered.message.offers[0].task)
    assert task is not None
    assert task.offered is not None
    best = seat.core.roster.id(task.offered.order[0])
    assert best is not None
    assert offered.first == (best.peer,)
    assert offered.head_start_ms == PARAMS.publish_interval_ms


def offers_with_head_start(effects: Any) -> list[int]:
    """Give the head start (ms) of each message with offers."""
    return [one.head_start_ms for one in effects if isinstance(one, Publish) and one.message.offers]


def test_offer__beside_other_work__gives_nobody_a_head_start() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    seat.submit()
    seat.wait(20)
    effects = seat.hear(TaskSubmitted(2, SPECIFICATION, True, None)) + seat.wait(100)
    assert offers_with_head_start(effects) == [0]


def test_offer__beside_the_award_of_a_task_that_is_done__gives_nobody_a_head_start() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    (accepted,) = persisted(seat.hear(TaskSubmitted(1, SPECIFICATION, True, None)), TaskAccepted)
    seat.say(ALICE, seat.claim(ALICE, accepted.task))
    seat.hear(TaskCancelled(accepted.task))
    effects = seat.hear(TaskSubmitted(2, SPECIFICATION, True, None)) + seat.wait(100)
    (offered,) = [one for one in effects if isinstance(one, Publish) and one.message.offers]
    assert offered.message.awards
    assert offered.head_start_ms == 0


def renew(seat: CoordinatorSeat) -> None:
    seat.say(ALICE, capability(ALICE, ALICE_ID, sequence=seat.now, expires_at=seat.now + 60_000, places=8))


def test_lease_lost__before_the_first_step__its_miner_counts_as_cold_for_an_hour() -> None:
    seat = CoordinatorSeat()
    assert is_warm(seat)
    seat.say(ALICE, abandon(seat.award()))
    lost_at = seat.now
    seat.wait(FIRST_PAUSE_MS)
    renew(seat)
    assert not is_warm(seat)
    seat.now = lost_at + FALSE_WARM_MS - 1000
    renew(seat)
    assert not is_warm(seat)
    seat.now = lost_at + FALSE_WARM_MS + 1000
    renew(seat)
    assert is_warm(seat)


def test_lease_lost__by_silence__counts_as_cold_from_the_second_time() -> None:
    seat = CoordinatorSeat()
    for warm in (True, False):
        seat.award()
        seat.wait(PARAMS.lease_ms)
        assert seat.core.roster.conduct.is_paused(ALICE_ID, seat.now)
        # What it held besides when it fell silent is the same fault.
        seat.core.roster.conduct.lost_lease(ALICE_ID, seat.now, started=False, silent=True)
        seat.wait(FIRST_PAUSE_MS)
        renew(seat)
        assert is_warm(seat) == warm


def test_leases_lost__as_many_as_allowed__task_fails_by_name() -> None:
    seat = CoordinatorSeat()
    task = seat.submit()
    effects: tuple[Any, ...] = ()
    for lost in range(PARAMS.max_attempts):
        assert persisted(effects, TaskFailed) == []
        claim = seat.claim(ALICE, task, nonce=bytes([lost]) * 16)
        award = of_kind(seat.say(ALICE, claim) + seat.wait(ALLOWANCE_MS), Award)[0]
        effects = seat.say(ALICE, abandon(award)) + seat.wait(STEP_MS)
    assert [record.reason for record in persisted(effects, TaskFailed)] == ["attempts_exhausted"]


def test_offer__nobody_claims_as_often_as_it_can_be_counted__task_fails_by_name() -> None:
    seat = CoordinatorSeat()
    known = seat.core.task(TaskId(seat.submit()))
    assert known is not None
    known.attempt = MAX_ATTEMPT
    effects = seat.wait(5000)
    assert [record.reason for record in persisted(effects, TaskFailed)] == ["attempts_exhausted"]


# From app to acceptance


def test_boot__clock_behind_the_stored_one__is_one_more() -> None:
    ahead = 10**10
    effects = CoordinatorSeat(miners=()).hear_restored((BootStarted(ahead), BootStarted(ahead - 1)))
    assert persisted(effects, BootStarted) == [BootStarted(ahead + 1)]


def test_submit__as_many_unfinished_tasks_as_allowed__is_busy() -> None:
    seat = CoordinatorSeat()
    seat.identity = replace(seat.identity, params=PARAMS.model_copy(update={"max_queued_tasks": 2}))
    seat.core = CoordinatorCore(seat.identity, tuple)
    seat.start()
    seat.greet(ALICE)
    answers = [
        effect.answer
        for _ in range(3)
        for effect in seat.hear(TaskSubmitted(1, SPECIFICATION, True, None))
        if isinstance(effect, Reply)
    ]
    assert [answer.code if isinstance(answer, Refused) else "" for answer in answers] == ["", "", "busy"]


# Offers that a miner leaves alone


@pytest.mark.parametrize(("floor", "skipped"), [(PRICE // SPECIFICATION.pixel_steps, []), (10**18, ["price"])])
def test_offer__below_the_price_floor__is_skipped_by_name(floor: int, skipped: list[str]) -> None:
    seat = MinerSeat()
    seat.core._claiming._price_floor = Wei(floor)
    effects = seat.offer()
    assert [note.fields["reason"] for note in noted(effects, NoteName.OFFER_SKIPPED)] == skipped
    assert len(of_kind(effects, Claim)) == (not skipped)


def test_offer__of_a_blocked_coordinator__is_skipped_by_name() -> None:
    for blocked, skipped in ((CAROL_ID, ["blocked"]), (DAVE_ID, [])):
        seat = MinerSeat()
        seat.core._claiming._blocked = frozenset({blocked})
        effects = seat.offer()
        assert [note.fields["reason"] for note in noted(effects, NoteName.OFFER_SKIPPED)] == skipped
        assert len(of_kind(effects, Claim)) == (not skipped)


@pytest.mark.parametrize(("blocked", "free"), [(CAROL_ID, 0), (DAVE_ID, 1)])
def test_capability__for_a_blocked_coordinator__says_that_no_place_is_free(blocked: StakingId, free: int) -> None:
    seat = MinerSeat()
    seat.core._blocked = frozenset({blocked})
    [update] = of_kind(seat.wait(25_000), CapabilityUpdate)
    assert decode(update.body, CAPABILITY_PLACE).free_places == free


@pytest.mark.parametrize(("spare", "skipped"), [(0, ["deadline"]), (1, [])])
def test_offer__that_cannot_be_done_before_its_deadline__is_skipped_by_name(spare: int, skipped: list[str]) -> None:
    seat = MinerSeat()
    work_ms = 1000 * SPECIFICATION.pixel_steps // 10_000_000
    effects = seat.offer(deadline=seat.now + work_ms + spare)
    assert [note.fields["reason"] for note in noted(effects, NoteName.OFFER_SKIPPED)] == skipped
    assert len(of_kind(effects, Claim)) == (not skipped)


@pytest.mark.parametrize(("beyond_ms", "skipped"), [(-1000, []), (0, ["deadline"])])
def test_offer__of_work_that_takes_longer_than_any_attempt_may__is_skipped(beyond_ms: int, skipped: list[str]) -> None:
    seat = MinerSeat()
    pixel_steps = 10_000 * (PARAMS.attempt_limit_ms + beyond_ms)
    effects = seat.offer(pixel_steps=pixel_steps, price=10**9 * pixel_steps)
    assert [note.fields["reason"] for note in noted(effects, NoteName.OFFER_SKIPPED)] == skipped


# A claim binds to one coordinator


def beside_another_coordinator() -> tuple[MinerSeat, Claim]:
    """A claim to carol, while dave coordinates too."""
    seat = MinerSeat()
    seat.tables((*networks.trio(), coordinator(DAVE, DAVE_ID)))
    seat.hear(PeerUp(DAVE.peer_id))
    seat.hear(StreamOpened(DAVE.peer_id))
    seat.say(DAVE, hello(DAVE_ID))
    return seat, of_kind(seat.offer(epoch=EPOCH + 2, accepted_epoch=EPOCH + 2), Claim)[0]


def started(effects: Any) -> int:
    return sum(isinstance(effect, StartJob) for effect in effects)


def test_award__of_another_coordinator_for_a_claim__is_given_back_and_the_claim_still_binds() -> None:
    seat, claim = beside_another_coordinator()
    effects = seat.say(DAVE, award_of(claim, by=DAVE, coordinator=DAVE_ID))
    assert [given.reason for given in of_kind(effects, Abandon)] == ["no_claim"]
    assert started(effects) == 0
    assert started(seat.say(CAROL, award_of(claim))) == 1


def test_cancel_and_reject__of_another_coordinator__end_nothing() -> None:
    seat, claim = beside_another_coordinator()
    award = award_of(claim)
    seat.say(CAROL, award)
    named = award.statement
    effects = seat.say(DAVE, Cancel(task=named.task, attempt=named.attempt, reason="closed"))
    assert not [effect for effect in effects if isinstance(effect, CancelJob)]
    assert of_kind(seat.finish(award), Result)
    reject = Reject(task=named.task, attempt=named.attempt, reason="superseded")
    assert persisted(seat.say(DAVE, reject), ResultSettled) == []
    assert len(persisted(seat.say(CAROL, reject), ResultSettled)) == 1


def test_decline__of_another_coordinator_for_a_claim__frees_nothing() -> None:
    seat, claim = beside_another_coordinator()
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
    seat.say(DAVE, Decline(statement=statement, signature=signed(DAVE, statement)))
    assert seat.core._claiming.outstanding() == 1
    assert started(seat.say(CAROL, award_of(claim))) == 1
