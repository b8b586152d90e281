"""Draws what ``tests.bench.fingerprints`` compares: the fingerprints of all steps, of honest miners and of others.

``python -m tests.bench.fingerprint_runs FOLDER VARIANT THREADS`` draws in a process of its own; what is there is not
drawn again. A file holds a line for each step: its fingerprint in hexadecimal digits.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from node.adapters.engine.pipeline import Manner, Painter, Wish, prepare
from node.adapters.engine.trace import fingerprints_of
from node.child_environment import child_environment
from tests.bench.distance_pictures import EDGE, GUIDANCE, NO_BF16, OLDER, TASKS, Task, pocket

ORDERED_STEPS = 20
EVERY = 3
"""One task in so many of those whose pictures are compared."""
WHOLE = ("float32", "bfloat16")
"""Variants that draw all of them."""


@dataclass(frozen=True)
class Step:
    """What a scheduler was asked at a step, and what it gave, for the first picture of a batch."""

    time: int
    before: torch.Tensor
    answer: torch.Tensor
    after: torch.Tensor


Wishes = Sequence[tuple[str, int]]
Draw = Callable[[Task], list[torch.Tensor]]
"""Gives the latents after each ordered step, true or made up."""


def recorded(painter: Painter, *wishes: tuple[str, int], steps: int = ORDERED_STEPS, sampler: str = "") -> list[Step]:
    """Draw, and give what the first picture went through."""
    scheduler, found = painter._variants.choose("text_to_image", sampler)[0].scheduler, list[Step]()
    step = scheduler.step

    def watched(answer: Any, time: Any, sample: Any, **named: Any) -> Any:
        given = step(answer, time, sample, **named)
        after = given[0] if isinstance(given, tuple) else given.prev_sample
        found.append(Step(int(time), sample[0].float(), answer[0].float(), after[0].float()))
        return given

    scheduler.step = watched
    try:
        painter.draw(
            [Wish(prompt, "", seed) for prompt, seed in wishes],
            Manner(EDGE, EDGE, steps, GUIDANCE, scheduler=sampler),
            lambda *_: True,
        )
    finally:
        scheduler.step = step
    return found


def times_of(painter: Painter) -> list[int]:
    """Give when the ordered steps begin."""
    scheduler = painter._variants.choose("text_to_image", "")[0].scheduler
    scheduler.set_timesteps(ORDERED_STEPS)
    return [int(time) for time in scheduler.timesteps]


def straight_on(own: Sequence[Step], times: Sequence[int], kept: torch.Tensor) -> list[torch.Tensor]:
    """Give the latents after each ordered step, from fewer of one's own.

    From each own step it goes on along the straight line that the model gave there: that costs nothing.

    Args:
        own: What was drawn.
        times: When the ordered steps begin.
        kept: How much of the picture (squared) is left at each time; the model answers with a velocity.
    """
    latents = []
    for wanted in times[1:]:
        step = next((step for step in reversed(own) if step.time >= wanted), own[0])
        picture, noise = ends(step, kept)
        latents.append(kept[wanted].sqrt() * picture + (1 - kept[wanted]).sqrt() * noise)
    return [*latents, own[-1].after]


def nearest(own: Sequence[Step], times: Sequence[int]) -> list[torch.Tensor]:
    """Give for each ordered step the latents of one's own that are nearest in time."""
    ends_at = [*(step.time for step in own[1:]), 0]
    return [
        own[min(range(len(own)), key=lambda place: abs(ends_at[place] - wanted))].after for wanted in (*times[1:], 0)
    ]


def from_the_end(own: Sequence[Step], times: Sequence[int], kept: torch.Tensor) -> list[torch.Tensor]:
    """Give the latents after each ordered step on the straight way from the seed's noise to a finished picture."""
    noise, picture = own[0].before, own[-1].after
    return [*(kept[wanted].sqrt() * picture + (1 - kept[wanted]).sqrt() * noise for wanted in times[1:]), picture]


def ends(step: Step, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the picture and the noise between which the model saw the latents before a step."""
    here = kept[step.time]
    picture = here.sqrt() * step.before - (1 - here).sqrt() * step.answer
    return picture, here.sqrt() * step.answer + (1 - here).sqrt() * step.before


def _kept(painter: Painter) -> torch.Tensor:
    kept: torch.Tensor = painter._variants.choose("text_to_image", "")[0].scheduler.alphas_cumprod.float()
    return kept


def _honest(precision: str, *companions: tuple[str, int], offset: int = 0, sampler: str = "") -> Callable[[], Draw]:
    def make() -> Draw:
        painter = pocket(precision)
        return lambda task: [
            step.after for step in recorded(painter, (task.prompt, task.seed + offset), *companions, sampler=sampler)
        ]

    return make


def _fewer(steps: int, precision: str = "float32") -> Callable[[], Draw]:
    def make() -> Draw:
        painter = pocket(precision)
        times, kept = times_of(painter), _kept(painter)
        return lambda task: straight_on(recorded(painter, (task.prompt, task.seed), steps=steps), times, kept)

    return make


def _nearest(steps: int) -> Callable[[], Draw]:
    def make() -> Draw:
        painter = pocket()
        times = times_of(painter)
        return lambda task: nearest(recorded(painter, (task.prompt, task.seed), steps=steps), times)

    return make


def _from_the_end() -> Callable[[], Draw]:
    """Whoever has the very picture from elsewhere, and knows the seed's noise."""

    def make() -> Draw:
        painter = pocket()
        times, kept = times_of(painter), _kept(painter)
        return lambda task: from_the_end(recorded(painter, (task.prompt, task.seed)), times, kept)

    return make


def _other_scheduler(steps: int) -> Callable[[], Draw]:
    """A scheduler that is known to need fewer steps."""

    def make() -> Draw:
        painter = pocket()
        times, kept = times_of(painter), _kept(painter)
        return lambda task: straight_on(
            recorded(painter, (task.prompt, task.seed), steps=steps, sampler="DPMSolverMultistepScheduler"), times, kept
        )

    return make


COMPANIONS = (("dog", 5), ("red car", 6))
VARIANTS: dict[str, Callable[[], Draw]] = {
    "float32": _honest("float32"),
    "bfloat16": _honest("bfloat16"),
    "18 steps": _fewer(18),
    "float32, in company": _honest("float32", *COMPANIONS),
    "another seed": _honest("float32", offset=100),
    "16 steps": _fewer(16),
    "bfloat16, in company": _honest("bfloat16", *COMPANIONS),
    "18 steps in bfloat16": _fewer(18, "bfloat16"),
    "13 steps": _fewer(13),
    "10 steps": _fewer(10),
    "18 steps, nearest": _nearest(18),
    "DPM++ with 13 steps": _other_scheduler(13),
    "the picture and the seed": _from_the_end(),
    "19 steps": _fewer(19),
    "float32, Euler": _honest("float32", sampler="EulerDiscreteScheduler"),
    "bfloat16, Euler": _honest("bfloat16", sampler="EulerDiscreteScheduler"),
}
"""How the steps of each kind come about."""
ELSEWHERE: dict[str, tuple[str, int, dict[str, str]]] = {
    "float32, two threads": ("float32", 2, {}),
    "float32, other processor": ("float32", 1, OLDER),
    "bfloat16, two threads": ("bfloat16", 2, {}),
    "bfloat16, other processor": ("bfloat16", 1, NO_BF16),
}
"""Steps of a process of its own: the variant, threads, environment."""


def tasks_of(variant: str) -> Sequence[Task]:
    """Say what a variant draws."""
    return TASKS if variant in WHOLE else TASKS[1::EVERY]


def path_of(folder: Path, variant: str, task: Task) -> Path:
    """Say where the fingerprints of a picture are kept."""
    return folder / variant / f"{task.number:02}.txt"


def read(folder: Path, variant: str, task: Task) -> list[bytes] | None:
    """Give the fingerprints of a picture, where it was drawn."""
    path = path_of(folder, variant, task)
    return [bytes.fromhex(line) for line in path.read_text().split()] if path.exists() else None


def draw_all(folder: Path) -> Iterator[str]:
    """Draw what is missing; tell each variant as it is done."""
    prepare("cpu", 1)
    for name, make in VARIANTS.items():
        draw_variant(folder, name, make)
        yield name
    for name, (variant, threads, environment) in ELSEWHERE.items():
        command = [sys.executable, "-m", "tests.bench.fingerprint_runs", str(folder), name, variant, str(threads)]
        chosen = child_environment(threads, os.environ) | environment
        subprocess.run(command, env=chosen, check=True, stderr=subprocess.DEVNULL)
        yield name


def draw_variant(folder: Path, name: str, make: Callable[[], Draw]) -> None:
    """Draw what is missing of a variant."""
    wanted = [task for task in tasks_of(name) if not path_of(folder, name, task).exists()]
    draw = make() if wanted else None
    for task in wanted:
        assert draw is not None
        path = path_of(folder, name, task)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{one.hex()}\n" for one in fingerprints_of(torch.stack(draw(task))))
        part = path.with_suffix(".part")
        part.write_text(lines)
        part.rename(path)


if __name__ == "__main__":
    prepare("cpu", int(sys.argv[4]))
    draw_variant(Path(sys.argv[1]), sys.argv[2], VARIANTS[sys.argv[3]])
