"""Who is offered first, who finds room, and what is said to whoever waits."""

from collections import Counter
from dataclasses import replace

import pytest

from protocol.effects import Accepted, Persist, Publish, Refused, Reply
from protocol.events import TaskCancelled, TaskSubmitted
from protocol.notes import NoteName
from protocol.records import TaskAccepted, TaskAwarded
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.coordinator.left_pictures import BYTES_MS
from protocol.roles.miner.open_offers import CHOICE, OpenOffers
from protocol.roles.miner.urgency import MAX_HEARD_PER_COORDINATOR
from protocol.task.priority import Priority
from protocol.task.states import TaskState
from protocol.units import TaskId, UnixMillis
from protocol.wire.messages import Abandon, Alive, Award, Cancel, Decline
from tests.protocol.roles.frames import (
    CAROL_ID,
    NOW,
    PARAMS,
    SPECIFICATION,
    artifact_of,
    award_of,
    bulletin,
    capability,
    result_of,
)
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, noted, of_kind, persisted
from tests.support.networks import ALICE, BOB, CAROL

BATCH = PARAMS.max_offers_per_message


def small(max_queued_tasks: int) -> CoordinatorSeat:
    """A coordinator with so many places for tasks."""
    seat = CoordinatorSeat()
    seat.identity = replace(seat.identity, params=PARAMS.model_copy(update={"max_queued_tasks": max_queued_tasks}))
    seat.core = CoordinatorCore(seat.identity, tuple)
    seat.start()
    seat.greet(ALICE)
    return seat


def hand_in(seat: CoordinatorSeat, account: str = "", priority: Priority = Priority.NORMAL) -> Accepted | Refused:
    """Submit one task at this moment; gives the answer."""
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, None, priority, account))
    return next(effect.answer for effect in effects if isinstance(effect, Reply))


def taken(seat: CoordinatorSeat, account: str, most: int) -> int:
    """Submit until one is refused; gives how many were not."""
    return next((count for count in range(most) if isinstance(hand_in(seat, account), Refused)), most)


# Order


def test_offers__long_queue__the_more_urgent_of_those_that_wait_go_into_the_next_message() -> None:
    seat = CoordinatorSeat()
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        for _ in range(BATCH):
            hand_in(seat, priority=priority)
    messages = [effect.message for effect in seat.wait(500) if isinstance(effect, Publish) and effect.message.offers]
    life = [{(offer.deadline - NOW) // 75_000 for offer in message.offers} for message in messages[:3]]
    # What was handed in first was on its way already; then come the urgent, the usual, the rest.
    assert life[0] == {6}
    assert 6 not in life[-1]


def test_offers__low_one_that_waited_for_long__goes_before_urgent_ones_that_come_later() -> None:
    seat = CoordinatorSeat()
    old = hand_in(seat, priority=Priority.LOW)
    assert isinstance(old, Accepted)
    seat.wait(160_000)
    seat.greet(ALICE)
    task = seat.core.task(old.task)
    assert task is not None
    task.state = TaskState.QUEUED
    for _ in range(2 * BATCH):
        hand_in(seat, priority=Priority.HIGH)
    seat.core._offering.offer(task)
    messages = [effect.message for effect in seat.wait(500) if isinstance(effect, Publish) and effect.message.offers]
    assert old.task in {offer.task for offer in messages[0].offers}
    assert len(messages[0].offers) == BATCH


def test_next__more_due_than_are_weighed__takes_of_those_with_the_nearest_deadlines() -> None:
    seat = MinerSeat()
    claiming = seat.core._claiming
    seat.say(CAROL, award_of(seat.claimed()))
    seat.offer(1)
    mine = next(iter(claiming._offers.values()))
    claiming._offers = OpenOffers()
    claiming._heard[CAROL_ID] = 2 * CHOICE
    for number in range(2 * CHOICE):
        # What came last is the most urgent.
        offer = bulletin(NOW, number, deadline=UnixMillis(NOW + 600_000 - number)).offers[0]
        claiming._offers[offer.task] = replace(mine, offer=offer, second_slot_at=NOW)
    for _ in range(100):
        claiming._fresh_from = claiming._ahead_from = 0
        chosen = claiming._next(is_free=False)
        assert chosen is not None
        assert chosen.offer.number >= CHOICE


def test_offer__more_open_than_are_remembered__the_most_urgent_are() -> None:
    seat = MinerSeat()
    claiming = seat.core._claiming
    seat.say(CAROL, award_of(seat.claimed()))
    seat.offer(1)
    mine = next(iter(claiming._offers.values()))
    claiming._offers = OpenOffers()
    for number in range(MAX_HEARD_PER_COORDINATOR):
        offer = bulletin(NOW, number, deadline=UnixMillis(NOW + 500_000 + number)).offers[0]
        claiming._offers[offer.task] = replace(mine, offer=offer, second_slot_at=UnixMillis(NOW + 600_000))
    claiming._heard[CAROL_ID] = MAX_HEARD_PER_COORDINATOR
    late = seat.offer(5000, deadline=UnixMillis(NOW + 600_000))
    assert [note.fields["reason"] for note in noted(late, NoteName.OFFER_SKIPPED)] == ["too_many_offers"]
    for number in (6000, 6001):
        assert not noted(seat.offer(number, deadline=UnixMillis(NOW + 400_000)), NoteName.OFFER_SKIPPED)
    known = {one.offer.number for one in claiming._offers.values()}
    assert known == {6000, 6001, *range(MAX_HEARD_PER_COORDINATOR - 2)}
    assert claiming._heard[CAROL_ID] == len(known)


# Room


def test_submit__one_account__takes_half_of_all_places_and_leaves_half_to_others() -> None:
    seat = small(12)
    assert taken(seat, "one", 12) == 6
    refused = hand_in(seat, "one")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.retry_after_s) == ("busy", 5)
    assert "6 tasks of yours" in refused.detail
    assert taken(seat, "two", 12) == 3
    assert taken(seat, "three", 12) == 2
    assert isinstance(hand_in(seat, "four"), Accepted), "whoever comes last finds a place, too"
    assert isinstance(hand_in(seat, "five"), Refused)


def test_submit__accounts_that_may_be_one_caller__take_three_quarters_together_and_leave_a_quarter_to_others() -> None:
    seat = small(100)
    assert sum(taken(seat, f"network/{site}", 1) for site in range(100)) == 75
    refused = hand_in(seat, "network/new")
    assert isinstance(refused, Refused)
    assert (refused.code, "75 tasks of your network" in refused.detail) == ("busy", True)
    assert taken(seat, "honest", 100) == 13
    assert taken(seat, "other/1", 100) == 6
    for task in list(seat.core._tasks):
        seat.hear(TaskCancelled(task))
    assert seat.core._settlement.unfinished_of == Counter()
    assert taken(seat, "network/1", 100) == 50, "one of them alone has as much as anybody"


def test_submit__task_of_an_account_ends__its_place_is_free_again() -> None:
    seat = small(4)
    first = hand_in(seat, "one")
    assert isinstance(first, Accepted)
    assert isinstance(hand_in(seat, "one"), Accepted)
    assert isinstance(hand_in(seat, "one"), Refused)
    seat.hear(TaskCancelled(first.task))
    assert isinstance(hand_in(seat, "one"), Accepted)
    for task in list(seat.core._tasks):
        seat.hear(TaskCancelled(task))
    assert seat.core._settlement.unfinished_of == Counter()


def test_submit__after_a_restart__places_of_unfinished_tasks_are_still_taken() -> None:
    seat = small(4)
    records = []
    for _ in range(2):
        effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, None, Priority.HIGH, "one"))
        records += persisted(effects, TaskAccepted)
    assert {(record.priority, record.account) for record in records} == {(Priority.HIGH, "one")}
    seat.core = CoordinatorCore(seat.identity, tuple)
    seat.start(tuple(records))
    seat.greet(ALICE)
    assert isinstance(hand_in(seat, "one"), Refused)
    assert isinstance(hand_in(seat, "two"), Accepted)


@pytest.mark.parametrize("detached", [False, True])
def test_submit__app_waits_at_its_connection__goes_to_disk_with_its_award(detached: bool) -> None:
    seat = CoordinatorSeat()
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, detached, None))
    (written,) = [effect for effect in effects if isinstance(effect, Persist)]
    assert written.may_wait is not detached
    (accepted,) = persisted(effects, TaskAccepted)
    effects = seat.say(ALICE, seat.claim(ALICE, accepted.task))
    (award,) = [effect for effect in effects if isinstance(effect, Persist)]
    assert not award.may_wait, "nothing of an award leaves before it and all before it are on disk"


# What nobody can do


@pytest.mark.parametrize(
    ("of_alice", "of_bob", "said"),
    [
        ({"floor": 2 * 10**9}, {"floor": 3 * 10**9}, "2000000000 wei a pixel-step at least, not 1000000000"),
        ({"speed": 1}, {"speed": 100}, "can end that within 300 s; 1 steps at this size can be done"),
        ({"speed": 1}, {"speed": 2}, "can end that within 300 s"),
        ({"floor": 2 * 10**9, "speed": 1}, {}, ""),
    ],
)
def test_submit__no_connected_miner_would_claim_it__is_refused_with_what_one_would(
    of_alice: dict[str, int], of_bob: dict[str, int], said: str
) -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    for miner, stated in ((ALICE, of_alice), (BOB, of_bob)):
        seat.say(miner, capability(miner, seat.number(miner), sequence=seat.now + 1, **stated))
    answer = hand_in(seat)
    if not said:
        assert isinstance(answer, Accepted), "one of them would"
        return
    assert isinstance(answer, Refused)
    assert (answer.code, answer.retry_after_s) == ("no_miner", 10)
    assert answer.detail.endswith(said)


# Reasons


def test_waiting__offers_nobody_claims_and_claims_that_are_declined__are_counted_by_reason() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    known = seat.core.task(TaskId(task))
    assert known is not None
    seat.wait(5000)
    unclaimed = known.declines["unclaimed"]
    assert unclaimed == known.attempt >= 2
    order = known.open.order if known.open else ()
    early = {1: ALICE, 2: BOB}[order[1]]
    seat.say(early, seat.claim(early, task))
    assert known.declines == {"unclaimed": unclaimed, "early": 1}
    assert known.why_waiting() == f"early x1, unclaimed x{unclaimed}"


def test_waiting__attempts_lost__are_counted_by_reason() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    known = seat.core.task(award.statement.task)
    assert known is not None
    seat.say(ALICE, Abandon(task=known.id, attempt=award.statement.attempt, reason="out_of_memory"))
    assert known.declines == {"out_of_memory": 1}


# Cancellation, from every state that an award goes through (those before: tests/protocol/roles/test_assignment.py)


def in_state(seat: CoordinatorSeat, state: str) -> Award:
    """Bring one task there."""
    award = seat.award()
    named = award.statement
    if state in {"queued", "loading", "step", "encoding"}:
        seat.say(
            ALICE,
            Alive(task=named.task, attempt=named.attempt, state=state, step=3, steps=10, wait_ms=20),  # type: ignore[arg-type]
        )
    if state == "result":
        seat.say(ALICE, result_of(award))
    if state == "artifact":
        seat.hear(artifact_of(award))
    if state in {"taken_back", "awarded_again"}:
        seat.say(ALICE, Abandon(task=named.task, attempt=named.attempt, reason="out_of_memory"))
        seat.wait(20)
    if state == "awarded_again":
        seat.say(BOB, seat.claim(BOB, named.task, nonce=b"b" * 16))
        seat.wait(300)
    return award


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("awarded", 1),
        ("queued", 1),
        ("loading", 1),
        ("step", 1),
        ("encoding", 1),
        ("result", 1),
        ("artifact", 1),
        ("taken_back", 0),
        ("awarded_again", 1),
    ],
)
def test_cancel__from_every_state_of_an_award__stops_its_miner_and_frees_it(state: str, told: int) -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = in_state(seat, state)
    task = award.statement.task
    effects = seat.hear(TaskCancelled(task))
    assert [cancel.reason for cancel in of_kind(effects, Cancel)] == ["cancelled"] * told
    assert of_kind(effects, Decline) == []
    assert seat.core.waiting() == 0
    assert all(not miner.working_on for miner in seat.core.roster)
    assert not {what for what, subject, _ in seat.timers if subject == task}
    assert seat.hear(TaskCancelled(task)) == (), "a second time changes nothing"
    seat.wait(PARAMS.lease_ms + BYTES_MS + 1)  # what comes sooner was on its way, and is paid
    late = seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award))
    assert not [effect for effect in late if type(effect).__name__ in {"Persist", "Judge", "Deliver"}]


def test_cancel__of_a_task_that_is_done__changes_nothing() -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    seat.hear(artifact_of(award))
    seat.say(ALICE, result_of(award))
    assert seat.core.waiting() == 0
    assert seat.hear(TaskCancelled(award.statement.task)) == ()


def test_cancel__of_a_task_restored_with_its_award__reaches_its_miner_when_it_speaks() -> None:
    seat = CoordinatorSeat()
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, None))
    records = list(persisted(effects, TaskAccepted))
    seat.wait(20)
    task = records[0].task
    effects = seat.say(ALICE, seat.claim(ALICE, task)) + seat.wait(300)
    award = of_kind(effects, Award)[0]
    seat.hear_restored((*records, *persisted(effects, TaskAwarded)))
    assert seat.core.waiting() == 1
    seat.hear(TaskCancelled(task))
    assert seat.core.waiting() == 0
    seat.start()
    seat.greet(ALICE)
    named = award.statement
    spoke = seat.say(ALICE, Alive(task=task, attempt=named.attempt, state="step", step=1, steps=10, wait_ms=20))
    assert [cancel.reason for cancel in of_kind(spoke, Cancel)] == ["closed"]
