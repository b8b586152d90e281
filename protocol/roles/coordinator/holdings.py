"""Which unfinished tasks each miner was awarded: a stream that opens or ends concerns these, however many wait.

A miner chooses how often its stream breaks, and a queue is long. Spec: SPEC.md §8.2.
"""

from typing import final

from protocol.task.states import Task
from protocol.units import StakingId, TaskId


@final
class Holdings:
    """Tasks by the miners of their awards, of whatever attempt: any of them may deliver."""

    def __init__(self) -> None:
        """Start with nothing awarded."""
        self._by_miner: dict[StakingId, dict[TaskId, None]] = {}

    def add(self, miner: StakingId, task: TaskId) -> None:
        """A miner was awarded an attempt of a task."""
        self._by_miner.setdefault(miner, {})[task] = None

    def of(self, miner: StakingId) -> tuple[TaskId, ...]:
        """List the tasks that a miner was awarded and that have not ended, the first one first."""
        return tuple(self._by_miner.get(miner, ()))

    def forget(self, task: Task) -> None:
        """A task has ended."""
        for award in task.awards.values():
            self._pop(award.miner, task.id)

    def take_back(self, task: Task, attempt: int) -> None:
        """Leave an award out of a task, whose miner may have another of it."""
        miner = task.awards.pop(attempt).miner
        if not any(award.miner == miner for award in task.awards.values()):
            self._pop(miner, task.id)

    def _pop(self, miner: StakingId, task: TaskId) -> None:
        known = self._by_miner.get(miner)
        if known is not None:
            known.pop(task, None)
            if not known:
                del self._by_miner[miner]
