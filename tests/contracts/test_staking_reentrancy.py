"""A token that calls back: no function of Staking can be entered while another one runs."""

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
from tests.contracts.hostile import compiled
from tests.support.anvil import Contract, Reverted, call_data

OWN = 2 * MINER_MINIMUM
ALL = 2**256 - 1
STRANGER = "0x" + "11" * 20


@pytest.fixture
def token(world: World) -> Contract:
    """Staking on a hostile token that is not armed: Alice owns miner 1, Bob left it in part, and both have earned."""
    anvil = world.anvil
    hostile = anvil.deploy(compiled("HostileToken"))
    terms = (MINER_MINIMUM, MINER_MINIMUM, EPOCH_S, STREAM_S)
    world.staking = anvil.deploy(load("Staking"), hostile.address, world.parameters.address, *terms)
    three = (world.settlement.address, world.slashing.address, world.disputes.address)
    anvil.send(world.treasury, world.staking, "connect", *three)
    anvil.send(world.treasury, world.staking, "fund_emission", 10**6 * CAI)
    world.register(world.alice, OWN)
    world.vote(world.bob, 1, OWN)
    world.unvote(world.bob, 1, CAI)
    anvil.wait(UNBONDING_DELAY_S)
    return hostile


@pytest.fixture(autouse=True)
def _put_back(world: World):
    staking = world.staking
    yield
    world.staking = staking


OUTER = {
    "register": ("carol", None),
    "vote": ("carol", (1, CAI)),
    "withdraw": ("carol", ("bob", 0)),
    "claim": ("bob", (1,)),
    "claim_many": ("bob", ([1],)),
    "fund_emission": ("carol", (CAI,)),
    "pay": ("settlement", (1, CAI)),
    "seize": ("settlement", (1, CAI, [])),
    "slash": ("slashing", (1, 500, STRANGER, 1000)),
}
"""Every function that calls the token, with a sender and arguments that it accepts."""


def act(world: World, function: str) -> None:
    name, arguments = OUTER[function]
    sender = getattr(world, name)
    if function == "register":
        world.register(sender, OWN)
        return
    if isinstance(sender, Contract):
        world.by(sender, function, *arguments)
        return
    resolved = [getattr(world, part) if isinstance(part, str) else part for part in arguments]
    world.anvil.send(sender, world.staking, function, *resolved)


def inner_calls(world: World) -> dict[str, bytes]:
    """A call of every function that changes anything, and of a view that others could be misled by."""
    calls = {}
    filler = {"uint256": 1, "address": world.carol, "uint8": 1, "bool": True, "string": "", "bytes": b""}
    for entry in world.staking.artifact.abi:
        if entry["type"] == "function" and entry["stateMutability"] == "nonpayable":
            arguments = tuple([1] if i["type"] == "uint256[]" else filler[i["type"]] for i in entry["inputs"])
            calls[entry["name"]] = bytes.fromhex(call_data(entry, arguments)[2:])
    earned = next(entry for entry in world.staking.artifact.abi if entry.get("name") == "earned")
    calls["earned"] = bytes.fromhex(call_data(earned, (1, world.bob))[2:])
    assert len(calls) == 20
    return calls


@pytest.mark.parametrize("function", OUTER)
def test_every_call_of_the_token__calling_back_into_any_function__is_refused_by_the_lock(
    world: World, token: Contract, function: str
):
    for number, data in enumerate(inner_calls(world).values(), start=1):
        with world.anvil.unchanged():
            world.anvil.send(world.treasury, token, "arm", world.staking.address, data)
            act(world, function)
            assert world.anvil.read(token, "tried") > 0, number
            assert world.anvil.read(token, "entered") == 0, number
            assert world.anvil.read(token, "refusal") == b"", "the lock gives no reason; a later check would give one"


def test_call_back__into_another_contract__goes_through(world: World, token: Contract):
    """So that the test above cannot pass because the token never called."""
    owner = bytes.fromhex("8da5cb5b")  # owner()
    world.anvil.send(world.treasury, token, "arm", world.parameters.address, owner)
    act(world, "vote")
    assert world.anvil.read(token, "entered") == 1


@pytest.mark.parametrize("function", OUTER)
def test_every_call_of_the_token__that_says_it_failed__undoes_everything(world: World, token: Contract, function: str):
    world.anvil.send(world.treasury, token, "refuse", True)
    with pytest.raises(Reverted, match="transfer failed"):
        act(world, function)
