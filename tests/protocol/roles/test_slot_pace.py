"""δ and A follow how long the claims of the best rank take: SPEC.md §7.4."""

from protocol.events import TaskCancelled
from protocol.roles.claiming import MAX_STRETCH
from protocol.roles.slot_pace import FEWEST, REMEMBERED, SlotPace
from protocol.units import TaskId
from tests.protocol.roles.frames import PARAMS
from tests.protocol.roles.seats import CoordinatorSeat
from tests.support.networks import ALICE

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


def test_numbers__one_slow_claim_in_ten__changes_nothing() -> None:
    assert numbers(pace_after(*[LATE_MS, *[1] * 9] * 6)) == (STEP_MS, ALLOWANCE_MS)
    assert numbers(pace_after(*[LATE_MS, LATE_MS, *[1] * 8] * 6))[1] == LATE_MS


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
