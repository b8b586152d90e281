"""The engine that runs diffusion models: supervises one child process, which alone holds the device.

Rules for editors: nothing here imports torch or diffusers, waits on the child, or raises for what the child does.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import trio

from node.adapters.engine.child_process import ChildProcess, open_child
from node.adapters.engine.ipc import (
    Cancel,
    Done,
    Failed,
    Load,
    Loaded,
    LoadFailed,
    Pong,
    Progress,
    Report,
    Run,
    Started,
)
from node.adapters.engine.outbox import JobKey, Outbox
from node.adapters.engine.settings import (
    QUEUE_BEYOND_PLACES,
    EngineSettings,
    job_refusal,
    require_libraries,
    served_models,
)
from node.adapters.engine.weights import model_folder
from node.ports import Clock, EventSink, Journal
from protocol.effects import StartJob
from protocol.events import EngineChanged, JobFailed, JobFinished, JobProgress, ModelState
from protocol.notes import NoteName
from protocol.task.catalog import Catalog
from protocol.units import Digest, TaskId

PLACES: Final = 1
"""Jobs that the child runs at once."""
FIRST_BACK_OFF_S: Final = 0.25
LAST_BACK_OFF_S: Final = 30.0
"""Longest wait (s) before a child is started again: a missing file may be put back at any time."""
STALL_GRACE_S: Final = 30.0
"""How long (s) a job may be silent beside the steps themselves: reading the prompt, decoding, encoding."""
STALL_STEPS: Final = 8
"""How many usual steps a step may take. The coordinator gives up at 4; a child is killed only when surely stuck."""
NO_FINGERPRINT: Final = Digest(bytes(32))
"""No per-step fingerprints are taken."""


@dataclass(slots=True)
class _Job:
    """A job that has not ended."""

    number: int
    job: StartJob
    progress: JobProgress
    news: bool = True
    """Whether its progress was told since the last tick."""
    cancelled: bool = False


class DiffusionEngine:
    """One device of a miner. See ``node.ports.Engine`` for what its methods promise."""

    def __init__(self, settings: EngineSettings, catalog: Catalog, clock: Clock, journal: Journal) -> None:
        """Check everything that can be checked without a device.

        Raises:
            ConfigError: Libraries are not installed, a model is not in the catalog, or its folder is missing.
        """
        require_libraries()
        self._settings = settings
        self._catalog = catalog
        self._clock = clock
        self._journal = journal
        self._models = served_models(settings, catalog)
        self._folders = {name: model_folder(model, settings.model_folders) for name, model in self._models.items()}
        self._outbox = Outbox()
        self._jobs: dict[JobKey, _Job] = {}
        """In order of arrival; the first is with the child whenever ``_running`` names it."""
        self._running: JobKey | None = None
        self._numbers = 0
        self._child: ChildProcess | None = None
        self._to_load: list[str] = []
        self._speeds: dict[str, int] = {}
        self._faults: dict[str, str] = {}
        """Reason for which a model could not be loaded, by its name."""
        self._up = False
        self._device = ""
        self._life_began = clock.now()
        self._back_off_s = FIRST_BACK_OFF_S

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return None if self._child is None else self._child.pid

    async def run(self, sink: EventSink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a child alive and pass its news on, until cancelled. Loading goes on after started is reported."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outbox.pump, sink)
            task_status.started()
            while True:
                self._life_began = self._clock.now()
                try:
                    await self._live()
                except OSError:  # this machine has no process or memory to spare now
                    self._lose("engine_not_started")
                await trio.sleep(self._back_off_s)
                self._back_off_s = min(self._back_off_s * 2, LAST_BACK_OFF_S)

    async def _live(self) -> None:
        """Start one child and serve until it is lost."""
        async with open_child(self._settings.device, self._settings.resolved_threads()) as child:
            self._child = child
            try:
                await child.serve(self._on_report, self._on_tick)
            finally:
                self._child = None
            self._lose(child.lost_reason)

    def start(self, job: StartJob) -> None:
        """Queue a job, or end it at once with the reason why it cannot be done."""
        key = (job.task, job.attempt)
        if key in self._jobs:
            return
        reason = self._refusal(job)
        if reason is not None:
            self._outbox.end(JobFailed(job.task, job.attempt, reason))
            return
        self._numbers += 1
        queued = JobProgress(job.task, job.attempt, "queued", 0, job.specification.steps, 0)
        self._jobs[key] = _Job(self._numbers, job, queued)
        self._outbox.progress(queued)
        self._give_next()

    def cancel(self, task: TaskId, attempt: int) -> None:
        """Drop a waiting job, or ask the child to stop a running one between two steps."""
        key = (task, attempt)
        held = self._jobs.get(key)
        if held is None or held.cancelled:
            return
        if key == self._running and self._child is not None:
            held.cancelled = True
            self._child.send(Cancel(job=held.number))
        else:
            self._end(key, JobFailed(task, attempt, "cancelled"))

    def _refusal(self, job: StartJob) -> str | None:
        """Say why this job must not be queued now, or None."""
        reason = job_refusal(job, self._models, self._catalog)
        if reason is not None:
            return reason
        if job.specification.model in self._faults:
            return self._faults[job.specification.model]
        if not self._up:
            return "engine_down"
        return "engine_busy" if len(self._jobs) >= PLACES + QUEUE_BEYOND_PLACES else None

    def _give_next(self) -> None:
        """Hand the oldest waiting job to the child when it has none."""
        if self._running is not None or self._child is None or not self._up:
            return
        for key, held in self._jobs.items():
            specification = held.job.specification
            self._running = key
            self._extend(held)
            self._child.send(
                Run(
                    job=held.number,
                    model=specification.model,
                    prompt=specification.prompt,
                    negative_prompt=specification.negative_prompt,
                    width=specification.width,
                    height=specification.height,
                    steps=specification.steps,
                    guidance=specification.guidance,
                    seed=specification.seed,
                )
            )
            return

    def _extend(self, held: _Job) -> None:
        """Give the running job its time until it must be heard of again."""
        assert self._child is not None
        specification = held.job.specification
        step_s = specification.width * specification.height / self._speeds[specification.model]
        self._child.deadline = trio.current_time() + STALL_GRACE_S + STALL_STEPS * step_s

    def _end(self, key: JobKey, event: JobFinished | JobFailed) -> None:
        """Let a job end, once."""
        del self._jobs[key]
        self._outbox.end(event)
        if key == self._running:
            self._running = None
            if self._child is not None:
                self._child.deadline = math.inf
        self._give_next()

    def _on_report(self, report: Report) -> None:
        """Act on what the child says."""
        match report:
            case Started():
                self._device = report.device
                self._to_load = list(self._models)
                self._faults.clear()
                self._speeds.clear()
                self._load_next()
            case Loaded():
                self._speeds[report.model] = report.pixel_steps_per_s
                self._load_next()
            case LoadFailed():
                self._faults[report.model] = report.reason
                self._journal.note(NoteName.ENGINE_DOWN, model=report.model, reason=report.reason)
                self._load_next()
            case Progress() | Done() | Failed():
                self._on_job(report)
            case Pong():
                pass  # the process keeps count of them

    def _load_next(self) -> None:
        """Have the next model loaded; after the last, go up with those that could be."""
        assert self._child is not None
        if self._to_load:
            name = self._to_load.pop(0)
            model = self._models[name]
            self._child.deadline = trio.current_time() + model.loading_limit_ms / 1000
            self._child.send(
                Load(
                    model=name,
                    folder=str(self._folders[name]),
                    digest=model.digest,
                    width=model.default_size[0],
                    height=model.default_size[1],
                    steps=model.default_steps,
                    guidance=model.default_guidance,
                )
            )
        elif self._speeds:
            self._child.deadline = math.inf
            self._back_off_s = FIRST_BACK_OFF_S
            self._up = True
            self._outbox.changed(EngineChanged(self._states(), PLACES))
            self._journal.note(
                NoteName.ENGINE_UP,
                device=self._device,
                models=len(self._speeds),
                pixel_steps_per_s=max(self._speeds.values()),
                start_ms=self._clock.now() - self._life_began,
            )
        else:
            self._child.give_up(next(iter(self._faults.values())))

    def _states(self) -> tuple[ModelState, ...]:
        """Describe the models that are loaded."""
        return tuple(
            ModelState(
                model=name,
                digest=self._models[name].digest,
                warm=True,
                pixel_steps_per_s=speed,
                max_batch=1,
                sizes=self._models[name].sizes,
                max_steps=self._models[name].max_steps,
            )
            for name, speed in self._speeds.items()
        )

    def _on_job(self, report: Progress | Done | Failed) -> None:
        """Pass on news of the running job; the child has no other."""
        key = self._running
        held = None if key is None else self._jobs.get(key)
        if key is None or held is None or held.number != report.job:
            return
        task, attempt = key
        match report:
            case Progress():
                self._extend(held)
                held.progress = JobProgress(task, attempt, report.state, report.step, report.steps, report.step_ms)
                held.news = True
                self._outbox.progress(held.progress)
            case Failed():
                self._end(key, JobFailed(task, attempt, report.reason))
            case Done():
                if hashlib.sha256(report.data).digest() != report.digest:
                    self._end(key, JobFailed(task, attempt, "engine_error"))
                    return
                self._end(
                    key,
                    JobFinished(
                        task=task,
                        attempt=attempt,
                        data=report.data,
                        digest=report.digest,
                        media_type="image/png",
                        model=self._models[held.job.specification.model].digest,
                        fingerprint=NO_FINGERPRINT,
                        generation_ms=report.generation_ms,
                    ),
                )

    def _on_tick(self) -> None:
        """Say again where each job stands, as long as the child answers: the core says ``alive`` by it."""
        assert self._child is not None
        for held in self._jobs.values():
            if not held.news and self._child.answering:
                self._outbox.progress(held.progress)
            held.news = False

    def _lose(self, reason: str) -> None:
        """Withdraw the capability and end every job, now that the child is lost."""
        if self._up:
            self._up = False
            self._outbox.changed(EngineChanged((), 0))
        running, self._running = self._running, None
        jobs, self._jobs = self._jobs, {}
        for task, attempt in jobs:
            why = reason if (task, attempt) == running else "engine_down"
            self._outbox.end(JobFailed(task, attempt, why))
        self._journal.note(NoteName.ENGINE_DOWN, reason=reason, restart_ms=round(self._back_off_s * 1000))
