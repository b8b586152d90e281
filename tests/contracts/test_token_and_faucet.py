"""CAI's cap and permit, and the faucet's day."""

import pytest
from eth_account import Account

from contracts.bindings import load
from protocol.units import CAI
from tests.contracts.conftest import World
from tests.support.anvil import Reverted

SUPPLY = 1_000_000_000 * CAI
DAY = 86_400
ZERO = "0x" + "00" * 20


def test_cai__whole_supply_exists_and_nothing_can_make_more(world: World):
    assert world.anvil.read(world.cai, "totalSupply") == SUPPLY == world.anvil.read(world.cai, "MAX_SUPPLY")
    assert world.anvil.read(world.cai, "decimals") == 18
    changing = {
        entry["name"]
        for entry in load("CAI").abi
        if entry["type"] == "function" and entry["stateMutability"] in {"nonpayable", "payable"}
    }
    assert changing == {"transfer", "transferFrom", "approve", "burn", "burn_from", "permit"}


def test_cai__mint_by_the_deployer__is_unknown_to_the_contract(world: World):
    mint = "0x40c10f19" + "00" * 12 + world.treasury[2:] + "00" * 31 + "01"  # mint(address,uint256)
    with pytest.raises(Reverted):
        world.anvil.rpc("eth_call", {"from": world.treasury, "to": world.cai.address, "data": mint}, "latest")


def test_cai__burn__lowers_the_supply(world: World):
    world.anvil.send(world.alice, world.cai, "burn", 5 * CAI)
    assert world.anvil.read(world.cai, "totalSupply") == SUPPLY - 5 * CAI


def test_cai__transfer_or_burn__of_what_one_has_and_no_more(world: World):
    anvil, has, supply = world.anvil, world.balance(world.bob), world.anvil.read(world.cai, "totalSupply")
    carols = world.balance(world.carol)
    for function, arguments in (("transfer", (world.carol, has + 1)), ("burn", (has + 1,))):
        with pytest.raises(Reverted, match="exceeds balance"):
            anvil.send(world.bob, world.cai, function, *arguments)
    anvil.send(world.bob, world.cai, "transfer", world.carol, has - 3)
    anvil.send(world.bob, world.cai, "burn", 3)
    assert (world.balance(world.bob), world.balance(world.carol)) == (0, carols + has - 3)
    assert anvil.read(world.cai, "totalSupply") == supply - 3


def test_cai__transfer_or_burn_from_another__of_what_he_approved_and_no_more(world: World):
    anvil, bobs, carols = world.anvil, world.balance(world.bob), world.balance(world.carol)
    supply = anvil.read(world.cai, "totalSupply")
    with pytest.raises(Reverted, match="zero address"):
        anvil.send(world.bob, world.cai, "approve", ZERO, 1)
    anvil.send(world.bob, world.cai, "approve", world.alice, 10)
    anvil.send(world.alice, world.cai, "transferFrom", world.bob, world.carol, 4)
    anvil.send(world.alice, world.cai, "burn_from", world.bob, 5)
    for function, arguments in (("transferFrom", (world.bob, world.carol, 2)), ("burn_from", (world.bob, 2))):
        with pytest.raises(Reverted, match="insufficient allowance"):
            anvil.send(world.alice, world.cai, function, *arguments)
    assert anvil.read(world.cai, "allowance", world.bob, world.alice) == 1
    assert (world.balance(world.bob), world.balance(world.carol)) == (bobs - 9, carols + 4)
    assert anvil.read(world.cai, "totalSupply") == supply - 5


def test_cai__treasury_zero__is_refused(world: World):
    with pytest.raises(Reverted, match="zero address"):
        world.anvil.deploy(load("CAI"), ZERO)


def test_cai__permit__lets_a_signature_approve_once(world: World):
    holder = Account.from_key(b"\x07" * 32)
    amount, deadline = 5 * CAI, world.anvil.now() + 1000
    domain = {"name": "Cuckoo AI", "version": "1", "chainId": 31_337, "verifyingContract": world.cai.address}
    members = ("owner address", "spender address", "value uint256", "nonce uint256", "deadline uint256")
    kinds = {"Permit": [dict(zip(("name", "type"), member.split(), strict=True)) for member in members]}
    message = {"owner": holder.address, "spender": world.bob, "value": amount, "nonce": 0, "deadline": deadline}
    signed = Account.sign_typed_data(holder.key, domain, kinds, message)
    r, s = signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")
    arguments = (holder.address, world.bob, amount, deadline, signed.v, r, s)
    world.anvil.send(world.carol, world.cai, "permit", *arguments)
    assert world.anvil.read(world.cai, "allowance", holder.address, world.bob) == amount
    with pytest.raises(Reverted):
        world.anvil.send(world.carol, world.cai, "permit", *arguments)


def test_faucet__drips_once_a_day_to_each_address(world: World):
    anvil, drip = world.anvil, 25_000 * CAI
    anvil.send(world.treasury, world.cai, "transfer", world.faucet.address, 3 * drip)
    before = world.balance(world.bob)
    events = anvil.send(world.bob, world.faucet, "drip")
    assert events == [{"event": "Dripped", "receiver": world.bob.lower(), "amount": drip}]
    with pytest.raises(Reverted, match="served in the last 24 hours"):
        anvil.send(world.carol, world.faucet, "drip", world.bob)
    anvil.send(world.bob, world.faucet, "drip", world.carol)
    anvil.rpc("evm_setNextBlockTimestamp", anvil.read(world.faucet, "next_drip_at", world.bob))
    anvil.send(world.carol, world.faucet, "drip", world.bob)
    assert world.balance(world.bob) == before + 2 * drip
    anvil.wait(DAY)
    with pytest.raises(Reverted, match="empty"):
        anvil.send(world.bob, world.faucet, "drip")


def test_faucet__zero_receiver__is_refused(world: World):
    with pytest.raises(Reverted, match="zero address"):
        world.anvil.send(world.bob, world.faucet, "drip", ZERO)


@pytest.mark.parametrize(("token", "drip", "reason"), [("bob", 1, "not a contract"), ("cai", 0, "drip is zero")])
def test_faucet__senseless_terms__are_refused(world: World, token: str, drip: int, reason: str):
    address = world.cai.address if token == "cai" else world.bob
    with pytest.raises(Reverted, match=reason):
        world.anvil.deploy(load("Faucet"), address, drip)
