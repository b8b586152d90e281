"""What everybody may see of a coordinator: only what is public, in bounded measure, and nothing holds the node up."""

from collections import Counter
from collections.abc import Sequence

import pytest
import trio

from node.portal.elsewhere import MAX_FOLLOWED, TASKS_PER_COORDINATOR_PER_S, TASKS_PER_S
from node.portal.live_network import BATCH_S, MAX_MEMBERS, QUEUE, RECENT, RECENT_HEARD, SHOWN_TASKS_PER_S, LiveView
from protocol.events import ActivityChanged
from protocol.notes import NoteName
from protocol.units import CAI, StakingId, TaskId
from protocol.wire.messages import AwardNotice, Closure
from tests.protocol.roles.frames import ALICE_ID, CAROL_ID, MODEL, bulletin
from tests.protocol.roles.seats import CoordinatorSeat
from tests.support.clock import HandClock
from tests.support.journal import Noted, RecordingJournal
from tests.support.networks import ALICE, BOB, CAROL, coordinator, row
from tests.support.records import digest_of

TASK = TaskId(digest_of("a task"))
BOB_ID = StakingId(2)


class Watch:
    """A view of carol's coordinator, and what is behind it."""

    def __init__(self) -> None:
        self.seat = CoordinatorSeat()
        self.clock = HandClock(self.seat.now)
        self.journal = RecordingJournal()
        self.view = LiveView(self.seat.core, self.journal, self.clock)

    def draw(self, task: TaskId = TASK, miner: StakingId = ALICE_ID, ms: int = 700) -> None:
        """A task's straight line."""
        note = self.view.note
        note(NoteName.TASK_ACCEPTED, task, model="tiny", pixel_steps=9)
        note(NoteName.TASK_OFFERED, task, attempt=0, miners=2)
        note(NoteName.CLAIM_RECEIVED, task, miner=miner, attempt=0)
        note(NoteName.TASK_AWARDED, task, miner=miner, attempt=0, rank=0, ms=5)
        self.clock.advance(ms)
        note(NoteName.RESULT_RECEIVED, task, miner=miner, attempt=0, bytes=77)
        note(NoteName.TASK_DONE, task, miner=miner, attempt=0, ms=ms + 5, generation_ms=600)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def task_of(number: int) -> TaskId:
    return TaskId(digest_of(f"task {number}"))


def test_note__any__reaches_the_journal_unchanged(watch: Watch):
    watch.view.note(NoteName.TASK_ACCEPTED, TASK, model="tiny", pixel_steps=9)
    watch.view.note(NoteName.NODE_READY, role="coordinator")
    assert watch.journal.notes == [
        Noted(NoteName.TASK_ACCEPTED, TASK, {"model": "tiny", "pixel_steps": 9}),
        Noted(NoteName.NODE_READY, None, {"role": "coordinator"}),
    ]


def test_recent__whole_task__tells_its_public_steps_and_no_other_field(watch: Watch):
    watch.draw()
    watch.view.note(NoteName.PEER_BANNED, TASK, peer="somebody")
    told = watch.view.recent()
    assert [one.name for one in told] == [
        "task.accepted",
        "task.offered",
        "claim.received",
        "task.awarded",
        "result.received",
        "task.done",
    ]
    assert {one.task for one in told} == {TASK.hex()[:12]}
    assert dict(told[0].fields) == {"model": "tiny"}
    assert dict(told[4].fields) == {"miner": ALICE_ID, "attempt": 0}


def test_note__long_reason_of_a_peer__is_cut(watch: Watch):
    watch.view.note(NoteName.TASK_ACCEPTED, TASK, model="tiny")
    watch.view.note(NoteName.TASK_ABANDONED, TASK, miner=1, attempt=0, reason="x" * 500)
    assert watch.view.recent()[-1].fields["reason"] == "x" * 64


async def test_listen__news__come_in_one_batch(watch: Watch, autojump_clock):
    async with watch.view.listen() as batches:
        watch.draw()
        batch = await anext(batches)
        assert [one.name for one in batch] == [one.name for one in watch.view.recent()]
        with trio.move_on_after(10 * BATCH_S) as silence:
            await anext(batches)
        assert silence.cancelled_caught


async def test_listen__slow_listener__loses_the_oldest_and_holds_nobody_up(watch: Watch, autojump_clock):
    watch.view.note(NoteName.TASK_ACCEPTED, TASK, model="tiny")
    async with watch.view.listen() as batches:
        for attempt in range(QUEUE + 10):
            watch.view.note(NoteName.TASK_OFFERED, TASK, attempt=attempt, miners=2)
        batch = await anext(batches)
    assert [one.fields["attempt"] for one in batch] == list(range(10, QUEUE + 10))
    watch.view.note(NoteName.TASK_OFFERED, TASK, attempt=0, miners=2)  # nobody listens any more
    assert len(watch.view.recent()) == RECENT


def test_note__more_tasks_than_one_can_look_at__tells_some_of_them_whole(watch: Watch):
    for number in range(20):
        watch.view.note(NoteName.TASK_ACCEPTED, task_of(number), model="tiny")
    for number in range(20):
        watch.view.note(NoteName.TASK_OFFERED, task_of(number), attempt=0, miners=2)
    told = watch.view.recent()
    assert len(told) == 2 * SHOWN_TASKS_PER_S
    assert len({one.task for one in told}) == SHOWN_TASKS_PER_S
    assert watch.view.totals().passed_over == 20 - SHOWN_TASKS_PER_S
    watch.clock.advance(1000)
    watch.view.note(NoteName.TASK_ACCEPTED, TASK, model="tiny")
    assert watch.view.recent()[-1].task == TASK.hex()[:12]


def test_totals__tasks_that_ended__are_counted(watch: Watch):
    watch.draw()
    watch.view.note(NoteName.TASK_ACCEPTED, task_of(1), model="tiny")
    watch.view.note(NoteName.TASK_FAILED, task_of(1), reason="deadline", waiting="")
    watch.seat.submit()
    totals = watch.view.totals()
    assert (totals.accepted, totals.done, totals.failed, totals.open) == (2, 1, 1, 1)


@pytest.mark.parametrize("reason", ["cancelled", "client_gone"])
def test_totals__app_gave_its_task_up__is_no_failure(watch: Watch, reason: str):
    watch.view.note(NoteName.TASK_ACCEPTED, TASK, model="tiny")
    watch.view.note(NoteName.TASK_FAILED, TASK, reason=reason, waiting="")
    assert (watch.view.totals().accepted, watch.view.totals().failed) == (1, 0)
    assert watch.view.recent()[-1].fields["reason"] == reason


def bulletin_of(coordinator: int, *tasks: TaskId, awards: Sequence[AwardNotice] = (), closures: Sequence[Closure] = ()):
    """What another coordinator says, with an offer of each task."""
    said = bulletin(0, 0)
    (one, *_) = said.offers
    offers = tuple(one.model_copy(update={"task": task}) for task in tasks)
    changed = {"coordinator": coordinator, "offers": offers, "awards": tuple(awards), "closures": tuple(closures)}
    return said.model_copy(update=changed)


def test_heard__task_of_another_coordinator__is_told_from_its_offer_to_its_end(watch: Watch):
    watch.draw()
    watch.view.heard(bulletin_of(7, TASK))
    watch.view.heard(bulletin_of(7, awards=[AwardNotice(task=TASK, attempt=0, winner=2)]))
    watch.view.heard(bulletin_of(7, closures=[Closure(task=TASK, reason="done")]))
    watch.view.heard(bulletin_of(7, closures=[Closure(task=TASK, reason="done")]))
    told = [one for one in watch.view.recent() if one.name.startswith("heard")]
    assert [(one.name, one.task) for one in told] == [
        (name, TASK.hex()[:12]) for name in ("heard.offered", "heard.awarded", "heard.closed")
    ]
    assert [dict(one.fields) for one in told] == [
        {"coordinator": 7, "model": MODEL.name, "attempt": 0},
        {"coordinator": 7, "model": MODEL.name, "attempt": 0, "miner": 2},
        {"coordinator": 7, "model": MODEL.name, "reason": "done"},
    ]
    assert len(watch.view.recent()) == 9, "our own are told beside"


def test_heard__own_and_unfollowed_and_objections__tell_nothing(watch: Watch):
    watch.view.heard(bulletin_of(CAROL_ID, TASK))
    watch.view.heard(bulletin_of(7, awards=[AwardNotice(task=TASK, attempt=0, winner=2)]))
    assert watch.view.recent() == ()


def test_heard__floods__are_bounded_for_each_and_for_all_and_hide_none_of_our_own(watch: Watch):
    watch.draw()
    for speaker in (7, 8, 9):
        watch.view.heard(bulletin_of(speaker, *map(task_of, range(64))))
    by_coordinator = Counter(one.fields["coordinator"] for one in watch.view.recent() if one.name == "heard.offered")
    assert by_coordinator == {7: TASKS_PER_COORDINATOR_PER_S, 8: TASKS_PER_S - TASKS_PER_COORDINATOR_PER_S}
    for second in range(2 * MAX_FOLLOWED):
        watch.clock.advance(1000)
        watch.view.heard(bulletin_of(7, task_of(1000 + second)))
    assert len(watch.view._elsewhere._followed) == MAX_FOLLOWED
    names = Counter(one.name for one in watch.view.recent())
    assert names["heard.offered"] == RECENT_HEARD
    assert names["task.done"] == 1


def test_members__own_and_connected__are_here(watch: Watch):
    carol, alice, bob = watch.view.members()
    assert (carol.id, carol.is_here, carol.places) == (CAROL_ID, True, 0)
    assert (alice.id, alice.is_here, alice.places, alice.free, alice.models) == (ALICE_ID, True, 1, 1, (MODEL.name,))
    assert (bob.id, bob.is_here, bob.models) == (BOB_ID, False, ())
    assert watch.view.here().own_id == CAROL_ID
    assert watch.view.here().registered == 3


def test_members__task_given_to_a_miner__takes_its_place(watch: Watch):
    watch.seat.core.roster.hold(TASK, ALICE_ID)
    assert next(member.free for member in watch.view.members() if member.id == ALICE_ID) == 0


def test_members__jailed_now__is_not_active(watch: Watch):
    watch.seat.hear(ActivityChanged(frozenset({BOB_ID})))
    assert {member.id: member.is_active for member in watch.view.members()} == {
        ALICE_ID: True,
        BOB_ID: False,
        CAROL_ID: True,
    }


def test_members__capability_has_expired__offers_nothing(watch: Watch):
    watch.clock.advance(10 * 60_000)
    alice = next(member for member in watch.view.members() if member.id == ALICE_ID)
    assert (alice.is_here, alice.models, alice.places) == (True, (), 0)


def test_members__large_network__is_cut_to_those_with_most_stake(watch: Watch):
    crowd = [row(BOB, number, stake=number * CAI) for number in range(10, 10 + MAX_MEMBERS)]
    watch.seat.tables([row(ALICE, 1, stake=5 * CAI), coordinator(CAROL, 3), *crowd])
    watch.clock.moment = watch.seat.now
    members = watch.view.members()
    assert len(members) == MAX_MEMBERS
    assert [member.id for member in members[:3]] == [CAROL_ID, ALICE_ID, 9 + MAX_MEMBERS]
    assert watch.view.here().registered == MAX_MEMBERS + 2


def test_deeds__done_and_lost__are_counted_with_the_time_from_award_to_result(watch: Watch):
    watch.draw(ms=700)
    watch.draw(task_of(1), ms=300)
    lost = task_of(2)
    for name in (NoteName.TASK_AWARDED, NoteName.TASK_LEASE_EXPIRED):
        watch.view.note(name, lost, miner=ALICE_ID, attempt=0, reason="silent")
    deeds = next(member.deeds for member in watch.view.members() if member.id == ALICE_ID)
    assert (deeds.awards, deeds.done, deeds.lost, deeds.work_ms, deeds.timed) == (3, 2, 1, 1000, 2)


def test_deeds__task_that_was_awarded_before_this_start__counts_and_is_not_timed(watch: Watch):
    watch.draw(ms=700)
    watch.view.note(NoteName.TASK_DONE, task_of(1), miner=ALICE_ID, attempt=0, ms=136_000)
    deeds = next(member.deeds for member in watch.view.members() if member.id == ALICE_ID)
    assert (deeds.done, deeds.work_ms, deeds.timed) == (2, 700, 1)
