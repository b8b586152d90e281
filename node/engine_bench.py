"""Measures an engine by itself: the table by which owners compare devices. It drives the very child of a miner.

Batches follow each other as in a miner: the next one is with the child while pictures of the last are compressed.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from node.adapters.engine.batching import BATCHES
from node.adapters.engine.child_process import ChildProcess, open_child
from node.adapters.engine.ipc import (
    Done,
    Failed,
    InMemory,
    Loaded,
    LoadFailed,
    Order,
    Progress,
    Report,
    Run,
    Started,
    TooLarge,
)
from node.adapters.engine.places import ModelPlace, find_model
from node.adapters.engine.settings import EngineSettings, load_command, precision_of, served_models
from protocol.errors import Unavailable
from protocol.task.catalog import Catalog, CatalogModel

BATCH_LIMIT_S: Final = 900.0
"""Longest time (s) of one batch, and of a load beyond the catalog's limit."""
REPORTS: Final = 4096
"""Reports of the child that may wait: one for each step and picture of two batches."""
PROMPT: Final = "red, green, blue, yellow, black and white"
CPU_BATCHES: Final = (1, 2)
"""A CPU is busy with one picture: more together are shown once, so that everybody sees it."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure."""

    sizes: tuple[tuple[int, int], ...] = ()
    """Width and height (pixels); each model's usual size where empty."""
    batches: tuple[int, ...] = ()
    """Pictures together; what the device may profit from where empty."""
    steps: int = 0
    """Steps of a picture; each model's usual number where 0."""
    seconds: float = 5.0
    """Least time (s) for each row: batches are drawn until it is over."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one model, size and batch."""

    model: str
    width: int
    height: int
    steps: int
    batch: int
    pictures_per_s: float
    pixel_steps_per_s: int
    memory_bytes: int
    """Most that the device gave; on a CPU the memory of the whole process."""
    load_s: float
    """From the order to load to the first picture that could be drawn: digest, weights, device."""
    device: str
    precision: str
    fault: str = ""
    """Why there are no figures, such as ``out_of_memory``; the others are 0 then."""


Told = Callable[[str], None]
"""Hears in a few words what is measured now."""


async def bench_engine(
    settings: EngineSettings, catalog: Catalog, options: BenchOptions, told: Told
) -> AsyncIterator[Row]:
    """Measure every model of the settings, each in a child of its own, and give each row when it is there.

    Raises:
        ConfigError: A model is unknown or not here.
        Unavailable: The child was lost, or a model cannot be loaded; the text says why.
    """
    for name, model in served_models(settings, catalog).items():
        place = find_model(model, settings.model_folders, settings.pulled_models)
        send, receive = trio.open_memory_channel[Report](REPORTS)
        async with open_child(settings.device, settings.resolved_threads()) as child, trio.open_nursery() as nursery:
            nursery.start_soon(_serve, child, send)
            bench = _ModelBench(settings, model, place, child, receive)
            told(f"{name}: loading")
            first = await bench.load()
            for size in options.sizes or (model.default_size,):
                for batch in options.batches or (CPU_BATCHES if first.device == "cpu" else BATCHES):
                    steps = options.steps or model.default_steps
                    told(f"{name}: {size[0]}x{size[1]}, {batch} together")
                    row = replace(first, width=size[0], height=size[1], steps=steps, batch=batch)
                    row = await bench.measure(row, options.seconds)
                    yield row
                    if row.fault:
                        break
            nursery.cancel_scope.cancel()


def count_rows(settings: EngineSettings, options: BenchOptions, *, on_cpu: bool) -> int:
    """Give how many rows there are at most, for a bar."""
    batches = options.batches or (CPU_BATCHES if on_cpu else BATCHES)
    return len(settings.models) * len(options.sizes or (None,)) * len(batches)


async def _serve(child: ChildProcess, reports: trio.MemorySendChannel[Report]) -> None:
    """Pass on what the child says; the end of the channel is the end of the child."""
    with reports:
        await child.serve(reports.send_nowait, lambda: None)


class _ModelBench:
    """One model in one child."""

    def __init__(
        self,
        settings: EngineSettings,
        model: CatalogModel,
        place: ModelPlace,
        child: ChildProcess,
        reports: trio.MemoryReceiveChannel[Report],
    ) -> None:
        self._settings = settings
        self._model = model
        self._place = place
        self._child = child
        self._reports = reports
        self._jobs = 0

    async def _next(self) -> Report:
        """Wait for the child's next word.

        Raises:
            Unavailable: It was lost.
        """
        try:
            return await self._reports.receive()
        except trio.EndOfChannel:
            raise Unavailable(f"{self._model.name}: the engine's child was lost: {self._child.lost_reason}") from None

    def _allow(self, seconds: float) -> None:
        """Give the child its time."""
        self._child.deadline = trio.current_time() + seconds

    async def load(self) -> Row:
        """Load the model, and give a row without figures."""
        started = await self._next()
        assert isinstance(started, Started)
        model = self._model
        precision = precision_of(model, self._settings, started.device)
        begin = trio.current_time()
        self._allow(model.loading_limit_ms / 1000 + BATCH_LIMIT_S)
        self._child.send(
            load_command(model, self._place, self._settings, started.device, (1,)),
        )
        while isinstance(loaded := await self._next(), InMemory):
            pass
        if isinstance(loaded, LoadFailed):
            raise Unavailable(f"{model.name} cannot be loaded: {loaded.reason}: cuckoo models check {model.name}")
        assert isinstance(loaded, Loaded)
        load_s = loaded.load_ms / 1000 if loaded.load_ms else trio.current_time() - begin
        return Row(model.name, 0, 0, 0, 0, 0.0, 0, 0, load_s, started.device, precision)

    async def measure(self, row: Row, seconds: float) -> Row:
        """Draw batches for so long, and give the row with its figures."""
        fault = await self._draw(replace(row, steps=min(2, row.steps)), 1)  # what a first batch of its shape costs
        if fault[0]:
            return replace(row, fault=fault[0])
        begin, batches, memory = trio.current_time(), 0, fault[1]
        while trio.current_time() - begin < seconds:
            # At least two in a row, so that compressing one beside drawing the next shows.
            reason, most = await self._draw(row, 2)
            if reason:
                return replace(row, fault=reason)
            batches, memory = batches + 2, max(memory, most)
        pictures_per_s = batches * row.batch / (trio.current_time() - begin)
        speed = round(pictures_per_s * row.width * row.height * row.steps)
        return replace(row, pictures_per_s=pictures_per_s, pixel_steps_per_s=speed, memory_bytes=memory)

    async def _draw(self, row: Row, batches: int) -> tuple[str, int]:
        """Draw so many batches, each handed over when the device is done with the last: (fault, most memory)."""
        left, open_jobs, memory, fault = batches - 1, set(self._begin(row)), 0, ""
        while open_jobs:
            report = await self._next()
            match report:
                case Progress(state="encoding"):
                    memory = max(memory, report.memory_bytes)
                    if left and not fault:
                        left -= 1
                        open_jobs.update(self._begin(row))
                case TooLarge():
                    fault = "out_of_memory"
                case Failed():
                    fault = fault or report.reason
                    open_jobs.discard(report.job)
                case Done():
                    open_jobs.discard(report.job)
                case _:
                    pass
        return fault, memory

    def _begin(self, row: Row) -> Sequence[int]:
        """Hand one batch to the child; gives its numbers."""
        jobs = range(self._jobs + 1, self._jobs + 1 + row.batch)
        self._jobs += row.batch
        self._allow(BATCH_LIMIT_S)
        self._child.send(
            Run(
                model=row.model,
                width=row.width,
                height=row.height,
                steps=row.steps,
                guidance=self._model.default_guidance,
                orders=tuple(Order(job=job, prompt=PROMPT, negative_prompt="", seed=job) for job in jobs),
            )
        )
        return jobs
