"""``python -m tests.bench.distance``: what the distance of pictures tells apart, on pictures that a model really drew.

Draws honest pictures and those of everybody who would save work, compares them, prints the tables of ``DISTANCE.md``,
and draws the histogram. Drawing takes half an hour of one core; what lies in the folder is not drawn again.
"""

import argparse
import functools
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from protocol.task.distance import (
    ANOTHER_PICTURE,
    OTHER_NUMERICS,
    RE_ENCODED,
    SAME_NUMERICS,
    Raster,
    Sketch,
    distance,
    sketch_of,
)
from tests.bench.distance_pictures import EDGE, FAMILIES, OTHER_SEEDS, TASKS, Task, draw_all, path_of, tasks_of

LIMITS = {
    "same numerics": SAME_NUMERICS,
    "16 bits": OTHER_NUMERICS,
    "re-encoded": RE_ENCODED,
    "another picture": ANOTHER_PICTURE,
}
SEEN = 16
"""Root of the mean square (of 255, over all pixels) from which two pictures look different: no part of the distance."""
PROMPTS_BESIDE = 8
"""Other prompts that each picture is compared with."""
CAUGHT = 0.95
"""Share of the pairs beyond a limit from which a saving counts as detected."""
ENCODINGS = [(form, quality) for form in ("JPEG", "WEBP") for quality in (95, 80, 70)]
COARSER = (50, 30)
LADDERS: dict[str, dict[str, str]] = {
    "fewer steps than 15": {
        "steps-14": "7 %", "steps-12": "20 %", "steps-10": "33 %", "steps-8": "47 %", "steps-6": "60 %",
        "steps-4": "73 %",
    },
    "no guidance": {"no-guidance": "50 %"},
    "DPM++ with fewer steps in place of DDIM": {"dpm-10": "33 %", "dpm-8": "47 %"},
    "every n-th answer of the UNet taken again": {"reused-5": "20 %", "reused-3": "33 %", "reused-2": "50 %"},
    "weights of the UNet rounded to n bits": {"bits-8": "75 % of the memory", "bits-6": "81 %", "bits-4": "88 %"},
    "weights moved by n % (another fine-tune)": {"moved-5": "-", "moved-20": "-"},
    "n % of the edge, scaled up": {"scaled-90": "19 %", "scaled-75": "44 %", "scaled-63": "61 %", "scaled-50": "75 %"},
}  # fmt: skip
"""Cheats by their kind, each with what it saves of the pixel-steps unless it says otherwise, the smallest first."""


@dataclass(frozen=True)
class Kind:
    """Pairs that differ in one way."""

    group: str
    name: str
    totals: list[int]


def picture(folder: Path, variant: str, task: Task) -> Image.Image:
    return Image.open(path_of(folder, variant, task)).convert("RGB")


def sketched(one: Image.Image) -> Sketch:
    return sketch_of(Raster(one.width, one.height, one.tobytes()))


def encoded(one: Image.Image, form: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    one.save(file, form, quality=quality)
    return Image.open(file).convert("RGB")


def noisy(one: Image.Image, spread: float, seed: int) -> Image.Image:
    values = np.asarray(one) + np.random.default_rng(seed).normal(0, spread, (*one.size[::-1], 3))
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8), "RGB")


def scaled(one: Image.Image, percent: int) -> Image.Image:
    edge = round(EDGE * percent / 100)
    return one.resize((edge, edge), Image.Resampling.LANCZOS).resize(one.size, Image.Resampling.LANCZOS)


def apart(one: Image.Image, other: Image.Image) -> float:
    """How far apart two pictures are, pixel by pixel: the root of the mean square."""
    difference = np.asarray(one).astype(float) - np.asarray(other)
    return float(np.sqrt((difference**2).mean()))


Change = Callable[[Image.Image], Image.Image]


class Pairs:
    """Compares the pictures of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sketch = functools.cache(lambda variant, task: sketched(picture(folder, variant, task)))

    def drawn(self, group: str, name: str, one: str, other: str) -> Kind:
        """Compare two variants."""
        tasks = [task for task in tasks_of(other) if task in tasks_of(one)]
        return Kind(group, name, [distance(self.sketch(one, task), self.sketch(other, task)).total for task in tasks])

    def changed(self, group: str, name: str, change: Change, variant: str = "ordered") -> Kind:
        """Compare what was ordered with pictures that were changed after they were drawn."""
        totals = [
            distance(self.sketch("ordered", task), sketched(change(picture(self._folder, variant, task)))).total
            for task in TASKS
        ]
        return Kind(group, name, totals)

    def honest(self) -> Iterator[Kind]:
        """Everything that two honest machines may differ in."""
        for name, variant in (
            ("in company", "in-company"),
            ("two threads", "two-threads"),
            ("processor without AVX-512", "other-machine"),
        ):
            yield self.drawn("same numerics", name, "ordered", variant)
        yield self.drawn("16 bits", "bf16 against fp32", "ordered", "bf16")
        for name, variant in (
            ("bf16, in company", "bf16-in-company"),
            ("bf16, two threads", "bf16-two-threads"),
            ("bf16, processor without bf16", "bf16-other-machine"),
        ):
            yield self.drawn("16 bits", name, "bf16", variant)
        for form, quality in ENCODINGS:
            yield self.changed(
                "re-encoded", f"{form} {quality}", functools.partial(encoded, form=form, quality=quality)
            )
        for spread in (1, 2):
            yield self.changed("re-encoded", f"noise of {spread}", functools.partial(noisy, spread=spread, seed=spread))
        for form, quality in (("WEBP", 80), ("JPEG", 70)):
            change = functools.partial(encoded, form=form, quality=quality)
            yield self.changed("re-encoded", f"bf16, then {form} {quality}", change, "bf16")

    def coarser(self) -> Iterator[Kind]:
        """Re-encodings and noise beyond what is promised."""
        for form in ("JPEG", "WEBP"):
            for quality in COARSER:
                change = functools.partial(encoded, form=form, quality=quality)
                yield self.changed("not promised", f"{form} {quality}", change)
        yield self.changed("not promised", "noise of 4", functools.partial(noisy, spread=4, seed=4))

    def others(self) -> Iterator[Kind]:
        """Other prompts, other models, other seeds."""
        beside = [
            (task, TASKS[(task.number + further) % len(TASKS)])
            for task in TASKS
            for further in range(1, PROMPTS_BESIDE + 1)
        ]
        totals = [
            distance(self.sketch("ordered", one), self.sketch("ordered", other)).total
            for one, other in beside
            if one.prompt != other.prompt
        ]
        yield Kind("other prompts", "other prompts", totals)
        for family in FAMILIES:
            yield self.drawn("other models", f"tiny {family}", "ordered", f"tiny-{family}")
        found = self.seeds()
        yield Kind("other seeds, seen", "other seeds, seen", [total for total, rms in found if rms >= SEEN])
        yield Kind("other seeds, alike", "other seeds, alike", [total for total, rms in found if rms < SEEN])

    def seeds(self, model: Sequence[str] = ("ordered", *OTHER_SEEDS)) -> list[tuple[int, float]]:
        """Compare all seeds of each task of a model: (distance, root of the mean square)."""
        return [
            (
                distance(self.sketch(one, task), self.sketch(other, task)).total,
                apart(picture(self._folder, one, task), picture(self._folder, other, task)),
            )
            for place, one in enumerate(model)
            for other in model[:place]
            for task in tasks_of(one)
        ]

    def cheats(self) -> Iterator[tuple[str, str, Kind]]:
        """Everybody who saves work: (kind of cheat, saving, pairs)."""
        for ladder, variants in LADDERS.items():
            for variant, saving in variants.items():
                name, _, amount = variant.partition("-")
                if name == "scaled":
                    kind = self.changed("cheats", variant, functools.partial(scaled, percent=int(amount)))
                else:
                    kind = self.drawn("cheats", variant, "ordered", variant)
                yield ladder, saving, kind


def line_of(kind: Kind) -> str:
    """Write one row of the tables."""
    half = sorted(kind.totals)[len(kind.totals) // 2]
    marks = " | ".join(f"{value:,}" for value in (min(kind.totals), half, max(kind.totals)))
    beyond = " | ".join(f"{share(kind, limit):.0%}" for limit in LIMITS.values())
    return f"| {kind.name} | {len(kind.totals)} | {marks} | {beyond} |"


def share(kind: Kind, limit: int) -> float:
    """Share of the pairs beyond a limit."""
    return sum(total > limit for total in kind.totals) / len(kind.totals)


def print_table(title: str, kinds: Sequence[Kind]) -> None:
    """Print a table in Markdown: distances in parts per million, shares beyond each limit."""
    limits = " | ".join(f"> {limit:,}" for limit in LIMITS.values())
    print(f"\n| {title} | pairs | least | half | most | {limits} |\n|---{'|---:' * (4 + len(LIMITS))}|")
    for kind in kinds:
        print(line_of(kind))


def print_savings(cheats: Sequence[tuple[str, str, Kind]]) -> None:
    """Print for each kind of cheat the smallest saving that each limit detects."""
    limits = list(LIMITS.items())[:3]
    print("\n| cheat | " + " | ".join(f"{name} ({limit:,})" for name, limit in limits) + " |\n|---|---|---|---|")
    for ladder in LADDERS:
        cells = []
        for _, limit in limits:
            steps = [(saving, kind) for name, saving, kind in cheats if name == ladder]
            missed = [place for place, (_, kind) in enumerate(steps) if share(kind, limit) < CAUGHT]
            caught = steps[missed[-1] + 1 if missed else 0 :]
            cells.append(f"{caught[0][1].name}: {caught[0][0]}" if caught else "not detected")
        print(f"| {ladder} | " + " | ".join(cells) + " |")


def draw(kinds: Sequence[Kind], path: Path) -> None:
    """Draw how distances are distributed, group by group, with the limits."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    groups: dict[str, list[int]] = {}
    for kind in kinds:
        groups.setdefault(kind.group, []).extend(kind.totals)
    bins = np.logspace(-0.3, 6.4, 100)
    figure, panels = plt.subplots(len(groups), 1, figsize=(10, 1.4 * len(groups)), sharex=True, layout="constrained")
    for panel, (group, totals) in zip(panels, groups.items(), strict=True):
        honest = group in LIMITS
        panel.hist([max(total, 0.6) for total in totals], bins=bins, color="#228833" if honest else "#cc3311")
        panel.set_title(f"{'honest: ' if honest else ''}{group} ({len(totals)})", loc="left", fontsize=9)
        for name, limit in LIMITS.items():
            panel.axvline(limit, color="#4477aa" if name == group else "#999999", linewidth=1.2, linestyle="--")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_xscale("log")
    panels[-1].set_xlabel("distance (parts per million; equal pictures at the left edge); dashed: the four limits")
    figure.suptitle("Distances of pairs of pictures that pocket-emoji drew, and tiny random models")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Draw, compare, print, draw the histogram."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("distance-pictures"), help="where pictures are kept")
    parser.add_argument("--plot", type=Path, default=Path("distance.png"))
    chosen = parser.parse_args()
    for variant in draw_all(chosen.folder):
        print(f"drawn: {variant}", file=sys.stderr, flush=True)
    pairs = Pairs(chosen.folder)
    honest, others, cheats = list(pairs.honest()), list(pairs.others()), list(pairs.cheats())
    print_table("honest", honest)
    print_table("honest, beyond what is promised", list(pairs.coarser()))
    print_table("something else", others)
    print_table("saves work", [kind for _, _, kind in cheats])
    print_savings(cheats)
    near = [total for kind in honest for total in kind.totals]
    far = [total for kind in others if kind.group != "other seeds, alike" for total in kind.totals]
    print(f"\n{len(near)} honest pairs up to {max(near):,}; {len(far)} others from {min(far):,} on")
    print("\n| model | pairs of seeds | seen to differ |\n|---|---:|---:|")
    tiny = {f"tiny {family}": (f"tiny-{family}", f"tiny-{family}-other-seed") for family in FAMILIES}
    for model, variants in ({"pocket-emoji": ("ordered", *OTHER_SEEDS)} | tiny).items():
        found = [rms for _, rms in pairs.seeds(variants)]
        print(f"| {model} | {len(found)} | {sum(rms >= SEEN for rms in found) / len(found):.0%} |")
    draw([*honest, *others], chosen.plot)


if __name__ == "__main__":
    main()
