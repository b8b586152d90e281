"""The flaws of the first prototype, each as a test that it would fail. Numbers as in the list that named them.

The second one, vouchers of anybody for anybody, is Settlement's and is tested there.
"""

import pytest

from protocol.units import CAI
from tests.contracts.conftest import MINER_MINIMUM, STREAM_S, UNBONDING_DELAY_S, World
from tests.support.anvil import Reverted

OWN = 2 * MINER_MINIMUM
ALL = 2**256 - 1


def test_flaw_1__stake_that_is_leaving__is_slashed_until_it_is_withdrawn(world: World):
    world.register(world.alice, OWN)
    world.unvote(world.alice, 1, ALL)
    world.anvil.wait(UNBONDING_DELAY_S)
    slashed = world.by(world.slashing, "slash", 1, 500, world.carol, 1000)[0]
    assert slashed["slashed"] == OWN // 20
    before = world.balance(world.alice)
    world.withdraw(world.alice, 0)
    assert world.balance(world.alice) == before + OWN * 19 // 20


def test_flaw_3__node_without_any_share__can_be_paid_slashed_settled_and_voted_for(world: World):
    world.register(world.alice, OWN)
    world.unvote(world.alice, 1, ALL)
    world.anvil.wait(UNBONDING_DELAY_S)
    world.withdraw(world.alice, 0)
    assert world.by(world.slashing, "slash", 1, 500, world.carol, 1000)[0]["slashed"] == 0
    world.pay(1, 400 * CAI)
    world.anvil.wait(STREAM_S)
    world.anvil.send(world.carol, world.staking, "poke", 1)
    assert world.earned(1, world.alice) == 400 * CAI
    world.vote(world.bob, 1, CAI)
    assert CAI - 1 <= world.node(1)["effective_stake"] <= CAI


def test_flaw_4__own_stake_below_the_minimum__makes_inactive_in_the_same_transaction(world: World):
    world.register(world.alice, OWN)
    world.vote(world.bob, 1, OWN)
    assert world.unvote(world.alice, 1, OWN - MINER_MINIMUM)[-1]["active"] is False


def test_flaw_5__rotated_key__stays_answerable_for_the_unbonding_delay(world: World):
    old, new = world.key(), world.key()
    world.register(world.alice, OWN, node_key=old)
    consent = world.consent(new, world.alice)
    world.anvil.send(world.alice, world.staking, "rotate_key", 1, "0x" + new.address.hex(), 2**40, consent)
    release = world.unvote(world.alice, 1, ALL)[0]["release_at"]
    read = world.anvil.read
    assert read(world.staking, "signing_id", "0x" + old.address.hex()) == 1
    assert release >= read(world.staking, "retired_at", "0x" + old.address.hex()) + UNBONDING_DELAY_S


def test_flaw_6__open_dispute__freezes_withdrawals(world: World):
    world.register(world.alice, OWN)
    world.unvote(world.alice, 1, ALL)
    world.anvil.wait(UNBONDING_DELAY_S)
    world.by(world.disputes, "freeze", 1, ALL)
    with pytest.raises(Reverted, match="a dispute about this node is open"):
        world.withdraw(world.alice, 0)


def test_flaw_7__more_unbondings_than_sixteen_at_odd_prices__lose_at_most_a_wei_each_and_mint_none(world: World):
    world.register(world.alice, OWN)
    world.by(world.slashing, "slash", 1, 777, world.carol, 1000)
    amounts = [10**15 + 7 * number for number in range(20)]
    world.vote(world.bob, 1, sum(amounts))
    before, held = world.balance(world.bob), world.balance(world.staking.address)
    for amount in amounts[:-1]:
        world.unvote(world.bob, 1, amount)
    world.unvote(world.bob, 1, ALL)
    world.anvil.wait(UNBONDING_DELAY_S)
    for index in range(20):
        world.withdraw(world.bob, index)
    paid = world.balance(world.bob) - before
    assert sum(amounts) - 20 <= paid <= sum(amounts)
    assert world.balance(world.staking.address) == held - paid


def test_flaw_8__reporting_oneself__costs_ten_times_what_it_brings(world: World):
    world.register(world.alice, OWN)
    before = world.balance(world.alice) + world.anvil.read(world.staking, "stake_of", 1, world.alice)
    world.by(world.slashing, "slash", 1, 1000, world.alice, 10_000)
    after = world.balance(world.alice) + world.anvil.read(world.staking, "stake_of", 1, world.alice)
    assert before - after == OWN // 10 * 9 // 10
