"""Tasks that begin from pictures, in a world where lines, miners and coordinators fail."""

import pytest

from protocol.effects import SendInput, Stage, StartJob
from protocol.notes import NoteName
from protocol.roles.miner.input_waiting import ASK_AGAIN_MS, WAIT_MS
from protocol.wire.messages import Claim
from tests.sim.test_failures_of_miners import check_paid_once
from tests.sim.test_task_line import SETTLE_MS, accept, ended, finish, holder, settled
from tests.sim.world import World
from tests.support.pictures import png

SOURCE = png(64, 64)


def left_behind(world: World) -> list[object]:
    """Pictures on any disk."""
    return [key for machine in world.machines.values() for key in machine.store._inputs]


def test_task__from_a_picture__ends_on_one_claim_and_leaves_nothing_behind() -> None:
    world = settled(miners=4)
    began: list[bytes | None] = []
    world.watch(StartJob, lambda _machine, effect: began.append(effect.source))
    task = accept(world, source=SOURCE)
    assert left_behind(world)
    assert finish(world, task) is Stage.DONE
    assert began == [SOURCE]
    assert not left_behind(world)
    assert not world.judged
    check_paid_once(world, task)
    stored = world.machines["coordinator0"].store._tasks[task]
    assert stored.accepted.price == 5 * 128 * 128 * world.params.price_per_pixel_step_wei, "the steps that are taken"


def test_picture__lost_on_its_way__comes_again_and_the_lease_holds() -> None:
    world = settled()
    lost: list[int] = []

    def lose(_sender: str, _receiver: str, message: object) -> bool:
        if isinstance(message, SendInput) and len(lost) < 2:
            lost.append(world.now)
            return True
        return False

    world.lose = lose
    task = accept(world, source=SOURCE)
    assert finish(world, task) is Stage.DONE
    assert lost[1] - lost[0] == pytest.approx(ASK_AGAIN_MS, abs=1100), "within a sign of life"
    assert not world.noted(NoteName.TASK_LEASE_EXPIRED)
    assert len(world.noted(NoteName.TASK_AWARDED)) == 1
    assert not world.judged


def test_picture__never_reaches_one_miner__another_delivers_and_nobody_is_judged() -> None:
    world = settled()
    task_holder: list[str] = []

    def lose(_sender: str, receiver: str, message: object) -> bool:
        if isinstance(message, SendInput):
            task_holder.append(receiver)
        return isinstance(message, SendInput) and receiver == task_holder[0]

    world.lose = lose
    task = accept(world, source=SOURCE)
    assert finish(world, task, 4 * WAIT_MS) is Stage.DONE
    assert holder(world, task) != task_holder[0]
    assert not world.judged
    check_paid_once(world, task)


def test_coordinator__dies_after_it_took_a_picture__the_task_is_done_in_the_next_run() -> None:
    world = settled()
    task = accept(world, source=SOURCE)
    world.crash("coordinator0")
    world.run(500)
    world.start("coordinator0")
    assert world.run(60_000, lambda: ended(world, task))
    assert world.updates[task][-1].stage is Stage.DONE
    assert not left_behind(world)
    assert not world.judged


def test_coordinator__dies_while_a_miner_waits_for_the_picture__it_comes_after_the_restart() -> None:
    world = settled()
    world.lose = lambda _sender, _receiver, message: isinstance(message, SendInput)
    task = accept(world, source=SOURCE)
    world.run(1000)
    miner = holder(world, task)
    world.crash("coordinator0")
    world.run(500)
    world.lose = None
    world.start("coordinator0")
    assert world.run(60_000, lambda: ended(world, task))
    assert world.updates[task][-1].stage is Stage.DONE
    assert holder(world, task) == miner
    assert not world.judged


def test_miner__dies_while_it_waits_for_the_picture__another_gets_it() -> None:
    world = settled()
    world.lose = lambda _sender, _receiver, message: isinstance(message, SendInput)
    task = accept(world, source=SOURCE)
    world.run(1000)
    first = holder(world, task)
    world.lose = None
    world.crash(first)
    assert finish(world, task) is Stage.DONE
    assert holder(world, task) != first
    check_paid_once(world, task)


@pytest.mark.parametrize("seed", range(4))
def test_tasks__from_pictures_and_from_text_over_bad_lines__all_end_well_and_nobody_is_judged(seed: int) -> None:
    world = World(miners=5, seed=seed)
    world.run(SETTLE_MS)

    def lose(_sender: str, _receiver: str, message: object) -> bool:
        return isinstance(message, SendInput | Claim) and world.random.random() < 0.2

    world.lose = lose
    tasks = [accept(world, source=png(32, 32, number) if number % 3 else None) for number in range(30)]
    assert world.run(300_000, lambda: all(ended(world, task) for task in tasks))
    assert {world.updates[task][-1].stage for task in tasks} == {Stage.DONE}
    assert not left_behind(world)
    assert not world.judged
