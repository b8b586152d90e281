"""Miners that deliver something else than was ordered: real cores whose engines cheat. See tests/bench/AUDITS.md."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from protocol.effects import Effect, Send, StartJob
from protocol.events import Event
from protocol.task.fingerprint import FINGERPRINT_BYTES
from protocol.wire.messages import OpenedSteps
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


def moved(off_ppm: int, steps_off: int = 0) -> Callable[[StartJob, int], Look]:
    """Draw what was ordered, with less work and so moved by this much; see tests/bench/DISTANCE.md."""
    return lambda job, _drawn: Look(job.specification.seed % COLOURS, off_ppm, steps_off)


class Shown(Forger):
    """Draws what was ordered, and shows of its steps what ``shows`` makes of the answer; None shows nothing."""

    def __init__(self, shows: Callable[[OpenedSteps], OpenedSteps | None]) -> None:
        """Answer so whenever steps are asked for."""
        super().__init__(lambda job, _drawn: ordered(job))
        self._shows = shows

    def acts(self, machine: Machine, event: Event, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Send another answer, or none."""
        done = []
        for effect in super().acts(machine, event, effects):
            if isinstance(effect, Send) and isinstance(effect.message, OpenedSteps):
                shown = self._shows(effect.message)
                if shown is not None:
                    done.append(replace(effect, message=shown))
            else:
                done.append(effect)
        return tuple(done)


def made_up(answer: OpenedSteps) -> OpenedSteps:
    """Show other latents than were committed to."""
    first, *rest = answer.opened
    other = first.model_copy(update={"fingerprint": bytes(FINGERPRINT_BYTES)})
    return answer.model_copy(update={"opened": (other, *rest)})


def not_kept(answer: OpenedSteps) -> OpenedSteps:
    """Say that nothing was kept."""
    return answer.model_copy(update={"opened": (), "reason": "not_kept"})


FORGERIES: Final[dict[str, Callable[[StartJob, int], Look]]] = {
    "noise": noise,
    "cached": cached,
    "wrong_model": wrong_model,
    "honest_then_noise": honest_then_noise,
    "half_the_steps": moved(22_567, 14_877),
    "half_the_edge": moved(27_194, 60_470),
    "a_step_less": moved(3_463, 1_747),
    "half_the_steps_behind_a_quality": moved(9_000, 15_083),
}
"""What cheats deliver, by name; distances, also of steps, are the middle ones of DISTANCE.md."""
