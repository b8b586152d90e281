"""A coordinator promises only what its escrow pays, warns in time, and says why it refuses. SPEC.md §11.3."""

from collections.abc import Iterable

import pytest

from protocol.chain_records import Escrow, SettlementRead
from protocol.effects import Accepted, Effect, Publish, Refused, Reply
from protocol.events import Restored, TaskCancelled, TaskSubmitted
from protocol.notes import NoteName
from protocol.records import TaskAccepted
from protocol.units import BlockNumber, Digest
from protocol.wire.messages import Bulletin, Receipt
from tests.protocol.roles.frames import SPECIFICATION, artifact_of, result_of
from tests.protocol.roles.pay import escrow_of, payment_of, wei
from tests.protocol.roles.seats import CoordinatorSeat, noted, of_kind, persisted
from tests.support.networks import ALICE


def submit(seat: CoordinatorSeat) -> Accepted | Refused:
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, None))
    return next(effect.answer for effect in effects if isinstance(effect, Reply))


def offers(effects: Iterable[Effect]) -> int:
    messages = [effect.message for effect in effects if isinstance(effect, Publish)]
    return sum(len(message.offers) for message in messages if isinstance(message, Bulletin))


def paid_for(seat: CoordinatorSeat) -> None:
    """Have a task done from submission to receipt."""
    award = seat.award()
    effects = seat.say(ALICE, result_of(award)) + seat.hear(artifact_of(award))
    assert len(of_kind(effects, Receipt)) == 1


@pytest.mark.parametrize("escrow", [escrow_of(0.99), escrow_of(2, withdrawing=1.01), escrow_of(2, owed=1.01)])
def test_submit__escrow_does_not_cover_it__is_refused_with_what_is_missing(escrow: Escrow) -> None:
    answer = submit(CoordinatorSeat(escrow=escrow))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.retry_after_s) == ("escrow_short", 60)
    assert "0.00016" in answer.detail, "what the task costs"


def test_submit__escrow_unknown__is_refused() -> None:
    answer = submit(CoordinatorSeat(escrow=None))
    assert isinstance(answer, Refused)
    assert (answer.code, "does not know its escrow" in answer.detail) == ("escrow_short", True)


def test_submit__unfinished_and_promised__count_and_a_task_that_failed_counts_no_more() -> None:
    seat = CoordinatorSeat(escrow=escrow_of(3))
    paid_for(seat)
    first, second = submit(seat), submit(seat)
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert isinstance(submit(seat), Refused), "one is promised, two are unfinished"
    seat.hear(TaskCancelled(first.task))
    assert isinstance(submit(seat), Accepted)


def test_submit__miner_redeemed__frees_nothing_and_a_deposit_does() -> None:
    seat = CoordinatorSeat(escrow=escrow_of(1))
    paid_for(seat)
    assert isinstance(submit(seat), Refused)
    seat.escrows(escrow_of(0, redeemed=1), payment_of(1), block=2)
    assert isinstance(submit(seat), Refused)
    seat.escrows(escrow_of(1, redeemed=1), block=3)
    assert isinstance(submit(seat), Accepted)


def test_offer__escrow_taken_back__is_not_made_until_there_is_enough_again() -> None:
    seat = CoordinatorSeat(escrow=escrow_of(1))
    answer = submit(seat)
    assert isinstance(answer, Accepted)
    seat.escrows(escrow_of(1, withdrawing=1), block=2)
    assert offers(seat.wait(30_000)) == 0
    task = seat.core.task(answer.task)
    assert task is not None
    assert "escrow_short" in task.declines, "the app can see why it waits"
    assert offers(seat.escrows(escrow_of(1), block=3) + seat.wait(3000)) > 0


def test_restart__unfinished_tasks__still_count() -> None:
    before = CoordinatorSeat(escrow=escrow_of(2))
    effects = before.hear(TaskSubmitted(1, SPECIFICATION, True, None))
    seat = CoordinatorSeat(tuple(persisted(effects, TaskAccepted)), escrow=escrow_of(2))
    assert isinstance(submit(seat), Accepted)
    assert isinstance(submit(seat), Refused)


def test_restart__before_the_chain_answers__escrow_of_before_holds() -> None:
    seat = CoordinatorSeat(escrow=None)
    kept = SettlementRead("c", BlockNumber(9), Digest(bytes(32)), (), (escrow_of(2),), anew=True)
    seat.hear(Restored((kept,)))
    assert isinstance(submit(seat), Accepted)


def test_escrow__little_left__is_warned_of_once_and_told_when_it_is_enough_again() -> None:
    seat = CoordinatorSeat(escrow=escrow_of(4), low=wei(3))
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, None))
    assert noted(effects, NoteName.ESCROW_LOW) == []
    (note,) = noted(seat.hear(TaskSubmitted(2, SPECIFICATION, True, None)), NoteName.ESCROW_LOW)
    assert (note.fields["escrow_wei"], note.fields["free_wei"]) == (str(wei(4)), str(wei(2)))
    assert noted(seat.hear(TaskSubmitted(3, SPECIFICATION, True, None)), NoteName.ESCROW_LOW) == []
    effects = seat.escrows(escrow_of(9), block=2)
    assert len(noted(effects, NoteName.ESCROW_COVERS)) == 1
    (seen,) = noted(effects, NoteName.ESCROW_SEEN)
    assert seen.fields["free_wei"] == str(wei(6))
