"""One run of the simulator, wholly described by a few numbers: the same numbers give the same digest anywhere."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from protocol.notes import NoteName
from protocol.params import Params
from protocol.roles.miner.miner import MinerCore
from tests.sim.adversaries import behaviours
from tests.sim.invariants import MOST_CLAIMS, Invariants
from tests.sim.machine import Machine
from tests.sim.plan import SUBMISSIONS, Step, faults, submissions
from tests.sim.shared_work import shared_work, uncollected
from tests.sim.storm import Storm
from tests.sim.summary import Summary
from tests.sim.world import World
from tests.support.networks import network_params

SETTLE_MS = 5000
"""Time in which the largest network finds itself."""
STEPS = 10
DRAIN_MS = 200_000
"""Within so long after the last step every task has ended: far less than its deadline."""
SLICE_MS = 100
"""How often a run is asked whether it is over."""
CALM_MS = 2000
"""How long a network runs on after the last receipt: what is late is heard."""


@dataclass(frozen=True)
class Scenario:
    """What is run."""

    seed: int = 1
    miners: int = 100
    coordinators: int = 5
    tasks: int = 200
    load: float = 0.3
    """Share of all GPU time that the tasks take while they come."""
    faults: int = 0
    cheats: tuple[str, ...] = ()
    """Who cheats: ``name:number`` of ``tests.sim.adversaries.CHEATS``, counted from the first of the role."""
    stakes: tuple[tuple[str, int], ...] = ()
    """Stakes (CAI) other than the usual, by name."""
    job_ms: int = 2000
    """Time that a picture takes."""
    latency_ms: tuple[int, int] = (10, 75)
    expected_ms: int = 0
    """Longest one-way latency that the network's δ and A are chosen for; 0: the longest that there is."""

    @property
    def most_claims(self) -> int:
        """Claims of honest miners that one attempt may cost.

        Until coordinators have measured latencies that δ and A are not chosen for, slots keep nobody silent: then all
        that is promised is that each miner claims once.
        """
        return max(MOST_CLAIMS, self.miners) if 0 < self.expected_ms < self.latency_ms[1] else MOST_CLAIMS

    @property
    def pause_ms(self) -> float:
        """Time (ms) between two tasks."""
        return self.job_ms / (self.load * self.miners)

    def plan(self) -> tuple[Step, ...]:
        """Draw all that will be done to the network."""
        drawn = random.Random(self.seed)
        steps = submissions(self.tasks, self.coordinators, self.pause_ms, drawn)
        span_ms = max(round(self.tasks * self.pause_ms), 10_000)
        return steps + faults(
            self.faults, miners=self.miners, coordinators=self.coordinators, span_ms=span_ms, drawn=drawn
        )

    def parameters(self) -> Params:
        """Numbers of a network with such latencies: δ and A are what its gossip takes in 95 of 100 cases."""
        most = self.expected_ms or self.latency_ms[1]
        # Epochs are short where tables change, so that a run sees several of them.
        epochs = {"epoch_s": 12, "boundary_tolerance_s": 3} if self.faults else {}
        return network_params(slot_step_ms=2 * most, claim_allowance_ms=4 * most, **epochs)


class Run:
    """A network that settles, is given its tasks and its faults, and ends them all."""

    def __init__(self, scenario: Scenario, plan: tuple[Step, ...] | None = None) -> None:
        """Build the network; ``plan`` stands in for the scenario's own."""
        self.scenario = scenario
        self.plan = scenario.plan() if plan is None else plan
        self._behaviours = behaviours(scenario.cheats)
        self.world = World(
            miners=scenario.miners,
            coordinators=scenario.coordinators,
            seed=scenario.seed,
            params=scenario.parameters(),
            latency_ms=scenario.latency_ms,
            strangers=sum(name.startswith("stranger") for name in self._behaviours),
            stakes=dict(scenario.stakes),
            prepare=self._prepare,
        )
        self.world.unkept = frozenset(NoteName)
        if self._is_calm():
            self.world.gossip.calm()
        self.invariants = Invariants(self.world, scenario.most_claims)
        self.summary = Summary(self.world)
        self.storm = Storm(self.world, STEPS)
        self._whole_at = 0

    def _is_calm(self) -> bool:
        """Say whether whatever is gossiped reaches everybody: nothing is done but to submit, and nobody meddles."""
        meddlers = any(behaviour.meddles for behaviour in self._behaviours.values())
        return not meddlers and all(step.what in SUBMISSIONS for step in self.plan)

    def _prepare(self, machine: Machine) -> None:
        machine.step_ms = self.scenario.job_ms // STEPS
        machine.behaviour = self._behaviours.get(machine.name)
        if machine.behaviour is not None:
            machine.behaviour.prepare(machine)

    def ended(self) -> int:
        """Count the tasks of honest coordinators that have ended."""
        return self.invariants.ended

    def over(self) -> bool:
        """Say whether every step was done and undone, every accepted task has ended, and nobody waits to be paid."""
        if len(self.storm.done) < len(self.plan) or self.world.now < self._whole_at:
            return False
        return self.ended() == len(self.invariants.accounts) and not any(map(self._is_owed, self.world.everybody))

    @staticmethod
    def _is_owed(machine: Machine) -> bool:
        """Say whether an honest miner waits for a receipt."""
        core = machine.core
        return isinstance(core, MinerCore) and machine.behaviour is None and core._working.delivering.undelivered() > 0

    def go(self, on_progress: Callable[[int], None] = lambda _ended: None) -> Summary:
        """Run to the end; ``on_progress`` hears now and then how many tasks have ended.

        Raises:
            Violation: A promise was broken.
        """
        world = self.world
        with uncollected(), shared_work():
            world.chain.follow()
            world.run(SETTLE_MS)
            self.storm.plan(self.plan)
            last = max((step.at_ms + step.for_ms for step in self.plan), default=0)
            # Who left the table is back in it two epochs later, and the run goes on until then.
            self._whole_at = world.now + last + (3000 * world.params.epoch_s if self.scenario.faults else 0)
            for _ in range((last + DRAIN_MS) // SLICE_MS):
                world.run(SLICE_MS)
                on_progress(self.ended())
                if self.over():
                    break
            world.run(CALM_MS)
        self.invariants.check_end()
        self.summary.faults.update(step.what for step in self.storm.done if not step.what.startswith("submit"))
        return self.summary
