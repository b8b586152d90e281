"""What a miner's owner may decide: to close it, to give work back, and what is not drawn. SPEC.md §8.2, §9.3."""

from typing import Any

from protocol.effects import CancelJob, StartJob
from protocol.events import EngineChanged, ServiceChanged
from protocol.notes import NoteName
from protocol.records import TaskFailed
from protocol.roles.coordinator.assignment import MOST_REFUSALS
from protocol.roles.coordinator.conduct import REFUSALS_FREE, Conduct
from protocol.roles.miner.miner import MinerCore
from protocol.roles.miner.owner_rule import MAX_REFUSED, OwnerRule
from protocol.roles.miner.serving import MinerLoad
from protocol.units import StakingId, TaskId, Wei
from protocol.wire.codec import CAPABILITY_PLACE, decode
from protocol.wire.messages import Abandon, Alive, Award, Capability, CapabilityUpdate, Claim, Result
from tests.protocol.roles.frames import ALICE_ID, NOW, PARAMS, SPECIFICATION, award_of, receipt_of
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat, judged, noted, of_kind, persisted
from tests.support.networks import ALICE, BOB, CAROL

CLOSED = ServiceChanged(is_open=False)
OPEN = ServiceChanged(is_open=True)


def said(effects: Any) -> list[Capability]:
    """What the miner says that it serves."""
    return [decode(update.body, CAPABILITY_PLACE) for update in of_kind(effects, CapabilityUpdate)]


class ChoosySeat(MinerSeat):
    """Alice, whose owner lets no hearts be drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.core._working._rule._refuses = lambda specification: "heart" in specification.prompt


# A miner that is closed and opened


def test_service__closed__withdraws_the_capability_and_claims_nothing() -> None:
    seat = MinerSeat()
    (capability,) = said(seat.hear(CLOSED))
    assert (capability.models, capability.places, capability.free_places) == ((), 0, 0)
    assert of_kind(seat.offer(), Claim) == []
    assert said(seat.wait(30_000))[-1].models == ()


def test_service__opened_again__says_so_and_claims() -> None:
    seat = MinerSeat()
    seat.hear(CLOSED)
    (capability,) = said(seat.hear(OPEN))
    assert (len(capability.models), capability.places, capability.free_places) == (1, 1, 1)
    assert len(of_kind(seat.offer(), Claim)) == 1


def test_service__closed_twice__is_said_once() -> None:
    seat = MinerSeat()
    seat.hear(CLOSED)
    assert said(seat.hear(CLOSED)) == []


def test_service__closed_during_a_job__the_job_is_finished_and_paid() -> None:
    seat = MinerSeat()
    won = award_of(seat.claimed())
    seat.say(CAROL, won)
    seat.hear(CLOSED)
    assert seat.core.load() == MinerLoad(is_open=False, claims=0, jobs=1, results=0)
    (result,) = of_kind(seat.finish(won), Result)
    assert seat.core.load() == MinerLoad(is_open=False, claims=0, jobs=0, results=1)
    assert of_kind(seat.offer(), Claim) == []
    seat.say(CAROL, receipt_of(result))
    assert seat.core.load() == MinerLoad(False, 0, 0, 0)


def test_service__closed_while_a_claim_is_out__its_award_is_begun() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    seat.hear(CLOSED)
    assert seat.core.load() == MinerLoad(is_open=False, claims=1, jobs=0, results=0)
    effects = seat.say(CAROL, award_of(claim))
    assert any(isinstance(effect, StartJob) for effect in effects)


def test_service__closed_with_give_back__gives_jobs_back_by_name_and_takes_no_award() -> None:
    seat = MinerSeat(places=2)
    won, pending = award_of(seat.claimed()), seat.claimed()
    seat.say(CAROL, won)
    effects = seat.hear(ServiceChanged(is_open=False, give_back=True))
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["paused"]
    assert any(isinstance(effect, CancelJob) for effect in effects)
    assert seat.core.load() == MinerLoad(False, 0, 0, 0)
    effects = seat.say(CAROL, award_of(pending))
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["no_claim"]
    assert seat.finish(won) == ()


def test_service__engine_comes_up_while_closed__nothing_is_said_to_be_served() -> None:
    seat = MinerSeat()
    seat.hear(CLOSED)
    state = next(iter(seat.core._serving.models.values()))
    (capability,) = said(seat.hear(EngineChanged((state,), 4)))
    assert (capability.models, capability.places) == ((), 0)


# What the owner does not let be drawn


def test_award__of_what_the_owner_forbids__is_given_back_by_name_and_never_claimed_again() -> None:
    seat = ChoosySeat()
    claim = seat.claimed()
    effects = seat.say(CAROL, award_of(claim))
    assert [abandon.reason for abandon in of_kind(effects, Abandon)] == ["content_policy"]
    assert not any(isinstance(effect, StartJob) for effect in effects)
    assert judged(effects) == []
    skipped = noted(seat.offer(0, task=claim.statement.task, attempt=1), NoteName.OFFER_SKIPPED)
    assert [note.fields["reason"] for note in skipped] == ["in_hand"]


def test_has_refused__more_than_are_remembered__the_oldest_is_forgotten() -> None:
    rule = OwnerRule(lambda _specification: True)
    tasks = [TaskId(number.to_bytes(32, "big")) for number in range(MAX_REFUSED + 1)]
    assert all(rule.refuses(task, SPECIFICATION) for task in tasks)
    assert [task for task in tasks if not rule.has_refused(task)] == tasks[:1]


def refuse(seat: CoordinatorSeat, award: Award, miner: Any = ALICE) -> tuple[Any, ...]:
    named = award.statement
    return seat.say(miner, Abandon(task=named.task, attempt=named.attempt, reason="content_policy"))


def test_abandon__by_content_policy__is_held_against_nobody_and_offered_to_others() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    effects = refuse(seat, award)
    task = seat.core.task(award.statement.task)
    assert task is not None
    assert task.excluded == {ALICE_ID}
    assert noted(effects, NoteName.MINER_PAUSED) == []
    assert not seat.core.roster.conduct.is_paused(ALICE_ID, seat.now)
    seat.wait(300)
    again = of_kind(seat.say(BOB, seat.claim(BOB, award.statement.task)) + seat.wait(300), Award)
    assert len(again) == 1


def test_abandon__by_content_policy_of_all_who_serve__fails_the_task_by_that_name_at_once() -> None:
    seat = CoordinatorSeat()
    effects = refuse(seat, seat.award())
    assert [record.reason for record in persisted(effects, TaskFailed)] == ["content_policy"]
    assert not seat.core.roster.conduct.is_paused(ALICE_ID, seat.now)


def test_abandon__by_content_policy__uses_up_no_attempt() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    task = seat.core.task(award.statement.task)
    assert task is not None
    task.failures = PARAMS.max_attempts - 1
    effects = refuse(seat, award)
    assert task.failures == PARAMS.max_attempts - 1
    assert persisted(effects, TaskFailed) == []
    assert task.declines["content_policy"] == 1


def test_abandon__by_content_policy_of_as_many_as_may__fails_the_task_by_that_name() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    task = seat.core.task(award.statement.task)
    assert task is not None
    task.refused_by = frozenset(map(StakingId, range(100, 100 + MOST_REFUSALS - 1)))
    effects = refuse(seat, award)
    assert [record.reason for record in persisted(effects, TaskFailed)] == ["content_policy"]
    assert seat.core.task(award.statement.task) is None


def test_abandon__by_content_policy_after_work_began__is_a_lost_lease() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    named = award.statement
    seat.say(ALICE, Alive(task=named.task, attempt=named.attempt, state="step", step=1, steps=10, wait_ms=50))
    refuse(seat, award)
    assert seat.core.roster.conduct.is_paused(ALICE_ID, seat.now)


def test_abandon__by_content_policy_long_after_the_award__is_a_lost_lease() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))
    award = seat.award()
    named = award.statement
    for _ in range(3):
        seat.wait(PARAMS.lease_ms // 2)
        seat.say(ALICE, Alive(task=named.task, attempt=named.attempt, state="queued", step=0, steps=10, wait_ms=50))
    refuse(seat, award)
    assert seat.core.roster.conduct.is_paused(ALICE_ID, seat.now)


def test_may_refuse__one_after_another__is_held_against_a_miner_until_it_delivers() -> None:
    conduct = Conduct()
    assert [conduct.may_refuse(ALICE_ID) for _ in range(REFUSALS_FREE + 1)] == [True] * REFUSALS_FREE + [False]
    assert conduct.lost_lease(ALICE_ID, NOW, started=False, silent=False) > 0
    conduct.delivered(ALICE_ID)
    assert conduct.may_refuse(ALICE_ID)


def test_miner_core__without_a_rule__refuses_nothing() -> None:
    seat = MinerSeat()
    assert MinerCore(seat.identity, tuple, Wei(0))._working._rule._refuses(award_specification(seat)) is False


def award_specification(seat: MinerSeat) -> Any:
    """What alice is asked to draw."""
    claim = seat.claimed()
    seat.say(CAROL, award_of(claim))
    return next(iter(seat.core._working._jobs.values())).specification
