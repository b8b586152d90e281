"""What a coordinator's operator does not let be ordered or shown: a desk before the desk, which asks reviewers.

A prompt is looked at before its task is taken. A picture is looked at when somebody asks for it the first time: its
task has ended by then, and its miner, who did the work, has its receipt; the picture is withheld, and its task is told
as failed. A reviewer that does not answer lets nothing pass.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, final

import trio

from node.desk_ports import NO_INPUTS, Desk, OfferedModel, Waiting
from node.ports import Journal, StoredTask
from protocol.effects import Accepted, Refused, Stage, Update
from protocol.errors import Unavailable
from protocol.events import Acceptance, KeyGiven, PictureRejected
from protocol.notes import NoteName
from protocol.records import TaskFailed
from protocol.task.priority import Priority
from protocol.units import Digest, TaskId, UnixMillis, Wei
from protocol.wire.messages import TaskSpecification

VIOLATION: Final = "content_policy_violation"
"""Code of a refused prompt, as OpenAI calls it."""
PICTURE_REFUSED: Final = "picture_refused"
"""Reason for which a task failed whose picture is withheld."""
NOT_REVIEWED: Final = "not_reviewed"
"""The same, as long as nobody could look at the picture: it may be asked for again."""
REMEMBERED: Final = 4096
"""Verdicts that are kept; a picture is looked at again after that, or after a restart."""
PAUSES_S: Final = (0.2, 1.0)
"""Waits (s) before a reviewer that did not answer is asked again."""


class PromptReviewer(Protocol):
    """Looks at what is ordered."""

    async def refuse_prompt(self, specification: TaskSpecification) -> str | None:
        """Say in one line, which the app is told, why such a picture is not to be ordered; None lets it pass.

        Raises:
            Unavailable: Nobody can say now.
        """
        ...


class PictureReviewer(Protocol):
    """Looks at what was drawn."""

    async def refuse_picture(self, picture: bytes) -> str | None:
        """Say in one line why a picture is not to be shown; None lets it pass.

        Raises:
            Unavailable: Nobody can say now.
        """
        ...


@final
class RefusedWords:
    """Refuses prompts by a rule of ``node.apps.content_policy``."""

    def __init__(self, refuses: Callable[[TaskSpecification], bool]) -> None:
        """Refuse what the rule says."""
        self._refuses = refuses

    async def refuse_prompt(self, specification: TaskSpecification) -> str | None:
        """Say whether the prompt holds a refused word, and not which: that would be a list to work around."""
        await trio.lowlevel.checkpoint()
        return "the prompt asks for what is not drawn here" if self._refuses(specification) else None


@dataclass(eq=False, slots=True)
class _Looking:
    """A picture that is being looked at."""

    turn: trio.Lock = field(default_factory=trio.Lock)
    waiting: int = 0


@final
class ReviewedDesk:
    """Implements ``Desk`` over another, and hands on only what its reviewers let pass."""

    def __init__(
        self, desk: Desk, prompts: Sequence[PromptReviewer], pictures: Sequence[PictureReviewer], journal: Journal
    ) -> None:
        """Ask all reviewers of each kind, in this order, up to the first that refuses."""
        self._desk = desk
        self._prompts = tuple(prompts)
        self._pictures = tuple(pictures)
        self._journal = journal
        self._verdicts: OrderedDict[Digest, str | None] = OrderedDict()
        self._looking: dict[Digest, _Looking] = {}

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
        """Hand in what no reviewer refuses.

        Raises:
            Unavailable: A reviewer does not answer.
        """
        for reviewer in self._prompts:
            reason = await reviewer.refuse_prompt(specification)
            if reason is not None:
                self._journal.note(NoteName.TASK_REFUSED, reason=VIOLATION, model=specification.model)
                return Refused(VIOLATION, f"content policy: {reason}")
        return await self._desk.submit(
            specification,
            detached=detached,
            idempotency_key=idempotency_key,
            priority=priority,
            account=account,
            inputs=inputs,
            collected=collected,
            may_be_disputed=may_be_disputed,
        )

    async def artifact(self, digest: Digest) -> bytes | None:
        """Read a picture that may be shown.

        Raises:
            Unavailable: Nobody can say now whether it may.
        """
        return None if await self._why_withheld(digest) is not None else await self._desk.artifact(digest)

    async def find(self, task: TaskId) -> StoredTask | None:
        """Find a task; one whose picture is withheld has failed beside that it is done.

        Raises:
            Unavailable: As for ``artifact``.
        """
        stored = await self._desk.find(task)
        if stored is None or stored.done is None or await self._why_withheld(stored.done.artifact) is None:
            return stored
        return replace(stored, failed=TaskFailed(task, PICTURE_REFUSED, stored.done.finished_at))

    async def ended(self, task: TaskId) -> Update | None:
        """Wait for the end of a task, as its app is told it."""
        update = await self._desk.ended(task)
        return None if update is None else await self._told(task, update)

    @asynccontextmanager
    async def watch(self, task: TaskId) -> AsyncGenerator[AsyncIterator[Update], None]:
        """Follow a task, as its app is told it."""
        async with self._desk.watch(task) as updates:

            async def told() -> AsyncGenerator[Update, None]:
                async for update in updates:
                    yield await self._told(task, update)

            following = told()
            try:
                yield following
            finally:
                await following.aclose()

    def latest(self, task: TaskId) -> Update | None:
        """Give the last news of a task; of a picture at which nobody has looked nothing is shown."""
        update = self._desk.latest(task)
        return None if update is None else self._without_preview(update)

    def _without_preview(self, update: Update) -> Update:
        """Hold a preview back: at previews nobody looks."""
        return update if update.preview is None or not self._pictures else replace(update, preview=None)

    async def _told(self, task: TaskId, update: Update) -> Update:
        """Give an update as the app of its task is told it."""
        if update.stage is not Stage.DONE or update.artifact is None:
            return self._without_preview(update)
        try:
            reason = await self._why_withheld(update.artifact, task)
        except Unavailable:
            return replace(update, stage=Stage.FAILED, artifact=None, reason=NOT_REVIEWED)
        if reason is None:
            return update
        return replace(update, stage=Stage.FAILED, artifact=None, reason=PICTURE_REFUSED)

    async def _why_withheld(self, digest: Digest, task: TaskId | None = None) -> str | None:
        """Say why a picture is withheld; None lets it be shown. Many who ask have it looked at once."""
        if not self._pictures or digest in self._verdicts:
            return self._verdicts.get(digest)
        looking = self._looking.setdefault(digest, _Looking())
        looking.waiting += 1
        try:
            async with looking.turn:
                if digest not in self._verdicts:
                    picture = await self._desk.artifact(digest)
                    if picture is None:  # it has expired: there is nothing to show
                        return None
                    self._remember(digest, await self._look(picture), task)
                return self._verdicts.get(digest)
        finally:
            looking.waiting -= 1
            if not looking.waiting:
                del self._looking[digest]

    def _remember(self, digest: Digest, verdict: str | None, task: TaskId | None) -> None:
        self._verdicts[digest] = verdict
        if verdict is not None:
            self._journal.note(NoteName.PICTURE_WITHHELD, task, artifact=digest.hex(), reason=verdict)
        while len(self._verdicts) > REMEMBERED:
            self._verdicts.popitem(last=False)

    async def _look(self, picture: bytes) -> str | None:
        for reviewer in self._pictures:
            reason = await _patiently(reviewer, picture)
            if reason is not None:
                return reason
        return None

    # What nobody reviews

    def waiting(self, task: TaskId) -> Waiting | None:
        """Say how a task stands that has not ended."""
        return self._desk.waiting(task)

    async def take(self, task: TaskId, acceptance: Acceptance | None = None) -> None:
        """Let a collected task end with its picture."""
        await self._desk.take(task, acceptance)

    async def hear_of_sealed(self, word: KeyGiven | PictureRejected) -> None:
        """Hand on what the app of a sealed task says; a coordinator that reviews takes none."""
        await self._desk.hear_of_sealed(word)

    async def left(self, task: TaskId, at: UnixMillis) -> None:
        """Say that the app of a collected task is gone."""
        await self._desk.left(task, at)

    async def returned(self, task: TaskId) -> None:
        """Say that the app of a collected task is there again."""
        await self._desk.returned(task)

    async def cancel(self, task: TaskId) -> None:
        """Stop a task."""
        await self._desk.cancel(task)

    async def find_by_key(self, idempotency_key: str) -> StoredTask | None:
        """Find a task by its idempotency key."""
        return await self._desk.find_by_key(idempotency_key)

    def price(self, specification: TaskSpecification) -> Wei:
        """Give what such a task costs (wei)."""
        return self._desk.price(specification)

    async def spent(self, account: str, since: UnixMillis) -> Wei:
        """Give the price of an account's tasks; a withheld picture was drawn, and costs what it costs."""
        return await self._desk.spent(account, since)

    def models(self) -> tuple[OfferedModel, ...]:
        """List what is offered."""
        return self._desk.models()

    def ready(self) -> tuple[bool, str]:
        """Say whether tasks can be served now."""
        return self._desk.ready()


async def _patiently(reviewer: PictureReviewer, picture: bytes) -> str | None:
    """Ask a reviewer, and again where it does not answer: the picture is drawn and paid."""
    for pause_s in PAUSES_S:
        try:
            return await reviewer.refuse_picture(picture)
        except Unavailable:
            await trio.sleep(pause_s)
    return await reviewer.refuse_picture(picture)
