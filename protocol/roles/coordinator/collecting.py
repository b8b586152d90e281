"""Tasks whose app takes the picture by its word, so that one order of several coordinators is paid by one of them.

An app that moves its order on when a coordinator falls silent gives that word to one coordinator alone; without it
the order's app owes nothing. A coordinator may die at any moment, and an order still is delivered at most once.
Spec: SPEC.md §9.9.
"""

from collections.abc import Callable
from typing import Final, final

from protocol.effects import CancelTimer
from protocol.events import Acceptance, AppLeft, AppReturned, TaskTaken
from protocol.roles.core import Core
from protocol.task.states import Task
from protocol.units import TaskId

APP_LEASE_MS: Final = 15_000
"""How long (ms) an app may be away, or leave a good picture untaken, before its task ends and its miner is stopped. A
coordinator that is started again is back within two seconds, and a line that broke within ten."""
NOT_TAKEN: Final = "not_taken"
"""Reason of the end of a task: its picture was there, and its app did not take it."""


@final
class Collecting:
    """Hears the apps of collected tasks."""

    def __init__(
        self,
        core: Core,
        tasks: dict[TaskId, Task],
        accepts: Callable[[Task, Acceptance | None], bool],
        on_taken: Callable[[Task], None],
    ) -> None:
        """Share the coordinator's tasks; where one ``accepts`` an app's word, ``on_taken`` ends it once it is ready."""
        self._core = core
        self._accepts = accepts
        self._tasks = tasks
        self._on_taken = on_taken

    def on_app(self, event: TaskTaken | AppLeft | AppReturned) -> None:
        """Take one event; what has ended, or is none of these tasks, is let alone."""
        task = self._tasks.get(event.task)
        if task is None or not task.collected:
            return
        core, timer = self._core, ("app", task.id, 0)
        match event:
            case TaskTaken(acceptance=acceptance) if not self._accepts(task, acceptance):
                pass
            case TaskTaken():
                # From now on it stays here, whether its app is there or not: that can go nowhere else.
                core.emit(CancelTimer(timer))
                self._on_taken(task)
            case AppLeft(at=at):
                if not task.taken and task.ready is None:
                    core.set_timer(timer, max(at + APP_LEASE_MS, core.now))
            case AppReturned():
                if task.ready is None:
                    core.emit(CancelTimer(timer))
                elif task.returned_for != task.ready:
                    # Once: else an app that comes and goes has its miner wait for ever, and is never judged.
                    task.returned_for = task.ready
                    core.set_timer(timer, core.now + APP_LEASE_MS)
