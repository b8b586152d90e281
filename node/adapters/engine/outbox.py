"""Events of an engine on their way to the core, which may be slower than the engine."""

from collections import deque

import trio

from node.ports import EventSink
from protocol.events import EngineChanged, JobFailed, JobFinished, JobProgress
from protocol.units import TaskId

JobKey = tuple[TaskId, int]
"""(task, attempt)."""


class Outbox:
    """Keeps every end of a job and every change of the engine, but only the latest progress of each job.

    So it never blocks the engine, and its size is bounded by the jobs that the core itself started.
    """

    def __init__(self) -> None:
        self._lasting: deque[EngineChanged | JobFinished | JobFailed] = deque()
        self._progress: dict[JobKey, JobProgress] = {}
        self._wake = trio.Event()

    def progress(self, event: JobProgress) -> None:
        """Tell where a job stands; replaces what was not yet delivered."""
        self._progress[event.task, event.attempt] = event
        self._wake.set()

    def end(self, event: JobFinished | JobFailed) -> None:
        """Tell that a job has ended; progress not yet delivered is dropped, so that nothing follows the end."""
        self._progress.pop((event.task, event.attempt), None)
        self._lasting.append(event)
        self._wake.set()

    def changed(self, event: EngineChanged) -> None:
        """Tell what the engine can do now."""
        self._lasting.append(event)
        self._wake.set()

    async def pump(self, sink: EventSink) -> None:
        """Hand everything to the sink, for ever."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._lasting or self._progress:
                if self._lasting:
                    await sink.post(self._lasting.popleft())
                else:
                    key = next(iter(self._progress))
                    await sink.post(self._progress.pop(key))
