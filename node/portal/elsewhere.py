"""What other coordinators say in public of their tasks, as steps that a person can look at.

Everything here was in gossip that this node accepted and forwards anyway. It is each coordinator's word of its own
tasks, bounded in measure: a busy or hostile one fills neither memory nor the screens of those who look.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, final

from node.portal.ports import Happening
from protocol.units import StakingId, TaskId, UnixMillis
from protocol.wire.messages import Bulletin

OFFERED: Final = "heard.offered"
AWARDED: Final = "heard.awarded"
CLOSED: Final = "heard.closed"
TASKS_PER_S: Final = 5
"""New tasks a second, of all other coordinators together, whose steps are told; as many as of our own."""
TASKS_PER_COORDINATOR_PER_S: Final = 3
"""Of these, tasks of one coordinator: no one crowds the others out."""
MAX_FOLLOWED: Final = 256
"""Tasks whose later steps are told; whose end is never heard, the oldest is forgotten."""
TASK_DIGITS: Final = 12
"""Hexadecimal digits of a task's id that are told."""


@final
class Elsewhere:
    """Picks what is told of the tasks of other coordinators."""

    def __init__(self, own_id: Callable[[], StakingId | None]) -> None:
        """Begin; ``own_id`` says which coordinator is not another."""
        self._own_id = own_id
        self._followed: OrderedDict[tuple[StakingId, TaskId], None] = OrderedDict()
        self._second = -1
        self._in_second: dict[StakingId, int] = {}

    def steps(self, bulletin: Bulletin, now: UnixMillis) -> Iterator[Happening]:
        """Give what is told of one bulletin, which was accepted just now."""
        coordinator = StakingId(bulletin.coordinator)
        if coordinator == self._own_id():
            return
        about: dict[str, str | int] = {"coordinator": coordinator, "model": bulletin.model}
        for offer in bulletin.offers:
            if self._follows(coordinator, offer.task, now):
                yield _step(now, OFFERED, offer.task, {**about, "attempt": offer.attempt})
        for award in bulletin.awards:
            if (coordinator, award.task) in self._followed:
                yield _step(now, AWARDED, award.task, {**about, "attempt": award.attempt, "miner": award.winner})
        for closure in bulletin.closures:
            if (coordinator, closure.task) in self._followed:
                del self._followed[coordinator, closure.task]
                yield _step(now, CLOSED, closure.task, {**about, "reason": closure.reason})

    def _follows(self, coordinator: StakingId, task: TaskId, now: UnixMillis) -> bool:
        """Say whether the steps of this task are told: all of them from its offer on, or none."""
        if (coordinator, task) in self._followed:
            return True
        second = now // 1000
        if second != self._second:
            self._second, self._in_second = second, {}
        of_it = self._in_second.get(coordinator, 0)
        if of_it >= TASKS_PER_COORDINATOR_PER_S or sum(self._in_second.values()) >= TASKS_PER_S:
            return False
        self._in_second[coordinator] = of_it + 1
        self._followed[coordinator, task] = None
        if len(self._followed) > MAX_FOLLOWED:
            self._followed.popitem(last=False)
        return True


def _step(now: UnixMillis, name: str, task: TaskId, fields: dict[str, str | int]) -> Happening:
    return Happening(now, name, task.hex()[:TASK_DIGITS], fields)
