"""The engine that runs diffusion models: supervises one child process, which alone holds the device.

Rules for editors: nothing here imports torch or diffusers, waits on the child, or raises for what the child does.
"""

import hashlib
import math
from dataclasses import replace
from typing import Final

import trio

from node.adapters.engine.batching import Batching, batches_to_measure
from node.adapters.engine.child_process import ChildProcess, open_child
from node.adapters.engine.ipc import (
    Cancel,
    Done,
    Failed,
    InMemory,
    Loaded,
    LoadFailed,
    Pong,
    Progress,
    Report,
    Run,
    Started,
    TooLarge,
)
from node.adapters.engine.jobs import Jobs
from node.adapters.engine.outbox import JobKey, Outbox
from node.adapters.engine.places import find_model
from node.adapters.engine.precision import Numbers
from node.adapters.engine.settings import (
    QUEUE_BEYOND_PLACES,
    EngineSettings,
    job_refusal,
    load_command,
    numerics_of,
    require_libraries,
    served_models,
)
from node.engine_report import EngineReport, MeasuredModel
from node.ports import Clock, EventSink, Journal
from protocol.effects import StartJob
from protocol.events import EngineChanged, JobFailed, JobFinished, JobProgress, ModelState
from protocol.notes import NoteName
from protocol.task.catalog import Catalog
from protocol.units import TaskId

GATHER_S: Final = 0.05
"""Longest wait (s) of an idle device for companions of a job, where several pictures together pay."""
GATHER_SHARE: Final = 0.05
"""Most that this wait may add to the time of a picture."""
FIRST_BACK_OFF_S: Final = 0.25
LAST_BACK_OFF_S: Final = 30.0
"""Longest wait (s) before a child is started again: a missing file may be put back at any time."""
STALL_GRACE_S: Final = 30.0
"""How long (s) a job may be silent beside the steps themselves: reading the prompt, decoding, encoding."""
STALL_STEPS: Final = 8
"""How many usual steps a step may take. The coordinator gives up at 4; a child is killed only when surely stuck."""


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
        self._places = {
            name: find_model(model, settings.model_folders, settings.pulled_models)
            for name, model in self._models.items()
        }
        self._outbox = Outbox()
        self._jobs = Jobs()
        self._gathering = trio.Event()
        self._child: ChildProcess | None = None
        self._to_load: list[str] = []
        self._loading = ""
        """The model that the child loads now."""
        self._batching = Batching()
        self._numbers: dict[str, Numbers] = {}
        """In which each loaded model draws, by its name."""
        self._faults: dict[str, str] = {}
        """Reason for which a model could not be loaded, by its name."""
        self._up = False
        self._awake = trio.Event()
        self._awake.set()
        self._device = ""
        self._in_memory: set[str] = set()
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
            nursery.start_soon(self._gather)
            task_status.started()
            while True:
                await self._awake.wait()
                self._life_began = self._clock.now()
                try:
                    await self._live()
                except OSError:  # this machine has no process or memory to spare now
                    self._lose("engine_not_started")
                if self._awake.is_set():
                    await trio.sleep(self._back_off_s)
                    self._back_off_s = min(self._back_off_s * 2, LAST_BACK_OFF_S)

    async def _live(self) -> None:
        """Start one child and serve until it is lost."""
        async with open_child(self._settings.device, self._settings.resolved_threads()) as child:
            self._child = child
            if not self._awake.is_set():  # it was to rest while the process started
                child.give_up("resting")
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
        self._outbox.progress(self._jobs.add(key, job).progress)
        if self._batching.most_together(job.specification) > 1:
            self._gathering.set()
        else:
            self._give_next()

    async def _gather(self) -> None:
        """Wait a moment for companions when a job finds the device idle: tasks come in bulletins."""
        while True:
            await self._gathering.wait()
            waiting = self._jobs.waiting()
            if waiting and not self._jobs.drawing:
                wanted = self._jobs[waiting[0]].job.specification
                if len(waiting) < self._batching.most_together(wanted):
                    alone_s = self._batching.step_s(wanted, 1) * wanted.drawn_steps
                    await trio.sleep(min(GATHER_S, GATHER_SHARE * alone_s))
            self._gathering = trio.Event()
            self._give_next()

    def cancel(self, task: TaskId, attempt: int) -> None:
        """Drop a waiting job, or ask the child to stop a running one between two steps."""
        key = (task, attempt)
        held = self._jobs.get(key)
        if held is None or held.cancelled:
            return
        if key in self._jobs.drawing and self._child is not None:
            held.cancelled = True
            self._child.send(Cancel(job=held.number))
        elif key not in self._jobs.encoding:
            self._end(key, JobFailed(task, attempt, "cancelled"))

    def rest(self) -> None:
        """End the child, and with it all that it holds of the device, and start none until ``wake``."""
        if self._awake.is_set():
            self._awake = trio.Event()
            if self._child is not None:
                self._child.give_up("resting")

    def wake(self) -> None:
        """Let a child be started again."""
        self._awake.set()

    def report(self) -> EngineReport:
        """Say what the device is, and what the warm-up of each model measured."""
        state = "up" if self._up else "starting" if self._awake.is_set() else "resting"
        models = tuple(
            MeasuredModel(name, name in self._in_memory, self._batching.speeds(name))
            for name in self._batching.models()
        )
        return EngineReport(self._device, state, models if self._up else (), tuple(sorted(self._faults.items())))

    def _refusal(self, job: StartJob) -> str | None:
        """Say why this job must not be queued now, or None."""
        reason = job_refusal(job, self._models, self._catalog)
        if reason is not None:
            return reason
        if job.specification.model in self._faults:
            return self._faults[job.specification.model]
        if not self._up:
            return "engine_down"
        # A batch is drawn, another forms, and the rest covers awards that cross a cancellation.
        return "engine_busy" if len(self._jobs) >= 2 * self._batching.places() + QUEUE_BEYOND_PLACES else None

    def _give_next(self) -> None:
        """Hand the next batch to the child when it draws none."""
        if self._jobs.drawing or self._child is None or not self._up:
            return
        batch = self._jobs.begin_batch(self._batching)
        if not batch:
            return
        self._extend()
        common = batch[0].job.specification
        for held in batch:
            if (given := held.given) is not None:
                self._child.send(given)
        self._child.send(
            Run(
                model=common.model,
                width=common.width,
                height=common.height,
                steps=common.steps,
                guidance=common.guidance,
                work=common.work,
                strength=1.0 if common.strength is None else common.strength,
                scheduler=common.scheduler,
                orders=tuple(held.order for held in batch),
            )
        )

    def _extend(self) -> None:
        """Give the child its time until it must be heard of again."""
        if self._child is None:
            return
        drawing = self._jobs.drawing
        if not drawing:
            self._child.deadline = trio.current_time() + STALL_GRACE_S if self._jobs.encoding else math.inf
            return
        wanted = self._jobs[drawing[0]].job.specification
        stall_s = STALL_GRACE_S + STALL_STEPS * self._batching.step_s(wanted, len(drawing))
        if wanted.model not in self._in_memory:
            stall_s += self._models[wanted.model].loading_limit_ms / 1000
        self._child.deadline = trio.current_time() + stall_s

    def _end(self, key: JobKey, event: JobFinished | JobFailed) -> None:
        """Let a job end, once."""
        self._jobs.end(key)
        self._outbox.end(event)
        self._extend()
        self._give_next()

    def _on_report(self, report: Report) -> None:
        """Act on what the child says; it runs foreign code, so what makes no sense ends it."""
        if isinstance(report, Loaded | LoadFailed | TooLarge) and not self._is_expected(report):
            assert self._child is not None
            self._child.give_up("engine_garbled")
            return
        match report:
            case Started():
                self._device = report.device
                self._to_load = list(self._models)
                self._faults.clear()
                self._in_memory = set()
                self._batching = Batching()
                self._load_next()
            case Loaded():
                self._numbers[report.model] = report.numbers
                self._batching.loaded(self._models[report.model], report.speeds)
                self._load_next()
            case InMemory():
                self._in_memory = self._models.keys() & set(report.models)
                if self._up:
                    self._outbox.changed(EngineChanged(self._states(), self._batching.places()))
            case LoadFailed():
                self._faults[report.model] = report.reason
                self._journal.note(NoteName.ENGINE_DOWN, model=report.model, reason=report.reason)
                self._load_next()
            case TooLarge():
                self._batching.too_large(report.model, report.width, report.height, report.batch)
            case Progress():
                self._on_progress(report)
            case Done() | Failed():
                self._on_end(report)
            case Pong():
                pass  # the process keeps count of them

    def _is_expected(self, report: Loaded | LoadFailed | TooLarge) -> bool:
        """Say whether the child may say this of this model now."""
        if isinstance(report, TooLarge):
            return report.model in self._batching.models()
        return report.model == self._loading

    def _load_next(self) -> None:
        """Have the next model loaded; after the last, go up with those that could be."""
        assert self._child is not None
        if self._to_load:
            name = self._loading = self._to_load.pop(0)
            model = self._models[name]
            self._child.deadline = trio.current_time() + model.loading_limit_ms / 1000
            batches = batches_to_measure(self._settings.batch, self._device)
            self._child.send(load_command(model, self._places[name], self._settings, self._device, batches))
            return
        self._loading = ""
        if len(self._batching):
            self._child.deadline, self._child.is_loaded = math.inf, True
            self._back_off_s = FIRST_BACK_OFF_S
            self._up = True
            self._outbox.changed(EngineChanged(self._states(), self._batching.places()))
            self._journal.note(
                NoteName.ENGINE_UP,
                device=self._device,
                models=len(self._batching),
                batch=self._batching.places(),
                pixel_steps_per_s=max(self._batching.throughput(name) for name in self._batching.models()),
                start_ms=self._clock.now() - self._life_began,
            )
        else:
            self._child.give_up(next(iter(self._faults.values())))

    def _states(self) -> tuple[ModelState, ...]:
        """Describe the models that are loaded."""
        return tuple(
            ModelState(
                model=name,
                digest=self._models[name].pinned_digest,
                warm=name in self._in_memory,
                pixel_steps_per_s=self._batching.alone(name),
                max_batch=self._batching.most_of(name),
                sizes=self._models[name].sizes,
                max_steps=self._models[name].max_steps,
                works=self._models[name].works,
                numerics=numerics_of(self._numbers[name], self._device),
            )
            for name in self._batching.models()
        )

    def _on_progress(self, report: Progress) -> None:
        """Pass on where the jobs of a batch stand; once they are drawn, the device is free for the next."""
        previews = dict(zip(report.jobs, report.previews, strict=False))
        for key in self._jobs.of_child(report.jobs):
            held = self._jobs[key]
            held.progress = JobProgress(*key, report.state, report.step, report.steps, report.step_ms)
            held.news = True
            self._outbox.progress(replace(held.progress, preview=previews.get(held.number) or None))
            if report.state == "encoding":
                self._jobs.drawn(key)
        self._extend()
        self._give_next()

    def _on_end(self, report: Done | Failed) -> None:
        """Pass on the end of a job."""
        for key in self._jobs.of_child((report.job,)):
            task, attempt = key
            if isinstance(report, Failed):
                self._end(key, JobFailed(task, attempt, report.reason))
            elif hashlib.sha256(report.data).digest() != report.digest:
                self._end(key, JobFailed(task, attempt, "engine_error"))
            else:
                finished = JobFinished(
                    task=task,
                    attempt=attempt,
                    data=report.data,
                    digest=report.digest,
                    media_type=self._jobs[key].job.specification.media_type,
                    model=self._models[self._jobs[key].job.specification.model].pinned_digest,
                    fingerprint=report.fingerprint,
                    fingerprints=report.fingerprints,
                    generation_ms=report.generation_ms,
                )
                self._end(key, finished)

    def _on_tick(self) -> None:
        """Say again where each job stands, as long as the child answers: the core says ``alive`` by it."""
        assert self._child is not None
        for held in self._jobs.all():
            if not held.news and self._child.answering:
                self._outbox.progress(held.progress)
            held.news = False

    def _lose(self, reason: str) -> None:
        """Withdraw the capability and end every job, now that the child is lost."""
        if self._up:
            self._up = False
            self._outbox.changed(EngineChanged((), 0))
        drawing, others = self._jobs.end_all()
        for keys, why in ((drawing, reason), (others, "engine_down")):
            for task, attempt in keys:
                self._outbox.end(JobFailed(task, attempt, why))
        self._journal.note(NoteName.ENGINE_DOWN, reason=reason, restart_ms=round(self._back_off_s * 1000))
