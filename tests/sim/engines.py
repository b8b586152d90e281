"""Engines of the simulated world: pictures of one colour, drawn step by step in virtual time."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.effects import CancelJob, ComparePictures, StartJob
from protocol.events import JobFailed, JobFinished, JobProgress, PicturesCompared
from protocol.task.fingerprint import SCALE, VALUES, fingerprint_root, packed
from protocol.units import Digest
from tests.sim.machine import Machine
from tests.support.pictures import png, with_remark

if TYPE_CHECKING:
    from tests.sim.world import World

NOTHING = Digest(bytes(32))
COLOURS = 16
"""Different pictures of a world: compressing one costs more than the rest of its task."""


LOOKING_MS: Final = 400
"""What a comparison takes."""
SOMETHING_ELSE: Final = 1_000_000
"""How far apart (parts per million) pictures of two things are."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a picture shows, and how far it is moved from how that is drawn at best."""

    of: object
    off_ppm: int = 0
    steps_off: int = 0
    """How far the latents of its steps are moved (millionths of a unit)."""


class Engines:
    """One engine for each miner."""

    def __init__(self, world: "World", model: Digest, *, sees_latents: bool = False) -> None:
        """Draw with a model of this digest, and see what the steps go through or not."""
        self._world = world
        self._model = model
        self._sees_latents = sees_latents
        self._steps: dict[tuple[Look, int], tuple[bytes, Digest]] = {}
        self._drawn: dict[tuple[int, int, Look], tuple[bytes, Digest]] = {}
        self._looks: dict[Digest, Look] = {}

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
        honest = Look(job.specification.seed % COLOURS, machine.off_ppm, machine.off_ppm // 3)
        look = honest if machine.paints is None else machine.paints(job)
        data, digest = self._picture(width, height, look)
        seen, root = self._seen(look, steps)
        finished = JobFinished(*key, data, digest, "image/png", self._model, root, machine.step_ms * steps, seen)
        self._world.handle(machine, finished)

    def _seen(self, look: Look, steps: int) -> tuple[bytes, Digest]:
        """Give the fingerprints of the steps to what a picture shows, and their root."""
        if not self._sees_latents:
            return b"", NOTHING
        if (look, steps) not in self._steps:
            begin = hashlib.sha256(repr(look.of).encode()).digest()[0]
            off = round(look.steps_off * SCALE / 1_000_000)
            each = [packed([begin * 20 + step * 10 + value + off for value in range(VALUES)]) for step in range(steps)]
            self._steps[look, steps] = b"".join(each), fingerprint_root(each)
        return self._steps[look, steps]

    def _picture(self, width: int, height: int, look: Look) -> tuple[bytes, Digest]:
        key = (width, height, look)
        if key not in self._drawn:
            data = png(width, height, look.of if isinstance(look.of, int) else 0)
            if look.off_ppm or not isinstance(look.of, int):
                data = with_remark(data, repr(look))
            self._drawn[key] = (data, Digest(hashlib.sha256(data).digest()))
            self._looks[self._drawn[key][1]] = look
        return self._drawn[key]

    def compare(self, machine: Machine, effect: ComparePictures) -> None:
        """Say how far apart two pictures of this world look."""
        one, other = self._looks[effect.one], self._looks[effect.other]
        apart = abs(one.off_ppm - other.off_ppm) if one.of == other.of else SOMETHING_ELSE
        self._world.post(machine, PicturesCompared(effect.subject, effect.one, effect.other, apart), LOOKING_MS)
