"""Estimates on hand-made records: what they find, what they let pass, and that values alone never accuse."""

import hashlib
import random
from dataclasses import replace

import pytest

from protocol.audit.audit import ERROR, audit
from protocol.audit.conduct_tests import (
    FEWEST,
    MOST_COORDINATORS,
    ConductTest,
    Tally,
    _Fields,
    _free_by_most,
    conduct_tests,
    estimate_conduct,
)
from protocol.audit.draw_tests import FEWEST_TASKS
from protocol.audit.history import history_of
from protocol.audit.report import Report
from protocol.crypto.keys import NodeKey
from protocol.stake.field import Field
from protocol.units import StakingId, UnixMillis
from tests.support.networks import coordinator, view
from tests.support.signed_gossip import (
    EPOCH,
    HEAD,
    ROWS,
    Speaker,
    closure,
    field_without,
    full_field,
    notice,
    objection,
    offer,
    published_objection,
    ranking,
    view_of,
)

STEPS = (5, 50)
DEAR = 1_638_400 * 10**9


def dear(number: int) -> dict[str, int]:
    return {"pixel_steps": 1_638_400, "price": DEAR}


def steered(tasks: int, *, friend: int | None, seed: int = 1) -> Report:
    """Half of the tasks are dear; with a friend, those that draw it first."""
    drawn, speaker = random.Random(seed), Speaker()
    for number in range(tasks):
        first = ranking(number)[0]
        is_dear = first == friend if friend is not None else drawn.random() < 0.5
        speaker.say(50 * number, offers=[offer(number, **(dear(number) if is_dear else {}))])
    return audit(HEAD, speaker.entries())


def found(report: Report) -> set[tuple[str, int | None]]:
    return {(one.rule, one.miner) for one in report.findings}


def test_price__that_goes_with_the_drawn_first__is_found_for_both_miners() -> None:
    report = steered(120, friend=2)
    assert report.is_clean, "nothing is proven by it"
    assert found(report) == {("draw.price", 1), ("draw.price", 2)}
    assert all(one.chance < one.threshold == ERROR / report.tests for one in report.findings)
    ways = {one.miner: one.seen for one in report.findings}
    assert ways[StakingId(2)] > 0.1 > 0 > ways[StakingId(1)]


def test_price__that_is_independent_of_the_draw__is_not_found() -> None:
    for seed in range(20):
        assert found(steered(120, friend=None, seed=seed)) == set()


def test_price__that_rises_while_a_miner_is_busy__is_not_held_against_its_coordinator() -> None:
    """A shuffle of the prices over the tasks would take this for steering: dear tasks all go to who is free."""
    speaker = Speaker()
    for number in range(200):
        busy = number % 2 == 0
        changes = dear(number) if busy else {}
        field = field_without(1) if busy else field_without(2) if number % 5 else None
        speaker.say(50 * number, offers=[offer(number, **changes)], **({"field": field} if field else {}))
    report = audit(HEAD, speaker.entries())
    assert found(report) == set()
    assert any(power.rule == "draw.price" and power.sample == 200 for power in report.powers)


def test_tasks__cancelled_when_their_draw_does_not_please__are_found_unless_they_were_awarded() -> None:
    for awarded, expected in ((False, {("draw.cancelled", 1), ("draw.cancelled", 2)}), (True, set())):
        speaker = Speaker()
        for number in range(120):
            first = ranking(number)[0]
            speaker.say(100 * number, offers=[offer(number)])
            ended = [closure(offer(number), "cancelled")] if first == 1 else []
            speaker.say(100 * number + 50, closures=ended, awards=[notice(offer(number), first)] if awarded else [])
        assert found(audit(HEAD, speaker.entries())) == expected


def test_draws__of_few_tasks__are_not_judged_and_that_is_said() -> None:
    report = steered(FEWEST_TASKS - 1, friend=2)
    assert found(report) == set()
    (power,) = [power for power in report.powers if power.rule == "draw.count"]
    assert power.detectable is None
    assert str(FEWEST_TASKS) in power.why_not


def test_power__with_more_tasks__is_greater() -> None:
    effects = [
        next(power.detectable for power in steered(tasks, friend=None).powers if power.rule == "draw.price")
        for tasks in (60, 240)
    ]
    assert effects[0] is not None
    assert effects[1] is not None
    assert effects[1] < 0.6 * effects[0]


COUNTS = {
    (StakingId(1), StakingId(9)): Tally(40, 50),
    (StakingId(2), StakingId(9)): Tally(5, 50),
    (StakingId(3), StakingId(9)): Tally(3, 50),
}
TEST = ConductTest("claims.passed_over", "passed over", COUNTS)


def named(test: ConductTest) -> set[int]:
    return {one.coordinator for one in estimate_conduct(test, 1e-6) if one.is_finding}


def test_conduct__worse_than_at_every_other__is_found() -> None:
    assert named(TEST) == {1}


def test_conduct__as_bad_at_one_other__is_found_nowhere() -> None:
    assert named(replace(TEST, tallies=COUNTS | {(StakingId(4), StakingId(9)): Tally(39, 50)})) == set()


def test_conduct__with_one_other_alone__is_not_compared_where_two_are_needed() -> None:
    two = dict(list(COUNTS.items())[:2])
    assert list(replace(TEST, tallies=two).comparisons()) == []
    assert named(replace(TEST, tallies=two, fewest_others=1)) == {1}


def test_conduct__little_worse_in_many_cases__is_not_found_however_certain() -> None:
    counts = {subject: Tally(tally.times * 100, tally.of * 100) for subject, tally in COUNTS.items()}
    counts[(StakingId(1), StakingId(9))] = Tally(1200, 5000)
    (one,) = [one for one in estimate_conduct(replace(TEST, tallies=counts), 1e-6) if one.coordinator == 1]
    assert one.chance < 1e-20
    assert not one.is_finding


def test_conduct__of_few_observations__is_not_compared() -> None:
    few = {subject: Tally(tally.times, FEWEST - 1) for subject, tally in COUNTS.items()}
    assert list(replace(TEST, tallies=few).comparisons()) == []


def test_conduct__of_another_miner__is_no_comparison_unless_miners_are_alike() -> None:
    other = {(coordinator, StakingId(7 + coordinator)): tally for (coordinator, _), tally in COUNTS.items()}
    assert list(replace(TEST, tallies=other).comparisons()) == []
    assert named(replace(TEST, tallies=other, same_miner=False)) == {1}


def test_conduct__compared_with_one_that_shows_little__needs_to_be_certain_there_too() -> None:
    little = COUNTS | {(StakingId(3), StakingId(9)): Tally(4, FEWEST)}
    assert named(replace(TEST, tallies=little)) == set()


def test_count__of_a_miner_that_is_cold__is_not_expected_before_the_warm() -> None:
    cold = Field.of(view_of().table.miners, {StakingId(1), StakingId(2)}, {StakingId(1)}).to_bytes()
    speaker = Speaker()
    for number in range(80):
        speaker.say(50 * number, offers=[offer(number)], field=cold)
    report = audit(HEAD, speaker.entries())
    assert found(report) == set()
    assert {share.miner: share.drawn_expected for share in report.shares} == {1: 1.0, 2: 0.0}


def test_objection__of_the_better_rank_alone__is_counted() -> None:
    for order, times in ((0, 1), (1, 0)):
        first, second = ranking(0)[order], ranking(0)[1 - order]
        speaker = Speaker()
        speaker.say(offers=[offer()])
        speaker.say(60, awards=[notice(offer(), second)])
        said = published_objection(objection(offer(), first, second, 1 - order, at_ms=80))
        history = history_of(HEAD, [*speaker.entries(), said])
        tallies = {test.rule: test.tallies for test in conduct_tests(history)}
        assert tallies["claims.objected"] == {(StakingId(3), None): Tally(times, 1)}


def test_omission__is_counted_only_where_most_of_the_others_had_the_miner_before_and_after() -> None:
    full, without = full_field(), field_without(2)
    speakers = {3: Speaker(3), 4: Speaker(4)}
    for at, by, field in ((0, 4, full), (500, 3, without), (900, 4, full), (2000, 3, without), (2500, 4, without)):
        speakers[by].say(at, offers=[offer(at, by=by)], field=field)
    history = history_of(HEAD, [*speakers[3].entries(), *speakers[4].said])
    tallies = {test.rule: test.tallies for test in conduct_tests(history)}["field.omitted"]
    three = StakingId(3)
    assert tallies[(three, StakingId(2))] == Tally(1, 1), "not the second time: it had left the other's field too"
    assert tallies[(three, StakingId(1))] == Tally(0, 2)


def test_omission__from_offers_of_another_kind_of_work__is_compared_with_such_alone() -> None:
    full, without = full_field(), field_without(2)
    speakers = {3: Speaker(3), 4: Speaker(4)}
    for at, by, field in ((0, 4, full), (500, 3, without), (900, 4, full)):
        made = offer(at, by=by)
        speakers[by].say(at, offers=[made.model_copy(update={"work": "inpaint"}) if by == 3 else made], field=field)
    history = history_of(HEAD, [*speakers[3].entries(), *speakers[4].said])
    tallies = {test.rule: test.tallies for test in conduct_tests(history)}["field.omitted"]
    assert (StakingId(3), StakingId(2)) not in tallies, "it may not do that work at all"


def test_omission__of_fields_less_than_a_second_apart__is_counted_once() -> None:
    speakers = {3: Speaker(3), 4: Speaker(4)}
    for at in range(0, 2500, 250):
        speakers[4].say(at, offers=[offer(at, by=4)])
        speakers[3].say(at + 10, offers=[offer(at + 10)], field=field_without(2))
    history = history_of(HEAD, [*speakers[3].entries(), *speakers[4].said])
    tallies = {test.rule: test.tallies for test in conduct_tests(history)}["field.omitted"]
    assert tallies[(StakingId(3), StakingId(2))] == Tally(3, 3), "at 0, 1 and 2 s"


@pytest.mark.parametrize(("coordinators", "counted"), [(MOST_COORDINATORS, True), (MOST_COORDINATORS + 1, False)])
def test_omission__by_one_that_never_lists_the_miner__is_its_own_choice_where_it_cannot_serve_all(
    coordinators: int, counted: bool
) -> None:
    speakers = {3: Speaker(3), 4: Speaker(4)}
    for at in (0, 2000, 4000):
        speakers[4].say(at, offers=[offer(at, by=4)])
        speakers[3].say(at + 10, offers=[offer(at + 10)], field=field_without(2))
    history = history_of(HEAD, [*speakers[3].entries(), *speakers[4].said])
    keys = [NodeKey(hashlib.sha256(b"coordinator %d" % number).digest()) for number in range(coordinators)]
    rows = (*ROWS[:2], *(coordinator(key, 3 + number) for number, key in enumerate(keys)))
    history.views[EPOCH] = view(EPOCH, rows)
    tallies = {test.rule: test.tallies for test in conduct_tests(history)}["field.omitted"]
    assert ((StakingId(3), StakingId(2)) in tallies) == counted
    assert tallies[(StakingId(3), StakingId(1))].times == 0, "whom it lists it may be compared for"


def test_omission__one_word_against_another__is_not_counted() -> None:
    table = view_of().table
    has, has_not = (_Fields(table, [UnixMillis(0), UnixMillis(1000)], [bits, bits]) for bits in (0b11, 0b01))
    assert _free_by_most([has], UnixMillis(500)) == [0, 1]
    assert _free_by_most([has, has_not], UnixMillis(500)) == [0]
    assert _free_by_most([has, has, has_not], UnixMillis(500)) == [0, 1]
    assert _free_by_most([has], UnixMillis(2000)) == [], "nobody spoke after"
