"""Escrow: depositing, and taking it back with notice."""

import pytest

from contracts.bindings import load
from protocol.units import CAI
from tests.contracts.conftest import ESCROW_NOTICE_S
from tests.contracts.market import BOBS, COORDINATOR, ESCROW, Market
from tests.support.anvil import Reverted


def test_deposit__by_anybody__is_the_coordinators(market: Market):
    world = market.world
    before = world.balance(world.treasury)
    events = market.deposit(7, sender=world.treasury)
    assert events == [
        {
            "event": "Deposited",
            "coordinator": COORDINATOR,
            "payer": world.treasury.lower(),
            "amount": 7,
            "escrow_after": ESCROW + 7,
        }
    ]
    assert market.escrow() == ESCROW + 7
    assert world.balance(world.settlement.address) == ESCROW + 7
    assert world.balance(world.treasury) == before - 7


@pytest.mark.parametrize("node", [0, BOBS, 4, 2**64])
def test_deposit__for_no_coordinator__is_refused(market: Market, node: int):
    with pytest.raises(Reverted, match="Settlement: no coordinator has this id"):
        market.deposit(7, coordinator=node)


def test_deposit__of_nothing_or_without_approval__is_refused(market: Market):
    with pytest.raises(Reverted, match="Settlement: amount is zero"):
        market.deposit(0)
    with pytest.raises(Reverted, match="insufficient allowance"):
        market.deposit(1, sender=market.world.bob)


def test_withdraw__after_the_notice__pays_the_owner_from_its_very_second(market: Market):
    world = market.world
    (requested,) = market.settle(world.alice, "request_withdrawal", COORDINATOR, 400 * CAI)
    assert requested["ready_at"] == world.anvil.now() + ESCROW_NOTICE_S
    assert market.read("pending_withdrawal", COORDINATOR) == (400 * CAI, requested["ready_at"])
    before = world.balance(world.alice)
    market.world.anvil.next_at(requested["ready_at"] - 1)
    with pytest.raises(Reverted, match="Settlement: the notice is not over"):
        market.settle(world.alice, "withdraw", COORDINATOR)
    market.world.anvil.next_at(requested["ready_at"])
    events = market.settle(world.alice, "withdraw", COORDINATOR)
    assert events == [
        {"event": "Withdrawn", "coordinator": COORDINATOR, "amount": 400 * CAI, "escrow_after": 600 * CAI}
    ]
    assert world.balance(world.alice) == before + 400 * CAI
    assert market.read("pending_withdrawal", COORDINATOR) == (0, 0)
    with pytest.raises(Reverted, match="Settlement: no withdrawal is requested"):
        market.settle(world.alice, "withdraw", COORDINATOR)


def test_withdraw__miners_redeemed_meanwhile__pays_what_is_left(market: Market):
    world = market.world
    market.settle(world.alice, "request_withdrawal", COORDINATOR, 400 * CAI)
    market.redeem(market.voucher(900 * CAI))
    world.anvil.wait(ESCROW_NOTICE_S)
    (withdrawn,) = market.settle(world.alice, "withdraw", COORDINATOR)
    assert (withdrawn["amount"], withdrawn["escrow_after"]) == (100 * CAI, 0)


def test_request_withdrawal__again__replaces_and_starts_the_clock_again(market: Market):
    world = market.world
    market.settle(world.alice, "request_withdrawal", COORDINATOR, 400 * CAI)
    world.anvil.wait(ESCROW_NOTICE_S - 10)
    market.settle(world.alice, "request_withdrawal", COORDINATOR, 1)
    world.anvil.wait(20)
    with pytest.raises(Reverted, match="Settlement: the notice is not over"):
        market.settle(world.alice, "withdraw", COORDINATOR)
    world.anvil.wait(ESCROW_NOTICE_S)
    assert market.settle(world.alice, "withdraw", COORDINATOR)[0]["amount"] == 1


def test_request_withdrawal__nothing_or_more_than_the_escrow__is_refused(market: Market):
    with pytest.raises(Reverted, match="Settlement: amount is zero"):
        market.settle(market.world.alice, "request_withdrawal", COORDINATOR, 0)
    with pytest.raises(Reverted, match="Settlement: the escrow is less than that"):
        market.settle(market.world.alice, "request_withdrawal", COORDINATOR, ESCROW + 1)


def test_cancel_withdrawal__requested__is_gone_and_cannot_be_cancelled_again(market: Market):
    world = market.world
    market.settle(world.alice, "request_withdrawal", COORDINATOR, 1)
    assert market.settle(world.alice, "cancel_withdrawal", COORDINATOR) == [
        {"event": "WithdrawalCancelled", "coordinator": COORDINATOR}
    ]
    world.anvil.wait(ESCROW_NOTICE_S)
    for function in ("withdraw", "cancel_withdrawal"):
        with pytest.raises(Reverted, match="Settlement: no withdrawal is requested"):
            market.settle(world.alice, function, COORDINATOR)


@pytest.mark.parametrize(
    ("function", "arguments"), [("request_withdrawal", (1,)), ("cancel_withdrawal", ()), ("withdraw", ())]
)
def test_withdrawal__by_anybody_but_the_owner__is_refused(market: Market, function: str, arguments: tuple):
    world = market.world
    market.settle(world.alice, "request_withdrawal", COORDINATOR, 1)
    world.anvil.wait(ESCROW_NOTICE_S)
    hot = "0x" + market.key.address.hex()
    world.anvil.impersonate(hot)
    for stranger in (world.bob, world.treasury, hot):
        with pytest.raises(Reverted, match="Settlement: only the coordinator's owner may do this"):
            market.settle(stranger, function, COORDINATOR, *arguments)


def test_deployment__values_that_lock_or_are_no_contract__are_refused(market: Market):
    world = market.world
    for staking, notice, reason in (
        (world.bob, 10, "staking is not a contract"),
        (world.staking.address, 0, "notice is not in 1 s to 90 days"),
        (world.staking.address, 90 * 86_400 + 1, "notice is not in 1 s to 90 days"),
    ):
        with pytest.raises(Reverted, match=f"Settlement: {reason}"):
            world.anvil.deploy(load("Settlement"), staking, notice)
    assert market.read("notice") == ESCROW_NOTICE_S
    assert market.read("token") == world.cai.address.lower()
    assert market.read("staking") == world.staking.address.lower()
