"""What stake earns: emission, payments that stream, epochs, commission, claims. Exact to the wei but for rounding."""

import pytest

from protocol.units import CAI
from tests.contracts.conftest import (
    EPOCH_S,
    MINER_MINIMUM,
    PARAMETER_DELAY_S,
    STREAM_S,
    UNBONDING_DELAY_S,
    World,
)
from tests.support.anvil import Reverted

OWN = 40_000 * CAI
POOL = 100_000 * CAI
RATE = CAI


def status(world: World) -> dict[str, int]:
    return dict(zip(("pool", "rate", "weight"), world.anvil.read(world.staking, "emission_status"), strict=True))


@pytest.fixture
def funded(world: World) -> World:
    """Alice owns miner 1, whose stake earns from the present second on, the first of an epoch."""
    world.fund(POOL)
    world.begin_epoch()
    world.register(world.alice, OWN)
    world.begin_epoch()
    return world


def go_to(world: World, second: int) -> None:
    world.anvil.next_at(second)
    world.anvil.rpc("evm_mine")


def test_emission__one_node__gets_the_rate_for_every_second_of_its_activity(funded: World):
    start = funded.anvil.now()
    assert funded.earned(1, funded.alice) == 0
    go_to(funded, start + 60)
    assert funded.earned(1, funded.alice) == 60 * RATE
    assert status(funded) == {"pool": POOL - 60 * RATE, "rate": RATE, "weight": OWN}


def test_emission__nobody_active__is_not_spent(world: World):
    world.fund(POOL)
    world.anvil.wait(10 * EPOCH_S)
    assert status(world)["pool"] == POOL
    world.register(world.alice, OWN)
    assert status(world)["pool"] == POOL
    world.begin_epoch()
    world.by(world.slashing, "jail", 1, 0, "test")
    left = status(world)["pool"]
    world.anvil.wait(10 * EPOCH_S)
    assert status(world)["pool"] == left


@pytest.mark.parametrize(("earning", "emitted"), [(CAI - 1, 0), (CAI, 50 * RATE)])
def test_emission__less_than_one_cai_earns_in_all__stays_in_the_pool(world: World, earning: int, emitted: int):
    world.fund(POOL)
    world.register(world.alice, OWN)
    world.unvote(world.alice, 1, OWN - earning)
    start = world.begin_epoch()
    world.anvil.next_at(start + 10)
    world.vote(world.alice, 1, OWN)
    assert world.node(1)["active"]
    assert status(world) == {"pool": POOL, "rate": RATE, "weight": earning}
    go_to(world, start + 60)
    assert status(world)["pool"] == POOL - emitted
    go_to(world, start + EPOCH_S + 1)
    assert status(world)["weight"] == OWN + earning


def test_emission__two_nodes__share_by_effective_stake_of_active_ones(funded: World):
    funded.register(funded.bob, OWN)
    funded.vote(funded.carol, 2, OWN)
    start = funded.begin_epoch()
    before = funded.earned(1, funded.alice)
    go_to(funded, start + 90)
    assert funded.earned(1, funded.alice) == before + 30 * RATE
    operator, voter = funded.earned(2, funded.bob), funded.earned(2, funded.carol)
    assert operator + voter == 60 * RATE
    assert voter == 30 * RATE * 90 // 100
    funded.anvil.next_at(start + 91)
    funded.by(funded.slashing, "jail", 2, 0, "test")
    before = funded.earned(1, funded.alice)
    frozen = funded.earned(2, funded.carol)
    go_to(funded, start + 99)
    assert funded.earned(1, funded.alice) == before + 8 * RATE
    assert funded.earned(2, funded.carol) == frozen


def test_emission__pool_runs_out__ends_with_its_last_wei(world: World):
    world.fund(50 * RATE + RATE // 2)
    world.register(world.alice, OWN)
    start = world.begin_epoch()
    go_to(world, start + 50)
    assert world.earned(1, world.alice) == 50 * RATE
    go_to(world, start + 51)
    assert world.earned(1, world.alice) == 50 * RATE + RATE // 2
    go_to(world, start + 90)
    assert world.earned(1, world.alice) == 50 * RATE + RATE // 2
    world.anvil.next_at(start + 95)
    world.fund(RATE)
    funded_at = world.anvil.now()
    go_to(world, funded_at + 10)
    assert world.earned(1, world.alice) == 51 * RATE + RATE // 2, "what is added later pays nothing of before"


def test_emission__new_rate__holds_from_the_first_settlement_after_it_was_enacted(funded: World):
    funded.anvil.send(funded.treasury, funded.parameters, "propose", 1, 4 * RATE)
    funded.anvil.wait(PARAMETER_DELAY_S)
    funded.anvil.send(funded.carol, funded.parameters, "enact", 1)
    enacted = funded.anvil.now()
    before = funded.earned(1, funded.alice)
    funded.anvil.next_at(enacted + 10)
    funded.anvil.send(funded.carol, funded.staking, "poke", 1)
    assert funded.earned(1, funded.alice) == before + 10 * RATE
    assert status(funded)["rate"] == 4 * RATE
    go_to(funded, enacted + 20)
    assert funded.earned(1, funded.alice) == before + 50 * RATE


def test_vote__in_the_middle_of_an_epoch__earns_from_the_second_in_which_the_next_begins(funded: World):
    start = funded.anvil.now()
    funded.anvil.next_at(start + 50)
    funded.vote(funded.bob, 1, OWN)
    assert funded.node(1)["effective_stake"] == 2 * OWN, "it weighs at once"
    assert funded.anvil.read(funded.staking, "shares_of", 1, funded.bob) == (0, OWN)
    go_to(funded, start + EPOCH_S)
    assert funded.earned(1, funded.bob) == 0
    assert funded.anvil.read(funded.staking, "shares_of", 1, funded.bob) == (OWN, 0)
    go_to(funded, start + EPOCH_S + 10)
    assert funded.earned(1, funded.bob) == 5 * RATE * 90 // 100
    assert funded.earned(1, funded.alice) == EPOCH_S * RATE + 10 * RATE - funded.earned(1, funded.bob)


@pytest.mark.parametrize("settled_after", [1, 7 * EPOCH_S + 3])
def test_vote__settled_late__earned_what_it_would_have_if_settled_in_time(funded: World, settled_after: int):
    start = funded.anvil.now()
    funded.anvil.next_at(start + 50)
    funded.vote(funded.bob, 1, OWN)
    end = start + EPOCH_S + settled_after
    funded.anvil.next_at(end)
    funded.anvil.send(funded.carol, funded.staking, "poke", 1)
    assert funded.earned(1, funded.bob) == settled_after * RATE // 2 * 90 // 100


def test_vote__twice_in_one_epoch__both_wait_for_the_next(funded: World):
    funded.vote(funded.bob, 1, 10 * CAI)
    funded.vote(funded.bob, 1, 30 * CAI)
    assert funded.anvil.read(funded.staking, "shares_of", 1, funded.bob) == (0, 40 * CAI)
    funded.begin_epoch()
    funded.vote(funded.bob, 1, 5 * CAI)
    assert funded.anvil.read(funded.staking, "shares_of", 1, funded.bob) == (40 * CAI, 5 * CAI)


def test_unvote__takes_what_does_not_earn_yet_first(funded: World):
    funded.vote(funded.bob, 1, 40 * CAI)
    funded.begin_epoch()
    funded.vote(funded.bob, 1, 10 * CAI)
    funded.unvote(funded.bob, 1, 4 * CAI)
    assert funded.anvil.read(funded.staking, "shares_of", 1, funded.bob) == (40 * CAI, 6 * CAI)
    funded.unvote(funded.bob, 1, 16 * CAI)
    assert funded.anvil.read(funded.staking, "shares_of", 1, funded.bob) == (30 * CAI, 0)


def test_unvote__earns_no_more_from_its_second_on(funded: World):
    funded.vote(funded.bob, 1, OWN)
    start = funded.begin_epoch()
    funded.anvil.next_at(start + 20)
    funded.unvote(funded.bob, 1, OWN)
    earned = funded.earned(1, funded.bob)
    assert earned == 10 * RATE * 90 // 100
    go_to(funded, start + 80)
    assert funded.earned(1, funded.bob) == earned


def test_pay__streams_to_operator_and_voters_over_its_time(funded: World):
    funded.by(funded.slashing, "jail", 1, 0, "no emission")
    funded.vote(funded.bob, 1, OWN)
    start = funded.begin_epoch()
    base = funded.earned(1, funded.alice)
    funded.anvil.next_at(start + 10)
    funded.anvil.send(funded.treasury, funded.cai, "transfer", funded.settlement.address, 400 * CAI)
    paid = funded.pay(1, 400 * CAI)[0]
    assert (paid["amount"], paid["stream"]) == (400 * CAI, 400 * CAI)
    assert paid["ends_at"] == funded.anvil.now() + STREAM_S
    begin = funded.anvil.now()
    go_to(funded, begin + STREAM_S // 4)
    assert funded.earned(1, funded.bob) == 45 * CAI
    assert funded.earned(1, funded.alice) - base == 55 * CAI
    assert funded.standing(1)["stream_left"] == 300 * CAI
    go_to(funded, begin + STREAM_S)
    assert funded.earned(1, funded.bob) == 180 * CAI
    assert funded.earned(1, funded.alice) - base == 220 * CAI
    assert funded.standing(1)["stream_left"] == 0
    go_to(funded, begin + 3 * STREAM_S)
    assert funded.earned(1, funded.bob) == 180 * CAI


def test_pay__small_payment_into_a_large_stream__hardly_delays_it(funded: World):
    funded.pay(1, 400 * CAI)
    begin = funded.anvil.now()
    funded.anvil.next_at(begin + 300)
    funded.anvil.rpc("evm_mine")
    end = funded.pay(1, 1)[0]["ends_at"]
    assert begin + STREAM_S <= end <= begin + STREAM_S + 1


def test_pay__many_of_a_wei__do_not_stretch_the_stream(funded: World):
    """Each rounded up to a second, 60 of them would hold a large payment up for a minute."""
    funded.pay(1, 100 * CAI)
    end = funded.standing(1)["stream_end"]
    go_to(funded, end - 100)
    for _ in range(60):
        funded.pay(1, 1)
    assert funded.standing(1)["stream_end"] == end


def test_pay__equal_payment_at_half_time__ends_at_the_mean_of_both(funded: World):
    funded.pay(1, 200 * CAI)
    begin = funded.anvil.now()
    funded.anvil.send(funded.treasury, funded.cai, "transfer", funded.settlement.address, 100 * CAI)
    funded.anvil.send(funded.settlement.address, funded.cai, "approve", funded.staking.address, 100 * CAI)
    funded.anvil.next_at(begin + STREAM_S // 2)
    paid = funded.by(funded.settlement, "pay", 1, 100 * CAI)[0]
    assert paid["stream"] == 200 * CAI
    assert paid["ends_at"] == begin + STREAM_S // 2 + STREAM_S * 3 // 4


def test_rewards__no_shares_that_earn__are_the_operators(world: World):
    world.fund(POOL)
    world.register(world.alice, OWN)
    world.vote(world.bob, 1, OWN)
    world.unvote(world.alice, 1, 2**256 - 1)
    world.unvote(world.bob, 1, 2**256 - 1)
    world.pay(1, 400 * CAI)
    world.anvil.wait(STREAM_S)
    assert world.earned(1, world.alice) == 400 * CAI
    assert world.earned(1, world.bob) == 0


def test_rewards__less_than_one_cai_of_shares_earns__are_the_operators(world: World):
    world.register(world.alice, OWN)
    world.unvote(world.alice, 1, 2**256 - 1)
    world.vote(world.bob, 1, CAI - 1)
    world.begin_epoch()
    world.pay(1, 400 * CAI)
    world.anvil.wait(STREAM_S)
    assert world.earned(1, world.bob) == 0
    world.vote(world.carol, 1, 1)
    world.begin_epoch()
    world.pay(1, 400 * CAI)
    world.anvil.wait(STREAM_S)
    assert world.earned(1, world.bob) > 359 * CAI, "from one CAI on they are shared"


def test_claim__pays_what_earned_says_once(funded: World):
    funded.vote(funded.bob, 1, OWN)
    start = funded.begin_epoch()
    for person in (funded.bob, funded.alice):
        before = funded.balance(person)
        funded.anvil.next_at(start := start + 10)
        funded.anvil.rpc("evm_mine")
        due = funded.earned(1, person)
        assert funded.anvil.read(funded.staking, "claim", 1, sender=person) == due
        funded.anvil.next_at(start := start + 10)
        claimed = funded.anvil.send(person, funded.staking, "claim", 1)[-1]
        assert (claimed["event"], claimed["account"]) == ("RewardsClaimed", person.lower())
        assert funded.balance(person) == before + claimed["amount"] > before + due
        assert funded.earned(1, person) == 0


def test_claim__nothing_earned__is_refused(funded: World):
    with pytest.raises(Reverted, match="nothing to claim on this node"):
        funded.anvil.send(funded.bob, funded.staking, "claim", 1)
    with pytest.raises(Reverted, match="nothing to claim on this node"):
        funded.anvil.send(funded.bob, funded.staking, "claim", 9)
    with pytest.raises(Reverted, match="nothing to claim on these nodes"):
        funded.anvil.send(funded.bob, funded.staking, "claim_many", [1, 9])


def test_claim_many__pays_each_node_once(funded: World):
    funded.register(funded.bob, OWN)
    for node_id in (1, 2):
        funded.vote(funded.carol, node_id, OWN)
    start = funded.begin_epoch()
    before = funded.balance(funded.carol)
    funded.anvil.next_at(start + 40)
    events = funded.anvil.send(funded.carol, funded.staking, "claim_many", [1, 2, 1])
    amounts = [event["amount"] for event in events if event["event"] == "RewardsClaimed"]
    assert amounts == [40 * RATE // 4 * 90 // 100] * 2
    assert funded.balance(funded.carol) == before + sum(amounts)


def test_claim_many__more_than_32_nodes__is_refused(funded: World):
    with pytest.raises(Reverted):
        funded.anvil.send(funded.bob, funded.staking, "claim_many", [1] * 33)


def test_rewards__of_a_voter_who_left__wait_for_him(funded: World):
    funded.vote(funded.bob, 1, OWN)
    start = funded.begin_epoch()
    funded.anvil.next_at(start + 20)
    funded.unvote(funded.bob, 1, 2**256 - 1)
    funded.anvil.wait(UNBONDING_DELAY_S)
    funded.withdraw(funded.bob, 0)
    before = funded.balance(funded.bob)
    funded.anvil.send(funded.bob, funded.staking, "claim", 1)
    assert funded.balance(funded.bob) == before + 9 * RATE


def test_set_commission__nobody_else_has_stake__holds_at_once(funded: World):
    events = funded.anvil.send(funded.alice, funded.staking, "set_commission", 1, 2500)
    now = funded.anvil.now()
    assert events == [{"event": "CommissionAnnounced", "id": 1, "before": 1000, "commission": 2500, "holds_from": now}]
    assert funded.standing(1)["commission"] == 2500


def test_set_commission__with_voters__holds_from_the_first_settlement_after_the_notice(funded: World):
    funded.vote(funded.bob, 1, OWN)
    funded.anvil.send(funded.alice, funded.staking, "set_commission", 1, 3000)
    holds_from = funded.anvil.now() + UNBONDING_DELAY_S
    found = funded.standing(1)
    assert (found["commission"], found["next_commission"], found["next_commission_at"]) == (1000, 3000, holds_from)
    funded.anvil.next_at(holds_from - 1)
    funded.anvil.send(funded.carol, funded.staking, "poke", 1)
    assert funded.standing(1)["commission"] == 1000
    before = funded.earned(1, funded.bob)
    go_to(funded, holds_from + 9)
    assert funded.earned(1, funded.bob) == before + 10 * RATE // 2 * 90 // 100, "up to the settlement the old one"
    funded.anvil.next_at(holds_from + 19)
    funded.anvil.send(funded.carol, funded.staking, "poke", 1)
    before = funded.earned(1, funded.bob)
    go_to(funded, holds_from + 29)
    assert funded.earned(1, funded.bob) == before + 10 * RATE // 2 * 70 // 100
    found = funded.standing(1)
    assert (found["commission"], found["next_commission"], found["next_commission_at"]) == (3000, 0, 0)


def test_set_commission__above_the_maximum_or_by_a_stranger__is_refused(funded: World):
    with pytest.raises(Reverted, match="above the maximum"):
        funded.anvil.send(funded.alice, funded.staking, "set_commission", 1, 3001)
    funded.anvil.send(funded.alice, funded.staking, "set_commission", 1, 3000)
    with pytest.raises(Reverted, match="only the node's owner"):
        funded.anvil.send(funded.bob, funded.staking, "set_commission", 1, 0)


def test_fund_emission__nothing_or_more_than_one_has__is_refused(world: World):
    with pytest.raises(Reverted, match="amount is zero"):
        world.anvil.send(world.bob, world.staking, "fund_emission", 0)
    with pytest.raises(Reverted, match="exceeds balance"):
        world.anvil.send(world.bob, world.staking, "fund_emission", world.balance(world.bob) + 1)
    with pytest.raises(Reverted, match="pool cannot hold"):
        world.anvil.send(world.bob, world.staking, "fund_emission", 2**96)
    events = world.anvil.send(world.bob, world.staking, "fund_emission", 7)
    assert events == [{"event": "EmissionFunded", "funder": world.bob.lower(), "amount": 7, "pool": 7}]


def test_poke__unknown_node__is_refused(world: World):
    with pytest.raises(Reverted, match="no node has this id"):
        world.anvil.send(world.bob, world.staking, "poke", 1)


def test_emission__own_stake_falls_to_the_minimum__ends_with_the_activity(funded: World):
    start = funded.anvil.now()
    funded.anvil.next_at(start + 10)
    funded.unvote(funded.alice, 1, OWN - MINER_MINIMUM)
    assert funded.earned(1, funded.alice) == 10 * RATE
    go_to(funded, start + 90)
    assert funded.earned(1, funded.alice) == 10 * RATE
