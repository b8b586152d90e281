"""Miners that deliver something else than was ordered: real cores whose engines cheat. See tests/bench/AUDITS.md."""

from collections.abc import Callable
from typing import Final

from protocol.effects import StartJob
from tests.sim.adversaries import Behaviour
from tests.sim.engines import COLOURS, Look
from tests.sim.machine import Machine

HONEST_TASKS: Final = 12
"""Tasks after which the one that waits begins to cheat."""


class Forger(Behaviour):
    """An honest core over an engine that draws ``look``."""

    def __init__(self, look: Callable[[StartJob, int], Look]) -> None:
        """Draw what ``look`` says for a job, told how many came before."""
        self._look = look
        self._drawn = 0

    def prepare(self, machine: Machine) -> None:
        """Take the place of the engine's brush."""
        machine.paints = self._paint

    def _paint(self, job: StartJob) -> Look:
        self._drawn += 1
        return self._look(job, self._drawn - 1)


class Colluders:
    """Miners that show each other what they delivered: whoever comes later delivers the same."""

    def __init__(self) -> None:
        """Start with nothing to show."""
        self._delivered: dict[bytes, Look] = {}

    def __call__(self, job: StartJob, drawn: int) -> Look:
        """Give the noise that the first one of them made of this specification."""
        key = job.specification.model_dump_json().encode()
        return self._delivered.setdefault(key, noise(job, drawn))


def ordered(job: StartJob, off_ppm: int = 0) -> Look:
    """Give what was ordered, moved by so much."""
    return Look(job.specification.seed % COLOURS, off_ppm)


def noise(job: StartJob, _drawn: int) -> Look:
    """Draw nothing that anybody could recognise."""
    return Look(("noise", job.task, job.attempt))


def cached(_job: StartJob, _drawn: int) -> Look:
    """Deliver one picture for everything."""
    return Look("cached")


def wrong_model(job: StartJob, _drawn: int) -> Look:
    """Draw with a smaller model."""
    return Look(("wrong model", job.specification.seed))


def honest_then_noise(job: StartJob, drawn: int) -> Look:
    """Draw what was ordered for a while."""
    return ordered(job) if drawn < HONEST_TASKS else noise(job, drawn)


def moved(off_ppm: int) -> Callable[[StartJob, int], Look]:
    """Draw what was ordered, with less work and so moved by this much; see tests/bench/DISTANCE.md."""
    return lambda job, _drawn: ordered(job, off_ppm)


FORGERIES: Final[dict[str, Callable[[StartJob, int], Look]]] = {
    "noise": noise,
    "cached": cached,
    "wrong_model": wrong_model,
    "honest_then_noise": honest_then_noise,
    "half_the_steps": moved(22_567),
    "half_the_edge": moved(27_194),
    "a_step_less": moved(3_463),
}
"""What cheats deliver, by name; distances are the middle ones of DISTANCE.md."""
