"""Who has pictures drawn over the overlay and leaves them untaken: that is its coordinator's loss, so there is a limit.

A picture that its app does not take costs the coordinator its price, and a sealed one a miner its work. Each that is
taken makes up for one that was not. Spec: SPEC.md §9.9.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, final

from protocol.effects import Refused
from protocol.roles.core import Core
from protocol.task.account import holders
from protocol.task.states import Task
from protocol.units import DurationMs, TaskId, UnixMillis

MOST: Final = 8
"""Untaken pictures after which an account gets none: a line that breaks, or a program that is killed, may cost some."""
FORGOTTEN_MS: Final = DurationMs(60_000)
"""How long (ms) until one of them is forgotten."""
REMEMBERED: Final = 4096
"""Accounts whose untaken pictures are remembered; the one that left one longest ago is forgotten first."""


@final
class Untaken:
    """Counts the pictures that were ready and not taken, by account and by all that may be one caller."""

    def __init__(self, core: Core, tasks: Mapping[TaskId, Task], unfinished_of: Mapping[str, int]) -> None:
        """Share the coordinator's unfinished tasks, and how many of them each account has."""
        self._core = core
        self._tasks = tasks
        self._unfinished_of = unfinished_of
        self._left: OrderedDict[str, tuple[int, UnixMillis]] = OrderedDict()
        """How many, and from when on the next of them is forgotten."""
        self._full: set[str] = set()
        """Of these, who got no more since ``others`` was asked."""

    def __len__(self) -> int:
        """Count the accounts that are remembered."""
        return len(self._left)

    def on_failed(self, task: Task) -> None:
        """A task ended without a picture; counted where that was ready, for whatever reason it was not taken."""
        if task.ready is not None:
            self.add(task)

    def add(self, task: Task) -> None:
        """Count a task whose app let a miner work, or wait, for nothing."""
        for holder, times in holders(task.account):
            count, since = self._count(holder)
            self._left[holder] = min(count + 1, times * MOST), since
            self._left.move_to_end(holder)
            if count + 1 >= times * MOST:
                self._full.add(holder)
            if len(self._left) > REMEMBERED:
                self._left.popitem(last=False)

    def on_done(self, task: Task) -> None:
        """A picture was taken."""
        if task.collected and self._left:
            for holder, _ in holders(task.account):
                count, since = self._count(holder)
                self._left.pop(holder, None)
                if count > 1:
                    self._left[holder] = count - 1, since

    def refusal(self, account: str) -> Refused | None:
        """Say why an account gets no more drawn now: it may have no more under way than it left fewer than ``MOST``."""
        for holder, times in holders(account) if self._left else ():
            count, since = self._count(holder)
            if count and self._unfinished_of.get(holder, 0) >= times * MOST - count:
                wait_s = max(1, (since + FORGOTTEN_MS - self._core.now + 999) // 1000)
                detail = f"{count} pictures of yours were ready and not taken; each that is taken makes up for one"
                return Refused("rate_limited", detail, wait_s)
        return None

    def others(self) -> tuple[Task, ...]:
        """Give what is to end, once for each that was added: what waits for a miner, of who gets no more."""
        if not self._full:
            return ()
        full, self._full = self._full, set()
        waiting = (
            task
            for task in self._tasks.values()
            if task.collected and not task.taken and task.ready is None and task.holder is None
        )
        return tuple(task for task in waiting if any(holder in full for holder, _ in holders(task.account)))

    def _count(self, holder: str) -> tuple[int, UnixMillis]:
        """Give how many are not forgotten, and from when on the next one is."""
        now = self._core.now
        count, since = self._left.get(holder, (0, now))
        forgotten = max(now - since, 0) // FORGOTTEN_MS
        return (count - forgotten, UnixMillis(since + forgotten * FORGOTTEN_MS)) if forgotten < count else (0, now)
