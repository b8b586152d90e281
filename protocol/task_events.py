"""What a coordinator hears of apps and their tasks; events like those of ``protocol.events``. Spec: SPEC.md §3, §9."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.task.priority import Priority
from protocol.units import Digest, PeerId, TaskId, UnixMillis
from protocol.wire.specification import TaskSpecification


@dataclass(frozen=True, slots=True)
class TaskSubmitted:
    """An app asks for one picture. Answered by exactly one ``Reply`` with the same request number."""

    request: int
    specification: TaskSpecification
    detached: bool
    """Survives a disconnect of the app and a restart of this node."""
    idempotency_key: str | None = None
    """Already scoped to the API key, at most 256 characters."""
    priority: Priority = Priority.NORMAL
    account: str = ""
    """Whose use it counts as, at most 128 characters (``protocol.task.account``); empty is nobody's, who has no share
    of its own to fill."""
    inputs: Mapping[Digest, bytes] = field(default_factory=dict)
    """The pictures that the specification names, by their SHA-256."""
    again: TaskId | None = None
    """Whose pictures, kept for a recheck, it begins from in place of ``inputs``."""
    collected: bool = False
    """Whether it ends with a picture only once its app has said that it takes this (``TaskTaken``)."""
    may_be_disputed: bool = False
    """Whether its app lets prompt and picture be shown to jurors, where the picture turns out to be wrong."""


@dataclass(frozen=True, slots=True)
class TaskCancelled:
    """The app no longer wants this task."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An app's signed word on a sealed picture; not checked yet."""

    app: PeerId
    """Whose order it is."""
    attempt: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class TaskTaken:
    """The app of a collected task takes its picture from this coordinator, and from no other."""

    task: TaskId
    acceptance: Acceptance | None = None
    """Of a sealed task."""


@dataclass(frozen=True, slots=True)
class KeyGiven:
    """The app of a sealed task sealed its key to the winner of an award."""

    task: TaskId
    attempt: int
    award: Digest
    sealed_key: bytes


@dataclass(frozen=True, slots=True)
class PictureRejected:
    """The app of a sealed task cannot open the picture of an attempt, or it is not what was ordered."""

    task: TaskId
    attempt: int


@dataclass(frozen=True, slots=True)
class AppLeft:
    """The app of a collected task is gone since ``at``; it has a while to come back."""

    task: TaskId
    at: UnixMillis


@dataclass(frozen=True, slots=True)
class AppReturned:
    """The app of a collected task is there (again)."""

    task: TaskId
