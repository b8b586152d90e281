"""Which waiting jobs a device draws together. Pure: no device, no clock.

Jobs go together when one run of the pipeline can draw them: one model, kind of work, size, number of steps, strength,
guidance and scheduler, whoever wants them; each has a source, a mask, a seed and a file format of its own. The oldest
job is always in the next batch, so that no mix of sizes starves anybody.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from node.adapters.engine.ipc import MAX_BATCH, BatchSpeed
from protocol.task.catalog import CatalogModel
from protocol.wire.messages import TaskSpecification

BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
"""Batches that a warm-up tries."""
assert BATCHES[-1] == MAX_BATCH


def batches_to_measure(chosen: int, device: str) -> tuple[int, ...]:
    """Give the batches that a warm-up measures.

    Args:
        chosen: Pictures together as a person set them; 0 to find out what pays.
        device: The engine's torch device. A CPU is busy with one picture: more together only wait for each other.
    """
    if chosen == 0:
        return (1,) if device == "cpu" else BATCHES
    return (1,) if chosen == 1 else (1, chosen)


class Batching:
    """How fast the loaded models draw, and how many pictures of each go together."""

    def __init__(self) -> None:
        """Start without models."""
        self._speeds: dict[str, tuple[BatchSpeed, ...]] = {}
        self._pixels: dict[str, int] = {}
        self._most: dict[tuple[str, int, int], int] = {}

    def __len__(self) -> int:
        return len(self._speeds)

    def loaded(self, model: CatalogModel, speeds: tuple[BatchSpeed, ...]) -> None:
        """Take what a warm-up measured, for pictures of the model's usual size."""
        self._speeds[model.name] = speeds
        self._pixels[model.name] = model.default_size[0] * model.default_size[1]

    def too_large(self, model: str, width: int, height: int, most: int) -> None:
        """Take that more than ``most`` pictures of a size do not fit in memory together."""
        self._most[model, width, height] = most

    def models(self) -> Iterable[str]:
        """Name the models that are loaded."""
        return self._speeds.keys()

    def most_of(self, model: str) -> int:
        """Give the largest batch of usual pictures."""
        return self._speeds[model][-1].batch

    def places(self) -> int:
        """Give how many jobs the device takes at once: the largest batch of any model, 0 without models."""
        return max((self.most_of(model) for model in self._speeds), default=0)

    def speeds(self, model: str) -> tuple[tuple[int, int], ...]:
        """Give (pictures together, pixel-steps/s of all of them) of each batch that was measured, smallest first."""
        return tuple((speed.batch, speed.pixel_steps_per_s) for speed in self._speeds[model])

    def alone(self, model: str) -> int:
        """Give the pixel-steps/s of one usual picture by itself."""
        return self._speeds[model][0].pixel_steps_per_s

    def throughput(self, model: str) -> int:
        """Give the pixel-steps/s with batches of the largest size."""
        return self._speeds[model][-1].pixel_steps_per_s

    def step_s(self, specification: TaskSpecification, count: int) -> float:
        """Say how long (s) a step of ``count`` such pictures takes at most, as if they were drawn one by one."""
        return count * specification.width * specification.height / self.alone(specification.model)

    def most_together(self, specification: TaskSpecification) -> int:
        """Give how many such pictures fit together: fewer than usual when they are larger than usual."""
        name, pixels = specification.model, specification.width * specification.height
        most = self.most_of(name) * self._pixels[name] // max(pixels, self._pixels[name])
        return max(1, min(most, self._most.get((name, specification.width, specification.height), most)))

    def next_batch(self, waiting: Sequence[TaskSpecification]) -> list[int]:
        """Choose what is drawn next: the places in ``waiting``, oldest first, of the oldest and what goes with it."""
        if not waiting:
            return []
        kind, most = _kind(waiting[0]), self.most_together(waiting[0])
        return [place for place, one in enumerate(waiting) if _kind(one) == kind][:most]


def _kind(specification: TaskSpecification) -> tuple[object, ...]:
    """What pictures must have in common to be drawn together. No negative prompt is not the same as an empty one."""
    return (
        specification.model,
        specification.work,
        specification.width,
        specification.height,
        specification.steps,
        specification.guidance,
        specification.strength,
        specification.scheduler,
        bool(specification.negative_prompt),
    )
