"""Rows of the failure table (SPEC.md §9.7) that strike miners: how they die, hang, and what they send."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from protocol.effects import Persist, Send, SendArtifact, SendEncoded, Stage, StartJob
from protocol.events import EngineChanged, Event, JobFailed, JobFinished
from protocol.notes import NoteName
from protocol.records import ClaimSigned
from protocol.units import Digest, TaskId
from protocol.wire.codec import WORK_PLACE, decode
from protocol.wire.messages import Claim, Result
from tests.sim.adversaries import Behaviour
from tests.sim.machine import Machine
from tests.sim.test_task_line import accept, ended, finish, holder, settled
from tests.sim.world import World

GARBAGE = b"a picture that nobody can look at" * 8


def once(world: World, matches: Any, act: Any) -> list[str]:
    """Do something at the first effect that matches; gives the list of who asked for it. What comes first is lost."""
    struck: list[str] = []

    def watch(name: str, effect: object) -> object:
        if not struck and matches(effect):
            struck.append(name)
            return act(name, effect)
        return effect

    world.tamper = watch
    return struck


def paid(world: World, name: str) -> int:
    """What a miner holds promises for (wei)."""
    return sum(voucher.cumulative for voucher in world.machines[name].store._held.values())


def check_paid_once(world: World, task: TaskId) -> None:
    """One miner, the one that the store names, was promised the price, and nobody else anything."""
    stored = world.machines["coordinator0"].store._tasks[task]
    assert stored.done is not None
    issued = {miner: voucher.cumulative for miner, voucher in world.machines["coordinator0"].store._issued.items()}
    assert issued == {stored.done.miner: stored.accepted.price}


def test_miner__dies_before_its_claim__the_next_rank_claims_in_its_slot() -> None:
    world = settled()

    def die(name: str, _effect: object) -> None:
        world.crash(name)

    struck = once(world, lambda effect: isinstance(effect, Persist) and isinstance(effect.records[0], ClaimSigned), die)
    task = accept(world)
    assert finish(world, task) is Stage.DONE
    assert holder(world, task) not in struck
    assert not world.noted(NoteName.TASK_LEASE_EXPIRED)
    check_paid_once(world, task)


def test_miner__dies_after_its_claim__task_is_offered_again_within_the_lease() -> None:
    world = settled()

    def die(name: str, effect: object) -> object:
        world.at(0, world.crash, name)
        return effect

    struck = once(world, lambda effect: isinstance(effect, Send) and isinstance(effect.message, Claim), die)
    task = accept(world)
    assert world.run(5000, lambda: bool(struck))
    died = world.now
    assert world.run(10_000, lambda: len(world.noted(NoteName.TASK_AWARDED)) >= 1 and holder(world, task) not in struck)
    assert world.now - died <= world.params.lease_ms + 500
    assert finish(world, task) is Stage.DONE
    check_paid_once(world, task)


def test_miner__dies_after_its_result_before_the_receipt__is_paid_when_it_is_back() -> None:
    world = settled()

    def die(name: str, effect: object) -> object:
        world.at(0, world.crash, name)
        world.at(2000, world.start, name)
        return effect

    struck = once(world, lambda effect: isinstance(effect, SendEncoded), die)
    task = accept(world)
    assert finish(world, task) is Stage.DONE
    assert world.run(20_000, lambda: bool(world.noted(NoteName.RECEIPT_RECEIVED)))
    assert [holder(world, task)] == struck
    assert len(world.noted(NoteName.TASK_DONE)) == 1
    check_paid_once(world, task)
    assert paid(world, struck[0]) == world.machines["coordinator0"].store._tasks[task].accepted.price


def test_miner__dies_between_artifact_and_commitment__sends_both_when_it_is_back() -> None:
    world = settled()

    def die(name: str, _effect: object) -> None:
        world.crash(name)
        world.at(300, world.start, name)

    struck = once(world, lambda effect: isinstance(effect, SendEncoded), die)
    task = accept(world)
    assert finish(world, task) is Stage.DONE
    assert world.run(20_000, lambda: bool(world.noted(NoteName.RECEIPT_RECEIVED)))
    assert [holder(world, task)] == struck
    check_paid_once(world, task)


def test_miner__frozen_beyond_the_lease_and_thawed__is_told_superseded_or_wins_and_one_is_paid() -> None:
    world = settled()
    for machine in world.machines.values():
        machine.step_ms = 1000
    task = accept(world)
    assert world.run(5000, lambda: bool(world.noted(NoteName.JOB_STARTED)))
    first = holder(world, task)
    world.part([first])
    assert world.run(world.params.lease_ms + 500, lambda: len(world.noted(NoteName.TASK_AWARDED)) == 2)
    assert holder(world, task) != first
    world.run(2000)
    world.heal()
    assert finish(world, task) is Stage.DONE
    world.run(20_000)
    check_paid_once(world, task)
    assert not world.judged


class Garbage(Behaviour):
    """An engine that gives bytes which are no picture."""

    def __init__(self, world: World) -> None:
        self._world = world

    def hears(self, machine: Machine, event: Event) -> bool:
        if isinstance(event, JobFinished) and event.data != GARBAGE:
            digest = Digest(hashlib.sha256(GARBAGE).digest())
            self._world.post(machine, replace(event, data=GARBAGE, digest=digest))
            return False
        return True


@pytest.mark.parametrize(("kind", "rule"), [("wrong_size", "artifact.size"), ("no_image", "artifact.signature")])
def test_miner__artifact_is_no_picture_of_the_asked_size__is_judged_unpaid_and_another_does_it(
    kind: str, rule: str
) -> None:
    world = settled()
    task = accept(world)
    assert world.run(5000, lambda: bool(world.noted(NoteName.JOB_STARTED)))
    first = holder(world, task)
    if kind == "wrong_size":
        world.machines[first].wrong = True
    else:
        world.machines[first].behaviour = Garbage(world)
    assert finish(world, task) is Stage.DONE
    assert world.judged == [("coordinator0", first, rule)]
    assert holder(world, task) != first
    assert paid(world, first) == 0
    check_paid_once(world, task)


def test_miner__replays_its_result__gets_the_same_receipt_and_nothing_more() -> None:
    world = settled()
    sent: list[tuple[str, SendEncoded]] = []

    def watch(name: str, effect: object) -> object:
        if isinstance(effect, SendEncoded) and isinstance(decode(effect.data, WORK_PLACE), Result):
            sent.append((name, effect))
        return effect

    world.tamper = watch  # type: ignore[assignment]
    task = accept(world)
    assert finish(world, task) is Stage.DONE
    (winner, effect), issued = sent[0], dict(world.machines["coordinator0"].store._issued)
    for _ in range(3):
        world.wires.send_encoded(world.machines[winner], effect)
    world.run(2000)
    assert world.machines["coordinator0"].store._issued == issued
    assert len(world.noted(NoteName.TASK_DONE)) == 1
    assert not world.judged
    check_paid_once(world, task)


def test_miner__sends_the_result_of_another_task__is_unpaid_and_another_does_it() -> None:
    world = settled()
    sent: list[SendEncoded] = []
    thieves: list[str] = []

    def steal(name: str, effect: object) -> object:
        if not isinstance(effect, SendEncoded) or not isinstance(decode(effect.data, WORK_PLACE), Result):
            return effect if not isinstance(effect, SendArtifact) or name not in thieves else None
        if not sent:
            sent.append(effect)
            return effect
        if not thieves:
            thieves.append(name)
        return SendEncoded(effect.peer, sent[0].data) if name in thieves else effect

    world.tamper = steal  # type: ignore[assignment]
    first = accept(world)
    assert finish(world, first) is Stage.DONE
    before = {name: paid(world, name) for name in world.machines}
    second = accept(world)
    assert finish(world, second) is Stage.DONE
    (thief,) = thieves
    assert holder(world, second) != thief
    assert paid(world, thief) == before[thief]
    assert len(world.noted(NoteName.TASK_DONE)) == 2


def test_engine__out_of_memory__another_miner_does_the_task() -> None:
    world = settled()

    def fail(name: str, effect: object) -> None:
        assert isinstance(effect, StartJob)
        world.post(world.machines[name], JobFailed(effect.task, effect.attempt, "out_of_memory"))

    struck = once(world, lambda effect: isinstance(effect, StartJob), fail)
    task = accept(world)
    assert finish(world, task) is Stage.DONE
    assert holder(world, task) not in struck
    abandoned = [note.fields["reason"] for _, _, note in world.noted(NoteName.TASK_ABANDONED)]
    assert abandoned == ["out_of_memory"]
    assert not world.judged
    check_paid_once(world, task)


def test_engine__loses_its_model__serves_it_no_more_and_others_do() -> None:
    world = settled()

    def lose(name: str, effect: object) -> None:
        assert isinstance(effect, StartJob)
        world.post(world.machines[name], EngineChanged((), 0))
        world.post(world.machines[name], JobFailed(effect.task, effect.attempt, "model_corrupt"))

    struck = once(world, lambda effect: isinstance(effect, StartJob), lose)
    task = accept(world)
    assert finish(world, task) is Stage.DONE
    tasks = [accept(world) for _ in range(12)]
    assert world.run(60_000, lambda: all(ended(world, one) for one in tasks))
    winners = {holder(world, one) for one in (task, *tasks)}
    assert winners == {"miner0", "miner1", "miner2"} - set(struck)
    assert not world.judged
