"""``python -m tests.bench.fingerprints``: how far apart the fingerprints of steps are, honest and not.

Whoever takes fewer steps than ordered has to make up the latents of the others. The best that is known costs nothing:
from each step of its own it goes on along the straight line that the model gave it, to where each ordered step ends.
Prints the table of ``DISTANCE.md``; takes some minutes of one core.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from node.adapters.engine.pipeline import Painter, prepare
from node.adapters.engine.trace import fingerprints_of
from protocol.task.fingerprint import fingerprint_distance
from tests.bench.distance_pictures import STEPS, TASKS, drawn, pocket

FEWER = (14, 12, 10, 8)
SKIPPED = 3
"""First steps that are left out of the table: they all begin from the same noise."""


@dataclass(frozen=True)
class Step:
    """What a scheduler was asked at a step, and what it gave."""

    time: int
    before: torch.Tensor
    answer: torch.Tensor
    after: torch.Tensor


def recorded(painter: Painter, *wishes: tuple[str, int], steps: int = STEPS) -> list[Step]:
    """Draw, and give what the first picture went through."""
    scheduler, found = painter._variants.choose("text_to_image", "")[0].scheduler, list[Step]()
    step = scheduler.step

    def watched(answer: Any, time: Any, sample: Any, **named: Any) -> Any:
        given = step(answer, time, sample, **named)
        after = given[0] if isinstance(given, tuple) else given.prev_sample
        found.append(Step(int(time), sample[0].float(), answer[0].float(), after[0].float()))
        return given

    scheduler.step = watched
    try:
        drawn(painter, *wishes, steps=steps)
    finally:
        scheduler.step = step
    return found


def made_up(own: Sequence[Step], times: Sequence[int], kept: torch.Tensor) -> list[torch.Tensor]:
    """Give the latents after each ordered step, from steps of one's own.

    Args:
        own: What was drawn, with fewer steps.
        times: When the ordered steps begin.
        kept: How much of the picture (squared) is left at each time; the model answers with a velocity.
    """
    latents = []
    for wanted in times[1:]:
        step = next((step for step in reversed(own) if step.time >= wanted), own[0])
        here, there = kept[step.time], kept[wanted]
        picture = here.sqrt() * step.before - (1 - here).sqrt() * step.answer
        noise = here.sqrt() * step.answer + (1 - here).sqrt() * step.before
        latents.append(there.sqrt() * picture + (1 - there).sqrt() * noise)
    return [*latents, own[-1].after]


def apart(ordered: Sequence[Step], latents: Sequence[torch.Tensor]) -> list[int]:
    """Compare step by step, after the first few."""
    pairs = [fingerprints_of(torch.stack([step.after, other])) for step, other in zip(ordered, latents, strict=True)]
    return [fingerprint_distance(*pair) for pair in pairs[SKIPPED:]]


def after(steps: Sequence[Step]) -> list[torch.Tensor]:
    """Give the latents after each step."""
    return [step.after for step in steps]


def main() -> None:
    """Draw, compare, print."""
    prepare("cpu", 1)
    full, half = pocket(), pocket("bfloat16")
    kept = full._variants.choose("text_to_image", "")[0].scheduler.alphas_cumprod.float()
    rows: dict[str, list[list[int]]] = {}
    for task in TASKS[::5]:
        wish = (task.prompt, task.seed)
        ordered = recorded(full, wish)
        others = {
            "in company": after(recorded(full, wish, ("dog", 5), ("red car", 6))),
            "bf16": after(recorded(half, wish)),
            "another seed": after(recorded(full, (task.prompt, task.seed + 100))),
        }
        times = [step.time for step in ordered]
        for steps in FEWER:
            others[f"{steps} steps of {STEPS}"] = made_up(recorded(full, wish, steps=steps), times, kept)
        for name, latents in others.items():
            rows.setdefault(name, []).append(apart(ordered, latents))
    print(f"| {len(TASKS[::5])} pictures, steps {SKIPPED + 1} to {STEPS} | least | half | most |\n|---|---:|---:|---:|")
    for name, found in rows.items():
        values = sorted(value for picture in found for value in picture)
        print(f"| {name} | {values[0]:,} | {values[len(values) // 2]:,} | {values[-1]:,} |")
    print("\n| medians of a picture's steps | least | most |\n|---|---:|---:|")
    for name, found in rows.items():
        medians = [round(median(picture)) for picture in found]
        print(f"| {name} | {min(medians):,} | {max(medians):,} |")


if __name__ == "__main__":
    main()
