"""What is offered is what is claimed, awarded and drawn: nobody can say later that it was something else."""

import hashlib
from typing import Any

import pytest

from protocol.effects import Publish, StartJob
from protocol.events import TaskSubmitted
from protocol.notes import NoteName
from protocol.records import TaskAccepted, TaskAwarded
from protocol.stake.field import Field
from protocol.stake.lottery import last_slot_ms, task_id
from protocol.task.offer import offer_digest
from protocol.units import Digest, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Abandon, Award, Bulletin, Claim, Decline, Offer
from tests.protocol.roles.frames import (
    BOB_ID,
    CAROL_ID,
    EPOCH,
    NETWORK_ID,
    NOTHING,
    NOW,
    PARAMS,
    PRICE,
    SPECIFICATION,
    award_of,
    bulletin,
    signed,
)
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, judged, noted, of_kind, persisted
from tests.support import networks
from tests.support.networks import ALICE, BOB, CAROL

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
    seat.wait(last_slot_ms(0, 2, PARAMS.slot_step_ms))
    named = seat.claim(ALICE, record.task).statement.model_copy(update={"offer": NOTHING})
    effects = seat.say(ALICE, Claim(statement=named, signature=signed(ALICE, named))) + seat.wait(100)
    assert [decline.statement.reason for decline in of_kind(effects, Decline)] == ["stale"]
    assert judged(effects) == []
    assert len(of_kind(seat.say(ALICE, seat.claim(ALICE, record.task)) + seat.wait(300), Award)) == 1


# An offer binds to its draw


def named_by(message: Bulletin, offer: Offer, field: bytes | None = None) -> Digest:
    """The digest of an offer as anybody who keeps the bulletin computes it, perhaps with another field."""
    drawn_from = Digest(hashlib.sha256(message.field if field is None else field).digest())
    return offer_digest(message.coordinator, message.epoch, message.root, drawn_from, message.model, offer)


def test_claim_and_award__name_the_field_of_their_bulletin() -> None:
    miner = MinerSeat()
    claim = miner.claimed()
    heard = bulletin(NOW, 0)
    assert claim.statement.offer == named_by(heard, heard.offers[0])
    coordinator = CoordinatorSeat(miners=(ALICE, BOB))
    effects = coordinator.hear(TaskSubmitted(1, SPECIFICATION, True, None)) + coordinator.wait(20)
    (said,) = bulletins(effects)
    task = said.offers[0].task
    award = of_kind(coordinator.say(ALICE, coordinator.claim(ALICE, task)) + coordinator.wait(300), Award)[0]
    assert award.statement.offer == named_by(said, said.offers[0])
    table = networks.view(EPOCH).table
    without_the_winner = Field.of(table.miners, {BOB_ID}, {BOB_ID}).to_bytes()
    assert award.statement.offer != named_by(said, said.offers[0], without_the_winner)


def test_coordinator__claim_of_its_offer_with_another_field__is_judged_and_not_awarded() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    effects = seat.hear(TaskSubmitted(1, SPECIFICATION, True, None)) + seat.wait(20)
    (said,) = bulletins(effects)
    other = named_by(said, said.offers[0], bytes(len(said.field)))
    named = seat.claim(ALICE, said.offers[0].task).statement.model_copy(update={"offer": other})
    effects = seat.say(ALICE, Claim(statement=named, signature=signed(ALICE, named))) + seat.wait(300)
    assert judged(effects) == ["claim.offer"]
    assert of_kind(effects, Award) == []


def test_offers__of_one_flush_with_two_fields__each_bind_to_their_own() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    for _ in range(3):
        seat.hear(TaskSubmitted(1, SPECIFICATION, True, None))
    _, excluding, _ = seat.core._tasks.values()
    excluding.excluded = frozenset({BOB_ID})
    sent = bulletins(seat.wait(PARAMS.publish_interval_ms))
    assert len(sent) == len({message.field for message in sent}) == 2
    for message in sent:
        known = seat.core.task(message.offers[0].task)
        assert known is not None
        assert known.open is not None
        assert known.open.offer == named_by(message, message.offers[0])


def test_coordinator__restarted_with_another_field__sends_the_award_of_the_old_one_unchanged() -> None:
    before = CoordinatorSeat(miners=(ALICE, BOB))
    effects = before.hear(TaskSubmitted(1, SPECIFICATION, True, None))
    task = before.core.task(persisted(effects, TaskAccepted)[0].task)
    assert task is not None
    claim = before.claim(ALICE, task.id)
    won = before.say(ALICE, claim) + before.wait(300)
    award = of_kind(won, Award)[0]
    seat = CoordinatorSeat((*persisted(effects, TaskAccepted), *persisted(won, TaskAwarded)))
    assert award.statement.offer == claim.statement.offer
    assert [encode(again) for again in of_kind(seat.say(ALICE, claim), Award)] == [encode(award)]


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
    [
        (0, EPOCH - 1, EPOCH),
        (0, EPOCH, EPOCH - 1),
        (EPOCH_MS, EPOCH + 1, EPOCH),
        (EPOCH_MS, EPOCH, EPOCH + 1),
        (0, EPOCH, EPOCH + 1),  # not acceptable yet, and after the epoch drawn from
    ],
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
