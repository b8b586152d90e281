"""What is offered is what is claimed, awarded and drawn: nobody can say later that it was something else."""

from typing import Any

import pytest

from protocol.effects import Publish, StartJob
from protocol.notes import NoteName
from protocol.records import TaskAccepted
from protocol.stake.lottery import task_id
from protocol.units import Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Abandon, Award, Bulletin, Claim, Decline
from tests.protocol.roles.frames import (
    CAROL_ID,
    EPOCH,
    NETWORK_ID,
    NOTHING,
    NOW,
    PARAMS,
    PRICE,
    SPECIFICATION,
    award_of,
    signed,
)
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, judged, noted, of_kind
from tests.support.networks import ALICE, CAROL

EPOCH_MS = PARAMS.epoch_s * 1000
TOLERANCE_MS = PARAMS.boundary_tolerance_s * 1000


def bulletins(effects: Any) -> list[Bulletin]:
    """All that offer something."""
    return [e.message for e in effects if isinstance(e, Publish) and e.message.offers]


# A claim binds to one offer


def test_coordinator__claim_of_another_offer__is_judged_and_not_awarded() -> None:
    seat = CoordinatorSeat()
    named = seat.claim(ALICE, seat.submit()).statement.model_copy(update={"offer": NOTHING})
    effects = seat.say(ALICE, Claim(statement=named, signature=signed(ALICE, named))) + seat.wait(300)
    assert judged(effects) == ["claim.offer"]
    assert of_kind(effects, Award) == []


def test_coordinator__claim_of_its_offer__is_awarded_with_the_same_digest() -> None:
    seat = CoordinatorSeat()
    claim = seat.claim(ALICE, seat.submit())
    award = of_kind(seat.say(ALICE, claim) + seat.wait(300), Award)[0]
    assert award.statement.offer == claim.statement.offer != NOTHING


def test_coordinator__claim_of_an_offer_of_an_earlier_run__is_declined_and_nobody_is_blamed() -> None:
    before = CoordinatorSeat()
    before.submit()
    record = TaskAccepted(
        task=task_id(NETWORK_ID, CAROL_ID, EPOCH, 1, 0),
        epoch=EPOCH,
        boot=1,
        number=0,
        specification=encode(SPECIFICATION),
        salt=b"s" * 16,
        price=PRICE,
        detached=True,
        idempotency_key=None,
        accepted_at=NOW,
        deadline=NOW + 600_000,
    )
    seat = CoordinatorSeat((record,))
    seat.wait(20)
    named = seat.claim(ALICE, record.task).statement.model_copy(update={"offer": NOTHING})
    effects = seat.say(ALICE, Claim(statement=named, signature=signed(ALICE, named))) + seat.wait(100)
    assert [decline.statement.reason for decline in of_kind(effects, Decline)] == ["stale"]
    assert judged(effects) == []
    assert len(of_kind(seat.say(ALICE, seat.claim(ALICE, record.task)) + seat.wait(300), Award)) == 1


# An award binds to the claim's offer

OTHER_WORK: dict[str, dict[str, Any]] = {
    "award.offer": {"offer": NOTHING},
    "award.price": {"price": Wei(PRICE - 1)},
}


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        *OTHER_WORK.items(),
        ("award.work", {"work": SPECIFICATION.model_copy(update={"steps": SPECIFICATION.steps + 1})}),
        ("award.work", {"work": SPECIFICATION.model_copy(update={"width": 64, "steps": 20})}),
        ("award.work", {"work": SPECIFICATION.model_copy(update={"model": "another-model"})}),
    ],
    ids=["offer", "price", "pixel-steps", "pixels", "model"],
)
def test_miner__award_of_something_else_than_was_offered__is_judged_given_back_and_not_begun(
    rule: str, changes: dict[str, Any]
) -> None:
    seat = MinerSeat()
    effects = seat.say(CAROL, award_of(seat.claimed(), **changes))
    assert judged(effects) == [rule]
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["not_as_offered"]
    assert not [effect for effect in effects if isinstance(effect, StartJob)]
    assert seat.core._claiming.outstanding() == 0


# A draw that cannot be chosen


def test_submit__next_epoch__numbers_begin_again_under_it() -> None:
    seat = CoordinatorSeat()
    first = [seat.core.task(seat.submit()) for _ in range(2)]
    seat.wait(EPOCH_MS)
    seat.greet(ALICE)
    second = seat.core.task(seat.submit())
    assert second is not None
    places = [(task.epoch, task.number) for task in (*first, second) if task is not None]
    assert places == [(EPOCH, 0), (EPOCH, 1), (EPOCH + 1, 0)]
    assert second.id == task_id(NETWORK_ID, CAROL_ID, EPOCH + 1, second.boot, 0)


def test_submit__clock_goes_back_over_a_boundary__no_number_is_given_twice() -> None:
    seat = CoordinatorSeat()
    seat.submit()
    seat.wait(EPOCH_MS)
    seat.greet(ALICE)
    seat.submit()
    seat.now = NOW
    seat.greet(ALICE)
    last = seat.core.task(seat.submit())
    assert last is not None
    assert (last.epoch, last.number) == (EPOCH + 1, 1)


def test_offer__over_the_boundary__is_drawn_from_its_epoch_of_acceptance_until_that_ends() -> None:
    seat = CoordinatorSeat()
    seat.wait(EPOCH_MS - 1000)
    seat.greet(ALICE)
    seat.submit()
    sent = bulletins(seat.wait(3 * TOLERANCE_MS))
    ends = NOW + EPOCH_MS + TOLERANCE_MS
    assert {(message.epoch, message.sent_at < ends) for message in sent} == {(EPOCH, True), (EPOCH + 1, False)}
    assert any(message.sent_at > NOW + EPOCH_MS and message.epoch == EPOCH for message in sent)
    assert {offer.accepted_epoch for message in sent for offer in message.offers} == {EPOCH}


@pytest.mark.parametrize(
    ("wait", "drawn", "accepted"),
    [(0, EPOCH - 1, EPOCH), (0, EPOCH, EPOCH - 1), (EPOCH_MS, EPOCH + 1, EPOCH), (EPOCH_MS, EPOCH, EPOCH + 1)],
)
def test_miner__offer_drawn_again_early__is_skipped_by_name(wait: int, drawn: int, accepted: int) -> None:
    seat = MinerSeat()
    seat.wait(wait)
    effects = seat.offer(epoch=drawn, accepted_epoch=accepted)
    assert [note.fields["reason"] for note in noted(effects, NoteName.OFFER_SKIPPED)] == ["early_redraw"]
    assert of_kind(effects, Claim) == judged(effects) == []


def test_miner__offer_drawn_again_late__is_claimed() -> None:
    seat = MinerSeat()
    seat.wait(EPOCH_MS + TOLERANCE_MS)
    effects = seat.offer(epoch=EPOCH + 1, accepted_epoch=EPOCH)
    assert noted(effects, NoteName.OFFER_SKIPPED) == []
    assert len(of_kind(effects, Claim)) == 1


def test_miner__offer_of_work_that_is_not_built__is_skipped_by_name() -> None:
    effects = MinerSeat().offer(work="inpaint")
    assert [note.fields["reason"] for note in noted(effects, NoteName.OFFER_SKIPPED)] == ["work"]
    assert of_kind(effects, Claim) == []


def test_miner__award_of_a_sealed_specification__is_given_back_by_name() -> None:
    seat = MinerSeat()
    sealed = award_of(seat.claimed()).model_copy(update={"sealed_key": b"k" * 80})
    effects = seat.say(CAROL, sealed)
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["sealed"]
    assert not [effect for effect in effects if isinstance(effect, StartJob)]
    assert judged(effects) == []
