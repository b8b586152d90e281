"""A stranger that orders and leaves what is drawn: it costs a newcomer's coordinator its price, and not its miners."""

import pytest

from protocol.effects import Accepted, Deliver, Stage, Update
from protocol.events import TaskCancelled, TaskSubmitted
from protocol.notes import NoteName
from protocol.roles.coordinator.app_room import FIRST
from protocol.roles.miner.miner import MinerCore
from protocol.units import TaskId
from protocol.wire.messages import TaskSpecification
from tests.sim.machine import Machine
from tests.sim.test_task_line import accept, finish, settled
from tests.sim.world import MODEL, World

WAY_MS = 30
"""From the coordinator to the stranger, or back."""
ORDERS = 12


class LeavingApp:
    """Orders many pictures at once, and leaves each when it likes."""

    def __init__(self, world: World, leaves: str) -> None:
        self.world = world
        self.machine = world.machines["coordinator0"]
        self.leaves = leaves
        self.tasks: set[TaskId] = set()
        self.most_at_work = 0
        self.at_work: set[TaskId] = set()
        world.watch(Deliver, self._hear)

    def order(self) -> None:
        work = {"model": MODEL.name, "prompt": "a red heart", "width": 128, "height": 128, "steps": 10, "guidance": 4.0}
        for number in range(ORDERS):
            specification = TaskSpecification.model_validate(work | {"seed": number})
            order = TaskSubmitted(900 + number, specification, True, f"{number}", account="stranger", collected=True)
            self.world.post(self.machine, order)
        assert self.world.run(1000, lambda: 900 + ORDERS - 1 in self.world.replies)
        answers = [self.world.replies[900 + number] for number in range(ORDERS)]
        self.tasks = {answer.task for answer in answers if isinstance(answer, Accepted)}

    def _hear(self, machine: Machine, effect: Deliver) -> None:
        if machine is not self.machine or effect.task not in self.tasks:
            return
        update = effect.update
        if update.stage is Stage.CLAIMED:
            self.at_work.add(effect.task)
        elif update.stage in (Stage.DONE, Stage.FAILED):
            self.at_work.discard(effect.task)
        self.most_at_work = max(self.most_at_work, len(self.at_work))
        if self._is_moment(update):
            self.world.at(2 * WAY_MS, self.world.post, self.machine, TaskCancelled(effect.task))

    def _is_moment(self, update: Update) -> bool:
        if self.leaves == "at the last step":
            return update.stage is Stage.PROGRESS and 0 < update.step == update.steps
        return self.leaves == "when it is ready" and update.stage is Stage.READY


@pytest.mark.parametrize("leaves", ["at the last step", "when it is ready", "without a word"])
def test_stranger__leaves_what_is_drawn__miners_are_paid_and_go_on_for_a_coordinator_that_is_new(leaves: str) -> None:
    world = settled(miners=8)
    app = LeavingApp(world, leaves)
    app.order()
    assert world.run(120_000, lambda: all(world.updates[task][-1].stage is Stage.FAILED for task in app.tasks))
    world.run(2000)
    store = app.machine.store
    assert store._left, "some were drawn"
    assert {stored.done for stored in store._tasks.values()} == {None}
    assert not world.noted(NoteName.RESULT_REJECTED)
    assert app.most_at_work <= FIRST
    for machine in world.machines.values():
        if isinstance(machine.core, MinerCore):
            assert not machine.core.payers.credit.owing(), "it would be left alone for an hour"
    paid = sum(voucher.cumulative for voucher in store._issued.values())
    assert paid == sum(store._tasks[task].accepted.price for task in store._left)
    assert finish(world, accept(world)) is Stage.DONE
