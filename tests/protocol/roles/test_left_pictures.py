"""Pictures whose apps left them: a miner that drew one in time is paid, by the coordinator that took the order."""

from dataclasses import replace

import pytest

from protocol.effects import Accepted, Effect, Persist, Reply
from protocol.events import AppLeft, TaskCancelled, TaskSubmitted
from protocol.records import ArtifactStored, BootStarted, LeftPaid, TaskFailed, VoucherIssued
from protocol.roles.coordinator import left_pictures
from protocol.roles.coordinator.collecting import APP_LEASE_MS
from protocol.roles.coordinator.sampling import RecheckPolicy
from protocol.units import TaskId, UnixMillis, Wei
from protocol.wire.messages import Abandon, Award, Cancel, Receipt, Reject
from tests.protocol.roles.frames import PARAMS, PICTURE, PICTURE_DIGEST, PRICE, SPECIFICATION, artifact_of, result_of
from tests.protocol.roles.seats import AMPLE, CoordinatorSeat, judged, of_kind, persisted
from tests.support.networks import ALICE, BOB

Effects = tuple[Effect, ...]


def awarded(seat: CoordinatorSeat, *, collected: bool = True, name: str = "an order") -> Award:
    order = TaskSubmitted(1, SPECIFICATION, True, name, account="an app", collected=collected)
    (answer,) = (effect.answer for effect in seat.hear(order) if isinstance(effect, Reply))
    assert isinstance(answer, Accepted), answer
    seat.wait(700)
    effects = seat.say(ALICE, seat.claim(ALICE, answer.task, nonce=answer.task[:16])) + seat.wait(300)
    return of_kind(effects, Award)[0]


def task_of(award: Award) -> TaskId:
    return TaskId(award.statement.task)


def drawn(seat: CoordinatorSeat, award: Award) -> Effects:
    return seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award))


def reasons(effects: Effects) -> list[str]:
    return [one.reason for one in persisted(effects, TaskFailed)]


def paid(effects: Effects) -> list[int]:
    """What vouchers that go with a payment for a left picture, and with its receipt, promise."""
    together = [one.records for one in effects if isinstance(one, Persist)]
    found = [[record for record in records if isinstance(record, VoucherIssued)] for records in together]
    assert len(of_kind(effects, Receipt)) == sum(map(len, found)) == len(persisted(effects, LeftPaid))
    assert all(
        any(isinstance(one, LeftPaid) for one in records) for records, has in zip(together, found, strict=True) if has
    )
    return [voucher.cumulative for vouchers in found for voucher in vouchers]


@pytest.mark.parametrize("how", ["it takes nothing", "it cancels", "it had left"])
def test_fail__picture_is_ready_and_its_app_leaves_it__miner_is_paid_with_the_end_of_the_task(how: str) -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    if how == "it had left":
        seat.hear(AppLeft(task_of(award), seat.now))
    assert not paid(drawn(seat, award))
    effects = seat.hear(TaskCancelled(task_of(award))) if how == "it cancels" else seat.wait(APP_LEASE_MS)
    assert reasons(effects) == ["cancelled" if how == "it cancels" else "not_taken"]
    assert paid(effects) == [PRICE]
    (records,) = [one.records for one in effects if isinstance(one, Persist)]
    assert {type(one) for one in records} == {TaskFailed, LeftPaid, VoucherIssued}, "all or nothing"
    again = seat.say(ALICE, result_of(award))
    assert of_kind(again, Receipt) == of_kind(effects, Receipt)
    assert not persisted(again, VoucherIssued)


@pytest.mark.parametrize("collected", [True, False], ids=["overlay", "http"])
@pytest.mark.parametrize("before", ["nothing", "commitment", "bytes"])
def test_result__on_its_way_when_its_app_left__is_paid(before: str, collected: bool) -> None:
    seat = CoordinatorSeat()
    award = awarded(seat, collected=collected)
    seat.say(ALICE, result_of(award)) if before == "commitment" else ()
    seat.hear(artifact_of(award)) if before == "bytes" else ()
    ended = seat.hear(TaskCancelled(task_of(award)))
    assert reasons(ended) == ["cancelled"]
    assert [cancel.reason for cancel in of_kind(ended, Cancel)] == ["cancelled"]
    seat.wait(PARAMS.lease_ms)
    effects: Effects = ()
    if before != "commitment":
        effects += seat.say(ALICE, result_of(award))
    if before != "bytes":
        assert seat.core.expects_artifact(
            ALICE.peer_id, task_of(award), award.statement.attempt, len(PICTURE), seat.now
        )
        effects += seat.hear(artifact_of(award))
    assert paid(effects) == [PRICE]
    assert persisted(effects, ArtifactStored) == [ArtifactStored(PICTURE_DIGEST, PICTURE)], "it may be looked at"
    assert not of_kind(effects, Reject)
    assert of_kind(seat.say(ALICE, result_of(award)), Receipt) == of_kind(effects, Receipt)


def test_result__on_its_way_when_its_app_left__counts_as_left_untaken() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    seat.hear(TaskCancelled(task_of(award)))
    assert len(seat.core._settlement.untaken) == 0
    drawn(seat, award)
    assert len(seat.core._settlement.untaken) == 1


def test_result__later_than_a_lease_after_its_app_left__is_unpaid() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    seat.hear(TaskCancelled(task_of(award)))
    seat.wait(PARAMS.lease_ms + 1)
    effects = drawn(seat, award)
    assert not paid(effects)
    assert [one.reason for one in of_kind(effects, Reject)] == ["superseded"]
    assert not len(seat.core._settlement.left)


def test_result__of_an_attempt_that_was_lost_before_its_app_left__is_unpaid() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = awarded(seat)
    seat.say(ALICE, Abandon(task=award.statement.task, attempt=award.statement.attempt, reason="failed"))
    seat.wait(5000)
    of_kind(seat.say(BOB, seat.claim(BOB, award.statement.task)) + seat.wait(300), Award)
    seat.hear(TaskCancelled(task_of(award)))
    effects = drawn(seat, award)
    assert not paid(effects)
    assert [one.reason for one in of_kind(effects, Reject)] == ["superseded"]


def test_result__that_is_no_picture_of_a_task_that_its_app_left__is_unpaid_and_judged() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    seat.hear(TaskCancelled(task_of(award)))
    data = b"no picture"
    effects = seat.say(ALICE, result_of(award, data=data)) + seat.hear(artifact_of(award, data=data))
    assert not paid(effects)
    assert judged(effects)
    assert [one.reason for one in of_kind(effects, Reject)] == ["invalid"]


def test_result__task_ended_by_its_deadline__is_unpaid() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    seat.now = UnixMillis(seat.core.task(task_of(award)).deadline - 1)  # type: ignore[union-attr]
    del seat.timers["lease", task_of(award), 0]
    assert reasons(seat.wait(1)) == ["deadline"]
    assert not paid(drawn(seat, award))


def test_fail__escrow_is_used_up__is_unpaid() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    drawn(seat, award)
    seat.escrows(replace(AMPLE, deposited=Wei(PRICE - 1)), block=2)
    assert not paid(seat.wait(APP_LEASE_MS))


def test_restart__picture_that_was_left__its_receipt_is_the_same() -> None:
    seat = CoordinatorSeat()
    award = awarded(seat)
    effects = drawn(seat, award) + seat.wait(APP_LEASE_MS)
    boot, (left,) = BootStarted(seat.core._settlement.boot), persisted(effects, LeftPaid)
    again = CoordinatorSeat((boot, left, *persisted(effects, VoucherIssued)))
    told = again.say(ALICE, result_of(award))
    assert of_kind(told, Receipt) == of_kind(effects, Receipt)
    assert not of_kind(told, Reject)


def test_fail__picture_that_was_left__may_be_drawn_again_as_any() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    seat.core._rechecking._policy = RecheckPolicy(share=1.0, newcomer_share=1.0)
    seat.core._rechecking._secret = b"s" * 32
    drawn(seat, awarded(seat))
    seat.wait(APP_LEASE_MS)
    assert len(seat.core._rechecking) == 1, "else an accomplice leaves what nobody is to look at"


def test_keep__more_than_are_remembered__forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_pictures, "MOST_LEFT", 2)
    seat = CoordinatorSeat()
    awards = []
    for number in range(3):
        awards.append(awarded(seat, name=f"order {number}"))
        seat.hear(TaskCancelled(task_of(awards[-1])))
    assert len(seat.core._settlement.left) == 2
    assert paid(drawn(seat, awards[-1])) == [PRICE]
