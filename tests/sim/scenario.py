"""One run of the simulator, wholly described by a few numbers: the same numbers give the same digest anywhere."""

import gc
import random
from collections.abc import Callable
from dataclasses import dataclass

from protocol.notes import NoteName
from protocol.params import Params
from tests.sim.machine import Machine
from tests.sim.shared_work import shared_work
from tests.sim.summary import Summary
from tests.sim.world import World
from tests.support.networks import network_params

SETTLE_MS = 5000
"""Time in which the largest network finds itself."""
STEPS = 10
DRAIN_MS = 120_000
"""Within so long after the last submission every task has ended."""
UNKEPT = frozenset(NoteName)


@dataclass(frozen=True)
class Scenario:
    """What is run."""

    seed: int = 1
    miners: int = 100
    coordinators: int = 5
    tasks: int = 200
    load: float = 0.3
    """Share of all GPU time that the tasks take while they come."""
    job_ms: int = 2000
    """Time that a picture takes."""
    latency_ms: tuple[int, int] = (10, 75)


def parameters(latency_ms: tuple[int, int]) -> Params:
    """Numbers of a network with such latencies: δ and A are what its gossip takes in 95 of 100 cases."""
    most = latency_ms[1]
    return network_params(
        slot_step_ms=2 * most, claim_allowance_ms=4 * most, early_tolerance_ms=10, boundary_tolerance_s=10
    )


class Run:
    """A network that settles, is given its tasks evenly over time, and ends them."""

    def __init__(self, scenario: Scenario) -> None:
        """Build the network."""
        self.scenario = scenario
        self.random = random.Random(scenario.seed)
        self.world = World(
            miners=scenario.miners,
            coordinators=scenario.coordinators,
            seed=scenario.seed,
            params=parameters(scenario.latency_ms),
            latency_ms=scenario.latency_ms,
            prepare=self._prepare,
        )
        self.world.unkept = UNKEPT
        self.summary = Summary(self.world)
        self._requests: list[int] = []

    def _prepare(self, machine: Machine) -> None:
        machine.step_ms = self.scenario.job_ms // STEPS

    def _submit(self) -> None:
        name = f"coordinator{self.random.randrange(self.scenario.coordinators)}"
        self._requests.append(self.world.submit(name, steps=STEPS))

    def ended(self) -> int:
        """Count the tasks that have ended."""
        return sum(self.summary.ends.values())

    def over(self) -> bool:
        """Say whether every task was handed in, answered, and has ended."""
        return len(self._requests) == self.scenario.tasks and self.ended() == self.summary.tasks and len(
            self.world.replies
        ) == self.scenario.tasks

    def go(self, on_progress: Callable[[int], None] = lambda _ended: None) -> Summary:
        """Run to the end; ``on_progress`` hears now and then how many tasks have ended."""
        scenario, world = self.scenario, self.world
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            with shared_work():
                world.follow_chain()
                world.run(SETTLE_MS)
                pause_ms = scenario.job_ms / (scenario.load * scenario.miners)
                for number in range(scenario.tasks):
                    world.at(round(number * pause_ms), self._submit)
                for _ in range((round(scenario.tasks * pause_ms) + DRAIN_MS) // 100):
                    world.run(100)
                    on_progress(self.ended())
                    if self.over():
                        break
                world.run(2000)
        finally:
            gc.enable()
            gc.unfreeze()
        return self.summary
