"""Engines of the simulated world: pictures of one colour, drawn step by step in virtual time."""

import hashlib
from typing import TYPE_CHECKING

from protocol.effects import CancelJob, StartJob
from protocol.events import JobFailed, JobFinished, JobProgress
from protocol.units import Digest
from tests.sim.machine import Machine
from tests.support.pictures import png

if TYPE_CHECKING:
    from tests.sim.world import World

NOTHING = Digest(bytes(32))
COLOURS = 16
"""Different pictures of a world: compressing one costs more than the rest of its task."""


class Engines:
    """One engine for each miner."""

    def __init__(self, world: "World", model: Digest) -> None:
        """Draw with a model of this digest."""
        self._world = world
        self._model = model
        self._drawn: dict[tuple[int, int, int], tuple[bytes, Digest]] = {}

    def start(self, machine: Machine, job: StartJob) -> None:
        """Begin a job: load, step, and finish."""
        machine.jobs.add((job.task, job.attempt))
        if machine.loading_ms:
            self._world.handle(
                machine, JobProgress(job.task, job.attempt, "loading", 0, job.specification.drawn_steps, 0)
            )
            self._world.at(machine.loading_ms, self._step, machine, machine.life, job, 0)
        else:
            self._step(machine, machine.life, job, 0)

    def cancel(self, machine: Machine, effect: CancelJob) -> None:
        """Stop a job."""
        key = (effect.task, effect.attempt)
        if key in machine.jobs:
            machine.jobs.discard(key)
            self._world.post(machine, JobFailed(*key, "cancelled"))

    def _step(self, machine: Machine, life: int, job: StartJob, step: int) -> None:
        key, steps = (job.task, job.attempt), job.specification.drawn_steps
        if machine.life != life or machine.core is None or key not in machine.jobs or machine.hangs:
            return
        if step < steps:
            self._world.handle(machine, JobProgress(*key, "step", step, steps, machine.step_ms))
            self._world.at(machine.step_ms, self._step, machine, life, job, step + 1)
            return
        machine.jobs.discard(key)
        shrink = 2 if machine.wrong else 1
        width, height = job.specification.width // shrink, job.specification.height // shrink
        data, digest = self._picture(width, height, job.specification.seed)
        finished = JobFinished(*key, data, digest, "image/png", self._model, NOTHING, machine.step_ms * steps)
        self._world.handle(machine, finished)

    def _picture(self, width: int, height: int, seed: int) -> tuple[bytes, Digest]:
        key = (width, height, seed % COLOURS)
        if key not in self._drawn:
            data = png(*key)
            self._drawn[key] = (data, Digest(hashlib.sha256(data).digest()))
        return self._drawn[key]
