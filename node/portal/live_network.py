"""The network as one coordinator sees it now, for everybody's eyes: who is here, and what happens to tasks.

It stands between the core and the journal: every note passes through to the journal, and what is public of it is told
to those who listen. Nothing here may hold up or fail the node: listeners have a bounded queue and lose the oldest.
"""

from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from heapq import nsmallest
from typing import Final, final

import trio

from node.portal.elsewhere import TASK_DIGITS, Elsewhere
from node.portal.ports import Deeds, Happening, Here, Member, Totals
from node.ports import Clock, Journal
from protocol.notes import NoteName
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.coordinator.settlement import LEAVES
from protocol.stake.epoch import epoch_at
from protocol.stake.table import StakeRow
from protocol.units import Role, StakingId, TaskId, UnixMillis
from protocol.wire.messages import Bulletin, GossipMessage

PUBLIC: Final[Mapping[NoteName, tuple[str, ...]]] = {
    NoteName.TASK_ACCEPTED: ("model",),
    NoteName.TASK_OFFERED: ("attempt", "miners"),
    NoteName.CLAIM_RECEIVED: ("miner", "attempt"),
    NoteName.TASK_AWARDED: ("miner", "attempt", "rank", "ms"),
    NoteName.RESULT_RECEIVED: ("miner", "attempt"),
    NoteName.TASK_DONE: ("miner", "attempt", "ms", "generation_ms"),
    NoteName.TASK_LEASE_EXPIRED: ("miner", "attempt", "reason"),
    NoteName.TASK_ABANDONED: ("miner", "attempt", "reason"),
    NoteName.TASK_FAILED: ("reason",),
}
"""Note -> which of its fields everybody may see. All of it is in public gossip, or says how fast we are."""
MAX_MEMBERS: Final = 400
"""Nodes in one list: what a page can draw and a person can look at."""
SHOWN_TASKS_PER_S: Final = 5
"""New tasks a second whose steps are told: more are a flicker to the eye, and the node's time is for work."""
MAX_SHOWN: Final = 1000
"""Unfinished tasks whose steps are told."""
MAX_TIMED: Final = 20_000
"""Awards whose time is taken at once, the most tasks that one coordinator queues by default."""
RECENT: Final = 48
"""Steps of our own tasks that somebody sees who comes now."""
RECENT_HEARD: Final = 16
"""Of other coordinators' tasks."""
QUEUE: Final = 256
"""Steps that wait for one listener; then the oldest is lost."""
BATCH_S: Final = 0.1
"""How long (s) steps are gathered, so that a busy second is ten messages and not hundreds."""
_MAX_TEXT: Final = 64
_LOST: Final = frozenset({NoteName.TASK_LEASE_EXPIRED, NoteName.TASK_ABANDONED})
_ENDS: Final = frozenset({NoteName.TASK_DONE, NoteName.TASK_FAILED})


@final
class LiveView:
    """Implements ``node.portal.ports.LiveNetwork``, and ``node.ports.Journal`` in front of the real one."""

    def __init__(self, core: CoordinatorCore, journal: Journal, clock: Clock) -> None:
        """Watch ``core``, whose notes go on to ``journal``."""
        self._core = core
        self._journal = journal
        self._clock = clock
        self._deeds: dict[StakingId, Deeds] = {}
        self._awarded: OrderedDict[TaskId, UnixMillis] = OrderedDict()
        self._shown: OrderedDict[TaskId, None] = OrderedDict()
        self._recent: deque[Happening] = deque(maxlen=RECENT)
        self._elsewhere = Elsewhere(core.own_id)
        self._heard: deque[Happening] = deque(maxlen=RECENT_HEARD)
        self._listeners: set[_Listener] = set()
        self._second, self._in_second = 0, 0
        self._counts = {NoteName.TASK_ACCEPTED: 0, NoteName.TASK_DONE: 0, NoteName.TASK_FAILED: 0}
        self._passed_over = 0

    # What the driver calls

    def note(self, name: NoteName, task: TaskId | None = None, **fields: str | int) -> None:
        """Record one domain event, and tell what is public of it."""
        self._journal.note(name, task, **fields)
        if task is None or name not in PUBLIC:
            return
        now = self._clock.now()
        if name in self._counts and fields.get("reason") not in LEAVES:
            self._counts[name] += 1
        self._count_deed(name, task, fields.get("miner"), now)
        if not self._is_shown(name, task, now):
            return
        told = {key: _short(fields[key]) for key in PUBLIC[name] if key in fields}
        happening = Happening(now, name.value, task.hex()[:TASK_DIGITS], told)
        self._recent.append(happening)
        self._tell(happening)

    def heard(self, message: GossipMessage) -> None:
        """Take one message of gossip that was accepted, and tell what it says of other coordinators' tasks."""
        if isinstance(message, Bulletin):
            for happening in self._elsewhere.steps(message, self._clock.now()):
                self._heard.append(happening)
                self._tell(happening)

    # What the page asks

    def here(self) -> Here:
        """Say where we are."""
        core = self._core
        now = self._clock.now()
        view = core.book.current(now)
        return Here(
            network=core.identity.network,
            epoch=epoch_at(now, core.params),
            epoch_s=core.params.epoch_s,
            own_id=core.own_id(),
            registered=len(view.table.rows) if view is not None else 0,
        )

    def members(self) -> Sequence[Member]:
        """List the registered nodes: those that are here first, then by stake; at most ``MAX_MEMBERS``."""
        now = self._clock.now()
        view = self._core.book.current(now)
        own, roster = self._core.own_id(), self._core.roster

        def order(row: StakeRow) -> tuple[bool, int, int]:
            is_here = row.id == own or roster.id(row.id) is not None
            return not is_here, -row.stake, row.id

        rows = nsmallest(MAX_MEMBERS, view.table.rows, key=order) if view is not None else ()
        return [self._member(row, now) for row in rows]

    def totals(self) -> Totals:
        """Count what happened since the start."""
        counts = self._counts
        return Totals(
            accepted=counts[NoteName.TASK_ACCEPTED],
            done=counts[NoteName.TASK_DONE],
            failed=counts[NoteName.TASK_FAILED],
            open=self._core.waiting(),
            passed_over=self._passed_over,
        )

    def recent(self) -> Sequence[Happening]:
        """Give the latest steps, oldest first."""
        return tuple(sorted((*self._recent, *self._heard), key=lambda happening: happening.at))

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[AsyncIterator[tuple[Happening, ...]], None]:
        """Follow what happens, in batches; who calls it limits how many do."""
        listener = _Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    # How it is worked out

    def _tell(self, happening: Happening) -> None:
        for listener in self._listeners:
            listener.tell(happening)

    def _member(self, row: StakeRow, now: UnixMillis) -> Member:
        """Say what we know of one node."""
        core = self._core
        member = Member(
            id=row.id,
            role=row.role,
            stake_wei=row.stake,
            is_active=row.active and not core.book.is_inactive_now(row.id),
            is_here=row.id == core.own_id(),
            deeds=self._deeds.get(row.id, Deeds()),
        )
        miner = core.roster.id(row.id) if row.role is Role.MINER else None
        if miner is None:
            return member
        capability = miner.capability if miner.serves_until > now else None
        if capability is None:
            return replace(member, is_here=True)
        free = max(0, min(capability.free_places, capability.places - len(miner.working_on)))
        models = tuple(sorted(miner.served))
        return replace(member, is_here=True, models=models, places=capability.places, free=free)

    def _count_deed(self, name: NoteName, task: TaskId, miner: str | int | None, now: UnixMillis) -> None:
        """Remember what a miner did, and how long it took."""
        if name is NoteName.TASK_FAILED:
            self._awarded.pop(task, None)
        if not isinstance(miner, int):
            return
        node = StakingId(miner)
        known = self._deeds.get(node, Deeds())
        if name is NoteName.TASK_AWARDED:
            self._awarded[task] = now
            if len(self._awarded) > MAX_TIMED:
                self._awarded.popitem(last=False)
            self._deeds[node] = replace(known, awards=known.awards + 1)
        elif name is NoteName.TASK_DONE:
            awarded = self._awarded.pop(task, None)
            timed, took = (0, 0) if awarded is None else (1, now - awarded)
            self._deeds[node] = replace(
                known, done=known.done + 1, work_ms=known.work_ms + took, timed=known.timed + timed
            )
        elif name in _LOST:
            self._awarded.pop(task, None)
            self._deeds[node] = replace(known, lost=known.lost + 1)

    def _is_shown(self, name: NoteName, task: TaskId, now: UnixMillis) -> bool:
        """Say whether the steps of this task are told: all of them or none."""
        if task in self._shown:
            if name in _ENDS:
                del self._shown[task]
            return True
        if name is not NoteName.TASK_ACCEPTED:
            return False
        second = now // 1000
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        if self._in_second > SHOWN_TASKS_PER_S or len(self._shown) >= MAX_SHOWN:
            self._passed_over += 1
            return False
        self._shown[task] = None
        return True


@final
class _Listener:
    """One who listens. An iterator of batches that never ends by itself."""

    def __init__(self) -> None:
        self._waiting: deque[Happening] = deque(maxlen=QUEUE)
        self._came = trio.Event()

    def tell(self, happening: Happening) -> None:
        """Put one step into the queue; never waits."""
        self._waiting.append(happening)
        self._came.set()

    def __aiter__(self) -> "_Listener":
        return self

    async def __anext__(self) -> tuple[Happening, ...]:
        await self._came.wait()
        await trio.sleep(BATCH_S)
        self._came = trio.Event()
        batch = tuple(self._waiting)
        self._waiting.clear()
        return batch


def _short(value: str | int) -> str | int:
    """Keep text that a peer may have chosen short."""
    return value[:_MAX_TEXT] if isinstance(value, str) else value
