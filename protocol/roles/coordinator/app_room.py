"""How much of one account's work miners have at once: little where it is new, more with each picture that it takes.

A picture that its app leaves costs its coordinator the price, and a key that does not come a miner's time. So what is
out, offered and not ended, is bounded for each account; the rest waits here, and that of others goes on meanwhile.
Spec: SPEC.md §9.9.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Final, final

from protocol.task.account import holders
from protocol.task.states import Task
from protocol.units import TaskId, UnixMillis

FIRST: Final = 4
"""Tasks of an account that are out at once before it has taken a picture: what a person orders at a time."""
MOST: Final = 1024
"""The same of one that took many; a picture more with each: so twice as many are out after each round of them."""
REMEMBERED: Final = 4096
"""Accounts that are remembered; of the one that took or left something longest ago it is forgotten first."""
MOST_STALE: Final = 64
"""Entries of tasks that have ended, in the queue of one account, before it is made anew."""
ACCOUNT_FULL: Final = "account_full"
"""Why a task waits: others of its account are out, as many as it has shown that it takes."""
GIVEN_UP: Final = frozenset({"cancelled", "client_gone", "not_taken", "app_gone", "not_accepted", "sealed_invalid"})
"""Ends of a task by its app. Once a miner had it they halve what is out at once."""


@final
class AppRoom:
    """Counts what is out, of collected tasks alone: no other waits for its app's word or key."""

    def __init__(self, tasks: Mapping[TaskId, Task]) -> None:
        """Share the coordinator's unfinished tasks."""
        self._tasks = tasks
        self._room: OrderedDict[str, int] = OrderedDict()
        self._out: dict[str, set[TaskId]] = {}
        self._queues: dict[str, list[tuple[UnixMillis, int, TaskId]]] = {}
        """By whose lack of room they wait: tasks with deadline and number, and some that have ended."""
        self._stale: dict[str, int] = {}
        """How many have ended, of each queue."""
        self._waits_for: dict[TaskId, str] = {}
        self._freed: list[tuple[str, int]] = []
        """Whose tasks ended since ``next`` was asked."""

    def __len__(self) -> int:
        """Count the accounts that are remembered."""
        return len(self._room)

    def waiting(self) -> int:
        """Count the tasks that wait for their account's room: however many miners are free, none may have them."""
        return len(self._waits_for)

    def room(self, holder: str) -> int:
        """Give how many tasks of an account may be out at once."""
        return self._room.get(holder, FIRST)

    def lets(self, task: Task) -> bool:
        """Say whether a task may be offered, and is out from then on; else it is queued here, and says why it waits."""
        if not task.collected or not task.account or task.id in self._out.get(task.account, ()):
            return True
        if task.id in self._waits_for:
            return False
        for holder, times in holders(task.account):
            if not self._has_room(holder, times):
                self._waits_for[task.id] = holder
                heappush(self._queues.setdefault(holder, []), (task.deadline, task.number, task.id))
                task.count(ACCOUNT_FULL)
                return False
        self.restore(task)
        return True

    def restore(self, task: Task) -> None:
        """Count a task as out, as one is that a miner had when an earlier run ended."""
        if task.collected:
            for holder, _ in holders(task.account):
                self._out.setdefault(holder, set()).add(task.id)

    def on_end(self, task: Task, reason: str | None) -> None:
        """A task has ended, with a picture where there is no ``reason``."""
        if not task.collected:
            return
        waited_for = self._waits_for.pop(task.id, None)
        if waited_for is not None:
            self._tidy(waited_for)
        for holder, times in holders(task.account):
            out = self._out.get(holder, set())
            out.discard(task.id)
            if not out:
                self._out.pop(holder, None)
            self._freed.append((holder, times))
            if reason is None:
                self._remember(holder, min(self.room(holder) + 1, MOST))
            elif reason in GIVEN_UP and task.awards:
                self._remember(holder, max(self.room(holder) // 2, 1))

    def next(self) -> Iterator[Task]:
        """Give the tasks for which there is room again, the most urgent of an account first, to be offered at once."""
        freed, self._freed = self._freed, []
        for holder, times in freed:
            queue = self._queues.get(holder)
            while queue and self._has_room(holder, times):
                _, _, name = heappop(queue)
                if self._waits_for.get(name) == holder:
                    del self._waits_for[name]
                    yield self._tasks[name]
                else:
                    self._stale[holder] -= 1
            if queue is not None and not queue and self._queues.get(holder) is queue:
                self._queues.pop(holder, None)
                self._stale.pop(holder, None)

    def _has_room(self, holder: str, times: int) -> bool:
        return len(self._out.get(holder, ())) < times * self.room(holder)

    def _remember(self, holder: str, room: int) -> None:
        self._room[holder] = room
        self._room.move_to_end(holder)
        if len(self._room) > REMEMBERED:
            self._room.popitem(last=False)

    def _tidy(self, holder: str) -> None:
        """One of a queue has ended: rid it of such where they are many."""
        queue = self._queues[holder]
        self._stale[holder] = self._stale.get(holder, 0) + 1
        if self._stale[holder] > max(MOST_STALE, len(queue) // 2):
            queue[:] = [entry for entry in queue if self._waits_for.get(entry[2]) == holder]
            heapify(queue)
            self._stale[holder] = 0
