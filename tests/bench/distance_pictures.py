"""Draws what ``tests.bench.distance`` compares: honest pictures, and those of everybody who would save work.

``python -m tests.bench.distance_pictures FOLDER VARIANT …`` draws in a process of its own; a picture that is there is
not drawn again. Everything goes through the engine's own ``Painter``.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from node.adapters.engine.pipeline import Manner, Painter, Wish, prepare
from node.child_environment import child_environment

MODEL = Path(__file__).parents[2] / "node" / "models" / "pocket-emoji"
EDGE = 128
STEPS = 15
GUIDANCE = 4.0
SUBJECTS = (
    "red heart", "cat face", "pizza", "rocket", "smiling face with sunglasses", "green apple", "soccer ball", "sun",
    "dog", "a house", "hamburger", "guitar", "bicycle", "airplane", "red car", "banana, noto style", "robot, 3d",
    "octopus, flat", "pizza on a blue background", "rocket, black background", "a photo of a strawberry",
    "a cute penguin", "hot coffee", "fire", "star", "snowman", "thumbs up", "astronaut", "unicorn", "rainbow",
    "crying cat", "money bag", "birthday cake", "a beautiful butterfly", "skull", "tree", "train", "clown face",
    "ghost", "camera",
)  # fmt: skip
"""One task each: different things on different backgrounds."""
OTHER_SEEDS = ("seed-1", "seed-2", "seed-3")
WHOLE = ("ordered", "in-company", "bf16", "bf16-other-machine", "two-threads", "other-machine", *OTHER_SEEDS)
"""Variants that draw every subject; the others draw every second one."""
TINY = 12
"""Subjects that tiny models draw."""


@dataclass(frozen=True)
class Task:
    """What was ordered, and its number."""

    number: int
    prompt: str
    seed: int


TIPPED = Task(len(SUBJECTS), "tree", 1022)
"""One of the first 24 that were tried: 16-bit numbers tip it over into a picture that people see to differ."""
TASKS = [*(Task(number, prompt, 1000 + number) for number, prompt in enumerate(SUBJECTS)), TIPPED]
Draw = Callable[[Task], Image.Image]


def drawn(
    painter: Painter, *wishes: tuple[str, int], steps: int = STEPS, guidance: float = GUIDANCE, scheduler: str = ""
) -> Image.Image:
    """Draw (prompt, seed) together and give the first."""
    pictures = painter.draw(
        [Wish(prompt, "", seed) for prompt, seed in wishes],
        Manner(EDGE, EDGE, steps, guidance, scheduler=scheduler),
        lambda *_: True,
    )
    assert isinstance(pictures[0], Image.Image), pictures[0]
    return pictures[0]


def pocket(precision: Any = "float32") -> Painter:
    """Load the embedded model."""
    return Painter(MODEL, "cpu", precision)


def _plain(precision: str = "float32", **changes: Any) -> Callable[[], Draw]:
    def make() -> Draw:
        painter = pocket(precision)
        return lambda task: drawn(painter, (task.prompt, task.seed), **changes)

    return make


def _in_company(precision: str = "float32") -> Callable[[], Draw]:
    def make() -> Draw:
        painter = pocket(precision)
        return lambda task: drawn(painter, (task.prompt, task.seed), ("dog", 5), ("red car", 6))

    return make


def pipeline_of(painter: Painter) -> Any:
    """Give the pipeline that a painter draws from text with, to meddle with it."""
    return painter._variants.choose("text_to_image", "")[0]


def _other_seed(offset: int) -> Callable[[], Draw]:
    def make() -> Draw:
        painter = pocket()
        return lambda task: drawn(painter, (task.prompt, task.seed + 100 * offset))

    return make


def _rounded(bits: int) -> Callable[[], Draw]:
    """Weights of the UNet rounded to so many bits, a scale for each row: what runs in less memory, or faster."""

    def make() -> Draw:
        painter = pocket()
        for weights in pipeline_of(painter).unet.parameters():
            if weights.ndim > 1:
                rows = weights.data.reshape(weights.shape[0], -1)
                scale = rows.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
                weights.data = ((rows / scale).round() * scale).reshape(weights.shape)
        return lambda task: drawn(painter, (task.prompt, task.seed))

    return make


def _moved(percent: int) -> Callable[[], Draw]:
    """Weights of the UNet moved at random by so many percent of their spread: as if somebody had trained it further."""

    def make() -> Draw:
        import torch

        painter, generator = pocket(), torch.Generator().manual_seed(7)
        for weights in pipeline_of(painter).unet.parameters():
            if weights.ndim > 1:
                noise = torch.randn(weights.shape, generator=generator)
                weights.data += percent / 100 * weights.data.std() * noise
        return lambda task: drawn(painter, (task.prompt, task.seed))

    return make


def _other_scheduler(steps: int) -> Callable[[], Draw]:
    """A scheduler that is known to need fewer steps."""

    def make() -> Draw:
        from diffusers import DPMSolverMultistepScheduler

        painter = pocket()
        name = DPMSolverMultistepScheduler.__name__
        return lambda task: drawn(painter, (task.prompt, task.seed), steps=steps, scheduler=name)

    return make


def _reused(every: int) -> Callable[[], Draw]:
    """Every so many steps the answer of the step before is taken instead of asking the UNet."""

    def make() -> Draw:
        painter = pocket()
        unet = pipeline_of(painter).unet
        ask, asked = unet.forward, {"steps": 0, "last": None}

        def forward(*values: Any, **named: Any) -> Any:
            asked["steps"] += 1
            if asked["steps"] % every or asked["last"] is None:
                asked["last"] = ask(*values, **named)
            return asked["last"]

        def draw(task: Task) -> Image.Image:
            asked.update(steps=0, last=None)
            return drawn(painter, (task.prompt, task.seed))

        unet.forward = forward
        return draw

    return make


def _tiny(family: str, offset: int = 0) -> Callable[[], Draw]:
    """A tiny random model of a family: what it draws is noise."""

    def make() -> Draw:
        import tempfile

        from tests.support.tiny_pipelines import FAMILIES

        with tempfile.TemporaryDirectory() as folder:
            FAMILIES[family](Path(folder))
            painter = Painter(Path(folder) / "model", "cpu", "float32")
        return lambda task: drawn(painter, (task.prompt, task.seed + 100 * offset), steps=3)

    return make


FAMILIES = ("stable-diffusion", "latent-consistency", "stable-diffusion-xl", "stable-diffusion-3", "flux")
OLDER = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
"""What a processor without AVX-512 computes; this one can imitate it."""
NO_BF16 = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
"""What one computes that has no instructions for 16-bit numbers; without AVX-512 a picture would take half a minute."""
STEPS_SAVED = (14, 12, 10, 8, 6, 4)
VARIANTS: dict[str, Callable[[], Draw]] = {
    "ordered": _plain(),
    "in-company": _in_company(),
    "bf16": _plain("bfloat16"),
    "bf16-in-company": _in_company("bfloat16"),
    **{variant: _other_seed(number) for number, variant in enumerate(OTHER_SEEDS, 1)},
    **{f"steps-{steps}": _plain(steps=steps) for steps in STEPS_SAVED},
    "no-guidance": _plain(guidance=1.0),
    **{f"dpm-{steps}": _other_scheduler(steps) for steps in (10, 8)},
    **{f"reused-{every}": _reused(every) for every in (5, 3, 2)},
    **{f"bits-{bits}": _rounded(bits) for bits in (8, 6, 4)},
    **{f"moved-{percent}": _moved(percent) for percent in (5, 20)},
    **{f"tiny-{family}": _tiny(family) for family in FAMILIES},
    **{f"tiny-{family}-other-seed": _tiny(family, 1) for family in FAMILIES},
}
"""How each kind of picture comes about, by the name of its folder."""
ELSEWHERE: dict[str, tuple[str, int, dict[str, str]]] = {
    "two-threads": ("ordered", 2, {}),
    "other-machine": ("ordered", 1, OLDER),
    "bf16-two-threads": ("bf16", 2, {}),
    "bf16-other-machine": ("bf16", 1, NO_BF16),
}
"""Pictures of a process of its own: the variant, threads, environment."""


def tasks_of(variant: str) -> Sequence[Task]:
    """Say what a variant draws."""
    if variant.startswith("tiny-"):
        return TASKS[:TINY]
    return TASKS if variant in WHOLE else TASKS[: len(SUBJECTS) : 2]


def path_of(folder: Path, variant: str, task: Task) -> Path:
    """Say where a picture is kept."""
    return folder / variant / f"{task.number:02}.png"


def missing(folder: Path, variant: str) -> list[Task]:
    """Say what is still to be drawn."""
    return [task for task in tasks_of(variant) if not path_of(folder, variant, task).exists()]


def draw_all(folder: Path) -> Iterator[str]:
    """Draw what is missing; tell each variant as it is done."""
    prepare("cpu", 1)
    for variant, make in VARIANTS.items():
        draw_variant(folder, variant, make)
        yield variant
    for name, (variant, threads, environment) in ELSEWHERE.items():
        if missing(folder, name):
            command = [sys.executable, "-m", "tests.bench.distance_pictures", str(folder), name, variant, str(threads)]
            chosen = child_environment(threads, os.environ) | environment
            subprocess.run(command, env=chosen, check=True, stderr=subprocess.DEVNULL)
        yield name


def draw_variant(folder: Path, name: str, make: Callable[[], Draw]) -> None:
    """Draw what is missing of a variant."""
    wanted = missing(folder, name)
    draw = make() if wanted else None
    for task in wanted:
        assert draw is not None
        path = path_of(folder, name, task)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        draw(task).save(part, "PNG")
        part.rename(path)


if __name__ == "__main__":
    prepare("cpu", int(sys.argv[4]))
    draw_variant(Path(sys.argv[1]), sys.argv[2], VARIANTS[sys.argv[3]])
