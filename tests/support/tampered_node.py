"""``cuckoo node`` with one part of it tampered with, for tests that need a process which fails at a certain moment.

    python -m tests.support.tampered_node --kill-at TaskAwarded --kill before -- node --role coordinator --config …

The process kills itself, as ``kill -9`` does, right before or right after the first batch with a record of that type
becomes durable. ``--engine garbage`` stands in for the engine's pictures by bytes that are none, and ``--cheat`` has
its key sign what contradicts itself (``tests.support.double_signing``).
"""

import argparse
import hashlib
import os
import signal
import sys
from dataclasses import replace
from typing import Any

import trio

from node import compose
from node.cli.main import main
from node.ports import EventSink, Ports, Ready, Store
from protocol.events import Event, JobFinished
from protocol.records import Record
from protocol.units import Digest
from tests.support.double_signing import CHEATS
from tests.support.wrapped_engine import WrappedEngine

GARBAGE = b"a picture that nobody can look at" * 8


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


class _Spoiling:
    def __init__(self, sink: EventSink) -> None:
        self._sink = sink

    async def post(self, event: Event) -> None:
        if isinstance(event, JobFinished):
            event = replace(event, data=GARBAGE, digest=Digest(hashlib.sha256(GARBAGE).digest()))
        await self._sink.post(event)


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kill-at", default="")
    parser.add_argument("--kill", choices=("before", "after"), default="after")
    parser.add_argument("--engine", choices=("honest", "garbage"), default="honest")
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
        if chosen.engine == "garbage" and ports.engine is not None:
            ports = replace(ports, engine=GarbageEngine(ports.engine))
        return ports

    compose.real_ports = tampered
    sys.argv = ["cuckoo", *[word for word in chosen.command if word != "--"]]
    main()


if __name__ == "__main__":
    run()
