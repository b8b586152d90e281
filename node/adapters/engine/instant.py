"""An engine without a device: valid pictures of one colour at once, for measuring and testing the network.

What a task begins from is not looked at.
"""

import hashlib
import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import trio

from node.adapters.engine.outbox import JobKey, Outbox
from node.adapters.engine.picture import solid_png, solid_webp
from node.adapters.engine.settings import QUEUE_BEYOND_PLACES, EngineSettings, job_refusal, served_models
from node.engine_report import EngineReport, MeasuredModel
from node.ports import Clock, EventSink, Journal
from protocol.effects import StartJob
from protocol.events import EngineChanged, JobFailed, JobFinished, JobProgress, ModelState
from protocol.notes import NoteName
from protocol.task.catalog import Catalog
from protocol.task.fingerprint import NO_FINGERPRINT
from protocol.units import Digest, TaskId

REPEAT_S: Final = 0.5
"""How often (s) a job says where it stands; the core relays it every second."""
PICTURE_S: Final = 0.0002
"""What a picture costs without a delay (s), with its events, rounded up from a measured 0.00004 for the bytes alone;
the capability's speed follows from it."""


@dataclass(slots=True)
class _Working:
    """One job in its delay."""

    scope: trio.CancelScope


class InstantEngine:
    """Serves the catalog's models by name; the picture's colour comes from the seed, its size from the task."""

    def __init__(self, settings: EngineSettings, catalog: Catalog, clock: Clock, journal: Journal) -> None:
        """Check the settings.

        Raises:
            ConfigError: A model is not in the catalog.
        """
        self._settings = settings
        self._catalog = catalog
        self._clock = clock
        self._journal = journal
        self._models = served_models(settings, catalog)
        self._outbox = Outbox()
        self._runs = self._up = False
        self._wants_up = True
        self._waiting: dict[JobKey, StartJob] = {}
        self._order: deque[JobKey] = deque()
        self._working: dict[JobKey, _Working] = {}
        self._wake = trio.Event()

    async def run(self, sink: EventSink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Post the capability, then work until cancelled."""
        async with trio.open_nursery() as nursery:
            self._runs = True
            if self._wants_up:
                self.wake()
            nursery.start_soon(self._outbox.pump, sink)
            if self._settings.delay_ms > 0:
                nursery.start_soon(self._repeat_waiting)
                for _ in range(self._settings.places):
                    nursery.start_soon(self._work)
            task_status.started()

    def start(self, job: StartJob) -> None:
        """Begin a job; without a delay it has ended when this returns."""
        key = (job.task, job.attempt)
        if key in self._waiting or key in self._working:
            return
        reason = job_refusal(job, self._models, self._catalog)
        if reason is None and not self._up:
            reason = "engine_down"
        held = len(self._waiting) + len(self._working)
        if reason is None and held >= self._settings.places + QUEUE_BEYOND_PLACES:
            reason = "engine_busy"
        if reason is not None:
            self._outbox.end(JobFailed(job.task, job.attempt, reason))
        elif self._settings.delay_ms == 0:
            self._finish(job)
        else:
            self._waiting[key] = job
            self._order.append(key)
            self._outbox.progress(JobProgress(job.task, job.attempt, "queued", 0, job.specification.drawn_steps, 0))
            self._wake.set()

    def cancel(self, task: TaskId, attempt: int) -> None:
        """Stop a job; nothing happens when it is unknown or has ended."""
        key = (task, attempt)
        if key in self._waiting:
            del self._waiting[key]
            self._order.remove(key)
            self._outbox.end(JobFailed(task, attempt, "cancelled"))
        elif key in self._working:
            self._working[key].scope.cancel()

    def rest(self) -> None:
        """Serve nothing until ``wake``."""
        self._wants_up = False
        if not self._up:
            return
        self._up = False
        for task, attempt in [*self._waiting, *self._working]:
            self.cancel(task, attempt)
        self._outbox.changed(EngineChanged((), 0))
        self._journal.note(NoteName.ENGINE_DOWN, reason="resting", restart_ms=0)

    def wake(self) -> None:
        """Serve again."""
        self._wants_up = True
        if self._runs and not self._up:
            self._up = True
            self._outbox.changed(EngineChanged(self._states(), self._settings.places))
            self._journal.note(NoteName.ENGINE_UP, device="instant", models=len(self._models))

    def report(self) -> EngineReport:
        """Say what is stated: it has no device to measure."""
        models = tuple(MeasuredModel(one.model, True, ((1, one.pixel_steps_per_s),)) for one in self._states())
        return EngineReport("instant", "up" if self._up else "resting", models, ())

    def _states(self) -> tuple[ModelState, ...]:
        """Describe the models as fast as the delay makes them."""
        seconds = max(PICTURE_S, self._settings.delay_ms / 1000)
        return tuple(
            ModelState(
                model=name,
                digest=model.pinned_digest,
                warm=True,
                pixel_steps_per_s=max(
                    1, round(model.default_size[0] * model.default_size[1] * model.default_steps / seconds)
                ),
                max_batch=1,
                sizes=model.sizes,
                max_steps=model.max_steps,
                works=model.works,
            )
            for name, model in self._models.items()
        )

    async def _work(self) -> None:
        """Take one waiting job after the other."""
        while True:
            while not self._order:
                self._wake = trio.Event() if self._wake.is_set() else self._wake
                await self._wake.wait()
            key = self._order.popleft()
            job = self._waiting.pop(key)
            with trio.CancelScope() as scope:
                self._working[key] = _Working(scope)
                await self._delay(job)
            del self._working[key]
            if scope.cancelled_caught:
                self._outbox.end(JobFailed(job.task, job.attempt, "cancelled"))
            else:
                self._finish(job)

    async def _delay(self, job: StartJob) -> None:
        """Spend the delay step by step, never silent for longer than ``REPEAT_S``."""
        steps = job.specification.drawn_steps
        delay_s = self._settings.delay_ms / 1000
        moments = max(steps, math.ceil(delay_s / REPEAT_S))
        step_ms = round(self._settings.delay_ms / steps)
        for moment in range(1, moments + 1):
            await trio.sleep(delay_s / moments)
            self._outbox.progress(JobProgress(job.task, job.attempt, "step", moment * steps // moments, steps, step_ms))

    async def _repeat_waiting(self) -> None:
        """Say again of every waiting job that it waits."""
        while True:
            await trio.sleep(REPEAT_S)
            for job in self._waiting.values():
                self._outbox.progress(JobProgress(job.task, job.attempt, "queued", 0, job.specification.drawn_steps, 0))

    def _finish(self, job: StartJob) -> None:
        """Make the picture and tell."""
        begin = self._clock.now()
        specification = job.specification
        colour = hashlib.sha256(specification.seed.to_bytes(8, "big")).digest()[:3]
        draw = solid_png if specification.output == "png" else solid_webp
        data = draw(specification.width, specification.height, colour)
        self._outbox.end(
            JobFinished(
                task=job.task,
                attempt=job.attempt,
                data=data,
                digest=Digest(hashlib.sha256(data).digest()),
                media_type=specification.media_type,
                model=self._models[specification.model].pinned_digest,
                fingerprint=NO_FINGERPRINT,
                generation_ms=self._clock.now() - begin + self._settings.delay_ms,
            )
        )
