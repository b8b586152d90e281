"""The desk: every app hears the whole story once, and nobody who left keeps a GPU busy."""

from dataclasses import replace

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.adapters.memory.store import MemoryStore
from node.desk import ANSWER_LIMIT_S, FINISHED_KEPT, WATCHER_UPDATES, TaskDesk
from protocol.effects import Accepted, Refused, Stage, Update
from protocol.events import Event, TaskCancelled, TaskSubmitted
from protocol.records import Record
from protocol.units import TaskId, UnixMillis
from tests.protocol.roles.frames import SPECIFICATION
from tests.support.records import NOW, accepted, done, failed, picture, task_id

TASK = task_id(1)


class Bench:
    """A desk whose core is the test: it sees what is posted and answers."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.posted: list[Event] = []
        self.desk = TaskDesk(store or MemoryStore(), tuple, lambda: (True, ""))
        self.desk.connect(self._post)
        self.answers = True
        self.stuck = False

    async def _post(self, event: Event) -> None:
        await trio.lowlevel.checkpoint()
        if self.stuck:
            await trio.sleep_forever()
        self.posted.append(event)
        if isinstance(event, TaskSubmitted) and self.answers:
            self.desk.reply(event.request, Accepted(TASK))

    def tell(self, *stages: Stage, task: TaskId = TASK) -> None:
        for number, stage in enumerate(stages):
            self.desk.deliver(task, Update(stage, NOW, step=number))

    async def story(self, task: TaskId = TASK) -> list[Stage]:
        async with self.desk.watch(task) as updates:
            return [update.stage async for update in updates]

    @property
    def cancelled(self) -> list[TaskId]:
        return [event.task for event in self.posted if isinstance(event, TaskCancelled)]


# Submit


async def test_submit__core_answers__gives_its_answer() -> None:
    assert await Bench().desk.submit(SPECIFICATION, detached=False) == Accepted(TASK)


async def test_submit__app_leaves_before_the_answer__its_attached_task_is_cancelled() -> None:
    bench = Bench()
    bench.answers = False
    async with trio.open_nursery() as nursery:

        async def submit() -> None:
            await bench.desk.submit(SPECIFICATION, detached=False)

        nursery.start_soon(submit)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        assert isinstance(bench.posted[0], TaskSubmitted)
        bench.desk.reply(bench.posted[0].request, Accepted(TASK))
    assert bench.cancelled == [TASK]


async def test_submit__app_leaves_before_the_answer__its_detached_task_goes_on() -> None:
    bench = Bench()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.desk.submit(SPECIFICATION, detached=True)
    assert scope.cancelled_caught
    assert bench.cancelled == []


async def test_submit__answer_comes_too_late__attached_task_is_to_be_cancelled_by_the_driver(
    autojump_clock: MockClock,
) -> None:
    for detached in (False, True):
        bench = Bench()
        bench.answers = False
        answer = await bench.desk.submit(SPECIFICATION, detached=detached)
        assert isinstance(answer, Refused)
        assert answer.code == "busy"
        request = next(event.request for event in bench.posted if isinstance(event, TaskSubmitted))
        assert bench.desk.reply(request, Accepted(TASK)) == (None if detached else TASK)
        assert bench.desk.reply(request, Accepted(TASK)) is None


async def test_submit__queue_stays_full__is_refused_and_never_handed_in(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.stuck = True
    before = trio.current_time()
    assert isinstance(await bench.desk.submit(SPECIFICATION, detached=False), Refused)
    assert trio.current_time() - before == ANSWER_LIMIT_S
    assert bench.posted == []
    assert not bench.desk._given_up


# Watch


async def test_watch__from_the_start__hears_everything_and_ends() -> None:
    bench = Bench()
    bench.tell(Stage.QUEUED)
    heard: list[Stage] = []
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            heard.extend(await bench.story())

        nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        bench.tell(Stage.OFFERED, Stage.CLAIMED, Stage.PROGRESS, Stage.PROGRESS, Stage.DONE)
    assert heard == [Stage.QUEUED, Stage.OFFERED, Stage.CLAIMED, Stage.PROGRESS, Stage.PROGRESS, Stage.DONE]
    assert not bench.desk._watchers


async def test_watch__after_the_end__hears_the_story_in_short() -> None:
    bench = Bench()
    bench.tell(Stage.QUEUED, Stage.OFFERED, Stage.CLAIMED, Stage.PROGRESS, Stage.PROGRESS, Stage.DONE)
    assert await bench.story() == [Stage.QUEUED, Stage.OFFERED, Stage.CLAIMED, Stage.PROGRESS, Stage.DONE]


async def test_deliver__more_news__keeps_no_preview_that_is_past() -> None:
    bench = Bench()
    early = Update(Stage.PROGRESS, NOW, step=1, steps=9, preview=b"early")
    for update in (early, replace(early, step=2, preview=b"late")):
        bench.desk.deliver(TASK, update)
    assert [update.preview for update in bench.desk._stories[TASK]] == [b"late"]
    bench.tell(Stage.DONE)
    assert [update.preview for update in bench.desk._finished[TASK]] == [None, None]


async def test_watch__task_of_an_earlier_run__hears_its_end_from_the_store() -> None:
    store = MemoryStore()
    await store.persist((accepted(1), accepted(2), accepted(3)))
    await store.persist((done(1), failed(2, "deadline")))
    bench = Bench(store)
    assert await bench.story(task_id(1)) == [Stage.QUEUED, Stage.DONE]
    assert await bench.story(task_id(2)) == [Stage.QUEUED, Stage.FAILED]


async def test_watch__restored_task_that_goes_on__hears_how_it_goes_on() -> None:
    store = MemoryStore()
    await store.persist((accepted(1),))
    bench = Bench(store)
    heard: list[Stage] = []
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            heard.extend(await bench.story())

        nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        bench.tell(Stage.OFFERED, Stage.DONE)
    assert heard == [Stage.QUEUED, Stage.OFFERED, Stage.DONE]


async def test_watch__unknown_task__ends_at_once() -> None:
    assert await Bench().story() == []


async def test_watch__slow_watcher__misses_progress_but_not_the_end() -> None:
    bench = Bench()
    bench.tell(Stage.QUEUED)
    async with bench.desk.watch(TASK) as updates:
        bench.tell(*[Stage.PROGRESS] * (2 * WATCHER_UPDATES), Stage.DONE)
        heard = [update.stage async for update in updates]
    assert len(heard) == WATCHER_UPDATES
    assert heard[-1] is Stage.DONE


async def test_watch__left_in_the_middle__keeps_nothing_for_it() -> None:
    bench = Bench()
    bench.tell(Stage.QUEUED)
    async with bench.desk.watch(TASK):
        assert len(bench.desk._watchers[TASK]) == 1
    assert not bench.desk._watchers
    bench.tell(Stage.DONE)


# Memory


async def test_deliver__offered_again_for_hours__keeps_one_line_of_it() -> None:
    bench = Bench()
    bench.tell(Stage.QUEUED, *[Stage.OFFERED] * 255)
    assert len(bench.desk._stories[TASK]) == 2
    assert bench.desk._stories[TASK][-1].step == 255


async def test_deliver__many_ended_tasks__only_the_latest_stories_stay() -> None:
    bench = Bench()
    for number in range(FINISHED_KEPT + 10):
        bench.tell(Stage.QUEUED, Stage.DONE, task=task_id(number))
    assert len(bench.desk._finished) == FINISHED_KEPT
    assert not bench.desk._stories


# The end alone


async def test_ended__goes_on__waits_for_the_end_and_nobody_is_remembered() -> None:
    bench = Bench()
    ends: list[Update | None] = []

    async def wait() -> None:
        ends.append(await bench.desk.ended(TASK))

    bench.tell(Stage.QUEUED)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        with trio.move_on_after(0):
            await bench.desk.ended(TASK)  # who leaves takes nothing from the others
        await wait_all_tasks_blocked()
        bench.tell(Stage.OFFERED, Stage.CLAIMED)
        await wait_all_tasks_blocked()
        assert ends == []
        bench.tell(Stage.DONE)
    assert [end.stage for end in ends if end] == [Stage.DONE] * 3
    assert bench.desk._ends == {}
    with trio.move_on_after(0):
        bench.tell(Stage.QUEUED, task=task_id(2))
        await bench.desk.ended(task_id(2))
    assert bench.desk._ends == {}


async def test_ended__before_or_in_an_earlier_run_or_unknown__answers_at_once() -> None:
    store = MemoryStore()
    await store.persist((accepted(2), accepted(3), accepted(4)))
    await store.persist((picture(), done(2), failed(3)))
    bench = Bench(store)
    bench.tell(Stage.QUEUED, Stage.FAILED)
    ends = [await bench.desk.ended(task) for task in (TASK, task_id(2), task_id(3), task_id(9))]
    assert [end and end.stage for end in ends] == [Stage.FAILED, Stage.DONE, Stage.FAILED, None]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.desk.ended, task_id(4))
        await wait_all_tasks_blocked()
        bench.tell(Stage.DONE, task=task_id(4))


async def test_spent__task_on_its_way_to_the_disk__counts_once() -> None:
    store = MemoryStore()
    mine, before, another = (
        replace(accepted(number), account=account, accepted_at=UnixMillis(at))
        for number, account, at in ((2, "key:a", 2000), (3, "key:a", 999), (4, "key:b", 2000))
    )
    waiting: list[Record] = [mine, before, another, done(5)]
    bench = Bench(store)
    bench.desk.connect(bench._post, lambda: tuple(waiting))
    assert await bench.desk.spent("key:a", UnixMillis(1000)) == mine.price
    waiting.clear()
    await store.persist((mine, before, another))
    assert await bench.desk.spent("key:a", UnixMillis(1000)) == mine.price
