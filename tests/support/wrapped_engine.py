"""An engine around another one, for tests that change one thing that it does."""

import trio

from node.engine_report import EngineReport
from node.ports import Engine, EventSink, Ready
from protocol.effects import StartJob
from protocol.units import TaskId


class WrappedEngine:
    """Does all as the engine within."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, sink: EventSink, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        await self._engine.run(sink, task_status=task_status)

    def start(self, job: StartJob) -> None:
        self._engine.start(job)

    def cancel(self, task: TaskId, attempt: int) -> None:
        self._engine.cancel(task, attempt)

    def rest(self) -> None:
        self._engine.rest()

    def wake(self) -> None:
        self._engine.wake()

    def report(self) -> EngineReport:
        return self._engine.report()
