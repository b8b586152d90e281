"""The coordinator's half of sealed tasks: it carries keys and pictures that it cannot open, and hears their apps.

award -> the app is shown it -> its key -> to the miner -> a sealed picture -> to the app -> its signed word -> paid.
Spec: SPEC.md §9.10.
"""

from collections.abc import Callable
from typing import Final, final

from protocol.crypto.keys import address_of_peer_id
from protocol.effects import CancelTimer, Send
from protocol.errors import InvalidMessage
from protocol.events import Acceptance, KeyGiven, PictureRejected
from protocol.notes import NoteName
from protocol.roles.coordinator.assignment import Assignment
from protocol.roles.coordinator.award_showing import KEY_MS
from protocol.roles.coordinator.settlement import Settlement
from protocol.roles.core import Core
from protocol.task.acceptance import check_acceptance
from protocol.task.states import Task
from protocol.units import TaskId

APP_GONE: Final = "app_gone"
"""Reason of the end of a task: it was awarded, and its app did not give the key."""
NOT_ACCEPTED: Final = "not_accepted"
"""Reason of a ``reject``, and of the end of a task: its app says that what was drawn is not what it ordered."""


@final
class SealedTasks:
    """Hears the apps of sealed tasks, beside what all collected tasks have."""

    def __init__(
        self,
        core: Core,
        tasks: dict[TaskId, Task],
        settlement: Settlement,
        assignment: Assignment,
        end: Callable[[Task, str], None],
    ) -> None:
        """Share the coordinator's tasks; ``end`` ends one without a picture, for a reason, down to the GPU."""
        self._core = core
        self._tasks = tasks
        self._settlement = settlement
        self._assignment = assignment
        self._end = end

    def on_app(self, event: KeyGiven | PictureRejected) -> None:
        """Take one event; what is of no award or picture that waits for it is ignored."""
        task = self._tasks.get(event.task)
        if task is None or task.specification.sealed is None:
            return
        match event:
            case KeyGiven():
                self._on_key(task, event)
            case PictureRejected(attempt=attempt):
                self._on_rejected(task, attempt)

    def _on_key(self, task: Task, event: KeyGiven) -> None:
        """Carry a key, once, to the miner that has the award for which it is sealed.

        Said again it goes nowhere: a miner that it has not reached asks, and no app is to fill a miner's line with it.
        """
        core, holder = self._core, task.holder
        if holder is None or (holder.attempt, holder.award_digest) != (event.attempt, event.award):
            core.note(NoteName.MESSAGE_IGNORED, task.id, rule="order_key.stale")
            return
        if holder.sealed_key is not None:
            core.note(NoteName.MESSAGE_IGNORED, task.id, rule="order_key.repeated")
            return
        holder.sealed_key, holder.sealed_key_at = event.sealed_key, core.now
        core.emit(CancelTimer(("key", task.id, 0)), Send(holder.peer, holder.message()))

    def on_timer(self, task: Task) -> None:
        """An app did not give the key in time: the miner is free, and the app has few more awarded."""
        holder = task.holder
        if holder is None or holder.sealed_key is not None:
            return
        if self._core.now < holder.awarded_at + KEY_MS:
            return  # of an earlier award
        self._settlement.untaken.add(task)
        self._end(task, APP_GONE)

    def accepts(self, task: Task, acceptance: Acceptance | None) -> bool:
        """Say whether an app takes what waits for it: of a sealed task by its signed word on that alone."""
        if task.specification.sealed is None:
            return True
        award = task.awards.get(task.ready) if task.ready is not None else None
        problem = "acceptance.missing"
        if acceptance is not None and award is not None and award.result is not None:
            artifact = award.result.commitment.artifact
            network = self._core.identity.network_id
            try:
                app = address_of_peer_id(acceptance.app)
                check_acceptance(app, network, award.award_digest, artifact, acceptance.signature)
            except InvalidMessage as error:
                problem = error.rule
            else:
                task.acceptance = acceptance.signature
                return True
        self._core.note(NoteName.MESSAGE_IGNORED, task.id, rule=problem)
        return False

    def _on_rejected(self, task: Task, attempt: int) -> None:
        """An app cannot use what came. We cannot see who lies: another miner draws it, once, and nobody is paused."""
        core, award = self._core, task.awards.get(attempt)
        if task.ready != attempt or award is None or task.taken:
            core.note(NoteName.MESSAGE_IGNORED, task.id, rule="order_rejection.stale")
            return
        self._settlement.untaken.add(task)
        task.ready = None
        core.emit(CancelTimer(("app", task.id, 0)))
        self._settlement.reject(award.peer, task.id, attempt, NOT_ACCEPTED)
        self._assignment.on_not_accepted(task, award, NOT_ACCEPTED)
