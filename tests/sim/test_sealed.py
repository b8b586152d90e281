"""Sealed tasks in a world where lines, miners, coordinators and apps fail."""

import pytest

from protocol.effects import Send, Stage, StartJob
from protocol.notes import NoteName
from protocol.roles.coordinator.award_showing import KEY_MS
from protocol.roles.miner.sealed_work import WAIT_MS
from protocol.task.artifact import check_png
from protocol.wire.codec import encode
from protocol.wire.messages import Award
from tests.sim.sealing import PROMPT, SealingApp
from tests.sim.test_failures_of_miners import check_paid_once
from tests.sim.test_task_line import ended, finish, holder, settled
from tests.sim.world import World


def brings_key(message: object) -> bool:
    return isinstance(message, Award) and message.sealed_key is not None


def coordinator_knows(world: World, words: bytes) -> bool:
    """Whether these words stand in anything that a coordinator keeps, or was sent by it or to it."""
    store = world.machines["coordinator0"].store
    kept = [repr(vars(store)).encode(), *store._artifacts.values()]
    return any(words in one for one in kept)


def test_task__sealed__ends_with_the_picture_and_only_its_winner_can_read_it() -> None:
    world = settled(miners=4)
    said: list[bytes] = []
    world.watch(Send, lambda _machine, effect: said.append(encode(effect.message)))
    drawn: list[str] = []
    world.watch(StartJob, lambda _machine, effect: drawn.append(effect.specification.prompt))
    app = SealingApp(world)
    task = app.submit()
    assert finish(world, task) is Stage.DONE
    assert drawn == [PROMPT]
    assert not any(b"xyzzyplugh" in one for one in said)
    assert not coordinator_knows(world, b"xyzzyplugh")
    assert app.picture is not None
    check_png(app.picture, 128, 128)
    assert app.picture not in world.machines["coordinator0"].store._artifacts.values()
    assert len(app.opened_to) == 1
    assert not world.judged
    check_paid_once(world, task)


def test_miner__dies_with_the_key__the_next_winner_has_one_of_its_own() -> None:
    world = settled()
    app = SealingApp(world)
    task = app.submit()
    assert world.run(5000, lambda: bool(world.noted(NoteName.JOB_STARTED)))
    first = holder(world, task)
    world.crash(first)
    assert finish(world, task) is Stage.DONE
    assert holder(world, task) != first
    assert len(app.opened_to) == len(set(app.opened_to)) == 2
    assert len({key.sealed_key for key in app.keys}) == 2
    check_paid_once(world, task)


def test_app__away_when_a_miner_has_won__ends_app_gone_and_frees_the_miner() -> None:
    world = settled()
    app = SealingApp(world)
    app.is_away = True
    task = app.submit()
    began = world.now
    assert finish(world, task) is Stage.FAILED
    assert world.updates[task][-1].reason == "app_gone"
    assert KEY_MS <= world.now - began <= KEY_MS + 5000
    assert not world.noted(NoteName.TASK_LEASE_EXPIRED)
    assert not world.noted(NoteName.MINER_PAUSED)
    assert not world.judged
    later = SealingApp(world)
    world.replies.clear()
    later.order = later.order.model_copy(update={"order": b"p" * 16})
    assert not any(
        machine.core._working.busy()  # type: ignore[union-attr]
        for name, machine in world.machines.items()
        if name.startswith("miner")
    )


def test_key__lost_on_its_way__comes_again_and_the_lease_holds() -> None:
    world = settled()
    lost: list[int] = []

    def lose(_sender: str, _receiver: str, message: object) -> bool:
        if brings_key(message) and len(lost) < 2:
            lost.append(world.now)
            return True
        return False

    world.lose = lose
    app = SealingApp(world)
    task = app.submit()
    assert finish(world, task) is Stage.DONE
    assert len(lost) == 2
    assert not world.noted(NoteName.TASK_LEASE_EXPIRED)
    assert len(world.noted(NoteName.TASK_AWARDED)) == 1
    assert not world.judged


def test_key__never_reaches_one_miner__another_delivers_and_nobody_is_judged() -> None:
    world = settled()
    task_holder: list[str] = []

    def lose(_sender: str, receiver: str, message: object) -> bool:
        if brings_key(message):
            task_holder.append(receiver)
        return brings_key(message) and receiver == task_holder[0]

    world.lose = lose
    app = SealingApp(world)
    task = app.submit()
    assert finish(world, task, 4 * WAIT_MS) is Stage.DONE
    assert holder(world, task) != task_holder[0]
    assert not world.judged
    check_paid_once(world, task)


@pytest.mark.parametrize("note", [NoteName.TASK_AWARDED, NoteName.JOB_STARTED, NoteName.TASK_READY])
def test_coordinator__dies_in_the_middle__same_task_ends_well_once_it_and_its_app_are_back(note: NoteName) -> None:
    world = settled()
    app = SealingApp(world)
    task = app.submit()
    assert world.run(10_000, lambda: bool(world.noted(note)))
    world.crash("coordinator0")
    world.run(500)
    world.start("coordinator0")
    app.come_back()
    assert world.run(60_000, lambda: ended(world, task))
    assert world.updates[task][-1].stage is Stage.DONE
    assert app.picture is not None
    assert not world.judged
    check_paid_once(world, task)


def test_picture__changed_on_its_way__another_miner_draws_it_and_nobody_is_paused() -> None:
    world = settled()
    app = SealingApp(world)
    honest = app.seal.open
    seen: list[int] = []

    def garbled(message, data):  # type: ignore[no-untyped-def]
        seen.append(message.attempt)
        return honest(message, data if len(seen) > 1 else data[:-1] + b"x")

    app.seal.open = garbled  # type: ignore[method-assign]
    task = app.submit()
    assert finish(world, task) is Stage.DONE
    assert len(seen) == 2
    assert len(set(app.opened_to)) == 2
    assert not world.noted(NoteName.MINER_PAUSED)
    check_paid_once(world, task)


@pytest.mark.parametrize("seed", range(4))
def test_tasks__sealed_over_bad_lines__end_well_and_nobody_is_judged(seed: int) -> None:
    world = World(miners=5, seed=seed)
    world.run(3000)
    world.lose = lambda _sender, _receiver, message: isinstance(message, Award) and world.random.random() < 0.3
    app = SealingApp(world)
    task = app.submit()
    assert finish(world, task, 120_000) is Stage.DONE
    assert not world.judged
    check_paid_once(world, task)
