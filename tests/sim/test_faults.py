"""Random faults, and the faults that random runs once found."""

import itertools

import pytest

from protocol.effects import Stage
from protocol.events import TaskCancelled
from protocol.notes import NoteName
from protocol.wire.messages import Cancel
from tests.sim.faults import Chaos
from tests.sim.test_task_line import SETTLE_MS, accept, finish, holder
from tests.sim.world import World
from tests.support.networks import network_params


@pytest.mark.parametrize("seed", [*range(12), 17, 30, 44, 103, 110, 145, 152, 164, 195, 291])
def test_chaos__any_faults__every_task_ends_once_and_all_are_paid_what_they_earned(seed: int) -> None:
    Chaos(seed).run()


def test_frames__every_one_twice__changes_nothing() -> None:
    world = World(miners=3)
    world.repeat = lambda: True
    world.run(SETTLE_MS)
    for _ in range(8):
        assert finish(world, accept(world)) is Stage.DONE
    assert not world.judged
    assert not world.noted(NoteName.TASK_ABANDONED)
    assert len(world.noted(NoteName.TASK_AWARDED)) == len(world.noted(NoteName.TASK_DONE)) == 8


@pytest.mark.parametrize(
    ("skews", "heard"),
    [
        ((120_000, -50_000, 60_000), {"miner0", "miner1", "miner2"}),
        ((-120_000, 50_000, -60_000), {"miner0", "miner1", "miner2"}),
        # Further apart than the tolerance: not heard, and not judged either.
        ((120_000, -120_000, 0), {"miner1", "miner2"}),
    ],
)
def test_clocks__minutes_wrong__tasks_are_done_and_nobody_is_judged(
    skews: tuple[int, int, int], heard: set[str]
) -> None:
    params = network_params(epoch_s=600, boundary_tolerance_s=180, head_max_age_s=300)
    names = ("coordinator0", "miner0", "miner1")
    world = World(miners=3, params=params, skews=dict(zip(names, skews, strict=True)))
    world.chain.follow()
    world.run(SETTLE_MS)
    winners = set()
    for _ in range(12):
        task = accept(world)
        assert finish(world, task) is Stage.DONE
        winners.add(holder(world, task))
    assert winners == heard
    assert not world.judged


def test_epochs__many_pass_with_tasks_under_way__all_are_done() -> None:
    world = World(miners=3, coordinators=2, params=network_params(epoch_s=4, boundary_tolerance_s=1))
    world.chain.follow()
    world.run(SETTLE_MS)
    for machine in world.machines.values():
        machine.step_ms = 150
    requests = [world.submit(f"coordinator{number % 2}") for number in range(30)]
    assert world.run(60_000, lambda: len(world.noted(NoteName.RECEIPT_RECEIVED)) == len(requests))
    assert not world.judged
    assert not world.noted(NoteName.TASK_LEASE_EXPIRED)


def test_cancel__word_to_the_miner_is_lost__reaches_the_gpu_all_the_same() -> None:
    world = World(miners=3)
    world.run(SETTLE_MS)
    lost: list[object] = []
    world.lose = lambda _sender, _receiver, message: (
        isinstance(message, Cancel) and not lost and not lost.append(message)
    )
    for machine in world.machines.values():
        machine.step_ms = 1000
    task = accept(world)
    assert world.run(5000, lambda: bool(world.noted(NoteName.JOB_STARTED)))
    miner = world.machines[holder(world, task)]
    world.post(world.machines["coordinator0"], TaskCancelled(task))
    world.run(3000)
    assert lost
    assert not miner.jobs
    assert [update.stage for update in world.updates[task]][-1] is Stage.FAILED


def test_miner__leaves_the_table_in_the_middle__another_finishes_and_it_comes_back() -> None:
    chaos = Chaos(3, miners=2, coordinators=1)
    world = chaos.world
    chaos.leave_table("miner0", for_ms=16_000)
    requests = []
    for second in range(40):
        world.at(second * 1000, lambda: requests.append(world.submit()))
    world.run(60_000)
    answers = [world.replies[request] for request in requests]
    assert all(world.updates[answer.task][-1].stage is Stage.DONE for answer in answers)  # type: ignore[attr-defined]
    quiet = [at for at, name, _ in world.noted(NoteName.CLAIM_SENT) if name == "miner0"]
    assert max(later - sooner for sooner, later in itertools.pairwise(quiet)) > 10_000
    assert max(quiet) > world.now - 30_000
    assert not world.judged
