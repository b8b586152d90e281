"""Urgent and patient tasks in a network that has more to do than it can."""

from statistics import mean

from protocol.effects import Accepted, Stage
from protocol.events import TaskSubmitted
from protocol.task.priority import Priority
from protocol.units import TaskId
from protocol.wire.messages import TaskSpecification
from tests.sim.test_task_line import settled
from tests.sim.world import MODEL, World

TASKS = 400
"""Many more than a freed miner weighs at once."""
STEP_MS = 50


def submit(world: World, number: int, priority: Priority) -> None:
    """Hand in one of them."""
    specification = TaskSpecification(
        model=MODEL.name, prompt="a red heart", width=128, height=128, steps=10, guidance=4.0, seed=number
    )
    world.post(world.machines["coordinator0"], TaskSubmitted(1000 + number, specification, True, None, priority))


def ends(world: World, numbers: range) -> list[int]:
    """When each of these ended with its picture."""
    found = []
    for number in numbers:
        answer = world.replies[1000 + number]
        assert isinstance(answer, Accepted)
        last = world.updates[TaskId(answer.task)][-1]
        assert last.stage is Stage.DONE, last.reason
        found.append(last.at)
    return found


def test_priority__more_than_the_miners_can_do__urgent_ones_end_sooner_and_low_ones_end_too() -> None:
    world = settled(miners=2)
    for machine in world.machines.values():
        machine.step_ms = STEP_MS
    begun = world.now
    # Patient ones come first and are known to all miners when urgent ones come; together they are a minute's work.
    for number in range(TASKS):
        submit(world, number, Priority.LOW if number < TASKS // 2 else Priority.HIGH)
        world.run(2000 if number == TASKS // 2 - 1 else 0)
    assert world.run(200_000, lambda: all(u[-1].stage is Stage.DONE for u in world.updates.values()))
    low, high = ends(world, range(TASKS // 2)), ends(world, range(TASKS // 2, TASKS))
    # Five seeds gave 0.65 to 0.85.
    assert mean(high) - begun < 0.9 * (mean(low) - begun), "though they came last"
    assert not world.judged
