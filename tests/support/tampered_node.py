"""``cuckoo node`` with one part of it tampered with, for tests that need a process which fails at a certain moment.

    python -m tests.support.tampered_node --kill-at TaskAwarded --kill before -- node --role coordinator --config …

The process kills itself, as ``kill -9`` does, right before or right after the first batch with a record of that type
becomes durable. ``--engine garbage`` stands in for the engine's pictures by bytes that are none, ``--engine wrong``
draws something else than was ordered, ``--engine painted`` makes of an instant engine one by whose pictures jurors can
judge, rightly or not, and ``--cheat`` has its key sign what contradicts itself (``tests.support.double_signing``).
"""

import argparse
import hashlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from node import compose
from node.adapters.engine.picture import solid_png
from node.cli.main import main
from node.ports import Engine, EventSink, Ports, Ready, Store
from protocol.effects import StartJob
from protocol.events import EngineChanged, Event, JobFinished
from protocol.records import Record
from protocol.units import Digest, TaskId
from protocol.wire.specification import TaskSpecification
from tests.support.double_signing import CHEATS
from tests.support.wrapped_engine import WrappedEngine

WRONG_PROMPT = "a green turtle"
GARBAGE = b"a picture that nobody can look at" * 8
ERRING = "ERRING"
"""Variable with the path of a file: while it is there, painted pictures are of something else."""


class MortalStore:
    """A store at one of whose steps the process dies."""

    def __init__(self, store: Store, record: str, when: str) -> None:
        self._store = store
        self._record = record
        self._when = when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def persist(self, records: tuple[Record, ...]) -> None:
        mortal = any(type(record).__name__ == self._record for record in records)
        if mortal and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        await self._store.persist(records)
        if mortal:
            os.kill(os.getpid(), signal.SIGKILL)


class GarbageEngine(WrappedEngine):
    """An engine whose pictures are none."""

    async def run(self, sink: EventSink, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        await super().run(_Spoiling(sink), task_status=task_status)


class WrongEngine(WrappedEngine):
    """An engine that draws another prompt, so that its pictures are good ones of something else."""

    def start(self, job: StartJob) -> None:
        wrong = job.specification.model_copy(update={"prompt": WRONG_PROMPT, "seed": job.specification.seed ^ 1})
        super().start(replace(job, specification=wrong))


class _Spoiling:
    def __init__(self, sink: EventSink) -> None:
        self._sink = sink

    async def post(self, event: Event) -> None:
        if isinstance(event, JobFinished):
            event = replace(event, data=GARBAGE, digest=Digest(hashlib.sha256(GARBAGE).digest()))
        await self._sink.post(event)


class PaintedEngine(WrappedEngine):
    """An instant engine with an arithmetic, and a picture that follows from the order: slightly, from its guidance.

    As jurors need it. It errs while the file that ``ERRING`` names is there.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._ordered: dict[tuple[TaskId, int], TaskSpecification] = {}

    async def run(self, sink: EventSink, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        await super().run(_Painting(sink, self._ordered), task_status=task_status)

    def start(self, job: StartJob) -> None:
        self._ordered[job.task, job.attempt] = job.specification
        super().start(job)


class _Painting:
    def __init__(self, sink: EventSink, ordered: dict[tuple[TaskId, int], TaskSpecification]) -> None:
        self._sink = sink
        self._ordered = ordered

    async def post(self, event: Event) -> None:
        if isinstance(event, EngineChanged):
            event = replace(event, models=tuple(replace(one, numerics="float32-cpu") for one in event.models))
        elif isinstance(event, JobFinished):
            ordered = self._ordered.pop((event.task, event.attempt))
            red, green = (40, 200) if Path(os.environ[ERRING]).exists() else (200, 40)
            data = solid_png(ordered.width, ordered.height, bytes((red, green, round(16 * ordered.guidance) % 256)))
            event = replace(event, data=data, digest=Digest(hashlib.sha256(data).digest()))
        await self._sink.post(event)


ENGINES = {"honest": WrappedEngine, "garbage": GarbageEngine, "wrong": WrongEngine, "painted": PaintedEngine}


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kill-at", default="")
    parser.add_argument("--kill", choices=("before", "after"), default="after")
    parser.add_argument("--engine", choices=tuple(ENGINES), default="honest")
    parser.add_argument("--cheat", choices=CHEATS)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    if chosen.cheat:
        CHEATS[chosen.cheat]()
    honest = compose.real_ports

    def tampered(*arguments: Any, **named: Any) -> Ports:
        ports = honest(*arguments, **named)
        if chosen.kill_at:
            ports = replace(ports, store=MortalStore(ports.store, chosen.kill_at, chosen.kill))
        if ports.engine is not None:
            ports = replace(ports, engine=ENGINES[chosen.engine](ports.engine))
        return ports

    compose.real_ports = tampered
    sys.argv = ["cuckoo", *[word for word in chosen.command if word != "--"]]
    main()


if __name__ == "__main__":
    run()
