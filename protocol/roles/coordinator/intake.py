"""The apps' side of a coordinator: what is taken, what is refused, and what an earlier run had taken.

A task is on disk before it is promised to anybody. Spec: SPEC.md §9.1, §9.5.
"""

from typing import Final, final

from protocol.effects import Accepted, Deliver, Persist, Refused, Reply, Stage, Update
from protocol.events import TaskSubmitted
from protocol.notes import NoteName
from protocol.params import Params
from protocol.records import (
    BootStarted,
    InputsShared,
    InputStored,
    LeftPaid,
    Record,
    TaskAccepted,
    TaskAwarded,
    TaskDone,
)
from protocol.roles.coordinator.collecting import APP_LEASE_MS
from protocol.roles.coordinator.offering import Offering
from protocol.roles.coordinator.recovery import restore_award, restore_task
from protocol.roles.coordinator.roster import Roster
from protocol.roles.coordinator.settlement import Settlement
from protocol.roles.core import Core
from protocol.stake.lottery import task_id
from protocol.task.account import holders
from protocol.task.priority import deadline
from protocol.task.states import Task
from protocol.units import Epoch, TaskId, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import ServedModel, TaskSpecification

BUSY_RETRY_S: Final = 5
"""What an app is told to wait (s) when the queue is full."""
NOT_READY_RETRY_S: Final = 10
"""What an app is told to wait (s) while this coordinator knows no miner or no table that lists it."""


def price_of(specification: TaskSpecification, params: Params) -> Wei:
    """Give what a task costs on a network with these numbers."""
    return Wei(specification.pixel_steps * params.price_per_pixel_step_wei)


@final
class Intake:
    """Accepts tasks in the order of their numbers, which nobody can choose."""

    def __init__(
        self, core: Core, tasks: dict[TaskId, Task], roster: Roster, settlement: Settlement, offering: Offering
    ) -> None:
        """Share the coordinator's tasks and miners."""
        self._core = core
        self._tasks = tasks
        self._roster = roster
        self._settlement = settlement
        self._offering = offering
        self._by_key = settlement.keys
        self._boot = 0
        self._epoch = Epoch(0)
        self._number = 0
        """Of the next task accepted in this boot and epoch."""

    def restore(self, records: tuple[Record, ...]) -> None:
        """Begin a new boot, and take up whatever was accepted and not finished."""
        core = self._core
        boots = [record.boot for record in records if isinstance(record, BootStarted)]
        self._boot = self._settlement.boot = max([boot + 1 for boot in boots] + [core.now // 1000])
        core.emit(Persist((BootStarted(self._boot),)))
        for record in records:
            match record:
                case TaskAccepted():
                    self._take(restore_task(record))
                case TaskAwarded():
                    task = self._tasks.get(record.task)
                    if task is not None:
                        restore_award(task, record, core.identity.domain, core.now)
                        self._settlement.holdings.add(record.miner, record.task)
                case TaskDone() | LeftPaid():
                    self._settlement.restore_receipt(record)
                case _:
                    pass
        for task in list(self._tasks.values()):
            refusal = core.identity.catalog.refusal(task.specification)
            if not task.detached:
                self._settlement.fail(task, "client_gone")
                continue
            if refusal is not None:
                # The catalog has changed since it was accepted: nobody can be asked for this any more.
                self._settlement.fail(task, refusal.code)
                continue
            if task.collected:
                core.set_timer(("app", task.id, 0), core.now + APP_LEASE_MS)
            if task.holder is not None:
                self._settlement.app_room.restore(task)
                # Its miner may still be at work: it has one lease to come back and say so.
                core.set_timer(("lease", task.id, 0), core.now + core.params.lease_ms)

    def _take(self, task: Task) -> None:
        self._tasks[task.id] = task
        self._settlement.solvency.open_wei += task.price
        for holder, _ in holders(task.account):
            self._settlement.unfinished_of[holder] += 1
        self._settlement.input_room.add(task)
        if task.idempotency_key is not None:
            self._by_key[task.idempotency_key] = task.id
        self._core.set_timer(("deadline", task.id, 0), task.deadline)

    def on_submitted(self, event: TaskSubmitted) -> Accepted | Refused:
        """Take a task or say why not.

        On ``Accepted`` it is on disk, but for one that is not detached: that is so with its award.
        """
        specification, key = event.specification, event.idempotency_key
        known = self._by_key.get(key) or self._settlement.ended_keys.get(key) if key is not None else None
        if known is not None:
            accepted = Accepted(known)
            self._core.emit(Reply(event.request, accepted))
            return accepted
        refusal = self._refusal(event)
        if refusal is not None:
            self._core.emit(Reply(event.request, refusal))
            self._core.note(NoteName.TASK_REFUSED, reason=refusal.code, model=specification.model)
            return refusal
        own = self._core.own_id()
        view = self._core.book.current(self._core.now)
        assert own is not None, "checked by _refusal"
        assert view is not None, "an id comes from a view"
        if view.epoch > self._epoch:
            # Never back, also when the clock goes back: a number of an epoch is given once.
            self._epoch, self._number = view.epoch, 0
        price = price_of(specification, self._core.params)
        record = TaskAccepted(
            task=task_id(self._core.identity.network_id, own, self._epoch, self._boot, self._number),
            epoch=self._epoch,
            boot=self._boot,
            number=self._number,
            specification=encode(specification),
            salt=self._core.identity.entropy(16),
            price=price,
            detached=event.detached,
            idempotency_key=key,
            accepted_at=self._core.now,
            deadline=deadline(event.priority, self._core.now, self._core.params.task_limit_ms),
            priority=event.priority,
            account=event.account,
            input_bytes=sum(len(data) for data in event.inputs.values()),
            collected=event.collected,
            may_be_disputed=event.may_be_disputed,
        )
        self._number += 1
        task = restore_task(record)
        pictures = [InputStored(task.id, digest, data) for digest, data in event.inputs.items()]
        shared = () if event.again is None else (InputsShared(task.id, event.again),)
        accepted = Accepted(task.id)
        # What an app waits for at its connection is promised to nobody before its award: a crash ends it (``restore``).
        # Pictures are not kept in memory meanwhile.
        may_wait = not (event.detached or pictures or shared)
        self._core.emit(Persist((record, *pictures, *shared), may_wait=may_wait), Reply(event.request, accepted))
        self._core.emit(Deliver(task.id, Update(Stage.QUEUED, self._core.now)))
        self._core.note(
            NoteName.TASK_ACCEPTED, task.id, model=specification.model, pixel_steps=specification.pixel_steps
        )
        self._take(task)
        self._settlement.solvency.look()
        self._offering.offer(task)
        return accepted

    def _refusal(self, event: TaskSubmitted) -> Refused | None:
        """Refuse what nobody can do, with the reason and what would be possible."""
        specification = event.specification
        impossible = self._core.identity.catalog.refusal(specification)
        if impossible is not None:
            return Refused(impossible.code, impossible.detail)
        pictures = self._settlement.input_room.refusal(event) if event.again is None else None
        if pictures is not None:
            return pictures
        if self._core.own_id() is None:
            detail = "this coordinator is not in the stake table of the current epoch"
            return Refused("not_registered", detail, NOT_READY_RETRY_S)
        free = self._core.params.max_queued_tasks - len(self._tasks)
        if free <= 0:
            return Refused("busy", f"{len(self._tasks)} tasks are waiting here; try another coordinator", BUSY_RETRY_S)
        for holder, times in holders(event.account):
            # Nobody takes more than is left for all others: one account half of all places, two a third each.
            own_tasks = self._settlement.unfinished_of[holder]
            if own_tasks >= times * free:
                whose = "yours" if holder == event.account else "your network"
                detail = f"{own_tasks} tasks of {whose} are unfinished here, and there is room for {free} more of all"
                return Refused("busy", f"{detail}; wait for some to end, or try another coordinator", BUSY_RETRY_S)
        untaken = self._settlement.untaken.refusal(event.account) if event.collected else None
        if untaken is not None:
            return untaken
        unpaid = self._settlement.solvency.refusal(price_of(specification, self._core.params))
        if unpaid is not None:
            return unpaid
        if specification.sealed is not None and not event.collected:
            return Refused("sealed_not_taken", "a sealed task is ordered over the overlay, where its app can be asked")
        nobody = self._why_nobody(event)
        return None if nobody is None else Refused("no_miner", nobody, NOT_READY_RETRY_S)

    def _why_nobody(self, event: TaskSubmitted) -> str | None:
        """Say why no miner that is connected would claim such a task, and what one would; None when some would."""
        specification, now, params = event.specification, self._core.now, self._core.params
        model = specification.model
        price = params.price_per_pixel_step_wei
        life_ms = min(deadline(event.priority, now, params.task_limit_ms) - now, params.attempt_limit_ms)
        serving = []
        is_served = False
        for miner in self._roster:
            served, capability = miner.serves(model, now), miner.capability
            is_served = is_served or served is not None
            if specification.sealed is not None and not miner.takes_sealed():
                continue
            if served is not None and capability is not None and specification.work in served.works:
                if capability.price_floor <= price and specification.pixel_steps <= _most(served, life_ms):
                    return None  # most often the first one: nobody goes through thousands for each task
                serving.append((capability, served))
        if not serving and is_served:
            what = "opens sealed orders" if specification.sealed is not None else f"does {specification.work}"
            return f"no connected miner {what} with {model}"
        if not serving:
            offered = sorted({m.model for miner in self._roster if miner.capability for m in miner.capability.models})
            return f"no connected miner serves {model}; served now: {', '.join(offered) or 'none'}"
        floor = min(capability.price_floor for capability, _ in serving)
        if floor > price:
            return (
                f"every miner that serves {model} asks for more than this network pays: "
                f"{floor} wei a pixel-step at least, not {price}"
            )
        most = max(_most(served, life_ms) for _, served in serving)
        if specification.pixel_steps > most:
            steps = most // specification.pixels * specification.steps // specification.drawn_steps
            smaller = f"; {steps} steps at this size can be done" if steps else ""
            return f"no miner that serves {model} can end that within {life_ms // 1000} s{smaller}"
        return None


def _most(served: ServedModel, life_ms: int) -> int:
    """Give how many pixel-steps a miner does in so long (ms)."""
    return life_ms * served.pixel_steps_per_s // 1000
