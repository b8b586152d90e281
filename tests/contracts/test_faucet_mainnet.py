"""The faucet does not deploy where CAI has value."""

import pytest

from contracts.bindings import load
from tests.support.anvil import Reverted, running_anvil


def test_faucet__on_ethereum_mainnet__is_refused():
    with running_anvil("--chain-id", "1") as anvil:
        cai = anvil.deploy(load("CAI"), anvil.accounts[0])
        with pytest.raises(Reverted, match="only for development and test networks"):
            anvil.deploy(load("Faucet"), cai.address, 1)
