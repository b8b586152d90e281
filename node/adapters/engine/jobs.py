"""The jobs that an engine holds: those that wait, those that the device draws, those whose pictures are compressed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from node.adapters.engine.batching import Batching
from node.adapters.engine.ipc import Give, Order
from node.adapters.engine.outbox import JobKey
from protocol.effects import StartJob
from protocol.events import JobProgress

MAX_GIVEN_BYTES: Final = 128 * 1024 * 1024
"""Bytes of what all jobs of one batch begin from: the child keeps them until they end."""


@dataclass(slots=True)
class Job:
    """A job that has not ended."""

    number: int
    """What the child calls it."""
    job: StartJob
    progress: JobProgress
    news: bool = True
    """Whether its progress was told since the last tick."""
    cancelled: bool = False

    @property
    def order(self) -> Order:
        """What the child needs to know of it beside what its whole batch has in common."""
        specification = self.job.specification
        return Order(
            job=self.number,
            prompt=specification.prompt,
            negative_prompt=specification.negative_prompt,
            seed=specification.seed,
            output=specification.output,
            quality=specification.quality,
            embed_prompt=specification.embed_prompt,
        )

    @property
    def given_bytes(self) -> int:
        """Bytes of what it begins from."""
        return len(self.job.source or b"") + len(self.job.mask or b"")

    @property
    def given(self) -> Give | None:
        """What the child must have of it first, None where it begins from nothing."""
        if self.job.source is None:
            return None
        return Give(job=self.number, source=self.job.source, mask=self.job.mask or b"")


class Jobs:
    """All jobs of one engine, in order of arrival."""

    def __init__(self) -> None:
        """Start with none."""
        self._jobs: dict[JobKey, Job] = {}
        self._numbers = 0
        self.drawing: list[JobKey] = []
        """The batch that the device draws now, less what has ended."""
        self.encoding: list[JobKey] = []
        """What is drawn, and not yet a file."""

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, key: JobKey) -> bool:
        return key in self._jobs

    def __getitem__(self, key: JobKey) -> Job:
        return self._jobs[key]

    def all(self) -> Iterable[Job]:
        """Give every job, oldest first."""
        return self._jobs.values()

    def get(self, key: JobKey) -> Job | None:
        """Give a job, or None when it has ended."""
        return self._jobs.get(key)

    def add(self, key: JobKey, job: StartJob) -> Job:
        """Take a job that waits from now on."""
        self._numbers += 1
        queued = JobProgress(job.task, job.attempt, "queued", 0, job.specification.drawn_steps, 0)
        held = self._jobs[key] = Job(self._numbers, job, queued)
        return held

    def waiting(self) -> list[JobKey]:
        """Name the jobs that the child does not have, oldest first."""
        with_child = {*self.drawing, *self.encoding}
        return [key for key in self._jobs if key not in with_child]

    def begin_batch(self, batching: Batching) -> list[Job]:
        """Move what goes together best from the waiting ones to the device; empty when nothing waits."""
        waiting = self.waiting()
        chosen = batching.next_batch([self._jobs[key].job.specification for key in waiting])
        self.drawing = [waiting[place] for place in chosen]
        given = 0
        for count, key in enumerate(self.drawing):
            given += self._jobs[key].given_bytes
            if count and given > MAX_GIVEN_BYTES:
                self.drawing = self.drawing[:count]
                break
        return [self._jobs[key] for key in self.drawing]

    def of_child(self, numbers: tuple[int, ...]) -> list[JobKey]:
        """Name the jobs with these numbers that are with the child."""
        return [key for key in (*self.drawing, *self.encoding) if self._jobs[key].number in numbers]

    def drawn(self, key: JobKey) -> None:
        """The device is done with a job; its picture is compressed."""
        if key in self.drawing:
            self.drawing.remove(key)
            self.encoding.append(key)

    def end(self, key: JobKey) -> None:
        """Forget a job."""
        del self._jobs[key]
        for held in (self.drawing, self.encoding):
            if key in held:
                held.remove(key)

    def end_all(self) -> tuple[list[JobKey], list[JobKey]]:
        """Forget all jobs: (those that the device was drawing, the others)."""
        drawing, others = self.drawing, [key for key in self._jobs if key not in self.drawing]
        self._jobs, self.drawing, self.encoding = {}, [], []
        return drawing, others
