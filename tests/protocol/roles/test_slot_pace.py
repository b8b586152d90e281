"""How a coordinator and its miners spare each other claims and messages under load: SPEC.md §7.4, §8.3."""

from collections.abc import Iterable

from protocol.effects import Effect, Publish
from protocol.events import ArtifactReceived, TaskCancelled, TaskSubmitted
from protocol.roles.coordinator.offering import BUSY_ROUND_PAUSE_MS, DONE_PAUSE_MS, WAITING_PACE_MS
from protocol.roles.coordinator.slot_pace import FEWEST, REMEMBERED, SlotPace
from protocol.stake.lottery import last_slot_ms
from protocol.task.offer import MAX_STRETCH
from protocol.units import StakingId, TaskId
from protocol.wire.messages import Award, Bulletin, Receipt
from tests.protocol.roles.frames import (
    PARAMS,
    PICTURE,
    PICTURE_DIGEST,
    SPECIFICATION,
    capability,
    result_of,
)
from tests.protocol.roles.seats import CoordinatorSeat, of_kind
from tests.support.networks import ALICE, BOB

STEP_MS, ALLOWANCE_MS = PARAMS.slot_step_ms, PARAMS.claim_allowance_ms
LATE_MS = 2 * ALLOWANCE_MS


def pace_after(*delays_ms: int) -> SlotPace:
    pace = SlotPace(PARAMS)
    for delay_ms in delays_ms:
        pace.heard_best(delay_ms)
    return pace


def numbers(pace: SlotPace, interval_ms: int = 1) -> tuple[int, int]:
    return pace.slot_step_ms(interval_ms), pace.allowance_ms()


def test_numbers__quick_claims_or_few__are_those_of_the_network() -> None:
    assert numbers(pace_after(*[1] * REMEMBERED)) == (STEP_MS, ALLOWANCE_MS)
    assert numbers(pace_after(*[LATE_MS] * (FEWEST - 1))) == (STEP_MS, ALLOWANCE_MS)


def test_slot_step__one_slow_claim_in_ten__changes_nothing() -> None:
    slow = 2 * STEP_MS
    assert numbers(pace_after(*[slow, *[1] * 9] * 6))[0] == STEP_MS
    assert numbers(pace_after(*[slow, slow, *[1] * 8] * 6))[0] == slow


def test_allowance__two_slow_claims_of_the_best_rank_in_64__change_nothing() -> None:
    quick = [1] * (REMEMBERED - 2)
    assert numbers(pace_after(*quick, LATE_MS, LATE_MS))[1] == ALLOWANCE_MS
    assert numbers(pace_after(*quick[1:], LATE_MS, LATE_MS, LATE_MS))[1] == LATE_MS


def test_numbers__few_claims_of_the_best_rank__follow_the_others_until_there_are_more() -> None:
    pace = pace_after(*[1] * (FEWEST - 1))
    for _ in range(FEWEST):
        pace.heard_other(LATE_MS)
    assert numbers(pace) == (max(STEP_MS, LATE_MS), LATE_MS)
    pace.heard_best(1)
    assert numbers(pace) == (STEP_MS, ALLOWANCE_MS)


def test_slot_step__claims_of_many_miners_after_the_award__is_as_long_as_that_news_takes() -> None:
    pace, slow = SlotPace(PARAMS), 3 * STEP_MS
    for _ in range(REMEMBERED):
        pace.heard_in_vain(StakingId(1), slow)
    assert numbers(pace) == (STEP_MS, ALLOWANCE_MS), "one miner alone slows nobody down"
    for miner in range(FEWEST):
        pace.heard_in_vain(StakingId(miner + 1), slow)
    assert numbers(pace) == (slow, ALLOWANCE_MS)
    for miner in range(REMEMBERED):
        pace.heard_in_vain(StakingId(miner + 100), 1)
    assert numbers(pace) == (STEP_MS, ALLOWANCE_MS), "and the past is forgotten"


def test_claim__of_an_attempt_that_another_won__tells_how_long_that_news_takes() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    late = seat.claim(BOB, task)
    assert of_kind(seat.say(ALICE, seat.claim(ALICE, task)), Award)
    seat.wait(3 * STEP_MS)
    seat.say(BOB, late)
    assert list(seat.core._offering.slot_pace._in_vain_ms.values()) == [3 * STEP_MS]


def test_numbers__slow_for_a_while__come_back() -> None:
    assert numbers(pace_after(*[LATE_MS] * REMEMBERED, *[1] * REMEMBERED)) == (STEP_MS, ALLOWANCE_MS)


def test_numbers__claims_slower_than_miners_wait_for__are_the_most_that_these_take() -> None:
    assert numbers(pace_after(*[60_000] * REMEMBERED)) == (MAX_STRETCH * STEP_MS, MAX_STRETCH * ALLOWANCE_MS)


def test_slot_step__awards_that_wait_for_their_bulletin__is_as_long() -> None:
    assert numbers(pace_after(), interval_ms=2 * STEP_MS) == (2 * STEP_MS, ALLOWANCE_MS)


def test_offer__claims_that_come_late__stretch_its_slots() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    seen = []
    for _ in range(FEWEST + 2):
        task = TaskId(seat.submit())
        known = seat.core.task(task)
        assert known is not None
        assert known.open is not None
        seen.append((known.open.slot_step_ms, known.open.allowance_ms))
        seat.now = known.open.published_at
        seat.wait(LATE_MS)
        seat.say(ALICE, seat.claim(ALICE, task))
        seat.hear(TaskCancelled(task))
    assert seen[:FEWEST] == [(STEP_MS, ALLOWANCE_MS)] * FEWEST
    assert seen[-1] == (LATE_MS, LATE_MS)


def test_offer__nobody_had_a_place__is_repeated_later() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    seat.award()
    ahead = seat.submit()
    seat.wait(last_slot_ms(0, 2, STEP_MS))
    assert of_kind(seat.say(ALICE, seat.claim(ALICE, ahead)), Award)
    task = seat.submit()
    assert (task, 1) not in offered(seat.wait(BUSY_ROUND_PAUSE_MS - 20))
    late_ms = PARAMS.publish_interval_max_ms + 20
    assert (task, 1) in offered(seat.wait(2 * last_slot_ms(0, 2, STEP_MS) + ALLOWANCE_MS + late_ms))


def test_offer__more_wait_than_are_free__is_repeated_later() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    first, second = seat.submit(), seat.submit()
    early = [task for task, _ in offered(seat.wait(BUSY_ROUND_PAUSE_MS - 20))]
    assert first in early, "it was alone when it was offered"
    assert second not in early
    assert (second, 1) in offered(seat.wait(2 * last_slot_ms(1, 2, STEP_MS) + ALLOWANCE_MS))


def finished(seat: CoordinatorSeat) -> list[Bulletin]:
    """Bring a task to its end, and give what is gossiped at once."""
    award = seat.award()
    seat.wait(1000)
    effects = seat.say(ALICE, result_of(award))
    statement = award.statement
    effects += seat.hear(ArtifactReceived(ALICE.peer_id, statement.task, statement.attempt, PICTURE_DIGEST, PICTURE))
    assert of_kind(effects, Receipt), "it has ended"
    return bulletins(effects)


def test_done__no_other_news__is_gossiped_after_two_seconds() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    assert finished(seat) == []
    assert bulletins(seat.wait(DONE_PAUSE_MS - 1)) == []
    [message] = bulletins(seat.wait(1))
    assert [closure.reason for closure in message.closures] == ["done"]
    assert bulletins(seat.wait(10 * DONE_PAUSE_MS)) == []


def test_done__a_miner_becomes_free__makes_no_bulletin_of_it() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    finished(seat)
    for free in (0, 1):
        said = capability(BOB, seat.number(BOB), sequence=seat.now + 1 + free, expires_at=seat.now + 60_000, free=free)
        assert bulletins(seat.say(BOB, said)) == []
    assert bulletins(seat.wait(2 * WAITING_PACE_MS)) == []


def test_done__next_offer__takes_the_news_along() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    finished(seat)
    [message] = bulletins(seat.hear(TaskSubmitted(1, SPECIFICATION, True, None)))
    assert ([closure.reason for closure in message.closures], len(message.offers)) == (["done"], 1)
    finished_again = [message for message in bulletins(seat.wait(DONE_PAUSE_MS)) if message.closures]
    assert finished_again == []


def bulletins(effects: Iterable[Effect]) -> list[Bulletin]:
    return [effect.message for effect in effects if isinstance(effect, Publish)]


def offered(effects: Iterable[Effect]) -> list[tuple[bytes, int]]:
    return [(offer.task, offer.attempt) for message in bulletins(effects) for offer in message.offers]
