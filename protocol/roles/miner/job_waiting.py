"""Awarded jobs that cannot begin yet, since something of theirs is on its way to the miner.

The miner says that it waits, so that its lease holds; it asks again by its claim, which is answered with the same award
and what belongs to it; and it gives the job back in time. Spec: SPEC.md §9.8, §9.10.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from protocol.effects import CancelTimer, Lane, Send
from protocol.roles.core import Core
from protocol.units import DurationMs, PeerId, TaskId, UnixMillis
from protocol.wire.messages import Alive, Claim
from protocol.wire.specification import TaskSpecification

Key = tuple[TaskId, int]
"""(task, attempt)."""


@dataclass(slots=True)
class Awaited:
    """One awarded attempt that waits; ``peer`` says where its coordinator is now."""

    peer: Callable[[], PeerId]
    claim: Claim
    specification: TaskSpecification
    since: UnixMillis
    asked_at: UnixMillis


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what, and what it is called."""

    timer: str
    """What the timers of these jobs are named."""
    wait_ms: DurationMs
    """How long (ms) it may take."""
    ask_again_ms: DurationMs
    """Pause (ms) before it is asked for again."""
    reason: str
    """Of the ``abandon`` where it does not come."""


Waiting = TypeVar("Waiting", bound=Awaited)


class JobWaiting(Generic[Waiting]):
    """Jobs that wait for one kind of thing; whoever knows it makes a class of this one."""

    def __init__(self, core: Core, patience: Patience, give_up: Callable[[Key, str], None]) -> None:
        """Tell ``give_up`` of each job that waited in vain, why."""
        self._core = core
        self._patience = patience
        self._give_up = give_up
        self._awaited: dict[Key, Waiting] = {}

    def _wait_for(self, key: Key, awaited: Waiting) -> None:
        """Wait from now on."""
        self._awaited[key] = awaited
        self._say_alive(key, awaited)

    def _from(self, peer: PeerId, key: Key) -> Waiting | None:
        """Give the job that waits for something from this very peer; None where none does."""
        awaited = self._awaited.get(key)
        return awaited if awaited is not None and awaited.peer() == peer else None

    def forget(self, key: Key) -> None:
        """Wait no more, whatever became of the job."""
        if self._awaited.pop(key, None) is not None:
            self._core.emit(CancelTimer((self._patience.timer, *key)))

    def on_timer(self, key: Key) -> None:
        """Say that we are here, ask again, or give up."""
        awaited, core, patience = self._awaited.get(key), self._core, self._patience
        if awaited is None:
            return
        if core.now >= awaited.since + patience.wait_ms:
            self.forget(key)
            self._give_up(key, patience.reason)
            return
        if core.now >= awaited.asked_at + patience.ask_again_ms:
            awaited.asked_at = core.now
            core.emit(Send(awaited.peer(), awaited.claim))
        self._say_alive(key, awaited)

    def _say_alive(self, key: Key, awaited: Waiting) -> None:
        """Hold the lease: no engine speaks for the job yet."""
        core, patience = self._core, self._patience
        alive = Alive(
            task=key[0],
            attempt=key[1],
            state="queued",
            step=0,
            steps=awaited.specification.drawn_steps,
            wait_ms=patience.wait_ms,
        )
        core.emit(Send(awaited.peer(), alive, Lane.NORMAL))
        core.set_timer((patience.timer, *key), core.now + core.params.alive_interval_ms)
