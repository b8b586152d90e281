"""What a coordinator offers to the adapters that face apps: tasks go in, news and pictures come out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from node.ports import StoredTask
from protocol.effects import Accepted, Refused, Update
from protocol.events import Acceptance, KeyGiven, PictureRejected
from protocol.task.priority import Priority
from protocol.units import Digest, TaskId, UnixMillis, Wei
from protocol.wire.app_messages import Order
from protocol.wire.messages import TaskSpecification

NO_INPUTS: Final[Mapping[Digest, bytes]] = MappingProxyType({})
"""For a task that begins from no picture."""


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model that at least one connected miner serves now."""

    model: str
    sizes: tuple[tuple[int, int], ...]
    max_steps: int
    miners: int
    warm_miners: int
    works: tuple[str, ...] = ("text_to_image",)
    """What at least one of these miners does."""
    schedulers: tuple[str, ...] = ()
    """Class names, the model's own first."""
    max_prompt_tokens: int | None = None
    """Of a longer prompt the rest changes nothing; None where nobody said."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How an unfinished task stands at its coordinator now."""

    state: str
    """``queued``, ``offered`` or ``awarded``."""
    offers: int
    """How many times it was offered."""
    reasons: Mapping[str, int]
    """Why it waits or waited: offers that nobody claimed, claims declined, attempts lost, each counted."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An order of an app that was taken."""

    task: TaskId
    specification: TaskSpecification
    """With all that the app had left out."""


FetchInputs = Callable[[Order], Awaitable[Mapping[Digest, bytes] | None]]
"""Has an app send the pictures that its order names; None where they do not come in time."""


class Desk(Protocol):
    """Where app-facing adapters hand in tasks and wait for pictures (implemented by ``node.desk``)."""

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
        """Hand in one task, which takes a place of ``account``; on ``Accepted`` a detached one is on disk.

        ``inputs`` are the pictures that the specification names, by SHA-256. One that is ``collected`` ends with a
        picture only after ``take``. One that ``may_be_disputed`` may be shown to jurors.
        """
        ...

    async def take(self, task: TaskId, acceptance: Acceptance | None = None) -> None:
        """Let a collected task end with its picture, which its app takes: a sealed one by its signed word."""
        ...

    async def hear_of_sealed(self, word: KeyGiven | PictureRejected) -> None:
        """Hand on what else the app of a sealed task says."""
        ...

    async def left(self, task: TaskId, at: UnixMillis) -> None:
        """Say that the app of a collected task is gone since ``at``."""
        ...

    async def returned(self, task: TaskId) -> None:
        """Say that the app of a collected task is there again."""
        ...

    def waiting(self, task: TaskId) -> Waiting | None:
        """Say how a task stands that has not ended; None for any other."""
        ...

    def watch(self, task: TaskId) -> AbstractAsyncContextManager[AsyncIterator[Update]]:
        """Follow a task; the iterator ends after ``DONE`` or ``FAILED``, also for a task that ended before."""
        ...

    def latest(self, task: TaskId) -> Update | None:
        """Give the last news of a task that was accepted or ended in this run; None for any other."""
        ...

    async def ended(self, task: TaskId) -> Update | None:
        """Wait for ``DONE`` or ``FAILED`` of a task; None for one that nobody knows."""
        ...

    async def cancel(self, task: TaskId) -> None:
        """Stop a task; nothing happens when it has ended or is unknown."""
        ...

    async def find(self, task: TaskId) -> StoredTask | None:
        """Find a task by id."""
        ...

    async def find_by_key(self, idempotency_key: str) -> StoredTask | None:
        """Find a task by its idempotency key."""
        ...

    async def artifact(self, digest: Digest) -> bytes | None:
        """Read a picture."""
        ...

    def price(self, specification: TaskSpecification) -> Wei:
        """Give what such a task costs (wei)."""
        ...

    async def spent(self, account: str, since: UnixMillis) -> Wei:
        """Give the price of all tasks of an API key's account that were accepted since then and have not failed."""
        ...

    def models(self) -> tuple[OfferedModel, ...]:
        """List what the network offers through this coordinator now."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Say whether tasks can be served now, and if not why, in one line."""
        ...
