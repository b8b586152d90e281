"""The desk between app-facing adapters and the coordinator's core: hand in, follow, cancel, find.

It turns the core's ``Reply`` and ``Deliver`` effects into answers for whoever waits. It decides nothing.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, final

import trio

from node.desk_ports import NO_INPUTS, OfferedModel, Waiting
from node.ports import Store, StoredTask
from protocol.effects import Accepted, Refused, Stage, Update
from protocol.events import (
    Acceptance,
    AppLeft,
    AppReturned,
    Event,
    KeyGiven,
    PictureRejected,
    TaskCancelled,
    TaskSubmitted,
    TaskTaken,
)
from protocol.records import Record, TaskAccepted
from protocol.task.priority import Priority
from protocol.units import Digest, TaskId, UnixMillis, Wei
from protocol.wire.messages import TaskSpecification

WATCHER_UPDATES: Final = 256
"""Updates that wait for one slow watcher; beyond it progress is skipped, ends never are."""
ANSWER_LIMIT_S: Final = 5.0
"""Longest wait (s) for the core's answer to a submission; it comes within milliseconds unless the node is stopping."""
FULL_RETRY_S: Final = 30
"""What an app is told to wait (s) while the disk is full: somebody has to make room."""
NO_ANSWER: Final = Refused("busy", "this coordinator is stopping", 5)
FINISHED_KEPT: Final = 1024
"""Ended tasks whose whole story is kept in memory; of older ones the store knows the end."""
REPEATED_STAGES: Final = frozenset({Stage.PROGRESS, Stage.OFFERED})
"""Only the latest of these in a row is kept: a task in a long queue is offered again hundreds of times."""
LAST_STAGES: Final = frozenset({Stage.DONE, Stage.FAILED})


@final
@dataclass(eq=False, slots=True)
class _End:
    """The end of a task that somebody waits for."""

    came: trio.Event = field(default_factory=trio.Event)
    update: Update | None = None
    waiting: int = 0


@final
class TaskDesk:
    """Implements ``node.ports.Desk`` over one driver."""

    def __init__(
        self,
        store: Store,
        models: Callable[[], tuple[OfferedModel, ...]],
        ready: Callable[[], tuple[bool, str]],
        waiting: Callable[[TaskId], Waiting | None] = lambda _: None,
        price: Callable[[TaskSpecification], Wei] = lambda _: Wei(0),
    ) -> None:
        """Read ended tasks from ``store``; the functions ask the core. ``connect`` comes before use."""
        self._store = store
        self._models = models
        self._ready = ready
        self._why_waiting = waiting
        self._price = price
        self._requests = 0
        self._waiting: dict[int, trio.Event] = {}
        self._answers: dict[int, Accepted | Refused] = {}
        self._given_up: set[int] = set()
        """Attached submissions whose app was told that nobody answered."""
        self._stories: dict[TaskId, list[Update]] = {}
        self._finished: OrderedDict[TaskId, list[Update]] = OrderedDict()
        self._watchers: dict[TaskId, set[trio.MemorySendChannel[Update]]] = {}
        self._ends: dict[TaskId, _End] = {}
        """What is waited for, of tasks that have not ended."""
        self._closed: Refused | None = None
        """What submissions are told while nothing can be made durable."""
        self._unanswered = NO_ANSWER
        """What one is told that the core does not answer."""

    def connect(
        self, post: Callable[[Event], Awaitable[None]], kept_back: Callable[[], Iterable[Record]] = tuple
    ) -> None:
        """Hand events in by ``post``: the driver, which in turn answers through this desk.

        ``kept_back`` gives the records that are not handed to the store yet.
        """
        self._post = post
        self._kept_back = kept_back

    # What apps call

    async def submit(
        self,
        specification: TaskSpecification,
        *,
        detached: bool,
        idempotency_key: str | None = None,
        priority: Priority = Priority.NORMAL,
        account: str = "",
        inputs: Mapping[Digest, bytes] = NO_INPUTS,
        collected: bool = False,
        may_be_disputed: bool = False,
    ) -> Accepted | Refused:
        """Hand in one task; on ``Accepted`` a detached one is on disk.

        One that is refused because nobody answered may be taken all the same: if it is attached it is cancelled then,
        if not it goes on, and its key finds it.
        """
        if self._closed is not None:
            return self._closed
        self._requests += 1
        request = self._requests
        answered = self._waiting[request] = trio.Event()
        posted = False
        try:
            # The app may leave before the answer: without waiting for it nobody would know what to cancel.
            with trio.move_on_after(ANSWER_LIMIT_S, shield=True):
                submitted = TaskSubmitted(
                    request=request,
                    specification=specification,
                    detached=detached,
                    idempotency_key=idempotency_key,
                    priority=priority,
                    account=account,
                    inputs=inputs,
                    collected=collected,
                    may_be_disputed=may_be_disputed,
                )
                await self._post(submitted)
                posted = True
                await answered.wait()
            if request not in self._answers and posted and not detached:
                self._given_up.add(request)
            answer = self._answers.get(request) or self._unanswered
        finally:
            self._waiting.pop(request, None)
            self._answers.pop(request, None)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            if isinstance(answer, Accepted) and not detached:
                with trio.move_on_after(ANSWER_LIMIT_S, shield=True):
                    await self.cancel(answer.task)
            raise
        return answer

    def latest(self, task: TaskId) -> Update | None:
        """Give the last news of a task that was accepted or ended in this run; None for any other."""
        story = self._stories.get(task) or self._finished.get(task)
        return story[-1] if story else None

    async def ended(self, task: TaskId) -> Update | None:
        """Wait for the end of a task; None for one that nobody knows. It costs less than to hear of everything."""
        story = self._stories.get(task) or self._finished.get(task)
        if story is None:
            stored = await self._stored_story(task)
            story = self._stories.get(task) or self._finished.get(task) or stored
        if not story:
            return None
        if story[-1].stage in LAST_STAGES:
            return story[-1]
        self._stories.setdefault(task, story)
        end = self._ends.setdefault(task, _End())
        end.waiting += 1
        try:
            await end.came.wait()
        finally:
            end.waiting -= 1
            if not end.waiting:
                self._ends.pop(task, None)
        return end.update

    @asynccontextmanager
    async def watch(self, task: TaskId) -> AsyncGenerator[AsyncIterator[Update], None]:
        """Follow a task; the iterator ends after ``DONE`` or ``FAILED``, also for a task that ended before."""
        send, receive = trio.open_memory_channel[Update](WATCHER_UPDATES)
        stored = [] if task in self._stories or task in self._finished else await self._stored_story(task)
        story = self._stories.get(task) or self._finished.get(task) or stored
        for update in story[-WATCHER_UPDATES // 2 :]:
            send.send_nowait(update)
        if story and story[-1].stage not in LAST_STAGES:
            self._stories.setdefault(task, story)
            self._watchers.setdefault(task, set()).add(send)
        else:
            send.close()
        try:
            yield receive
        finally:
            receive.close()
            send.close()
            watchers = self._watchers.get(task)
            if watchers is not None:
                watchers.discard(send)
                if not watchers:
                    del self._watchers[task]

    async def cancel(self, task: TaskId) -> None:
        """Stop a task; nothing happens when it has ended or is unknown."""
        await self._post(TaskCancelled(task))

    async def take(self, task: TaskId, acceptance: Acceptance | None = None) -> None:
        """Let a collected task end with its picture, which its app takes: a sealed one by its signed word."""
        await self._post(TaskTaken(task, acceptance))

    async def hear_of_sealed(self, word: KeyGiven | PictureRejected) -> None:
        """Hand on what else the app of a sealed task says."""
        await self._post(word)

    async def left(self, task: TaskId, at: UnixMillis) -> None:
        """Say that the app of a collected task is gone since ``at``."""
        await self._post(AppLeft(task, at))

    async def returned(self, task: TaskId) -> None:
        """Say that the app of a collected task is there again."""
        await self._post(AppReturned(task))

    async def find(self, task: TaskId) -> StoredTask | None:
        """Find a task by id."""
        return await self._store.task(task)

    async def find_by_key(self, idempotency_key: str) -> StoredTask | None:
        """Find a task by its idempotency key."""
        return await self._store.task_by_key(idempotency_key)

    async def artifact(self, digest: Digest) -> bytes | None:
        """Read a picture."""
        return await self._store.artifact(digest)

    def waiting(self, task: TaskId) -> Waiting | None:
        """Say how a task stands that has not ended; None for any other."""
        return self._why_waiting(task)

    def price(self, specification: TaskSpecification) -> Wei:
        """Give what such a task costs."""
        return self._price(specification)

    async def spent(self, account: str, since: UnixMillis) -> Wei:
        """Give the price of all tasks of an API key's account that were accepted since then and have not failed."""
        mine = (one for one in self._kept_back() if isinstance(one, TaskAccepted) and one.account == account)
        not_there_yet = sum(one.price for one in mine if one.accepted_at >= since)
        return Wei(not_there_yet + await self._store.spent(account, since))

    def models(self) -> tuple[OfferedModel, ...]:
        """List what the network offers through this coordinator now."""
        return self._models()

    def ready(self) -> tuple[bool, str]:
        """Say whether tasks can be served now, and if not why."""
        return self._ready() if self._closed is None else (False, self._closed.detail)

    # What the driver calls

    def close(self, why: str) -> None:
        """Turn submissions away until ``reopen``, also those that wait for an answer: nothing can be made durable."""
        told = Refused("disk_full", f"{why}; a task with an Idempotency-Key may be sent again", FULL_RETRY_S)
        self._closed = self._unanswered = told
        for waiting in self._waiting.values():
            waiting.set()

    def reopen(self) -> None:
        """Take tasks again."""
        self._closed, self._unanswered = None, NO_ANSWER

    def reply(self, request: int, answer: Accepted | Refused) -> TaskId | None:
        """Answer one submission; gives the task that is to be cancelled when its app has given up waiting."""
        waiting = self._waiting.get(request)
        if waiting is not None:
            self._answers[request] = answer
            waiting.set()
        elif request in self._given_up:
            self._given_up.discard(request)
            if isinstance(answer, Accepted):
                return answer.task
        return None

    def deliver(self, task: TaskId, update: Update) -> None:
        """Tell everybody who follows the task, and keep its story for those who come later."""
        story = self._stories.setdefault(task, [])
        if story and story[-1].stage is update.stage and update.stage in REPEATED_STAGES:
            story[-1] = update
        else:
            if story and story[-1].preview is not None:
                story[-1] = replace(story[-1], preview=None)
            if update.stage is not Stage.PROGRESS and any(one.award is not None for one in story):
                # It is shown to an app that comes back while its miner waits for the key, and no longer.
                story[:] = [one if one.award is None else replace(one, award=None) for one in story]
            story.append(update)
        last = update.stage in LAST_STAGES
        for watcher in list(self._watchers.get(task, ())):
            self._tell(watcher, update, last=last)
        if last:
            self._watchers.pop(task, None)
            if (end := self._ends.pop(task, None)) is not None:
                end.update = update
                end.came.set()
            self._finished[task] = self._stories.pop(task)
            while len(self._finished) > FINISHED_KEPT:
                self._finished.popitem(last=False)

    @staticmethod
    def _tell(watcher: trio.MemorySendChannel[Update], update: Update, *, last: bool) -> None:
        statistics = watcher.statistics()
        full = statistics.current_buffer_used >= statistics.max_buffer_size - 1
        if not full or last:
            # One place is kept free for the end, so that a slow watcher misses progress but never the picture.
            watcher.send_nowait(update)
        if last:
            watcher.close()

    async def _stored_story(self, task: TaskId) -> list[Update]:
        """Tell the end of a task that ended in an earlier run."""
        stored = await self._store.task(task)
        if stored is None:
            return []
        story = [Update(Stage.QUEUED, stored.accepted.accepted_at)]
        if stored.done is not None:
            done = stored.done
            last = Update(
                Stage.DONE,
                done.finished_at,
                done.attempt,
                done.miner,
                artifact=done.artifact,
                receipt=done.receipt,
            )
            story.append(last)
        if stored.failed is not None:
            story.append(Update(Stage.FAILED, stored.failed.finished_at, reason=stored.failed.reason))
        return story
