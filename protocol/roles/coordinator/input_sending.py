"""The coordinator's half of the pictures that tasks begin from: room for them, and their way to the winner.

They are on disk before their task is acknowledged and until it ends, go to nobody but the miner that was awarded an
attempt, and are named by digest in its specification. Spec: SPEC.md §9.8.
"""

from collections import Counter
from typing import Final, final

from protocol.effects import Refused, SendInput
from protocol.errors import InvalidMessage
from protocol.events import TaskSubmitted
from protocol.notes import NoteName
from protocol.roles.core import Core
from protocol.task.account import holders
from protocol.task.inputs import check_inputs
from protocol.task.states import AwardedAttempt, Task
from protocol.units import PeerId

MAX_INPUTS_ON_DISK: Final = 1024 * 1024 * 1024
"""Bytes of pictures of all unfinished tasks of one coordinator: 64 tasks with the largest, 1,000 with usual ones."""
MAX_SENDS: Final = 8
"""How often the pictures of one award are sent: each is up to 16 MiB, and a miner asks for them with 200 bytes."""
SEND_PACE_MS: Final = 4000
"""Least time (ms) between two of these: less than the pause after which a miner asks again."""
BUSY_RETRY_S: Final = 30
"""What an app is told to wait (s) when there is no room for its pictures."""


@final
class InputRoom:
    """Counts the bytes on disk, of all and of each account."""

    def __init__(self) -> None:
        """Start with none."""
        self._all = 0
        self._of: Counter[str] = Counter()

    def add(self, task: Task) -> None:
        """Count a task's pictures."""
        self._count(task, task.input_bytes)

    def remove(self, task: Task) -> None:
        """Count them no longer: the task ended, and they are gone."""
        self._count(task, -task.input_bytes)

    def _count(self, task: Task, size: int) -> None:
        self._all += size
        for holder, _ in holders(task.account) if size else ():
            self._of[holder] += size
            if not self._of[holder]:
                del self._of[holder]

    def refusal(self, event: TaskSubmitted) -> Refused | None:
        """Say what is wrong with the pictures of a submission, or that there is no room for them."""
        try:
            check_inputs(event.specification, event.inputs)
        except InvalidMessage as problem:
            return Refused(problem.rule.replace(".", "_"), problem.detail)
        size = sum(len(data) for data in event.inputs.values())
        free = MAX_INPUTS_ON_DISK - self._all
        shares = [self._of[holder] + size <= times * (free - size) for holder, times in holders(event.account)]
        if size and (size > free or not all(shares)):
            detail = "too many pictures of unfinished tasks are kept here; wait for some to end, or try another"
            return Refused("busy", f"{detail} coordinator", BUSY_RETRY_S)
        return None


def send_inputs(core: Core, task: Task, award: AwardedAttempt, peer: PeerId) -> None:
    """Send a winner the pictures of its task, at a pace: once it says that it waits, and when it repeats its claim."""
    if not task.specification.inputs or award is not task.holder:
        return
    if award.inputs_sent and (award.inputs_sent >= MAX_SENDS or core.now < award.inputs_sent_at + SEND_PACE_MS):
        core.note(NoteName.MESSAGE_IGNORED, task.id, rule="input.pace", miner=award.miner)
        return
    award.inputs_sent += 1
    award.inputs_sent_at = core.now
    core.emit(*(SendInput(peer, task.id, award.attempt, digest) for digest in task.specification.inputs))
