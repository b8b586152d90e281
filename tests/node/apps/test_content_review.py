"""The desk before the desk: what its reviewers refuse is neither ordered nor shown, whichever way one asks."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from node.apps.content_policy import refusal_of
from node.apps.content_review import (
    NOT_REVIEWED,
    PAUSES_S,
    PICTURE_REFUSED,
    REMEMBERED,
    VIOLATION,
    RefusedWords,
    ReviewedDesk,
)
from protocol.effects import Accepted, Refused, Stage, Update
from protocol.errors import Unavailable
from protocol.events import AppLeft, AppReturned, TaskTaken
from protocol.notes import NoteName
from protocol.units import Digest, TaskId
from tests.protocol.roles.frames import SPECIFICATION
from tests.support.desk import PRICE, Workbench
from tests.support.journal import RecordingJournal
from tests.support.records import NOW

WORDS = RefusedWords(refusal_of(["gun*"]))
GUN = SPECIFICATION.model_copy(update={"prompt": "a red gunship"})


class Eye:
    """Looks at pictures and refuses what it is told to."""

    def __init__(self, refuses: Callable[[bytes], bool] = lambda _: True) -> None:
        self.refuses = refuses
        self.seen: list[bytes] = []
        self.away = 0
        """How many more times it does not answer."""

    async def refuse_picture(self, picture: bytes) -> str | None:
        await trio.sleep(0.01)
        self.seen.append(picture)
        if self.away:
            self.away -= 1
            raise Unavailable("asleep")
        return "not for everybody" if self.refuses(picture) else None


class Desk:
    """A reviewed desk over a workbench."""

    def __init__(self, *eyes: Eye, draws: bool = True) -> None:
        self.bench = Workbench(draws=draws)
        self.journal = RecordingJournal()
        self.reviewed = ReviewedDesk(self.bench.desk, (WORDS,), eyes, self.journal)

    async def order(self) -> TaskId:
        answer = await self.reviewed.submit(SPECIFICATION, detached=True)
        assert isinstance(answer, Accepted)
        return answer.task

    def picture(self, task: TaskId) -> Digest:
        return self.bench.ends[task].artifact  # type: ignore[union-attr]

    async def story(self, task: TaskId) -> list[Update]:
        async with self.reviewed.watch(task) as updates:
            return [update async for update in updates]


async def test_submit__refused_word__is_not_handed_in_and_noted_without_the_prompt() -> None:
    desk = Desk()
    answer = await desk.reviewed.submit(GUN, detached=True)
    assert answer == Refused(VIOLATION, "content policy: the prompt asks for what is not drawn here")
    assert desk.bench.accepted == {}
    (note,) = desk.journal.of(NoteName.TASK_REFUSED)
    assert note.fields == {"reason": VIOLATION, "model": GUN.model}
    assert isinstance(await desk.reviewed.submit(SPECIFICATION, detached=True), Accepted)


async def test_picture__refused__is_withheld_whichever_way_one_asks_and_its_receipt_is_not() -> None:
    eye = Eye()
    desk = Desk(eye)
    task = await desk.order()
    digest = desk.picture(task)
    end = await desk.reviewed.ended(task)
    assert end is not None
    assert (end.stage, end.reason, end.artifact) == (Stage.FAILED, PICTURE_REFUSED, None)
    story = await desk.story(task)
    assert [update.stage for update in story][-1] is Stage.FAILED
    assert all(update.artifact is None for update in story)
    assert await desk.reviewed.artifact(digest) is None
    stored = await desk.reviewed.find(task)
    assert stored is not None
    assert stored.failed is not None
    assert (stored.failed.reason, stored.failed.finished_at) == (PICTURE_REFUSED, NOW)
    assert stored.done is not None
    assert stored.done.receipt
    assert len(eye.seen) == 1, "it is looked at once"
    (note,) = desk.journal.of(NoteName.PICTURE_WITHHELD)
    assert note.fields == {"artifact": digest.hex(), "reason": "not for everybody"}
    assert await desk.reviewed.spent("", NOW) == await desk.bench.desk.spent("", NOW)
    assert desk.reviewed.price(SPECIFICATION) == PRICE


async def test_picture__let_pass_by_all__is_shown() -> None:
    first, second = Eye(lambda _: False), Eye(lambda _: False)
    desk = Desk(first, second)
    task = await desk.order()
    end = await desk.reviewed.ended(task)
    assert end is not None
    assert (end.stage, end.artifact) == (Stage.DONE, desk.picture(task))
    assert await desk.reviewed.artifact(desk.picture(task)) is not None
    stored = await desk.reviewed.find(task)
    assert stored is not None
    assert stored.failed is None
    assert (len(first.seen), len(second.seen)) == (1, 1)


async def test_picture__of_an_earlier_run__is_looked_at_again() -> None:
    desk = Desk(Eye())
    task = await desk.order()
    again = ReviewedDesk(Workbench(store=desk.bench.store).desk, (), (Eye(),), desk.journal)
    assert await again.artifact(desk.picture(task)) is None
    stored = await again.find(task)
    assert stored is not None
    assert stored.failed is not None


async def test_picture__that_is_kept_no_more__is_shown_to_nobody_and_looked_at_by_nobody() -> None:
    eye = Eye()
    desk = Desk(eye)
    assert await desk.reviewed.artifact(Digest(bytes(32))) is None
    assert (eye.seen, desk.reviewed._looking) == ([], {})


async def test_picture__asked_for_by_many_at_once__is_looked_at_once() -> None:
    eye = Eye()
    desk = Desk(eye)
    task = await desk.order()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(desk.reviewed.ended, task)
    assert len(eye.seen) == 1
    assert desk.reviewed._looking == {}


async def test_picture__reviewer_away_for_a_moment__is_asked_again(autojump_clock: MockClock) -> None:
    eye = Eye(lambda _: False)
    eye.away = len(PAUSES_S)
    desk = Desk(eye)
    end = await desk.reviewed.ended(await desk.order())
    assert end is not None
    assert end.stage is Stage.DONE


async def test_picture__nobody_can_look__is_not_shown_until_somebody_can(autojump_clock: MockClock) -> None:
    eye = Eye(lambda _: False)
    eye.away = 1000
    desk = Desk(eye)
    task = await desk.order()
    end = await desk.reviewed.ended(task)
    assert end is not None
    assert (end.stage, end.reason, end.artifact) == (Stage.FAILED, NOT_REVIEWED, None)
    with pytest.raises(Unavailable):
        await desk.reviewed.artifact(desk.picture(task))
    with pytest.raises(Unavailable):
        await desk.reviewed.find(task)
    eye.away = 0
    end = await desk.reviewed.ended(task)
    assert end is not None
    assert end.stage is Stage.DONE


@pytest.mark.parametrize("eyes", [(), (Eye(),)])
async def test_preview__while_pictures_are_looked_at__is_held_back(eyes: tuple[Eye, ...]) -> None:
    desk = Desk(*eyes, draws=False)
    task = await desk.order()
    desk.bench.desk.deliver(task, Update(Stage.PROGRESS, NOW, 1, step=1, steps=4, preview=b"small"))
    latest = desk.reviewed.latest(task)
    assert latest is not None
    assert (latest.step, latest.preview) == (1, None if eyes else b"small")
    await desk.bench.fail(task, "deadline")
    assert (await desk.story(task))[-1].reason == "deadline"
    task = await desk.order()
    async with desk.reviewed.watch(task) as updates:
        desk.bench.desk.deliver(task, Update(Stage.PROGRESS, NOW, 1, step=2, steps=4, preview=b"small"))
        await desk.bench.fail(task, "deadline")
        previews = [update.preview async for update in updates if update.stage is Stage.PROGRESS]
    assert previews == [None if eyes else b"small"]


async def test_verdicts__more_than_are_remembered__the_oldest_is_forgotten() -> None:
    eye = Eye()
    desk = Desk(eye)
    task = await desk.order()
    await desk.reviewed.ended(task)
    for number in range(REMEMBERED):
        desk.reviewed._remember(Digest(number.to_bytes(32, "big")), None, None)
    assert len(desk.reviewed._verdicts) == REMEMBERED
    await desk.reviewed.ended(task)
    assert len(eye.seen) == 2


async def test_app__comes_goes_takes_and_cancels__is_handed_on() -> None:
    desk = Desk(Eye(), draws=False)
    task = await desk.order()
    await desk.reviewed.left(task, NOW)
    await desk.reviewed.returned(task)
    await desk.reviewed.cancel(task)
    await desk.reviewed.take(await desk.order())
    assert [type(event) for event in desk.bench.heard_of_app] == [AppLeft, AppReturned, TaskTaken]
    assert desk.bench.cancelled == [task]
