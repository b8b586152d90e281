"""Votes, taking stake back, withdrawing, and when a node is active."""

import pytest

from protocol.units import CAI
from tests.contracts.conftest import EPOCH_S, MINER_MINIMUM, UNBONDING_DELAY_S, World
from tests.support.anvil import Reverted

OWN = MINER_MINIMUM + 1000


@pytest.fixture
def node(world: World) -> World:
    """Alice owns miner 1."""
    world.register(world.alice, OWN)
    return world


def test_vote__by_a_stranger__weighs_but_is_not_own_stake(node: World):
    events = node.vote(node.bob, 1, 500)
    row = node.node(1)
    assert (row["self_stake"], row["effective_stake"], row["active"]) == (OWN, OWN + 500, True)
    assert node.anvil.read(node.staking, "stake_of", 1, node.bob) == 500
    assert node.balance(node.staking.address) == OWN + 500
    assert events == [
        {"event": "Voted", "id": 1, "voter": node.bob.lower(), "amount": 500, "stake_after": 500},
        {"event": "NodeChanged", "id": 1, **row},
    ]


def test_vote__by_the_owner__is_own_stake(node: World):
    node.vote(node.alice, 1, 500)
    row = node.node(1)
    assert (row["self_stake"], row["effective_stake"]) == (OWN + 500, OWN + 500)


def test_vote__unknown_node_or_nothing__is_refused(node: World):
    for node_id in (0, 2, 2**64):
        with pytest.raises(Reverted, match="no node has this id"):
            node.vote(node.bob, node_id, 500)
    with pytest.raises(Reverted, match="amount is zero"):
        node.vote(node.bob, 1, 0)


def test_unvote__more_than_staked_or_nothing__is_refused(node: World):
    node.vote(node.bob, 1, 500)
    with pytest.raises(Reverted, match="not staked that much"):
        node.unvote(node.bob, 1, 501)
    with pytest.raises(Reverted, match="not staked that much"):
        node.unvote(node.carol, 1, 1)
    with pytest.raises(Reverted, match="amount is zero"):
        node.unvote(node.bob, 1, 0)


def test_unvote__weighs_no_more_at_once_and_pays_nothing_yet(node: World):
    node.vote(node.bob, 1, 500)
    before = node.balance(node.bob)
    unvoted, changed = node.unvote(node.bob, 1, 200)
    assert changed["effective_stake"] == OWN + 300
    assert (unvoted["amount"], unvoted["stake_after"], unvoted["index"]) == (200, 300, 0)
    assert unvoted["release_at"] == node.anvil.now() + UNBONDING_DELAY_S
    assert node.balance(node.bob) == before
    assert node.anvil.read(node.staking, "unbonding", node.bob, 0) == (1, 200, 200, unvoted["release_at"])
    assert node.anvil.read(node.staking, "total_unbonding") == 200
    assert node.anvil.read(node.staking, "total_staked") == OWN + 300


def test_withdraw__before_the_delay_is_over__is_refused_and_works_from_its_second(node: World):
    node.vote(node.bob, 1, 500)
    release = node.unvote(node.bob, 1, 500)[0]["release_at"]
    before = node.balance(node.bob)
    node.anvil.rpc("evm_setNextBlockTimestamp", release - 1)
    with pytest.raises(Reverted, match="delay is not over"):
        node.withdraw(node.bob, 0)
    node.anvil.rpc("evm_setNextBlockTimestamp", release)
    events = node.withdraw(node.bob, 0)
    assert events == [{"event": "Withdrawn", "voter": node.bob.lower(), "index": 0, "amount": 500}]
    assert node.balance(node.bob) == before + 500
    assert node.anvil.read(node.staking, "total_unbonding") == 0


def test_withdraw__twice_or_somebody_elses__is_refused(node: World):
    node.vote(node.bob, 1, 500)
    node.unvote(node.bob, 1, 500)
    node.anvil.wait(UNBONDING_DELAY_S)
    with pytest.raises(Reverted, match="nothing to withdraw"):
        node.withdraw(node.carol, 0)
    with pytest.raises(Reverted, match="nothing to withdraw"):
        node.withdraw(node.bob, 1)
    node.withdraw(node.bob, 0)
    with pytest.raises(Reverted, match="nothing to withdraw"):
        node.withdraw(node.bob, 0)


def test_withdraw__in_any_order__pays_each_once(node: World):
    node.vote(node.bob, 1, 600)
    before = node.balance(node.bob)
    for amount in (100, 200, 300):
        node.unvote(node.bob, 1, amount)
    node.anvil.wait(UNBONDING_DELAY_S)
    for index, sum_after in ((1, 200), (0, 300), (2, 600)):
        node.withdraw(node.bob, index)
        assert node.balance(node.bob) == before + sum_after


def test_unvote__the_greatest_number__takes_everything(node: World):
    node.vote(node.bob, 1, 500)
    assert node.unvote(node.bob, 1, 2**256 - 1)[0]["amount"] == 500
    assert node.anvil.read(node.staking, "stake_of", 1, node.bob) == 0
    with pytest.raises(Reverted, match="not staked that much"):
        node.unvote(node.bob, 1, 2**256 - 1)


def test_withdraw__by_somebody_else__pays_whose_it_is(node: World):
    node.vote(node.bob, 1, 500)
    node.unvote(node.bob, 1, 500)
    node.anvil.wait(UNBONDING_DELAY_S)
    bob, carol = node.balance(node.bob), node.balance(node.carol)
    node.anvil.send(node.carol, node.staking, "withdraw", node.bob, 0)
    assert (node.balance(node.bob), node.balance(node.carol)) == (bob + 500, carol)


def test_vote__more_than_one_has__is_refused(node: World):
    with pytest.raises(Reverted, match="exceeds balance"):
        node.vote(node.bob, 1, node.balance(node.bob) + 1)
    with pytest.raises(Reverted, match="cannot hold that much"):
        node.vote(node.bob, 1, 2**112)


def test_unvote__own_stake_at_the_minimum__makes_inactive_and_above_active_again(node: World):
    node.unvote(node.alice, 1, 999)
    assert node.node(1)["active"] is True
    changed = node.unvote(node.alice, 1, 1)[-1]
    assert (changed["self_stake"], changed["active"]) == (MINER_MINIMUM, False)
    assert node.vote(node.bob, 1, 10**24)[-1]["active"] is False, "votes replace no own stake"
    assert node.vote(node.alice, 1, 1)[-1]["active"] is True


def test_unvote__everything__leaves_a_node_of_no_weight_whose_key_stays_taken(node: World):
    node.unvote(node.alice, 1, OWN)
    row = node.node(1)
    assert (row["self_stake"], row["effective_stake"], row["active"]) == (0, 0, False)
    assert node.anvil.read(node.staking, "id_by_key", row["key"]) == 1


def test_minimum_stake__by_role(node: World):
    assert node.anvil.read(node.staking, "minimum_stake", 1) == MINER_MINIMUM
    assert node.anvil.read(node.staking, "minimum_stake", 2) == 100 * MINER_MINIMUM
    assert node.anvil.read(node.staking, "unbonding_delay") == UNBONDING_DELAY_S
    assert node.anvil.read(node.staking, "token") == node.cai.address.lower()


def test_stake_before__votes_of_several_epochs__is_what_was_there_before_each_and_still_is(world: World):
    first = world.begin_epoch() // EPOCH_S
    world.register(world.alice, 100_000 * CAI)
    world.begin_epoch()
    world.vote(world.bob, 1, 50_000 * CAI)

    def before(*epochs: int) -> list[int]:
        return [world.anvil.read(world.staking, "stake_before", 1, first + epoch) // CAI for epoch in epochs]

    assert before(0, 1, 2) == [0, 100_000, 150_000]
    world.begin_epoch()
    assert before(0, 1, 2) == [0, 100_000, 150_000], "nothing has settled the node since"
    world.vote(world.bob, 1, 30_000 * CAI)
    assert before(0, 1, 2, 3) == [0, 100_000, 150_000, 180_000]
    world.begin_epoch()
    world.unvote(world.bob, 1, 60_000 * CAI)
    assert before(0, 1, 2, 3) == [0, 100_000, 120_000, 120_000]
    world.unvote(world.bob, 1, 10_000 * CAI)
    world.by(world.disputes, "slash", 1, 1000, world.carol, 0)
    assert before(0, 1, 2, 3, 9) == [0, 99_000, 99_000, 99_000, 99_000]
    world.begin_epoch()
    world.vote(world.bob, 1, 1)
    world.begin_epoch()
    assert before(1, 4) == [99_000, 99_000]
