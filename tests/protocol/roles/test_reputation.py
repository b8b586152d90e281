"""What a coordinator thinks of its miners: bounded, fading, and told by nobody else. SPEC.md §12.9."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.roles.coordinator.conduct import Conduct
from protocol.roles.coordinator.reputation import (
    GRAVE,
    LEFT_OUT_AT,
    MOST_DELIVERED,
    MOST_DOUBT,
    MOST_LOST,
    MOST_PASSED,
    PASS,
    SLIGHT,
    Reputation,
)
from protocol.roles.coordinator.sampling import (
    DAILY_LIMIT,
    DEAR_PART,
    PART_OF_PRICES,
    RecheckPolicy,
    Spending,
    recheck_lot,
)
from protocol.roles.opinions import HALF_LIFE_MS, REMEMBERED
from protocol.units import CAI, DAY_MS, StakingId, TaskId, UnixMillis, Wei

MINER = StakingId(1)
NOW = UnixMillis(1_700_000_000_000)
MINUTE = 60_000


def test_standing__of_a_newcomer__is_the_middle_and_can_rise() -> None:
    known = Reputation()
    assert known.of(MINER, NOW).standing == 50
    for place in range(8):
        known.passed_recheck(MINER, UnixMillis(NOW + place * MINUTE))
    assert known.of(MINER, NOW).standing >= 89


def test_standing__after_lost_leases_and_odd_pictures__falls() -> None:
    known = Reputation()
    known.lost_lease(MINER, NOW)
    after_a_lease = known.of(MINER, NOW).standing
    known.was_odd(MINER, NOW, SLIGHT)
    after_an_odd_one = known.of(MINER, NOW).standing
    assert 50 > after_a_lease > after_an_odd_one > 0


@given(st.lists(st.sampled_from(["delivered", "lost", "passed", "slight", "grave", "day"]), max_size=400))
def test_reputation__whatever_happens__stays_within_its_bounds(events: list[str]) -> None:
    known, now = Reputation(), NOW
    for event in events:
        match event:
            case "delivered":
                known.delivered(MINER, now)
            case "lost":
                known.lost_lease(MINER, now)
            case "passed":
                known.passed_recheck(MINER, now)
            case "slight":
                known.was_odd(MINER, now, SLIGHT)
            case "grave":
                known.was_odd(MINER, now, GRAVE)
            case _:
                now = UnixMillis(now + DAY_MS)
        account = known.of(MINER, now)
        assert 0 <= account.delivered <= MOST_DELIVERED
        assert 0 <= account.lost <= MOST_LOST
        assert 0 <= account.passed <= MOST_PASSED
        assert 0 <= account.doubt <= MOST_DOUBT
        assert 0 <= account.standing <= 100


def test_reputation__a_half_life_later__counts_half() -> None:
    known = Reputation()
    known.was_odd(MINER, NOW, GRAVE)
    known.passed_recheck(MINER, NOW)
    later = known.of(MINER, UnixMillis(NOW + HALF_LIFE_MS))
    assert later.doubt == (GRAVE - PASS) / 2
    assert later.passed == 0.5


def test_reputation__clock_set_back__counts_as_no_time() -> None:
    known = Reputation()
    known.was_odd(MINER, NOW, GRAVE)
    assert known.of(MINER, UnixMillis(NOW - DAY_MS)).doubt == GRAVE


def test_was_odd__once_or_long_ago__leaves_nobody_out() -> None:
    known = Reputation()
    assert not known.was_odd(MINER, NOW, GRAVE)
    assert not known.was_odd(MINER, UnixMillis(NOW + 2 * HALF_LIFE_MS), GRAVE)


def test_was_odd__again_soon__is_too_much() -> None:
    grave, slight = Reputation(), Reputation()
    grave.was_odd(MINER, NOW, GRAVE)
    assert grave.was_odd(MINER, UnixMillis(NOW + DAY_MS), GRAVE)
    verdicts = [slight.was_odd(MINER, UnixMillis(NOW + place * MINUTE), SLIGHT) for place in range(3)]
    assert verdicts == [False, False, True]
    assert slight.of(MINER, NOW).doubt >= LEFT_OUT_AT


def test_was_odd__with_passed_ones_between__is_forgiven_step_by_step() -> None:
    known = Reputation()
    for _ in range(6):
        assert not known.was_odd(MINER, NOW, SLIGHT)
        for _ in range(6):
            known.passed_recheck(MINER, NOW)


def test_record__restored__is_what_it_was() -> None:
    known, again = Reputation(), Reputation()
    known.delivered(MINER, NOW)
    known.was_odd(MINER, NOW, SLIGHT)
    known.leave_out(MINER, UnixMillis(NOW + DAY_MS))
    again.restore(known.record(MINER, NOW))
    assert again.record(MINER, NOW) == known.record(MINER, NOW)
    assert again.is_left_out(MINER, NOW)
    assert not again.is_left_out(MINER, UnixMillis(NOW + DAY_MS))


def test_accounts__of_more_miners_than_are_remembered__are_bounded() -> None:
    known = Reputation()
    for miner in range(1, REMEMBERED + 3):
        known.delivered(StakingId(miner), NOW)
    assert len(known) == REMEMBERED
    assert next(miner for miner, _ in known.accounts(NOW)) == 3


def test_accounts__more_than_are_remembered__of_whom_there_is_doubt_is_kept() -> None:
    known = Reputation()
    known.was_odd(MINER, NOW, GRAVE)
    for miner in range(2, REMEMBERED + 3):
        known.restore(known.record(StakingId(miner), NOW))
    assert len(known) == REMEMBERED
    assert next(miner for miner, _ in known.accounts(NOW)) == MINER


def test_leave_out__a_miner__is_a_pause_as_any_other() -> None:
    conduct = Conduct()
    conduct.leave_out(MINER, NOW, UnixMillis(NOW + DAY_MS))
    assert conduct.is_paused(MINER, UnixMillis(NOW + DAY_MS - 1))
    assert not conduct.is_paused(MINER, UnixMillis(NOW + DAY_MS))
    assert not conduct.is_deliberate(MINER, UnixMillis(NOW + MINUTE))


def test_lost_lease__of_a_miner__is_remembered_beyond_its_pause() -> None:
    conduct = Conduct()
    conduct.lost_lease(MINER, NOW, started=True, silent=False)
    conduct.delivered(MINER)
    assert conduct.reputation.of(MINER, NOW).lost == 1


# Sampling


def test_chance__of_a_miner__halves_with_what_it_passed_down_to_the_share() -> None:
    policy = RecheckPolicy(share=0.02, newcomer_share=0.5)
    assert [policy.chance(passed, 0) for passed in (0, 1, 2, 8)] == [0.5, 0.25, 0.125, 0.02]


def test_chance__of_a_miner_in_doubt__is_that_of_a_newcomer() -> None:
    policy = RecheckPolicy(share=0.02, newcomer_share=0.5)
    assert policy.chance(8, 0.9) == 0.02
    assert policy.chance(8, 1) == 0.5


def test_recheck_lot__over_many_tasks__is_even_and_nobodys_without_the_secret() -> None:
    tasks = [TaskId(number.to_bytes(32, "big")) for number in range(4000)]
    drawn = [recheck_lot(b"a" * 32, task, 0) for task in tasks]
    for place in (0, 1):
        assert abs(sum(one[place] < 0.02 for one in drawn) - 80) < 36  # four standard deviations
    assert drawn == [recheck_lot(b"a" * 32, task, 0) for task in tasks]
    assert drawn != [recheck_lot(b"b" * 32, task, 0) for task in tasks]
    assert drawn != [recheck_lot(b"a" * 32, task, 1) for task in tasks]


def test_since_yesterday__of_orders__forgets_those_of_a_day_ago() -> None:
    spending = Spending()
    spending.add(NOW, Wei(5))
    spending.add(UnixMillis(NOW + MINUTE), Wei(7))
    assert spending.since_yesterday(UnixMillis(NOW + DAY_MS - 1)) == 12
    assert spending.since_yesterday(UnixMillis(NOW + DAY_MS)) == 7


def test_most__where_nobody_named_a_limit__grows_with_what_tasks_of_a_day_cost() -> None:
    spending, usual = Spending(), Wei(2 * CAI)
    assert spending.most(NOW) == DAILY_LIMIT
    for task in range(20_000):
        spending.ended(UnixMillis(NOW + task), usual)
    assert spending.most(NOW) == 20_000 * usual // PART_OF_PRICES > DAILY_LIMIT
    assert spending.most(UnixMillis(NOW + DAY_MS // 2)) == 20_000 * usual // PART_OF_PRICES
    assert spending.most(UnixMillis(NOW + DAY_MS + MINUTE)) == DAILY_LIMIT
    assert not spending._prices


@given(st.lists(st.tuples(st.integers(1, 1100), st.integers(0, DAY_MS // 200)), max_size=60))
def test_spending__any_orders__stay_within_the_limit_and_leave_half_to_the_other_kind(
    orders: list[tuple[int, int]],
) -> None:
    limit, now, spending, taken = Wei(1000), NOW, Spending(), list[int]()
    for price, pause in [(1, 0), (limit // DEAR_PART + 1, 0), *orders]:
        now = UnixMillis(now + pause)
        if spending.admits(now, Wei(price), limit):
            spending.add(now, Wei(price))
            taken.append(price)
        assert sum(taken) <= limit
        for is_dear in (True, False):
            of_it = [spent for spent in taken if (spent > limit // DEAR_PART) is is_dear]
            assert sum(of_it) <= limit // 2


def test_spending__nobody_asks_for_the_other_kind__has_the_whole_limit_until_somebody_does() -> None:
    limit, dear, spending = Wei(1000), Wei(100), Spending()
    for _ in range(8):
        assert spending.admits(NOW, dear, limit)
        spending.add(NOW, dear)
    assert spending.admits(NOW, Wei(1), limit)
    assert not spending.admits(NOW, dear, limit), "the rest is for others now"
    assert spending.admits(UnixMillis(NOW + DAY_MS), dear, limit)


def test_spending__dearest_task_of_all__leaves_room_for_the_others_and_is_looked_at_itself() -> None:
    dearest, usual, spending = Wei(333 * CAI), Wei(2 * CAI), Spending()
    assert spending.admits(NOW, dearest, DAILY_LIMIT)
    spending.add(NOW, dearest)
    assert spending.admits(NOW, usual, DAILY_LIMIT)
    assert not spending.admits(NOW, Wei(100 * CAI), DAILY_LIMIT), "two of them were all that a day had"
    for _ in range(80):
        assert spending.admits(NOW, usual, DAILY_LIMIT)
        spending.add(NOW, usual)
    many = Spending()
    assert many.admits(NOW, Wei(250 * CAI), DAILY_LIMIT)
    while many.admits(NOW, usual, DAILY_LIMIT):
        many.add(NOW, usual)
    assert many.since_yesterday(NOW) == 250 * CAI
    assert many.admits(NOW, Wei(250 * CAI), DAILY_LIMIT), "many cheap ones leave room for a dear one"
