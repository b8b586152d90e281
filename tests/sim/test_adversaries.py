"""What it costs the others when some miners cheat, and what it costs the cheats: SPEC.md §7.6."""

from collections import Counter
from dataclasses import replace
from math import log2

import pytest

from protocol.effects import Note
from protocol.notes import NoteName
from protocol.roles.coordinator.conduct import FIRST_PAUSE_MS
from protocol.roles.coordinator.coordinator import CoordinatorCore
from tests.sim.claims import BUDGET
from tests.sim.machine import Machine
from tests.sim.scenario import SETTLE_MS, Run, Scenario

CROWD = Scenario(seed=5, miners=12, coordinators=2, tasks=120, load=0.2)
VICTIM = "miner11"


def noted(run: Run, name: NoteName) -> list[tuple[int, str, Note]]:
    """Keep the notes of one name as a run goes: (when, machine, note)."""
    kept: list[tuple[int, str, Note]] = []

    def keep(machine: Machine, note: Note) -> None:
        if note.name is name:
            kept.append((run.world.now, machine.name, note))

    run.world.watch(Note, keep)
    return kept


def is_done(run: Run) -> bool:
    """Say whether every task ended with a picture."""
    return {account.ended for account in run.invariants.accounts.values()} == {"done"}


def test_run__miners_that_claim_and_vanish__lose_ever_fewer_leases() -> None:
    run = Run(replace(CROWD, cheats=("vanishing:3",)))
    lost = noted(run, NoteName.TASK_LEASE_EXPIRED)
    begun = run.world.now + SETTLE_MS
    run.go()
    assert is_done(run)
    assert not run.world.judged, "vanishing is no proof of anything"
    by_pair = Counter((coordinator, note.fields["miner"]) for _, coordinator, note in lost)
    assert len(by_pair) == 6, "each was caught by each coordinator"
    pauses = log2((run.world.now - begun) / FIRST_PAUSE_MS + 1)
    assert max(by_pair.values()) <= pauses + 1


def test_run__miners_that_commit_twice__are_on_file_once_with_each_coordinator_and_no_task_is_lost() -> None:
    run = Run(replace(CROWD, cheats=("committing_twice:3",)))
    found = noted(run, NoteName.EVIDENCE_FOUND)
    run.go()
    assert is_done(run)
    cheats = {run.world.staking_id(f"miner{place}") for place in range(3)}
    assert {note.fields["signer"] for _, _, note in found} == cheats
    by_pair = Counter((coordinator, note.fields["signer"]) for _, coordinator, note in found)
    assert set(by_pair.values()) == {1}


def test_run__model_that_is_not_warm__is_not_believed_twice() -> None:
    run = Run(replace(CROWD, cheats=("falsely_warm:3",)))
    run.go()
    assert is_done(run)
    liars = {run.world.staking_id(f"miner{place}") for place in range(3)}
    for name in ("coordinator0", "coordinator1"):
        core = run.world.machines[name].core
        assert isinstance(core, CoordinatorCore)
        cold = {miner.id for miner in core.roster if not core.roster.conduct.is_warm(miner.id, core.now)}
        assert cold == liars


@pytest.mark.parametrize("selfish", [1, 6, 9])
def test_run__early_claimers_from_few_to_most__every_task_is_done_and_honest_claims_stay_few(selfish: int) -> None:
    run = Run(replace(CROWD, cheats=(f"early:{selfish}",)))
    summary = run.go()
    assert is_done(run)
    assert summary.claims_per_task(summary.claims) <= BUDGET
    assert {rule for _, _, rule in run.world.judged} == {"slot.early"}


def surround(run: Run, *neighbours: str) -> None:
    """Give the victim these neighbours in gossip, and no others."""
    world = run.world
    victim = world.machines[VICTIM]
    for topic in sorted(victim.topics):
        world.gossip.mesh.surround(victim, topic, [world.machines[name] for name in neighbours])


@pytest.mark.parametrize(("honest", "works"), [((), False), (("coordinator0",), True)])
def test_run__miner_whose_neighbours_hand_nothing_on__works_if_one_is_a_coordinator(
    honest: tuple[str, ...], works: bool
) -> None:
    """An eclipse takes a miner's work away and nobody else's: offers come by gossip alone.

    One coordinator among its neighbours, as the transport keeps them (SPEC.md §4.5), undoes it: of that coordinator's
    offers and, as it hands on what it hears, of all others.
    """
    run = Run(replace(CROWD, cheats=("silent:4",)))
    around = ("miner0", "miner1", "miner2", "miner3", *honest)
    run.world.at(SETTLE_MS - 1, surround, run, *around)
    summary = run.go()
    assert is_done(run)
    assert not run.world.judged
    assert summary.claims_per_task() <= BUDGET
    won = summary.won[run.world.staking_id(VICTIM)] / sum(summary.won.values())
    rows = {row.id: row.stake for row in run.world.chain.rows if row.id > CROWD.coordinators}
    due = rows[run.world.staking_id(VICTIM)] / sum(rows.values())
    assert (won > due / 2) if works else (won == 0)
