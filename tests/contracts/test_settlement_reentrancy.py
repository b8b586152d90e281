"""Settlement and Disputes under a token and a staking contract that call back in the middle of every operation.

CAI calls nobody, so on a real network nothing can: this shows that nothing rests on that.
"""

from dataclasses import dataclass
from typing import Any

import pytest
from eth_abi import encode
from eth_utils import function_abi_to_4byte_selector
from eth_utils.abi import collapse_if_tuple

from contracts.bindings import load
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, sign
from tests.contracts.conftest import World, raw
from tests.contracts.hostile import compiled
from tests.contracts.market import fields
from tests.contracts.proofs import voucher
from tests.support.anvil import Anvil, Contract

KEY = NodeKey(b"\x31" * 32)
OWNED, OTHERS = 2, 3
"""Miners of the token's and of somebody else."""


@dataclass
class Ambush:
    """Contracts whose every call outwards comes back; the token owns the nodes, so that it may do everything."""

    anvil: Anvil
    token: Contract
    staking: Contract
    settlement: Contract
    disputes: Contract

    def send(self, contract: Contract, function: str, *arguments: Any) -> list[dict[str, Any]]:
        return self.anvil.send(self.token.address, contract, function, *arguments)

    def arm(self, contract: Contract, function: str, *arguments: Any) -> None:
        abi = next(e for e in contract.artifact.abi if e["type"] == "function" and e["name"] == function)
        encoded = encode([collapse_if_tuple(argument) for argument in abi["inputs"]], arguments)
        self.send(self.token, "arm", contract.address, function_abi_to_4byte_selector(abi) + encoded)

    def voucher(self, cumulative: int) -> tuple[Any, ...]:
        statement = voucher(cumulative=cumulative, issued_total=cumulative, miner=OWNED)
        return fields(statement), sign(KEY, Domain(31_337, raw(self.staking.address)), statement)

    def settlement_calls(self) -> dict[str, tuple[Any, ...]]:
        """Give calls that all succeed on their own."""
        return {
            "deposit": (1, 7),
            "withdraw": (1,),
            "request_withdrawal": (1, 1),
            "cancel_withdrawal": (1,),
            "redeem": self.voucher(30),
            "redeem_many": ([], []),
            "meet_debt": (4, []),
        }

    def outcome(self) -> tuple[int, int, bytes]:
        """How often it came back, how often that went through, and the last refusal: a lock gives no words."""
        read = self.anvil.read
        return read(self.token, "tried"), read(self.token, "entered"), read(self.token, "refusal")


@pytest.fixture
def ambush(world: World) -> Ambush:
    anvil = world.anvil
    token = anvil.deploy(compiled("HostileToken"))
    staking = anvil.deploy(compiled("HostileStaking"), token.address)
    settlement = anvil.deploy(load("Settlement"), staking.address, 1)
    disputes = anvil.deploy(load("Disputes"), staking.address)
    anvil.impersonate(token.address)
    ambush = Ambush(anvil, token, staking, settlement, disputes)
    ambush.send(settlement, "deposit", 1, 100)
    ambush.send(settlement, "request_withdrawal", 1, 50)
    anvil.wait(10)
    return ambush


@pytest.mark.parametrize("outer", ["deposit", "withdraw", "redeem"])
@pytest.mark.parametrize("inner", ["deposit", "withdraw", "request_withdrawal", "cancel_withdrawal", "redeem"])
def test_settlement__called_back_in_the_middle__refuses_by_its_lock(ambush: Ambush, outer: str, inner: str):
    calls = ambush.settlement_calls()
    with ambush.anvil.unchanged():
        ambush.send(ambush.settlement, inner, *calls[inner])  # on its own it works
    ambush.arm(ambush.settlement, inner, *calls[inner])
    ambush.send(ambush.settlement, outer, *calls[outer])
    assert ambush.outcome() == (1, 0, b"")
    left = ambush.anvil.read(ambush.settlement, "escrow", 1)
    assert left == {"deposit": 107, "withdraw": 50, "redeem": 70}[outer]


@pytest.mark.parametrize("inner", ["withdraw", "redeem", "redeem_many"])
def test_settlement__debt_told_or_met__cannot_be_used_in_the_middle(ambush: Ambush, inner: str):
    calls = ambush.settlement_calls()
    ambush.arm(ambush.settlement, inner, *calls[inner])
    ambush.send(ambush.settlement, "redeem", *ambush.voucher(1000))
    assert ambush.outcome() == (2, 0, b"")
    ambush.send(ambush.settlement, "meet_debt", 1, [])
    assert ambush.outcome() == (3, 0, b"")
    assert ambush.anvil.read(ambush.settlement, "escrow", 1) == ambush.anvil.read(ambush.settlement, "owed", 1) == 900


@pytest.mark.parametrize("inner", ["report", "close"])
def test_disputes__called_back_in_the_middle__refuses_by_its_lock(ambush: Ambush, inner: str):
    calls: dict[str, tuple[Any, ...]] = {"report": (4, OWNED, b"e" * 32), "close": (1,)}
    ambush.arm(ambush.disputes, inner, *calls[inner])
    ambush.send(ambush.disputes, "report", OTHERS, 1, b"e" * 32)
    assert ambush.outcome() == (2, 0, b"")
    ambush.anvil.wait(100)
    ambush.send(ambush.disputes, "close", 1)
    assert ambush.outcome() == (4, 0, b"")
    assert ambush.anvil.read(ambush.disputes, "dispute_count") == 1
