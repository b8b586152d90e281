"""Tasks whose apps left while a miner was at work: a picture that was on its way then is paid all the same.

Who orders is the coordinator's customer, not the miner's. An app sees when its picture is about to be there, and could
have miners blame whoever they work for. Spec: SPEC.md §9.9.
"""

from collections import OrderedDict
from typing import Final, final

from protocol.roles.core import Core
from protocol.task.states import Task
from protocol.units import StakingId, TaskId, UnixMillis

BYTES_MS: Final = 120_000
"""How much longer (ms) the bytes of a commitment that came in time may take: as long as the transport gives them."""
MOST_LEFT: Final = 64
"""Tasks remembered at once, with the bytes that came of them; the oldest goes first."""


@final
class LeftPictures:
    """What may still come of tasks that their apps ended."""

    def __init__(self, core: Core) -> None:
        """Begin with nothing."""
        self._core = core
        self._left: OrderedDict[TaskId, tuple[Task, UnixMillis]] = OrderedDict()
        """Each with the moment until which its miner's commitment may come."""

    def __len__(self) -> int:
        """Count the tasks that are remembered."""
        return len(self._left)

    def keep(self, task: Task) -> None:
        """Remember a task that its app ended while a miner held it: for a lease, in which the news reaches that one."""
        self._left[task.id] = task, UnixMillis(self._core.now + self._core.params.lease_ms)
        if len(self._left) > MOST_LEFT:
            self._left.popitem(last=False)

    def find(self, name: TaskId, attempt: int, miner: StakingId) -> Task | None:
        """Give a task that its app ended, for what this miner sends of the attempt that it held then."""
        task, until = self._left.get(name, (None, UnixMillis(0)))
        if task is None or task.attempt != attempt or task.awards[attempt].miner != miner:
            return None
        more_ms = BYTES_MS if task.awards[attempt].result is not None else 0
        if self._core.now > until + more_ms:
            self.forget(task)
            return None
        return task

    def forget(self, task: Task) -> None:
        """Wait for nothing more of a task."""
        self._left.pop(task.id, None)
