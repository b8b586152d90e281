"""A simulated network that is recorded at a bootstrap, and what an audit of the record says."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from protocol.audit.audit import audit
from protocol.audit.report import Report
from protocol.units import StakingId
from tests.sim.adversaries import Behaviour
from tests.sim.machine import Machine
from tests.sim.recording import Recording
from tests.sim.shared_work import shared_work, uncollected
from tests.sim.world import MODEL, World
from tests.support.networks import network_params

LATENCY_MS = (5, 25)
STEP_MS = 40
SETTLE_MS = 4000
DRAIN_MS = 40_000
USUAL_STEPS = (2, 30)
"""Least and most steps of ten in eleven tasks; the eleventh takes ten times as many."""


@dataclass(frozen=True)
class AuditedRun:
    """One network with its cheats."""

    crooked: dict[str, Callable[[], Behaviour]] = field(default_factory=dict)
    """How each coordinator cheats, by name; the others are honest."""
    seed: int = 1
    miners: int = 12
    coordinators: int = 3
    tasks: int = 600
    load: float = 0.5
    epoch_s: int = 60

    @cached_property
    def recording(self) -> Recording:
        """Run it, and give what was heard."""
        behaviours = {name: make() for name, make in self.crooked.items()}

        def prepare(machine: Machine) -> None:
            machine.step_ms = STEP_MS
            machine.behaviour = behaviours.get(machine.name)

        params = network_params(
            slot_step_ms=2 * LATENCY_MS[1],
            claim_allowance_ms=4 * LATENCY_MS[1],
            epoch_s=self.epoch_s,
            boundary_tolerance_s=min(10, self.epoch_s // 4),
        )
        world = World(
            miners=self.miners,
            coordinators=self.coordinators,
            bootstraps=1,
            seed=self.seed,
            params=params,
            latency_ms=LATENCY_MS,
            prepare=prepare,
        )
        recording = Recording(world, "bootstrap0")
        drawn = random.Random(self.seed)
        with uncollected(), shared_work():
            world.chain.follow()
            world.run(SETTLE_MS)
            steps = [drawn.randint(*USUAL_STEPS) * (10 if drawn.random() < 1 / 11 else 1) for _ in range(self.tasks)]
            steps = [min(number, MODEL.max_steps) for number in steps]
            pause_ms = sum(steps) / self.tasks * STEP_MS / (self.load * self.miners)
            at = 0.0
            for number, some in enumerate(steps):
                at += drawn.expovariate(1 / pause_ms)
                world.at(round(at), self._submit, world, f"coordinator{number % self.coordinators}", some)
            world.run(round(at) + DRAIN_MS)
        return recording

    @staticmethod
    def _submit(world: World, coordinator: str, steps: int) -> None:
        world.submit(coordinator, steps=steps)

    @cached_property
    def report(self) -> Report:
        """Audit it."""
        return audit(self.recording.head, self.recording.entries)

    def against(self, number: int) -> list[str]:
        """Name what is proven or found against a coordinator, counted from 0."""
        coordinator = StakingId(number + 1)
        proven = {proof.rule for proof in self.report.proofs if proof.coordinator == coordinator}
        return sorted(proven | {one.rule for one in self.report.findings if one.coordinator == coordinator})
