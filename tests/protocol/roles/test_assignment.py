"""How a coordinator hands tasks out: late, lost and repeated words, and what stays behind of an ended task."""

from dataclasses import replace

import pytest

from protocol.effects import Connect, Deliver, Effect, Publish, SetTimer, Stage
from protocol.events import JobProgress, StreamClosed, StreamOpened, TaskCancelled, TaskSubmitted
from protocol.notes import NoteName
from protocol.records import TaskAccepted, TaskAwarded, TaskDone, TaskFailed
from protocol.roles.coordinator.assignment import SLOWEST_BYTES_PER_S
from protocol.roles.coordinator.offering import UNWANTED_ROUNDS
from protocol.roles.miner.working import ALIVE_PACE_MS
from protocol.task.artifact import largest_picture
from protocol.task.preview import PREVIEW_PACE_MS
from protocol.task.states import TaskState
from protocol.units import TaskId
from protocol.wire.codec import encode
from protocol.wire.messages import Abandon, Alive, Award, Cancel, Decline, Preview, Receipt, TaskSpecification
from tests.protocol.roles.frames import (
    ALICE_ID,
    BOB_ID,
    PARAMS,
    SPECIFICATION,
    artifact_of,
    award_of,
    capability,
    result_of,
)
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, judged, noted, of_kind, persisted
from tests.support.networks import ALICE, BOB, CAROL

LONGEST_MS = 1000 * largest_picture(SPECIFICATION.width, SPECIFICATION.height) // SLOWEST_BYTES_PER_S
"""How long (ms) the bytes of the largest picture of the ordered size may take."""


def abandon(award: Award, reason: str) -> Abandon:
    return Abandon(task=award.statement.task, attempt=award.statement.attempt, reason=reason)


def alive(award: Award, step: int = 1) -> Alive:
    named = award.statement
    return Alive(task=named.task, attempt=named.attempt, state="step", step=step, steps=10, wait_ms=20)


def closures(effects: object) -> list[str]:
    return [c.reason for e in effects if isinstance(e, Publish) for c in e.message.closures]  # type: ignore[attr-defined]


def left_behind(seat: CoordinatorSeat, task: bytes) -> set[str]:
    return {what for what, subject, _ in seat.timers if subject == task}


def test_claim_that_expired__award_given_back__its_miner_may_claim_again_once() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    task = seat.core.task(award.statement.task)
    assert task is not None
    effects = seat.say(ALICE, abandon(award, "no_claim")) + seat.wait(20)
    assert (task.state, task.excluded, task.failures) == (TaskState.OFFERED, frozenset(), 0)
    assert task.attempt == 1, "offered again at once"
    assert judged(effects) == []
    again = of_kind(seat.say(ALICE, seat.claim(ALICE, task.id, nonce=b"m" * 16)) + seat.wait(300), Award)[0]
    seat.say(ALICE, abandon(again, "no_claim"))
    assert (task.excluded, task.failures) == ({ALICE_ID}, 1), "twice is no accident"


def test_abandon__of_what_it_does_not_hold__changes_nothing() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    seat.say(ALICE, abandon(award, "out_of_memory"))
    task = seat.core.task(award.statement.task)
    assert task is not None
    seat.wait(20)
    before = (task.attempt, task.failures, task.excluded, dict(task.declines))
    assert of_kind(seat.say(ALICE, abandon(award, "out_of_memory")), Cancel) == []
    assert (task.attempt, task.failures, task.excluded, task.declines) == before


@pytest.mark.parametrize("state", ["queued", "offered", "claimed", "awarded"])
def test_cancel__in_any_state__tells_everybody_and_leaves_no_timer(state: str) -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    if state == "awarded":
        task = seat.award().statement.task
    else:
        task = seat.submit()
        if state == "claimed":
            known = seat.core.task(task)
            assert known is not None
            assert known.open is not None
            second = known.open.order[1]
            seat.wait(80)
            seat.say({1: ALICE, 2: BOB}[second], seat.claim({1: ALICE, 2: BOB}[second], task))
        if state == "queued":
            seat.core._offering.requeue(known_task := seat.core.task(task))  # type: ignore[arg-type]
            assert known_task is not None
    effects = seat.hear(TaskCancelled(task))
    effects += seat.wait(100)
    assert closures(effects) == ["cancelled"]
    assert len(of_kind(effects, Cancel)) == (state == "awarded")
    assert [decline.statement.reason for decline in of_kind(effects, Decline)] == ["closed"] * (state == "claimed")
    assert [record.reason for record in persisted(effects, TaskFailed)] == ["cancelled"]
    assert left_behind(seat, task) == set()
    assert seat.core.waiting() == 0
    assert all(not miner.working_on for miner in seat.core.roster)


def test_alive__of_an_attempt_that_is_over__is_told_to_stop_again() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    seat.hear(TaskCancelled(award.statement.task))
    effects = seat.say(ALICE, alive(award))
    assert [cancel.reason for cancel in of_kind(effects, Cancel)] == ["closed"]
    assert judged(effects) == []


def test_take_back__every_miner_failed_once__all_get_a_second_chance() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    task = seat.core.task(award.statement.task)
    assert task is not None
    seat.say(ALICE, abandon(award, "out_of_memory"))
    assert task.excluded == {ALICE_ID}
    seat.wait(1000)
    second = of_kind(seat.say(BOB, seat.claim(BOB, task.id)) + seat.wait(300), Award)[0]
    seat.say(BOB, abandon(second, "out_of_memory"))
    assert task.excluded == frozenset()


def test_take_back__last_other_miner_leaves__the_one_that_failed_gets_a_second_chance() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    seat.say(ALICE, abandon(award, "out_of_memory"))
    seat.hear(StreamClosed(BOB.peer_id))
    task = seat.core.task(award.statement.task)
    assert task is not None
    seat.wait(5000)
    assert task.excluded == frozenset()


@pytest.mark.parametrize(("free", "is_forgiven"), [(1, True), (0, False)], ids=["does not want it", "is busy"])
def test_offer__the_only_other_miner_lets_it_lie__the_one_that_failed_gets_a_second_chance(
    free: int, is_forgiven: bool
) -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    seat.say(BOB, capability(BOB, BOB_ID, sequence=seat.now + 1, expires_at=seat.now + 60_000, free=free))
    seat.say(ALICE, abandon(award, "out_of_memory"))
    task = seat.core.task(award.statement.task)
    assert task is not None
    seat.wait(2000)
    assert 1 <= task.rounds < UNWANTED_ROUNDS
    assert task.excluded == {ALICE_ID}
    seat.wait(30_000)
    assert task.rounds > UNWANTED_ROUNDS
    assert task.excluded == (frozenset() if is_forgiven else {ALICE_ID})
    assert bool(of_kind(seat.say(ALICE, seat.claim(ALICE, task.id)) + seat.wait(300), Award)) == is_forgiven


def test_miner_gone__its_claim_waits_no_longer() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    task = seat.submit()
    known = seat.core.task(task)
    assert known is not None
    assert known.open is not None
    second = {1: ALICE, 2: BOB}[known.open.order[1]]
    seat.wait(80)
    seat.say(second, seat.claim(second, task))
    effects = seat.hear(StreamClosed(second.peer_id)) + seat.wait(300)
    assert of_kind(effects, Award) == []


def test_miner_back_within_a_second__has_time_for_its_next_word() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    award = seat.award()
    seat.wait(500)
    seat.hear(StreamClosed(ALICE.peer_id))
    seat.wait(900)
    seat.greet(ALICE)
    seat.wait(PARAMS.alive_interval_ms)
    seat.say(ALICE, alive(award))
    task = seat.core.task(award.statement.task)
    assert task is not None
    assert task.state is TaskState.AWARDED
    effects = seat.wait(PARAMS.lease_ms)
    assert task.state is not TaskState.AWARDED, "silence ends a lease whatever came before"
    assert [cancel.reason for cancel in of_kind(effects, Cancel)] == ["lease_expired"]


@pytest.mark.parametrize(("size", "allowed_ms"), [(1, 0), (40 * 1024, 200), (24 * 1024 * 1024, LONGEST_MS)])
def test_result__before_its_bytes__has_the_time_that_they_take_and_no_more(size: int, allowed_ms: int) -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    seat.say(ALICE, result_of(award).model_copy(update={"size": size}))
    assert noted(seat.wait(PARAMS.lease_ms + allowed_ms - 1), NoteName.TASK_LEASE_EXPIRED) == []
    assert len(noted(seat.wait(2), NoteName.TASK_LEASE_EXPIRED)) == 1


def test_result__before_its_bytes__has_one_more_lease_even_after_a_short_step() -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    seat.say(ALICE, alive(award, step=10))
    seat.wait(PARAMS.step_grace_ms)
    seat.say(ALICE, result_of(award))
    seat.wait(PARAMS.lease_ms - 1)
    effects = seat.hear(artifact_of(award))
    assert len(of_kind(effects, Receipt)) == 1
    task = award.statement.task
    assert left_behind(seat, task) == set()


def test_lease_lost_and_late_result__wins_and_stops_the_other() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    seat.wait(PARAMS.lease_ms)
    seat.wait(1000)
    task = seat.core.task(award.statement.task)
    assert task is not None
    second = of_kind(seat.say(BOB, seat.claim(BOB, task.id)) + seat.wait(300), Award)[0]
    effects = seat.hear(artifact_of(award)) + seat.say(ALICE, result_of(award))
    assert [record.miner for record in persisted(effects, TaskDone)] == [ALICE_ID]
    assert [cancel.reason for cancel in of_kind(effects, Cancel)] == ["superseded"]
    late = seat.say(BOB, result_of(second, by=BOB))
    assert [type(message).__name__ for message in of_kind(late, object)] == ["Reject"]
    assert judged(late) == []


def test_lease_lost__bytes_that_came_before_their_result__are_not_kept() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    seat.hear(artifact_of(award))
    seat.wait(PARAMS.lease_ms)
    task = seat.core.task(award.statement.task)
    assert task is not None
    assert [attempt.artifact for attempt in task.awards.values()] == [None]


# Over a restart


def restarted(effects: object, miners: tuple[object, ...] = (ALICE, BOB)) -> CoordinatorSeat:
    kept = [r for kind in (TaskAccepted, TaskAwarded, TaskDone) for r in persisted(effects, kind)]  # type: ignore[arg-type, type-var]
    return CoordinatorSeat(tuple(kept), miners)  # type: ignore[arg-type]


def awarded_before() -> tuple[CoordinatorSeat, tuple[object, ...], Award]:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, "key"))  # positional as in events
    effects += seat.wait(20)
    task = next(iter(persisted(effects, TaskAccepted))).task
    effects += seat.say(ALICE, seat.claim(ALICE, task)) + seat.wait(300)
    return seat, effects, of_kind(effects, Award)[0]


def test_restart__award_outstanding__its_alive_and_result_are_taken() -> None:
    _, effects, award = awarded_before()
    after = restarted(effects)
    assert of_kind(after.say(ALICE, alive(award)), Cancel) == []
    done = after.say(ALICE, result_of(award)) + after.hear(artifact_of(award))
    assert judged(done) == []
    assert len(of_kind(done, Receipt)) == 1


def test_restart__miner_never_returns__nothing_is_sent_to_nobody_and_another_gets_it() -> None:
    _, effects, award = awarded_before()
    after = restarted(effects, miners=(BOB,))
    later = after.wait(PARAMS.lease_ms)
    assert of_kind(later, Cancel) == []
    task = award.statement.task
    assert len(of_kind(after.say(BOB, after.claim(BOB, task)) + after.wait(300), Award)) == 1


def test_restart__attempts_that_failed_before__still_count() -> None:
    seat, effects, award = awarded_before()
    effects += seat.say(ALICE, abandon(award, "out_of_memory"))
    seat.wait(1000)
    effects += seat.say(BOB, seat.claim(BOB, award.statement.task)) + seat.wait(300)
    task = restarted(effects).core.task(award.statement.task)
    assert task is not None
    assert (task.failures, task.excluded, task.holder is not None) == (1, {ALICE_ID}, True)
    assert task.holder is not None
    assert task.holder.miner == BOB_ID


def test_restart__model_has_left_the_catalog__task_ends_by_name() -> None:
    _, effects, _ = awarded_before()
    accepted = persisted(effects, TaskAccepted)[0]
    other: TaskSpecification = SPECIFICATION.model_copy(update={"model": "gone"})
    after = CoordinatorSeat(miners=())
    ends = after.hear_restored((replace(accepted, specification=encode(other)),))
    assert [record.reason for record in persisted(ends, TaskFailed)] == ["unknown_model"]
    assert after.core.waiting() == 0


def test_end_of_any_kind__frees_the_idempotency_key() -> None:
    seat = CoordinatorSeat(miners=(ALICE,))
    task = seat.submit(key="once")
    effects = seat.wait(PARAMS.task_limit_ms)
    ends = [e.update for e in effects if isinstance(e, Deliver) and e.update.stage is Stage.FAILED]
    assert [end.reason for end in ends] == ["deadline"]
    assert seat.core.task(task) is None
    assert not seat.core._settlement.keys


def test_tables__nothing_is_dialled_or_set_for_an_unknown_peer() -> None:
    seat = CoordinatorSeat(miners=())
    effects = seat.hear(StreamOpened("12D3KooWunknown")) + seat.hear(StreamClosed("12D3KooWunknown"))  # type: ignore[arg-type]
    assert not [effect for effect in effects if isinstance(effect, Connect | SetTimer)]


# Previews

PREVIEW = b"RIFF" + (22).to_bytes(4, "little") + b"WEBPVP8 " + bytes(7) + b"\x9d\x01\x2a" + bytes([64, 0, 64, 0])


def preview(award: Award, data: bytes = PREVIEW) -> Preview:
    return Preview(task=award.statement.task, attempt=award.statement.attempt, data=data)


def shown(effects: tuple[Effect, ...]) -> list[bytes | None]:
    return [effect.update.preview for effect in effects if isinstance(effect, Deliver)]


def test_preview__of_the_holder__is_shown_to_the_app_with_its_step() -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    seat.say(ALICE, alive(award, 3))
    effects = seat.say(ALICE, preview(award))
    (update,) = [effect.update for effect in effects if isinstance(effect, Deliver)]
    assert (update.stage, update.step, update.preview) == (Stage.PROGRESS, 3, PREVIEW)


def test_preview__that_is_no_small_picture__is_judged() -> None:
    seat = CoordinatorSeat()
    effects = seat.say(ALICE, preview(seat.award(), b"<svg/>"))
    assert judged(effects) == ["preview.picture"]
    assert shown(effects) == []


def test_preview__faster_than_honest_miners_speak__is_ignored() -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    assert shown(seat.say(ALICE, preview(award))) == [PREVIEW]
    seat.wait(PREVIEW_PACE_MS - 1)
    assert shown(seat.say(ALICE, preview(award))) == []
    seat.wait(1)
    assert shown(seat.say(ALICE, preview(award))) == [PREVIEW]


def test_preview__of_a_miner_that_does_not_hold_the_task__is_not_shown() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    assert shown(seat.say(BOB, preview(award))) == []
    seat.wait(PARAMS.lease_ms)
    assert shown(seat.say(ALICE, preview(award))) == []


def test_preview__alone__renews_no_lease() -> None:
    seat = CoordinatorSeat()
    award = seat.award()
    effects: tuple[Effect, ...] = ()
    for _ in range(PARAMS.lease_ms // 500):
        effects += seat.say(ALICE, preview(award)) + seat.wait(500)
    assert noted(effects, NoteName.TASK_LEASE_EXPIRED)


def test_progress__with_previews_faster_than_it_may_speak__tells_the_latest_once() -> None:
    seat = MinerSeat()
    award = award_of(seat.claimed())
    seat.say(CAROL, award)
    task = award.statement.task

    def told(step: int, preview: bytes | None) -> list[bytes]:
        effects = seat.hear(JobProgress(TaskId(task), 0, "step", step, 10, 20, preview))
        return [word.data for word in of_kind(effects, Preview)]

    assert told(1, None) == []
    assert told(2, b"first") == told(3, b"second") == []
    seat.wait(ALIVE_PACE_MS)
    assert told(4, None) == [b"second"]
    seat.wait(ALIVE_PACE_MS)
    assert told(5, None) == []
