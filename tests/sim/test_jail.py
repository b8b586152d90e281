"""Jailing in a whole network: at once on admission and on the field, never on tables, weights or draws."""

from protocol.effects import Publish, Stage
from protocol.notes import NoteName
from protocol.wire.messages import Bulletin
from tests.sim.test_task_line import SETTLE_MS, accept, finish, holder
from tests.sim.world import World

JAILED = "miner0"


def bulletins(world: World) -> list[Bulletin]:
    """Collect what is published from now on."""
    published: list[Bulletin] = []

    def watch(_name: str, effect: object) -> object:
        published.extend([effect.message] if isinstance(effect, Publish) else [])
        return effect

    world.tamper = watch  # type: ignore[assignment]
    return published


def test_jail__miner__gets_no_work_until_it_is_free_and_tables_stay() -> None:
    world = World(miners=3)
    world.chain.follow()
    world.run(SETTLE_MS)
    published = bulletins(world)
    assert finish(world, accept(world)) is Stage.DONE
    world.jail(JAILED)
    world.run(1000)
    winners = {holder(world, task) for task in [accept(world) for _ in range(24)] if finish(world, task) is Stage.DONE}
    assert winners == {"miner1", "miner2"}
    world.jail(JAILED, free=True)
    world.run(10_000)
    free_winners = set()
    for _ in range(24):
        task = accept(world)
        assert finish(world, task) is Stage.DONE
        free_winners.add(holder(world, task))
    assert JAILED in free_winners
    assert len({message.root for message in published}) == 1
    assert not world.judged


def test_jail__coordinator__is_not_heard_until_it_is_free_and_loses_no_task() -> None:
    world = World(miners=2, coordinators=2)
    world.chain.follow()
    world.run(SETTLE_MS)
    task = accept(world)
    world.jail("coordinator0")
    world.run(5000)
    claims = len(world.noted(NoteName.CLAIM_SENT))
    world.run(5000)
    assert len(world.noted(NoteName.CLAIM_SENT)) == claims
    world.jail("coordinator0", free=True)
    assert finish(world, task) is Stage.DONE
    assert not world.judged


def test_jail__and_set_free_at_once__everybody_sees_both_in_that_order() -> None:
    world = World(miners=16, latency_ms=(1, 400))
    world.run(SETTLE_MS)
    world.jail(JAILED)
    world.jail(JAILED, free=True)
    world.run(1000)
    jailed = world.staking_id(JAILED)
    assert not [name for name, machine in world.machines.items() if machine.core.book.is_inactive_now(jailed)]  # type: ignore[union-attr]
