"""``cuckoo devnet`` on which disputes can be held to their end within a minute or two.

    python -m tests.support.disputed_devnet devnet --port 0 --json …

With ``ERRING`` in the environment its miners paint (``tests.support.tampered_node``), so that many can be started: an
appeal takes eleven. A devnet's windows are parts of its unbonding delay, which is a minute: too short for jurors to
draw anything. Here it is longer, three jurors are enough, and what else takes time is as short as the contracts allow.
Each task is drawn again, and soon.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import contracts.deploy
import node.children
import node.devnet
from contracts.bindings import load
from node.adapters.chain import devchain
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.sender import Sender
from node.cli.main import main
from tests.support.rechecking_devnet import rechecking
from tests.support.tampered_node import ERRING

UNBONDING_DELAY_S = 320
PARAMETERS = {8: 3, 10: UNBONDING_DELAY_S // 4, 11: UNBONDING_DELAY_S // (4 if ERRING in os.environ else 16)}
"""Jurors, verdict window (s), appeal window (s): where somebody appeals, long enough for a busy machine."""
PAINTING = [sys.executable, "-m", "tests.support.tampered_node", "--engine", "painted", "--"]
Deploy = Callable[..., Awaitable[Any]]


def proposing(deploy_all: Deploy) -> Deploy:
    """Propose parameters with the contracts, a week before the network begins."""

    async def deploy(deployer: Any, *arguments: Any) -> Any:
        deployed = await deploy_all(deployer, *arguments)
        for number, value in PARAMETERS.items():
            await deployer.call(load("Parameters"), deployed.parameters, "propose", number, value)
        return deployed

    return deploy


def enacting(deploy_devnet: Deploy) -> Deploy:
    """Enact them when that week is over."""

    async def deploy(url: str, *arguments: Any, **named: Any) -> Any:
        found = await deploy_devnet(url, *arguments, **named)
        async with JsonRpc([url], chain_id=devchain.DEV_CHAIN_ID) as rpc:
            treasury = Sender(rpc, devchain.DEV_TREASURY_SECRET, devchain.DEV_CHAIN_ID)
            for number in PARAMETERS:
                await treasury.call(load("Parameters"), found.deployed.parameters, "enact", number)
        return found

    return deploy


if __name__ == "__main__":
    devchain.DEV_UNBONDING_DELAY_S = UNBONDING_DELAY_S  # type: ignore[misc]
    contracts.deploy.deploy_all = proposing(contracts.deploy.deploy_all)
    devchain.deploy_devnet = enacting(devchain.deploy_devnet)
    node.devnet.write_config = rechecking(node.devnet.write_config)
    if ERRING in os.environ:
        node.children.own_command = lambda: PAINTING
    sys.argv = ["cuckoo", *sys.argv[1:]]
    main()
