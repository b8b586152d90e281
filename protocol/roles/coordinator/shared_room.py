"""Places for what is done after tasks have ended, of which no account takes more than are left for all others.

Spec: SPEC.md §9.1, §12.8.
"""

from collections import Counter
from typing import final

from protocol.task.account import holders
from protocol.units import TaskId


@final
class SharedRoom:
    """Who takes how many of so many places."""

    def __init__(self) -> None:
        """Begin with nobody's."""
        self._account: dict[TaskId, str] = {}
        self._taken: Counter[str] = Counter()
        """How many each account has, and all together that may be one caller."""

    def lets(self, account: str, free: int) -> bool:
        """Say whether an account may take one of the places that are free."""
        return free > 0 and all(self._taken[holder] < times * free for holder, times in holders(account))

    def take(self, task: TaskId, account: str) -> None:
        """Take a place for a task of an account."""
        self._account[task] = account
        self._taken.update(holder for holder, _ in holders(account))

    def leave(self, task: TaskId) -> None:
        """Give a task's place back, if it has one."""
        for holder, _ in holders(self._account.pop(task, "")):
            self._taken[holder] -= 1
            if not self._taken[holder]:
                del self._taken[holder]
