"""That short cuts of a calm network change nothing but the time of a run, and that floods take the shortest ways."""

import heapq
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from protocol.effects import Connect
from tests.sim import gossip
from tests.sim.flood import NEVER, Ways
from tests.sim.gossip import check_late
from tests.sim.scenario import Run, Scenario
from tests.sim.world import World
from tests.support.networks import network_params

BUSY = Scenario(seed=3, miners=14, coordinators=3, tasks=60, load=1.5)
"""More than its miners can do: whoever is free takes what has waited."""


def went(scenario: Scenario) -> tuple[str, bool, list[str]]:
    """Give how a run went, whether it was calm, and its summary."""
    run = Run(scenario)
    run.go()
    return run.world.digest, run.world.gossip.is_calm, run.summary.lines()


@pytest.mark.parametrize(
    "scenario",
    [
        BUSY,
        replace(BUSY, seed=4, miners=40, load=0.3, latency_ms=(2, 8)),
        replace(BUSY, seed=5, miners=40, load=0.6, cheats=("early:4", "claiming_all:2", "never_paying:1")),
    ],
    ids=["backlog", "short_slots", "cheats"],
)
def test_calm__hop_by_hop_and_at_once_instead__same_digest(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, is_calm, lines = went(scenario)
    assert is_calm
    monkeypatch.setattr(Run, "_is_calm", lambda _: False)
    assert went(scenario) == (digest, False, lines)


def test_calm__epoch_ends_while_a_bulletin_is_on_its_way__same_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = network_params(slot_step_ms=150, claim_allowance_ms=300, epoch_s=4, boundary_tolerance_s=1)
    monkeypatch.setattr(Scenario, "parameters", lambda _: epochs)
    scenario = replace(BUSY, seed=4, load=4, tasks=160)
    at_once = went(scenario)
    monkeypatch.setattr(Run, "_is_calm", lambda _: False)
    assert went(scenario) == (at_once[0], False, at_once[2])


def test_calm__faults_or_who_keeps_gossip_to_itself__is_not_promised() -> None:
    for scenario in (replace(BUSY, faults=3), replace(BUSY, cheats=("silent:1",))):
        assert not Run(scenario).world.gossip.is_calm


def test_calm__later_than_slots_come__is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(replace(BUSY, load=0.3))
    monkeypatch.setattr(gossip, "LATE_MS", 3000)
    monkeypatch.setattr(run.world.gossip, "_at_once", lambda _: run.world.gossip._prompt)
    with pytest.raises((AssertionError, RuntimeError), match=r"was late|a moment that is over"):
        run.go()


def test_calm__something_is_refused_or_somebody_dies__is_found_out() -> None:
    run = Run(BUSY)
    run.world.at(6000, run.world.jail, "coordinator0")
    with pytest.raises(AssertionError, match=r"refused a message: gossip\.inactive"):
        run.go()
    with pytest.raises(AssertionError, match="no calm"):
        run.world.crash("miner0")


def test_check_late__dials_somebody_new__is_found_out_and_a_connection_that_is_there_is_none() -> None:
    world = World(miners=1)
    machine, peer = world.machines["miner0"], world.machines["coordinator0"].key.peer_id
    with pytest.raises(AssertionError, match="miner0 was late"):
        check_late(machine, (Connect(peer),))
    machine.connected.add(peer)
    check_late(machine, (Connect(peer),))


def by_dijkstra(near: dict[int, list[int]], origin: int, delay: Callable[[int, int], int]) -> list[int]:
    """Give the arrivals as a textbook would."""
    times, waiting = {origin: 0}, [(0, origin)]
    while waiting:
        time, speaker = heapq.heappop(waiting)
        for hearer in near[speaker] if time == times[speaker] else ():
            arrival = time + delay(speaker, hearer)
            if arrival < times.get(hearer, NEVER):
                times[hearer] = arrival
                heapq.heappush(waiting, (arrival, hearer))
    return [times.get(machine, NEVER) for machine in range(max(near) + 1)]


@pytest.mark.parametrize("seed", range(20))
def test_arrivals__random_graphs_with_machines_apart__are_those_of_the_shortest_ways(seed: int) -> None:
    drawn = random.Random(seed)
    near: dict[int, list[int]] = {machine: [] for machine in sorted(drawn.sample(range(60), 40))}
    for one, other in (drawn.sample(sorted(near), 2) for _ in range(drawn.randrange(20, 120))):
        if other not in near[one]:
            near[one].append(other)
            near[other].append(one)
    ways = Ways(near)
    delays = np.array([drawn.randint(10, 75) for _ in range(len(ways))], dtype=np.int32)
    for origin in near:
        expected = by_dijkstra(near, origin, lambda speaker, hearer: int(delays[ways.places[(speaker, hearer)]]))
        assert ways.arrivals(origin, delays) == expected


def test_arrivals__nobody_else_there__is_nobody() -> None:
    assert Ways({2: []}).arrivals(2, np.array([], dtype=np.int32)) == [NEVER, NEVER, 0]
