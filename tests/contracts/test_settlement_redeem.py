"""Redeeming vouchers: who is paid what, once, and never above the escrow."""

import pytest

from protocol.units import CAI
from tests.contracts.conftest import COORDINATOR_MINIMUM, UNBONDING_DELAY_S
from tests.contracts.market import BOBS, CAROLS, COORDINATOR, ESCROW, Market, fields
from tests.contracts.test_statements import other_forms
from tests.support.anvil import Reverted


def test_redeem__voucher_within_the_escrow__streams_it_to_the_miner(market: Market):
    world = market.world
    staked = world.balance(world.staking.address)
    events = market.redeem(market.voucher(300 * CAI))
    assert events == [
        {
            "event": "Redeemed",
            "coordinator": COORDINATOR,
            "miner": BOBS,
            "amount": 300 * CAI,
            "acknowledged": 300 * CAI,
            "unpaid": 0,
            "escrow_after": ESCROW - 300 * CAI,
        }
    ]
    assert market.streaming() == 300 * CAI
    assert world.balance(world.staking.address) == staked + 300 * CAI
    assert world.balance(world.settlement.address) == market.escrow() == ESCROW - 300 * CAI
    assert market.read("redeemed", COORDINATOR, BOBS) == market.read("acknowledged", COORDINATOR, BOBS) == 300 * CAI
    assert market.read("redeemed_total", COORDINATOR) == 300 * CAI
    assert (market.owed(), market.read("in_debt_since", COORDINATOR)) == (0, 0)
    assert world.node(COORDINATOR)["active"] is True


def test_redeem__higher_voucher__pays_the_difference_and_each_miner_its_own(market: Market):
    market.redeem(market.voucher(300 * CAI))
    assert market.redeem(market.voucher(310 * CAI))[0]["amount"] == 10 * CAI
    assert market.redeem(market.voucher(20 * CAI, CAROLS))[0]["amount"] == 20 * CAI
    assert market.read("redeemed_total", COORDINATOR) == 330 * CAI
    assert market.escrow() == ESCROW - 330 * CAI


def test_redeem__by_a_stranger__pays_the_miner_all_the_same(market: Market):
    world = market.world
    before = world.balance(world.treasury)
    market.redeem(market.voucher(CAI), sender=world.treasury)
    assert market.streaming() == CAI
    assert world.balance(world.treasury) == before


def test_redeem__same_or_lower_voucher_again__is_refused_and_pays_nothing(market: Market):
    market.redeem(market.voucher(300 * CAI))
    for cumulative in (300 * CAI, 299 * CAI, 0):
        with pytest.raises(Reverted, match="Settlement: this voucher adds nothing"):
            market.redeem(market.voucher(cumulative))
    assert market.escrow() == ESCROW - 300 * CAI


@pytest.mark.parametrize("payee", [0, COORDINATOR, 4, 2**64 - 1])
def test_redeem__flaw_2_payee_is_no_registered_miner__is_refused(market: Market, payee: int):
    with pytest.raises(Reverted, match="Settlement: the payee is not a registered miner"):
        market.redeem(market.voucher(CAI, payee))


def test_redeem__flaw_2_signer_is_no_coordinator__is_refused(market: Market):
    voucher = market.voucher(CAI, CAROLS, coordinator=BOBS)
    with pytest.raises(Reverted, match="Settlement: the signer is not a coordinator"):
        market.redeem(voucher, market.sign(voucher, market.bobs_key))


def test_redeem__signed_by_a_stranger_or_another_node__is_refused(market: Market):
    world = market.world
    other = world.key()
    world.anvil.send(world.alice, world.cai, "approve", world.staking.address, 2**256 - 1)
    world.register(world.alice, COORDINATOR_MINIMUM + 1, role=2, node_key=other)
    voucher = market.voucher(CAI)
    for key in (world.key(), market.bobs_key, other):
        with pytest.raises(Reverted, match="Settlement: not signed by a key of the coordinator"):
            market.redeem(voucher, market.sign(voucher, key))


@pytest.mark.parametrize("coordinator", [0, 9])
def test_redeem__of_no_node_by_an_unregistered_key__is_refused(market: Market, coordinator: int):
    voucher = market.voucher(CAI, coordinator=coordinator)
    with pytest.raises(Reverted, match="Settlement: not signed by a key of the coordinator"):
        market.redeem(voucher, market.sign(voucher, market.world.key()))


def test_redeem__signature_in_any_other_form__is_refused(market: Market):
    voucher = market.voucher(CAI)
    for name, signature in other_forms(market.sign(voucher)).items():
        with pytest.raises(Reverted, match="Settlement: "):
            market.redeem(voucher, signature)
        assert market.owed() == 0, name
    assert market.redeem(voucher)[0]["amount"] == CAI


def test_redeem__signature_of_other_content__is_refused(market: Market):
    signature = market.sign(market.voucher(CAI))
    with pytest.raises(Reverted, match="Settlement: not signed by a key of the coordinator"):
        market.redeem(market.voucher(2 * CAI), signature)


def test_redeem__by_a_retired_key__holds_inside_the_unbonding_delay_and_not_after(market: Market):
    world = market.world
    fresh = market.rotate()
    retired = world.anvil.now()
    assert market.redeem(market.voucher(CAI, sequence=2), market.sign(market.voucher(CAI, sequence=2), fresh))
    old = market.voucher(2 * CAI)
    market.world.anvil.next_at(retired + UNBONDING_DELAY_S - 1)
    assert market.redeem(old)[0]["amount"] == CAI
    older = market.voucher(3 * CAI)
    market.world.anvil.next_at(retired + UNBONDING_DELAY_S)
    with pytest.raises(Reverted, match="Settlement: not signed by a key of the coordinator"):
        market.redeem(older)


def test_redeem__one_miner_promised_more_than_all__is_refused(market: Market):
    with pytest.raises(Reverted, match="Settlement: one miner is promised more than all miners are"):
        market.redeem(market.voucher(2 * CAI, issued_total=CAI))
    assert market.redeem(market.voucher(2 * CAI, issued_total=2 * CAI))


def test_redeem__absurd_promise__is_refused_and_the_greatest_one_blocks_nobody(market: Market):
    with pytest.raises(Reverted, match="Settlement: a promise is at most"):
        market.redeem(market.voucher(1, issued_total=2**128 + 1))
    market.redeem(market.voucher(2**128))
    assert market.owed() == 2**128 - ESCROW
    market.redeem(market.voucher(2**128, CAROLS))
    assert market.owed() == 2**129 - ESCROW


def test_redeem_many__of_several_miners_and_stale_ones__pays_each_once(market: Market):
    market.redeem(market.voucher(10 * CAI))
    events = market.redeem_many(
        market.voucher(10 * CAI),
        market.voucher(30 * CAI),
        market.voucher(20 * CAI),
        market.voucher(5 * CAI, CAROLS),
        market.voucher(30 * CAI),
    )
    assert [(event["miner"], event["amount"]) for event in events] == [(BOBS, 20 * CAI), (CAROLS, 5 * CAI)]
    assert market.escrow() == ESCROW - 35 * CAI
    assert market.redeem_many() == market.redeem_many(market.voucher(1)) == []


def test_redeem_many__64_vouchers__are_redeemed_and_65_refused(market: Market):
    vouchers = [market.voucher(number * CAI) for number in range(1, 66)]
    with pytest.raises(Reverted):
        market.redeem_many(*vouchers)
    assert len(market.redeem_many(*vouchers[:64])) == 64
    assert market.streaming() == 64 * CAI


def test_redeem_many__one_is_not_valid__refuses_the_whole(market: Market):
    with pytest.raises(Reverted, match="Settlement: the payee is not a registered miner"):
        market.redeem_many(market.voucher(CAI), market.voucher(CAI, 9))
    assert market.escrow() == ESCROW
    with pytest.raises(Reverted, match="Settlement: as many signatures as vouchers are needed"):
        market.settle(market.world.bob, "redeem_many", [], [bytes(65)])


def test_redeem_many__of_two_coordinators_taking_turns__settles_the_debt_of_each(market: Market):
    world = market.world
    other_key = world.key()
    world.register(world.alice, COORDINATOR_MINIMUM + 1, role=2, node_key=other_key)
    others = [market.voucher(number * CAI, coordinator=4) for number in (1, 2)]
    own = [market.voucher(ESCROW + 1), market.voucher(CAI, CAROLS)]
    vouchers = [others[0], own[0], others[1], own[1]]
    keys = [other_key, market.key] * 2
    signatures = [market.sign(voucher, key) for voucher, key in zip(vouchers, keys, strict=True)]
    market.settle(world.bob, "redeem_many", [fields(voucher) for voucher in vouchers], signatures)
    assert (market.owed(), market.read("owed", 4)) == (CAI + 1, 2 * CAI)
    assert not world.node(COORDINATOR)["active"]
    assert not world.node(4)["active"]


def test_redeem_many__several_coordinators_to_one_miner__is_one_payment_and_to_two_is_two(market: Market):
    world = market.world
    other_key = world.key()
    world.register(world.alice, COORDINATOR_MINIMUM + 1, role=2, node_key=other_key)
    market.deposit(100 * CAI, coordinator=4)
    vouchers = [market.voucher(CAI), market.voucher(2 * CAI, coordinator=4), market.voucher(4 * CAI, CAROLS)]
    keys = [market.key, other_key, market.key]
    signatures = [market.sign(voucher, key) for voucher, key in zip(vouchers, keys, strict=True)]
    market.settle(world.bob, "redeem_many", [fields(voucher) for voucher in vouchers], signatures)
    assert (market.streaming(BOBS), market.streaming(CAROLS)) == (3 * CAI, 4 * CAI)
    logs = world.anvil.rpc("eth_getLogs", {"address": world.cai.address})
    moved = [int(log["data"], 16) for log in logs if len(log["topics"]) == 3 and int(log["topics"][2], 16)]
    assert [amount for amount in moved if amount in (3 * CAI, 4 * CAI)] == [3 * CAI, 4 * CAI]
