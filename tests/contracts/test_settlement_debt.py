"""Debts: what an escrow does not cover jails, and comes from the operator's own stake and nobody else's."""

from collections.abc import Iterator

import pytest

from protocol.units import CAI
from tests.contracts.conftest import UNBONDING_DELAY_S, World
from tests.contracts.market import BOBS, CAROLS, COORDINATOR, ESCROW, MINER_OWN, OWN, Market
from tests.support.anvil import Reverted

DEBT = 2000 * CAI
VOTE = 10_000 * CAI


@pytest.fixture(scope="module")
def opened_market(deployed: World) -> Iterator[Market]:
    """The treasury has voted for the coordinator."""
    with deployed.anvil.unchanged():
        market = Market.open(deployed)
        deployed.vote(deployed.treasury, COORDINATOR, VOTE)
        yield market


@pytest.fixture
def indebted(market: Market) -> Market:
    """Bob has shown a voucher that the escrow covers a third of."""
    market.redeem(market.voucher(ESCROW + DEBT))
    return market


def voters_stake(market: Market) -> int:
    return market.world.anvil.read(market.world.staking, "stake_of", COORDINATOR, market.world.treasury)


def meet(market: Market, *indices: int) -> list:
    return market.settle(market.world.carol, "meet_debt", COORDINATOR, list(indices))


def test_redeem__above_the_escrow__pays_the_escrow_and_the_rest_is_a_debt_that_jails(market: Market):
    world = market.world
    redeemed, in_debt = market.redeem(market.voucher(ESCROW + DEBT))
    assert (redeemed["amount"], redeemed["unpaid"], redeemed["escrow_after"]) == (ESCROW, DEBT, 0)
    assert in_debt == {"event": "InDebt", "coordinator": COORDINATOR, "owed": DEBT}
    assert market.streaming() == market.read("redeemed_total", COORDINATOR) == ESCROW
    assert world.balance(world.settlement.address) == 0
    assert (market.owed(), market.read("in_debt_since", COORDINATOR)) == (DEBT, world.anvil.now())
    assert world.node(COORDINATOR)["active"] is False
    with pytest.raises(Reverted, match="Settlement: this voucher adds nothing"):
        market.redeem(market.voucher(ESCROW + DEBT))


def test_redeem__further_vouchers_in_debt__raise_it_and_keep_its_beginning(indebted: Market):
    since = indebted.read("in_debt_since", COORDINATOR)
    (redeemed,) = indebted.redeem(indebted.voucher(7 * CAI, CAROLS))
    assert (redeemed["amount"], redeemed["unpaid"]) == (0, 7 * CAI)
    assert indebted.owed() == DEBT + 7 * CAI
    assert indebted.read("in_debt_since", COORDINATOR) == since


def test_deposit__covers_a_debt__same_voucher_pays_the_rest_and_ends_it(indebted: Market):
    world = indebted.world
    indebted.deposit(DEBT - 1)
    assert [event["event"] for event in indebted.redeem(indebted.voucher(ESCROW + DEBT))] == ["Redeemed"]
    assert (indebted.owed(), world.node(COORDINATOR)["active"]) == (1, False)
    indebted.deposit(5)
    redeemed, out = indebted.redeem(indebted.voucher(1))
    assert (redeemed["amount"], redeemed["unpaid"], redeemed["acknowledged"]) == (1, 0, ESCROW + DEBT)
    assert out == {"event": "OutOfDebt", "coordinator": COORDINATOR}
    assert (indebted.owed(), indebted.read("in_debt_since", COORDINATOR), indebted.escrow()) == (0, 0, 4)
    assert indebted.read("redeemed_total", COORDINATOR) == ESCROW + DEBT
    assert world.node(COORDINATOR)["active"] is True


def test_redeem_many__debt_of_one_voucher_paid_by_none_of_the_batch__is_one_debt(market: Market):
    events = market.redeem_many(market.voucher(ESCROW), market.voucher(3 * CAI, CAROLS), market.voucher(ESCROW + 1))
    assert [event["event"] for event in events] == ["Redeemed"] * 3 + ["InDebt"]
    assert events[-1]["owed"] == market.owed() == 3 * CAI + 1


def test_withdraw__in_debt__is_refused_until_the_miners_are_paid(market: Market):
    world = market.world
    market.settle(world.alice, "request_withdrawal", COORDINATOR, ESCROW)
    market.redeem(market.voucher(ESCROW + DEBT))
    market.deposit(2 * DEBT)
    world.anvil.wait(UNBONDING_DELAY_S)
    with pytest.raises(Reverted, match="Settlement: the coordinator is in debt"):
        market.settle(world.alice, "withdraw", COORDINATOR)
    market.redeem(market.voucher(ESCROW + DEBT))
    assert market.settle(world.alice, "withdraw", COORDINATOR)[0]["amount"] == ESCROW


def test_debt__the_operator__can_take_nothing_out_and_its_voters_can(indebted: Market):
    world = indebted.world
    with pytest.raises(Reverted, match=r"Staking: .*debt"):
        world.unvote(world.alice, COORDINATOR, 1)
    world.unvote(world.treasury, COORDINATOR, VOTE)
    world.anvil.wait(UNBONDING_DELAY_S)
    before = world.balance(world.treasury)
    world.withdraw(world.treasury, 0)
    assert world.balance(world.treasury) == before + VOTE


def test_meet_debt__after_the_unbonding_delay__takes_it_from_the_operators_stake_alone(indebted: Market):
    world = indebted.world
    due = indebted.read("in_debt_since", COORDINATOR) + UNBONDING_DELAY_S
    indebted.world.anvil.next_at(due - 1)
    with pytest.raises(Reverted, match="Settlement: the coordinator still has time to deposit"):
        meet(indebted)
    indebted.world.anvil.next_at(due)
    assert meet(indebted) == [{"event": "DebtMet", "coordinator": COORDINATOR, "amount": DEBT, "escrow_after": DEBT}]
    assert world.node(COORDINATOR)["self_stake"] == OWN - DEBT
    assert voters_stake(indebted) == VOTE
    assert world.balance(world.settlement.address) == indebted.escrow() == DEBT
    with pytest.raises(Reverted, match="Settlement: the escrow covers the debt"):
        meet(indebted)
    indebted.redeem(indebted.voucher(ESCROW + DEBT))
    assert indebted.read("redeemed", COORDINATOR, BOBS) == ESCROW + DEBT
    assert world.node(COORDINATOR)["active"] is True
    with pytest.raises(Reverted, match="Settlement: the coordinator is not in debt"):
        meet(indebted)


def test_meet_debt__escrow_holds_a_part__takes_the_rest_only(indebted: Market):
    indebted.deposit(DEBT - 30)
    indebted.world.anvil.wait(UNBONDING_DELAY_S)
    (met,) = meet(indebted)
    assert (met["amount"], met["escrow_after"]) == (30, DEBT)


def test_meet_debt__bonded_stake_is_not_enough__takes_named_unbondings_of_the_owner(market: Market):
    world = market.world
    world.unvote(world.alice, COORDINATOR, 5000 * CAI)
    world.unvote(world.alice, COORDINATOR, OWN - 5000 * CAI - 7 * CAI)
    world.unvote(world.treasury, COORDINATOR, VOTE)
    market.redeem(market.voucher(ESCROW + 4000 * CAI))
    world.anvil.wait(UNBONDING_DELAY_S)
    assert meet(market)[0]["amount"] == 7 * CAI
    with pytest.raises(Reverted, match="Settlement: the operator has no stake left"):
        meet(market)
    assert meet(market, 0)[0]["amount"] == 3993 * CAI
    assert market.escrow() == 4000 * CAI
    before = world.balance(world.treasury)
    world.withdraw(world.treasury, 0)
    assert world.balance(world.treasury) == before + VOTE


def test_meet_debt__key_was_changed_before_the_voucher_was_shown__miner_is_paid_all_the_same(market: Market):
    """The debt is met when the signature counts no more: else what was seized would be nobody's for ever."""
    world, voucher = market.world, market.voucher(ESCROW + DEBT)
    market.rotate()
    market.redeem(voucher)
    world.anvil.wait(UNBONDING_DELAY_S)
    assert meet(market)[0]["amount"] == DEBT
    redeemed, out = market.redeem(voucher)
    assert (redeemed["amount"], redeemed["unpaid"], out["event"]) == (DEBT, 0, "OutOfDebt")
    assert world.balance(world.settlement.address) == market.escrow() == 0


def test_redeem__without_a_signature__pays_what_was_shown_and_nothing_more(indebted: Market):
    indebted.deposit(DEBT)
    for more in (indebted.voucher(ESCROW + DEBT + 1), indebted.voucher(1, CAROLS)):
        with pytest.raises(Reverted, match="Settlement: the signature is not 65 bytes"):
            indebted.redeem(more, b"")
    assert indebted.redeem(indebted.voucher(0), b"")[0]["amount"] == DEBT
    for less in (indebted.voucher(ESCROW + DEBT), indebted.voucher(0, CAROLS), indebted.voucher(0, 99)):
        with pytest.raises(Reverted, match="Settlement: this voucher adds nothing"):
            indebted.redeem(less, b"")


def test_hot_key__promises_everything_there_is__moves_no_token_of_a_voter(market: Market):
    """Whoever has the hot key can take escrow and own stake, and nothing else."""
    world = market.world
    world.vote(world.treasury, BOBS, VOTE)
    market.redeem(market.voucher(2**128))
    market.redeem(market.voucher(2**128, CAROLS))
    world.anvil.wait(UNBONDING_DELAY_S)
    assert meet(market)[0]["amount"] == OWN
    with pytest.raises(Reverted, match="Settlement: the operator has no stake left"):
        meet(market)
    assert voters_stake(market) == VOTE
    assert world.node(BOBS)["self_stake"] == MINER_OWN
    before = world.balance(world.treasury)
    for node in (COORDINATOR, BOBS):
        world.unvote(world.treasury, node, VOTE)
    world.anvil.wait(UNBONDING_DELAY_S)
    for index in (0, 1):
        world.withdraw(world.treasury, index)
    assert world.balance(world.treasury) == before + 2 * VOTE
