"""Rows of the failure table (SPEC.md §9.7) that strike apps, lines, the chain, clocks and disks."""

from copy import deepcopy
from dataclasses import replace

from protocol.effects import Stage, StartJob
from protocol.events import TaskCancelled
from protocol.notes import NoteName
from protocol.roles.look_ahead import LOOK_AHEAD
from protocol.units import TaskId
from protocol.wire.messages import Bulletin
from tests.sim.chain import BLOCK_MS
from tests.sim.test_failures_of_miners import check_paid_once, paid
from tests.sim.test_task_line import SETTLE_MS, accept, ended, finish, holder, settled
from tests.sim.world import World
from tests.support.networks import network_params

SHORT_EPOCHS = network_params(epoch_s=12, boundary_tolerance_s=3)


def following(**options: object) -> World:
    """A settled world with short epochs, whose chain goes on."""
    world = World(params=SHORT_EPOCHS, **options)  # type: ignore[arg-type]
    world.chain.follow()
    world.run(SETTLE_MS)
    return world


def finish_all(world: World, tasks: list[TaskId], limit_ms: int = 60_000) -> None:
    """Let all tasks end well."""
    assert world.run(limit_ms, lambda: all(ended(world, task) for task in tasks))
    assert {world.updates[task][-1].stage for task in tasks} == {Stage.DONE}


def test_app__disconnects_in_the_middle__its_task_ends_and_the_gpu_is_free() -> None:
    world = settled()
    for machine in world.machines.values():
        machine.step_ms = 1000
    task = accept(world, detached=False)
    assert world.run(5000, lambda: bool(world.noted(NoteName.JOB_STARTED)))
    miner = world.machines[holder(world, task)]
    world.post(world.machines["coordinator0"], TaskCancelled(task))
    assert finish(world, task) is Stage.FAILED
    assert world.updates[task][-1].reason == "cancelled"
    assert not miner.jobs
    assert paid(world, miner.name) == 0


def test_bulletins__arrive_in_any_order__tasks_are_done_and_nobody_is_judged() -> None:
    world = settled(miners=4, latency_ms=(1, 900))
    arrivals: list[int] = []
    world.lose = lambda _sender, receiver, message: (
        receiver == "miner0" and isinstance(message, Bulletin) and bool(arrivals.append(message.sent_at))
    )
    tasks = [accept(world) for _ in range(20)]
    finish_all(world, tasks)
    world.run(5000)
    assert arrivals
    assert not world.judged
    assert len(world.noted(NoteName.TASK_DONE)) == len(tasks)


def test_coordinators__two_offer_to_one_gpu_at_once__it_does_both_one_after_the_other() -> None:
    world = settled(miners=1, coordinators=2)
    most: list[int] = []

    def count(_name: str, effect: object) -> object:
        if isinstance(effect, StartJob):
            most.append(len(world.machines["miner0"].jobs) + 1)
        return effect

    world.tamper = count  # type: ignore[assignment]
    requests = [world.submit(f"coordinator{index % 2}") for index in range(12)]
    assert world.run(60_000, lambda: len(world.noted(NoteName.RECEIPT_RECEIVED)) == len(requests))
    assert max(most) <= 1 + LOOK_AHEAD
    done = [name for _, name, _ in world.noted(NoteName.TASK_DONE)]
    assert done.count("coordinator0") == done.count("coordinator1") == 6
    assert not world.judged


def test_partition__heals__every_task_of_both_sides_is_done_once() -> None:
    world = following(miners=4, coordinators=2)
    for machine in world.machines.values():
        machine.step_ms = 100
    tasks = [accept(world, coordinator=f"coordinator{index % 2}") for index in range(12)]
    world.part(["coordinator1", "miner0", "miner1"])
    world.run(10_000)
    world.heal()
    finish_all(world, tasks)
    world.run(10_000)
    done = [note.task for _, _, note in world.noted(NoteName.TASK_DONE)]
    assert sorted(done) == sorted(tasks)
    assert not world.judged


def test_chain_node__down_for_epochs__tasks_wait_and_are_done_once_it_is_back() -> None:
    world = following(miners=3)
    world.chain.deaf |= {"coordinator0"}
    assert finish(world, accept(world)) is Stage.DONE
    world.run(3 * 1000 * SHORT_EPOCHS.epoch_s)
    # Its table is of an epoch in which nobody hears it any more.
    tasks = [accept(world) for _ in range(4)]
    world.run(20_000)
    assert not any(ended(world, task) for task in tasks)
    world.chain.catch_up(world.machines["coordinator0"])
    finish_all(world, tasks)
    assert not world.judged


def test_chain_node__slow__tables_come_late_and_tasks_are_done() -> None:
    world = following(miners=3)
    world.chain.deaf |= {"miner0"}
    tasks = []
    for _ in range(8):
        tasks.append(accept(world))
        world.run(BLOCK_MS)
        # One step of the follower at last, then silence again.
        world.chain.catch_up(world.machines["miner0"])
        world.chain.deaf |= {"miner0"}
    finish_all(world, tasks)
    assert not world.judged


def test_chain_node__lies_to_one_miner__others_work_nobody_is_judged_and_it_is_back() -> None:
    world = following(miners=3)
    rows = world.chain.rows
    world.chain.forked["miner0"] = (replace(rows[0], stake=rows[0].stake + 1), *rows[1:])
    world.run(3 * 1000 * SHORT_EPOCHS.epoch_s)
    lied = [accept(world) for _ in range(12)]
    finish_all(world, lied)
    assert {holder(world, task) for task in lied} == {"miner1", "miner2"}
    del world.chain.forked["miner0"]
    world.run(4 * 1000 * SHORT_EPOCHS.epoch_s)
    after = [accept(world) for _ in range(24)]
    finish_all(world, after)
    assert "miner0" in {holder(world, task) for task in after}
    assert not world.judged


def test_chain__re_organised_with_tasks_under_way__all_are_done() -> None:
    world = following(miners=3)
    for machine in world.machines.values():
        machine.step_ms = 300
    tasks = [accept(world) for _ in range(6)]
    for _ in range(4):
        world.chain.reorganise()
        world.run(1000)
    finish_all(world, tasks)
    assert not world.judged


def test_stake__falls_below_the_minimum_mid_task__another_finishes_and_only_it_is_paid() -> None:
    world = following(miners=3)
    for machine in world.machines.values():
        machine.step_ms = 300
    task = accept(world)
    assert world.run(5000, lambda: bool(world.noted(NoteName.JOB_STARTED)))
    first = holder(world, task)
    world.jail(first)
    assert finish(world, task) is Stage.DONE
    world.run(10_000)
    assert holder(world, task) != first
    check_paid_once(world, task)
    assert not world.judged


def test_bootstrap__dies__tasks_go_on_and_who_restarts_finds_the_others() -> None:
    world = settled(miners=3, bootstraps=1)
    world.crash("bootstrap0")
    assert finish(world, accept(world)) is Stage.DONE
    world.crash("miner0")
    world.start("miner0")
    world.run(10_000)
    tasks = [accept(world) for _ in range(16)]
    finish_all(world, tasks)
    assert "miner0" in {holder(world, task) for task in tasks}


def test_disk__full_for_a_while__nothing_leaves_meanwhile_and_all_is_done_after() -> None:
    world = settled(miners=3)
    handle, full = world.handle, {"coordinator0"}

    def wait_for_space(machine: object, event: object) -> None:
        # As the driver does: events wait in their order until what the first one persists is on disk.
        if machine.name in full:  # type: ignore[attr-defined]
            world.at(50, wait_for_space, machine, event)
        else:
            handle(machine, event)  # type: ignore[arg-type]

    tasks = [accept(world) for _ in range(4)]
    world.handle = wait_for_space  # type: ignore[method-assign]
    request = world.submit()
    world.run(8000)
    assert request not in world.replies
    assert not any(ended(world, task) for task in tasks)
    full.clear()
    finish_all(world, tasks)
    assert not world.judged


def test_store__coordinator_restored_from_an_old_copy__promises_on_top_of_what_it_forgot() -> None:
    world = settled(miners=2)
    finish_all(world, [accept(world) for _ in range(4)])
    world.run(2000)
    copy = deepcopy(world.machines["coordinator0"].store)
    finish_all(world, [accept(world) for _ in range(6)])
    world.run(2000)
    world.crash("coordinator0")
    world.machines["coordinator0"].store = copy
    world.start("coordinator0")
    world.run(SETTLE_MS)
    finish_all(world, [accept(world) for _ in range(6)])
    world.run(10_000)
    price = next(iter(copy._tasks.values())).accepted.price
    assert sum(paid(world, f"miner{index}") for index in range(2)) == 16 * price
    issued = {miner: voucher.cumulative for miner, voucher in copy._issued.items()}
    assert issued == {world.staking_id(name): paid(world, name) for name in ("miner0", "miner1")}
    assert not world.judged


def test_store__miner_restored_from_an_old_copy__signs_nothing_twice_and_is_paid_all() -> None:
    world = settled(miners=1)
    finish_all(world, [accept(world) for _ in range(2)])
    copy = deepcopy(world.machines["miner0"].store)
    finish_all(world, [accept(world) for _ in range(4)])
    world.run(2000)
    world.crash("miner0")
    world.machines["miner0"].store = copy
    world.start("miner0")
    world.run(SETTLE_MS)
    finish_all(world, [accept(world) for _ in range(2)])
    world.run(5000)
    (voucher,) = world.machines["coordinator0"].store._issued.values()
    assert paid(world, "miner0") == voucher.cumulative
    assert len(world.noted(NoteName.TASK_DONE)) == 8
    assert not world.judged
