"""One anvil for the tests of this folder, and a staking contract on it."""

import os
from collections.abc import Iterator

import pytest

from contracts.bindings import load
from node.adapters.chain.devchain import find_anvil
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, sign
from protocol.errors import ConfigError
from protocol.units import CAI, Address
from protocol.wire.statements import Registration
from tests.support.anvil import Anvil, Contract, anvil_process  # noqa: F401 a fixture

MINER_STAKE = 30_000 * CAI


@pytest.fixture
def anvil_is_there() -> None:
    """Skip a test that starts a dev chain of its own where there is no anvil; under CI that is an error."""
    try:
        find_anvil()
    except ConfigError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


class StakingOnAnvil:
    """Nodes registered at will, each with its own key."""

    def __init__(self, anvil: Anvil) -> None:
        self.anvil = anvil
        self.owner = anvil.accounts[0]
        self.cai = cai = anvil.deploy(load("CAI"), self.owner)
        parameters = anvil.deploy(load("Parameters"), 1000, 1000)
        terms = (20_000 * CAI, 2_000_000 * CAI, 100, 100)
        self.contract: Contract = anvil.deploy(load("Staking"), cai.address, parameters.address, *terms)
        anvil.send(self.owner, cai, "approve", self.contract.address, 2**256 - 1)
        self.start_block = self.height()
        self.address = Address(bytes.fromhex(self.contract.address[2:]))

    def height(self) -> int:
        return int(self.anvil.rpc("eth_blockNumber"), 16)

    def register(self, number: int) -> NodeKey:
        """Register a miner whose key is made from the number, in a block of its own."""
        key = NodeKey(number.to_bytes(32, "big"))
        statement = Registration(owner=Address(bytes.fromhex(self.owner[2:])), role=1, deadline=2**40)
        signature = sign(key, Domain(31_337, self.address), statement)
        arguments = (1, "0x" + key.address.hex(), 2**40, signature, MINER_STAKE, "")
        self.anvil.send(self.owner, self.contract, "register", *arguments)
        return key

    def vote(self, node_id: int, amount: int) -> None:
        self.anvil.send(self.owner, self.contract, "vote", node_id, amount)


@pytest.fixture
def staking(anvil_process: Anvil) -> Iterator[StakingOnAnvil]:  # noqa: F811 the fixture
    with anvil_process.unchanged():
        yield StakingOnAnvil(anvil_process)
