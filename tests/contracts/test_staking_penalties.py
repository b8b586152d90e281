"""What the connected contracts may do to a node, and that nobody else may do it."""

import pytest

from contracts.bindings import load
from protocol.units import CAI
from tests.contracts.conftest import (
    EPOCH_S,
    MINER_MINIMUM,
    STREAM_S,
    UNBONDING_DELAY_S,
    World,
)
from tests.support.anvil import Reverted

OWN = 40_000 * CAI
ONE = 10**27
ALL = 2**256 - 1
ZERO = "0x" + "00" * 20
MAX_JAIL_S = 30 * 86_400


@pytest.fixture
def node(world: World) -> World:
    """Alice owns miner 1, and Bob voted for it with as much."""
    world.register(world.alice, OWN)
    world.vote(world.bob, 1, OWN)
    return world


def slash(world: World, bps: int, receiver: str = ZERO, bounty_bps: int = 0) -> dict:
    return world.by(world.slashing, "slash", 1, bps, receiver, bounty_bps)[0]


CONNECTED = {
    "pay": ("settlement", (1, 1)),
    "set_debt": ("settlement", (1, True)),
    "seize": ("settlement", (1, 1, [])),
    "slash": ("slashing disputes", (1, 1, ZERO, 0)),
    "jail": ("slashing disputes", (1, 0, "test")),
    "freeze": ("disputes", (1, 0)),
}


@pytest.mark.parametrize("function", CONNECTED)
def test_connected_functions__by_anybody_else__are_refused(node: World, function: str):
    allowed, arguments = CONNECTED[function]
    others = [name for name in ("settlement", "slashing", "disputes") if name not in allowed.split()]
    senders = [getattr(node, name).address for name in others] + [node.treasury, node.alice, node.faucet.address]
    for sender in senders:
        node.anvil.impersonate(sender)
        with pytest.raises(Reverted, match=r"Staking: only S|Staking: only D"):
            node.anvil.send(sender, node.staking, function, *arguments)


@pytest.mark.parametrize("function", CONNECTED)
def test_connected_functions__unknown_node__are_refused(node: World, function: str):
    allowed, arguments = CONNECTED[function]
    for name in allowed.split():
        with pytest.raises(Reverted, match="no node has this id"):
            node.by(getattr(node, name), function, 9, *arguments[1:])


@pytest.mark.parametrize("function", CONNECTED)
def test_connected_functions__nothing_connected__are_refused_even_to_the_zero_address(node: World, function: str):
    staking = node.anvil.deploy(load("Staking"), node.cai.address, node.parameters.address, 1, 2, 4, 1)
    node.anvil.impersonate(ZERO)
    for sender in (ZERO, node.treasury):
        with pytest.raises(Reverted):
            node.anvil.send(sender, staking, function, *CONNECTED[function][1])


def test_connect__once_by_the_deployer_with_contracts__and_never_again(world: World):
    staking = world.anvil.deploy(load("Staking"), world.cai.address, world.parameters.address, 1, 2, 4, 1)
    three = (world.settlement.address, world.slashing.address, world.disputes.address)
    with pytest.raises(Reverted, match="only the deployer"):
        world.anvil.send(world.bob, staking, "connect", *three)
    for place, name in enumerate(("settlement", "slashing", "disputes")):
        wrong = [*three[:place], world.bob, *three[place + 1 :]]
        with pytest.raises(Reverted, match=f"{name} is not a contract"):
            world.anvil.send(world.treasury, staking, "connect", *wrong)
    events = world.anvil.send(world.treasury, staking, "connect", *three)
    assert events[0]["event"] == "Connected"
    for name, address in zip(("settlement", "slashing", "disputes"), three, strict=True):
        assert world.anvil.read(staking, name) == address.lower()
    for sender in (world.treasury, world.bob):
        with pytest.raises(Reverted, match=r"only the deployer|connected already"):
            world.anvil.send(sender, staking, "connect", *three)


def test_slash__reaches_owner_and_voters_bonded_and_unbonding_by_one_price(node: World):
    node.unvote(node.bob, 1, OWN // 2)
    supply = node.anvil.read(node.cai, "totalSupply")
    before, held = node.balance(node.carol), node.balance(node.staking.address)
    events = node.by(node.slashing, "slash", 1, 1000, node.carol, 1000)
    slashed, bounty = 2 * OWN // 10, OWN // 10 // 10
    assert events[0] == {
        "event": "Slashed",
        "id": 1,
        "bps": 1000,
        "price": ONE * 9 // 10,
        "slashed": slashed,
        "bounty": bounty,
        "receiver": node.carol.lower(),
    }
    assert events[1] == {"event": "NodeChanged", "id": 1, **node.node(1)}
    assert node.balance(node.carol) == before + bounty
    assert node.anvil.read(node.cai, "totalSupply") == supply - slashed + bounty
    assert node.balance(node.staking.address) == held - slashed
    assert node.anvil.read(node.staking, "stake_of", 1, node.alice) == OWN * 9 // 10
    assert node.anvil.read(node.staking, "stake_of", 1, node.bob) == OWN // 2 * 9 // 10
    assert node.anvil.read(node.staking, "unbonding", node.bob, 0)[2] == OWN // 2 * 9 // 10
    assert node.anvil.read(node.staking, "total_staked") == OWN * 15 // 10 * 9 // 10
    assert node.anvil.read(node.staking, "total_unbonding") == OWN // 2 * 9 // 10


def test_slash__more_than_a_tenth_or_a_bounty_of_more_than_a_tenth__counts_as_a_tenth(node: World):
    found = slash(node, 10_000, node.carol, 10_000)
    assert (found["bps"], found["bounty"]) == (1000, OWN // 10 // 10)
    assert node.standing(1)["price"] == ONE * 9 // 10


def test_slash__for_the_calling_contract_itself__leaves_it_nine_tenths_of_the_owners_loss_at_most(node: World):
    for caller, other in ((node.slashing, node.disputes), (node.disputes, node.slashing)):
        for asked, most in ((4_321, 4_321), (9_000, 9_000), (10_000, 9_000)):
            with node.anvil.unchanged():
                held = node.balance(caller.address)
                supply = node.anvil.read(node.cai, "totalSupply")
                found = node.by(caller, "slash", 1, 1000, caller.address, asked)[0]
                kept = OWN // 10 * most // 10_000
                assert (found["bounty"], node.balance(caller.address) - held) == (kept, kept)
                assert node.anvil.read(node.cai, "totalSupply") == supply - 2 * OWN // 10 + kept
        with node.anvil.unchanged():
            found = node.by(caller, "slash", 1, 1000, other.address, 10_000)[0]
            assert found["bounty"] == OWN // 10 // 10, "to anybody else no more than a bounty"


def test_slash__without_receiver__burns_everything(node: World):
    supply = node.anvil.read(node.cai, "totalSupply")
    assert slash(node, 500, ZERO, 1000)["bounty"] == 0
    assert node.anvil.read(node.cai, "totalSupply") == supply - 2 * OWN // 20


def test_slash__does_not_touch_rewards_or_other_nodes(node: World):
    node.register(node.bob, OWN)
    node.pay(1, 400 * CAI)
    node.anvil.wait(STREAM_S)
    alice, row = node.earned(1, node.alice), node.node(2)
    slash(node, 1000)
    assert node.earned(1, node.alice) == alice
    assert node.node(2) == row
    assert node.anvil.read(node.staking, "stake_of", 2, node.bob) == OWN


def test_slash__own_stake_no_longer_above_the_minimum__makes_inactive(node: World):
    node.unvote(node.alice, 1, OWN - MINER_MINIMUM - 1)
    assert node.node(1)["active"]
    slash(node, 1)
    assert not node.node(1)["active"]


def test_vote__after_a_slash__buys_shares_at_the_price_and_is_worth_what_was_paid(node: World):
    slash(node, 1000)
    node.vote(node.carol, 1, 9 * CAI)
    assert sum(node.anvil.read(node.staking, "shares_of", 1, node.carol)) == 10 * CAI
    assert node.anvil.read(node.staking, "stake_of", 1, node.carol) == 9 * CAI
    assert node.anvil.read(node.staking, "stake_of", 1, node.bob) == OWN * 9 // 10, "nobody else's changes"


def test_vote__odd_amounts_at_an_odd_price__never_give_more_than_was_paid(node: World):
    for bps in (999, 777, 333):
        slash(node, bps)
    for amount in (1, 2, 3, 10**9 + 7, CAI + 1):
        node.vote(node.carol, 1, amount)
        index = node.anvil.read(node.staking, "unbonding_count", node.carol)
        node.unvote(node.carol, 1, ALL)
        assert amount - 1 <= node.anvil.read(node.staking, "unbonding", node.carol, index)[2] <= amount
        assert node.anvil.read(node.staking, "shares_of", 1, node.carol) == (0, 0), "no dust stays"


def test_unvote__part_at_an_odd_price__takes_at_least_the_shares_that_it_is_worth(node: World):
    slash(node, 777)
    node.unvote(node.bob, 1, 12_345)
    _, shares, amount, _ = node.anvil.read(node.staking, "unbonding", node.bob, 0)
    price = node.standing(1)["price"]
    assert amount >= 12_345 > (shares - 1) * price // ONE


def test_vote__ruined_node__is_refused_and_everybody_can_leave(node: World):
    count = 0
    while node.standing(1)["price"] >= ONE // 10**6:
        node.vote(node.carol, 1, 1)
        slash(node, 1000)
        count += 1
    assert count == 132
    with pytest.raises(Reverted, match="this node is ruined"):
        node.vote(node.carol, 1, CAI)
    node.unvote(node.bob, 1, ALL)
    node.anvil.wait(UNBONDING_DELAY_S)
    before = node.balance(node.bob)
    node.withdraw(node.bob, 0)
    assert 0 < node.balance(node.bob) - before <= OWN // 10**6


def test_slash__until_nothing_is_left__still_works_and_everybody_can_leave(node: World):
    supply = node.anvil.read(node.cai, "totalSupply")
    while node.standing(1)["price"] > 0:
        slash(node, 1000)
    assert slash(node, 1000)["slashed"] == 0
    assert node.anvil.read(node.cai, "totalSupply") == supply - 2 * OWN
    assert node.by(node.settlement, "seize", 1, CAI, [0])[0]["amount"] == 0
    with pytest.raises(Reverted, match="not staked that much"):
        node.unvote(node.bob, 1, 1)
    node.unvote(node.bob, 1, ALL)
    node.anvil.wait(UNBONDING_DELAY_S)
    assert node.withdraw(node.bob, 0)[0]["amount"] == 0


def test_jail__makes_inactive_until_the_owner_unjails_after_its_time(node: World):
    until = node.anvil.now() + 500
    jailed, changed = node.by(node.slashing, "jail", 1, until, "two awards")
    assert jailed == {"event": "Jailed", "id": 1, "until": until, "reason": "two awards"}
    assert (changed["active"], changed["effective_stake"]) == (False, 2 * OWN), "weights are not changed"
    node.vote(node.alice, 1, CAI)
    assert not node.node(1)["active"], "more stake does not help"
    node.anvil.next_at(until - 1)
    with pytest.raises(Reverted, match="jail time is not over"):
        node.anvil.send(node.alice, node.staking, "unjail", 1)
    node.anvil.next_at(until + EPOCH_S)
    node.anvil.rpc("evm_mine")
    assert not node.node(1)["active"], "time alone does not help"
    with pytest.raises(Reverted, match="only the node's owner"):
        node.anvil.send(node.bob, node.staking, "unjail", 1)
    unjailed, changed = node.anvil.send(node.alice, node.staking, "unjail", 1)
    assert (unjailed, changed["active"]) == ({"event": "Unjailed", "id": 1}, True)
    with pytest.raises(Reverted, match="the node is not jailed"):
        node.anvil.send(node.alice, node.staking, "unjail", 1)


def test_unjail__own_stake_not_above_the_minimum_or_in_debt__is_refused(node: World):
    node.by(node.slashing, "jail", 1, 0, "test")
    assert node.standing(1)["jailed_until"] > 0
    node.unvote(node.alice, 1, OWN - MINER_MINIMUM)
    with pytest.raises(Reverted, match="own stake must be above the minimum"):
        node.anvil.send(node.alice, node.staking, "unjail", 1)
    node.vote(node.alice, 1, 1)
    node.by(node.settlement, "set_debt", 1, True)
    with pytest.raises(Reverted, match="the node is in debt"):
        node.anvil.send(node.alice, node.staking, "unjail", 1)
    node.by(node.settlement, "set_debt", 1, False)
    node.anvil.send(node.alice, node.staking, "unjail", 1)
    assert node.node(1)["active"]


def test_jail__second_sentence__never_shortens_and_none_is_longer_than_30_days(node: World):
    until = node.anvil.now() + 500
    node.by(node.slashing, "jail", 1, until, "first")
    assert node.by(node.disputes, "jail", 1, 0, "second")[0]["until"] == until
    found = node.by(node.disputes, "jail", 1, ALL, "third")[0]["until"]
    assert found == node.anvil.now() + MAX_JAIL_S


def test_freeze__holds_withdrawals_until_its_time_or_until_it_is_lifted(node: World):
    node.unvote(node.bob, 1, CAI)
    node.anvil.wait(UNBONDING_DELAY_S)
    until = node.anvil.now() + 500
    assert node.by(node.disputes, "freeze", 1, until)[0] == {"event": "Frozen", "id": 1, "until": until}
    with pytest.raises(Reverted, match="a dispute about this node is open"):
        node.withdraw(node.bob, 0)
    node.anvil.next_at(until)
    node.withdraw(node.bob, 0)
    node.unvote(node.bob, 1, CAI)
    node.anvil.wait(UNBONDING_DELAY_S)
    node.by(node.disputes, "freeze", 1, ALL)
    with pytest.raises(Reverted, match="a dispute about this node is open"):
        node.withdraw(node.bob, 1)
    node.by(node.disputes, "freeze", 1, 0)
    node.withdraw(node.bob, 1)


def test_freeze__over_and_over__holds_no_longer_than_one_more_unbonding_delay(node: World):
    release = node.unvote(node.bob, 1, CAI)[0]["release_at"]
    node.anvil.next_at(release + UNBONDING_DELAY_S - 2)
    node.by(node.disputes, "freeze", 1, ALL)
    assert node.standing(1)["frozen_until"] == node.anvil.now() + UNBONDING_DELAY_S
    node.anvil.next_at(release + UNBONDING_DELAY_S - 1)
    with pytest.raises(Reverted, match="a dispute about this node is open"):
        node.withdraw(node.bob, 0)
    node.anvil.next_at(release + UNBONDING_DELAY_S)
    node.withdraw(node.bob, 0)


def test_set_debt__holds_the_owner_and_not_the_voters(node: World):
    node.unvote(node.alice, 1, CAI)
    node.unvote(node.bob, 1, CAI)
    changed, row = node.by(node.settlement, "set_debt", 1, True)
    assert changed == {"event": "DebtChanged", "id": 1, "in_debt": True}
    assert not row["active"]
    node.anvil.wait(UNBONDING_DELAY_S)
    with pytest.raises(Reverted, match="its owner cannot leave"):
        node.unvote(node.alice, 1, CAI)
    for caller in (node.alice, node.bob):
        with pytest.raises(Reverted, match="its owner cannot withdraw"):
            node.anvil.send(caller, node.staking, "withdraw", node.alice, 0)
    node.withdraw(node.bob, 0)
    node.unvote(node.bob, 1, ALL)
    row = node.by(node.settlement, "set_debt", 1, False)[1]
    assert row["active"]
    node.withdraw(node.alice, 0)
    node.unvote(node.alice, 1, CAI)


def test_seize__takes_the_owners_bonded_stake_first_then_his_named_unbondings(node: World):
    node.unvote(node.alice, 1, 5000 * CAI)
    node.unvote(node.alice, 1, 7000 * CAI)
    before = node.balance(node.settlement.address)
    events = node.by(node.settlement, "seize", 1, OWN - 10_000 * CAI, [1, 0])
    assert events[0] == {"event": "Seized", "id": 1, "amount": OWN - 10_000 * CAI}
    assert node.balance(node.settlement.address) == before + OWN - 10_000 * CAI
    assert (events[1]["self_stake"], events[1]["effective_stake"], events[1]["active"]) == (0, OWN, False)
    assert node.anvil.read(node.staking, "unbonding", node.alice, 1)[2] == 5000 * CAI
    assert node.anvil.read(node.staking, "unbonding", node.alice, 0)[2] == 5000 * CAI
    assert node.by(node.settlement, "seize", 1, ALL, [0, 1, 1, 77])[0]["amount"] == 10_000 * CAI
    assert node.anvil.read(node.staking, "stake_of", 1, node.bob) == OWN
    assert node.anvil.read(node.staking, "total_unbonding") == 0


def test_seize__unbondings_of_voters_or_of_other_nodes__are_passed_over(node: World):
    node.register(node.alice, OWN)
    node.unvote(node.alice, 2, 3000 * CAI)
    node.unvote(node.bob, 1, 3000 * CAI)
    assert node.by(node.settlement, "seize", 1, ALL, [0, 1, 2])[0]["amount"] == OWN
    assert node.anvil.read(node.staking, "unbonding", node.alice, 0)[2] == 3000 * CAI
    assert node.anvil.read(node.staking, "unbonding", node.bob, 0)[2] == 3000 * CAI
    assert node.anvil.read(node.staking, "stake_of", 2, node.alice) == OWN - 3000 * CAI


def test_seize__after_a_slash__gives_exactly_the_wei_that_it_says(node: World):
    slash(node, 777)
    before = node.balance(node.settlement.address)
    assert node.by(node.settlement, "seize", 1, 12_345, [])[0]["amount"] == 12_345
    assert node.balance(node.settlement.address) == before + 12_345


def test_pay__nothing_or_more_than_settlement_has__is_refused(node: World):
    with pytest.raises(Reverted, match="amount is zero"):
        node.by(node.settlement, "pay", 1, 0)
    with pytest.raises(Reverted, match="insufficient allowance"):
        node.anvil.send(node.treasury, node.cai, "transfer", node.settlement.address, CAI)
        node.anvil.send(node.settlement.address, node.cai, "approve", node.staking.address, 0)
        node.by(node.settlement, "pay", 1, 1)
    with pytest.raises(Reverted, match="stream cannot hold"):
        node.by(node.settlement, "pay", 1, 2**96)
