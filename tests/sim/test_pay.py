"""Ledgers that balance after chaos: kills on every side, a chain that is away, transactions that are lost."""

import random

import pytest

from protocol.chain_records import Escrow, SettlementRead
from protocol.effects import Accepted
from protocol.events import SettlementSeen
from protocol.notes import NoteName
from protocol.records import VoucherHeld, VoucherIssued
from protocol.roles.miner.redeeming import RedeemPolicy
from protocol.units import BlockNumber, Digest, DurationMs, StakingId, Wei
from tests.sim.chain import BLOCK_MS
from tests.sim.settlement import Settlement
from tests.sim.test_task_line import SETTLE_MS
from tests.sim.world import PIXELS, World
from tests.support.networks import network_params

PRICE = Wei(PIXELS * 10 * network_params().price_per_pixel_step_wei)
"""Of the picture that ``submit`` asks for."""
POLICY = RedeemPolicy(has_gas_key=True, at=Wei(4 * PRICE), after=DurationMs(30_000), least=Wei(PRICE))
HOUR_MS = 3_600_000


def paying(deposit: int, **options: int) -> tuple[World, Settlement]:
    """A settled world that redeems; each coordinator has a deposit for so many pictures."""
    world = World(redeem=POLICY, **options)  # type: ignore[arg-type]
    settlement = Settlement(world, Wei(deposit * PRICE))
    for name in list(world.machines):
        world.crash(name)
        world.start(name)
    world.chain.follow()
    world.run(SETTLE_MS)
    return world, settlement


def held(world: World) -> dict[tuple[StakingId, StakingId], int]:
    """What each miner was promised by each coordinator, by the miners' disks."""
    return {
        (record.coordinator, machine.staking_id): record.cumulative
        for machine in world.everybody
        for record in world.disk(machine.store.load())
        if isinstance(record, VoucherHeld)
    }


def issued(world: World) -> dict[tuple[StakingId, StakingId], int]:
    """The same by the coordinators' disks."""
    return {
        (machine.staking_id, record.miner): record.cumulative
        for machine in world.everybody
        for record in world.disk(machine.store.load())
        if isinstance(record, VoucherIssued)
    }


@pytest.mark.parametrize("seed", range(6))
def test_pay__kills_on_every_side_and_a_chain_that_comes_and_goes__balances_to_the_wei(seed: int) -> None:
    world, settlement = paying(10_000, miners=4, coordinators=2, seed=seed)
    drawn = random.Random(seed)
    for _ in range(12):
        for _ in range(drawn.randrange(6)):
            world.submit(f"coordinator{drawn.randrange(2)}")
        world.chain.lost_transactions = drawn.randrange(3)
        deaf = world.machines[drawn.choice(list(world.machines))]
        world.chain.deaf.add(deaf.name)
        world.run(drawn.randrange(100, 2 * BLOCK_MS))
        victim = drawn.choice(list(world.machines))
        world.crash(victim)
        world.run(drawn.randrange(100, 2 * BLOCK_MS))
        world.start(victim)
        world.chain.catch_up(deaf)
    world.chain.lost_transactions = 0
    world.run(5 * 60_000)
    promised = issued(world)
    done = len(world.noted(NoteName.TASK_DONE))
    assert done > 10
    assert held(world) == promised, "both sides say the same"
    assert sum(promised.values()) == done * PRICE
    assert dict(settlement.redeemed) == promised, "all of it was paid, and nothing twice"
    for escrow in world.chain.escrows.values():
        paid = sum(amount for (coordinator, _), amount in promised.items() if coordinator == escrow.coordinator)
        assert (escrow.redeemed, escrow.deposited) == (paid, settlement.deposit - paid)
    assert settlement.calls < done, "several receipts, one redemption"


def test_pay__miner_cut_off_from_the_chain_for_hours__is_paid_all_when_it_is_back() -> None:
    world, settlement = paying(10_000, miners=1)
    world.chain.deaf.add("miner0")
    world.chain.lost_transactions = 10**6
    for _ in range(8):
        world.submit()
    world.run(3 * HOUR_MS)
    assert not settlement.redeemed
    assert held(world) == issued(world) == {(1, 2): 8 * PRICE}
    world.chain.lost_transactions = 0
    world.chain.catch_up(world.machines["miner0"])
    world.run(2 * 60_000)
    assert dict(settlement.redeemed) == issued(world) == {(1, 2): 8 * PRICE}
    assert settlement.calls <= 2


def test_pay__escrow_for_three__three_are_made_and_paid_and_more_after_a_deposit() -> None:
    world, settlement = paying(3, miners=2)
    requests = [world.submit() for _ in range(5)]
    world.run(2 * 60_000)
    assert sum(isinstance(world.replies[request], Accepted) for request in requests) == 3
    assert sum(settlement.redeemed.values()) == 3 * PRICE
    assert world.chain.escrows[StakingId(1)].owed == 0, "nothing was promised that could not be paid"
    settlement.fill(StakingId(1), Wei(2 * PRICE))
    world.run(2 * BLOCK_MS)
    for _ in range(3):
        world.submit()
    world.run(2 * 60_000)
    assert sum(settlement.redeemed.values()) == 5 * PRICE


def test_pay__coordinator_that_promises_more_than_it_has__gets_no_more_than_a_picture_of_each_miner_for_nothing() -> (
    None
):
    world, settlement = paying(5, miners=4)
    coordinator = world.machines["coordinator0"]
    world.chain.deaf.add(coordinator.name)  # as one that does not look at its own escrow
    rich = Escrow(coordinator.staking_id, Wei(10**6 * PRICE), Wei(0), Wei(0), Wei(0))
    read = SettlementRead("sim", BlockNumber(world.chain.height), Digest(bytes(32)), escrows=(rich,))
    world.post(coordinator, SettlementSeen(read, Wei(0)))
    for _ in range(40):
        world.submit()
        world.run(1000)
    promised, paid = sum(held(world).values()), sum(settlement.redeemed.values())
    assert paid == 5 * PRICE, "all that there was"
    assert 5 * PRICE < promised <= (5 + 4) * PRICE, "each miner knows the total of its own last receipt only"
    refused = {
        name for _, name, note in world.noted(NoteName.COORDINATOR_REFUSED) if note.fields["reason"] == "uncovered"
    }
    assert refused == {f"miner{number}" for number in range(4)}
    assert world.chain.escrows[coordinator.staking_id].owed == promised - paid, "the debt stands, and jails"
