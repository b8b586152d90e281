"""Whole runs of the simulator: faults, adversaries, and that the simulator itself tells the truth."""

from contextlib import nullcontext
from dataclasses import replace

import pytest

from protocol.effects import Note, Persist, Send
from protocol.notes import NoteName
from protocol.stake.lottery import slot_ms
from protocol.units import Digest, StakingId
from protocol.wire.messages import Award, Claim
from protocol.wire.statements import NO_RANK, ClaimStatement
from tests.sim import scenario as scenarios
from tests.sim.adversaries import CHEATS
from tests.sim.invariants import MOST_CLAIMS, Invariants, Violation
from tests.sim.machine import Machine
from tests.sim.plan import Step
from tests.sim.scenario import Run, Scenario
from tests.sim.shrink import explain, shrink
from tests.sim.test_task_line import accept, settled

JUDGED = {
    "impostor": {"gossip.stranger"},
    "early": {"slot.early"},
    "claiming_all": {"slot.early"},
    "committing_twice": {"result.twice"},
}
"""Rules by which each kind of cheat is found out; what the others do leaves no proof, and is only bounded."""
SMALL = Scenario(miners=8, coordinators=3, tasks=30, load=0.5)


@pytest.mark.parametrize("seed", [1, 30, 129])
def test_run__faults_of_all_kinds__every_promise_is_kept(seed: int) -> None:
    summary = Run(replace(SMALL, seed=seed, faults=25)).go()
    assert summary.ends["done"] >= 20


@pytest.mark.parametrize("kind", sorted(CHEATS))
def test_run__some_cheat__honest_nodes_keep_every_promise(kind: str) -> None:
    run = Run(replace(SMALL, tasks=12, cheats=(f"{kind}:{2 if CHEATS[kind].role == 'miner' else 1}",)))
    run.go()
    assert {account.ended for account in run.invariants.accounts.values()} == {"done"}
    judged = {(peer, rule) for _, peer, rule in run.world.judged}
    assert {peer for peer, _ in judged} <= set(run._behaviours)
    assert {rule for _, rule in judged} == JUDGED.get(kind, set())


def test_run__everybody_claims_early__the_drawn_first_wins_all_the_same() -> None:
    run = Run(replace(SMALL, seed=3, tasks=60, cheats=("early:8",)))
    step_ms, tolerance_ms = run.world.params.slot_step_ms, run.world.params.early_tolerance_ms
    raced = []

    def look(_machine: Machine, note: Note) -> None:
        if note.name is NoteName.TASK_AWARDED and note.fields["rank"] != NO_RANK:
            slot = slot_ms(int(note.fields["rank"]), step_ms)
            raced.append(int(note.fields["ms"]) < slot - tolerance_ms)

    run.world.watch(Note, look)
    summary = run.go()
    assert summary.declines["early"] > 15
    assert summary.ends["done"] == len(summary.ranks) == 60
    assert len(raced) > 20
    assert not any(raced)


def test_run__idle_hundred_miners__claims_stay_few() -> None:
    assert Run(Scenario(miners=100, tasks=40, load=0.1)).go().claims_per_task() <= 2.2


def test_run__one_stake_in_ten_nodes__gets_what_it_gets_in_one() -> None:
    stakes = (("miner0", 500_000), *((f"miner{place}", 50_000) for place in range(1, 11)))
    scenario = Scenario(miners=11, coordinators=2, tasks=300, load=0.01, job_ms=200, stakes=stakes)
    won = Run(scenario).go().won
    whole = won[StakingId(scenario.coordinators + 1)] / sum(won.values())
    assert 0.4 < whole < 0.6


def test_run__same_scenario__same_digest_with_and_without_shared_work(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = replace(SMALL, tasks=10, faults=6)
    shared = Run(scenario).go().world.digest
    assert Run(scenario).go().world.digest == shared
    assert Run(replace(scenario, seed=2)).go().world.digest != shared
    monkeypatch.setattr(scenarios, "shared_work", nullcontext)
    assert Run(scenario).go().world.digest == shared


def test_invariants__award_that_is_not_on_disk__is_a_violation() -> None:
    world = settled()
    Invariants(world)
    world.tamper = lambda _name, effect: None if isinstance(effect, Persist) and "Awarded" in repr(effect) else effect
    with pytest.raises(Violation, match="before it is on disk"):
        accept(world)
        world.run(5000)


def test_invariants__two_awards_for_one_claim__is_a_violation() -> None:
    world = settled()
    Invariants(world)

    def change(_name: str, effect: object) -> object:
        if isinstance(effect, Send) and isinstance(effect.message, Award):
            watched[0](world.machines["coordinator0"], effect)
            return Send(effect.peer, effect.message.model_copy(update={"salt": bytes(32)}))
        return effect

    watched = world._watchers[Send]
    world.tamper = change  # type: ignore[assignment]
    with pytest.raises(Violation, match="two awards are sent"):
        accept(world)
        world.run(5000)


def test_invariants__claims_beyond_all_attempts__is_a_violation_and_a_late_one_for_an_early_attempt_is_none() -> None:
    world = settled()
    invariants = Invariants(world)
    accept(world)
    world.run(100)
    task, miner = next(iter(invariants.accounts)), world.machines["miner0"]

    def claim(attempt: int, number: int) -> None:
        said = ClaimStatement(
            task=task,
            attempt=attempt,
            coordinator=world.staking_id("coordinator0"),
            miner=miner.staking_id,
            offer=Digest(bytes(32)),
            nonce=number.to_bytes(16, "big"),
        )
        send = Send(world.machines["coordinator0"].key.peer_id, Claim(statement=said, signature=bytes(65)))
        for watcher in world._watchers[Send]:
            watcher(miner, send)

    already = invariants.accounts[task].claims
    for number in range(MOST_CLAIMS - already + 1):
        claim(1, number)
    claim(0, 0)
    with pytest.raises(Violation, match="claims for one task grow"):
        for number in range(MOST_CLAIMS + 1):
            claim(1, 1000 + number)


def test_most_claims__latencies_that_nobody_expected__are_one_of_each_miner() -> None:
    slow = Scenario(miners=1000, latency_ms=(100, 300), expected_ms=75)
    assert slow.most_claims == 1000
    assert Run(replace(slow, miners=2, coordinators=1, tasks=1)).invariants.most_claims == MOST_CLAIMS
    assert replace(slow, expected_ms=300).most_claims == MOST_CLAIMS
    assert replace(slow, expected_ms=0).most_claims == MOST_CLAIMS


def test_invariants__honest_peer_is_judged__is_a_violation() -> None:
    world = settled()
    Invariants(world)
    with pytest.raises(Violation, match="an honest peer is judged"):
        world.judge(world.machines["miner0"], world.machines["miner1"], "some.rule")


def test_invariants__task_without_an_end__is_a_violation() -> None:
    world = settled()
    invariants = Invariants(world)
    accept(world)
    with pytest.raises(Violation, match="a task has no end"):
        invariants.check_end()


def test_shrink__two_steps_of_many_matter__leaves_those_two() -> None:
    plan = tuple(Step(at, "cut", f"coordinator{at}") for at in range(40))
    guilty = {plan[7], plan[31]}
    assert set(shrink(plan, lambda less: guilty <= set(less))) == guilty


def test_explain__run_that_breaks_a_promise__tells_the_step_and_what_came_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Time ends before a picture can be drawn: whatever else happens, one task alone breaks the promise of an end.
    monkeypatch.setattr(scenarios, "DRAIN_MS", 500)
    monkeypatch.setattr(scenarios, "CALM_MS", 0)
    scenario = replace(SMALL, tasks=6)
    told = explain(scenario, (*scenario.plan(), *(Step(at, "cut", "coordinator0", "miner1") for at in (5, 50, 500))))
    assert len(told[: told.index("what happened last:")]) == 1
    assert "submit" in told[0]
    assert "task.accepted" in "".join(told)
    assert told[-1].startswith("broken: a task has no end")


def test_explain__run_that_keeps_every_promise__says_so() -> None:
    assert explain(replace(SMALL, tasks=1), (Step(0, "submit", "coordinator0"),)) == ["this plan keeps every promise"]
