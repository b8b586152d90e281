"""Deploy the set of contracts through whatever sends transactions.

Knows the order and the constructor arguments; knows neither keys nor the network. Spec: contracts/SPEC.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from contracts.bindings import Artifact, load

CAI_WEI = 10**18
"""Wei in one CAI."""


Argument: TypeAlias = str | bytes | int
"""What a contract's functions take: addresses and texts, bytes, numbers."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where one contract came to lie."""

    address: str
    """Checksummed hex."""
    block: int


class Deployer(Protocol):
    """What sends a creation transaction and waits until it is mined."""

    @property
    def address(self) -> str:
        """Hex address of the sending account."""
        ...

    async def deploy(self, artifact: Artifact, *arguments: Argument) -> Deployment:
        """Deploy a contract; raises when the constructor refuses."""
        ...

    async def call(self, artifact: Artifact, address: str, function: str, *arguments: Argument) -> None:
        """Call a function in a transaction and wait until it is mined; raises when the contract refuses."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """The numbers that the contracts are deployed with."""

    miner_minimum_cai: int
    coordinator_minimum_cai: int
    unbonding_delay_s: int
    faucet_drip_cai: int = 0
    """What the faucet gives an address a day; 0 deploys no faucet, as on a network whose CAI has value."""
    faucet_fund_cai: int = 0
    """What the faucet holds at the beginning."""


@dataclass(frozen=True, slots=True)
class DeployedSet:
    """The addresses of one network's contracts."""

    cai: str
    staking: str
    faucet: str | None
    start_block: int
    """Block of the Staking contract: no event is older."""


async def deploy_all(deployer: Deployer, terms: Terms) -> DeployedSet:
    """Deploy CAI (its whole supply goes to the deployer), Staking and, where the terms name a drip, the Faucet."""
    cai = await deployer.deploy(load("CAI"), deployer.address)
    minimums: Sequence[int] = (terms.miner_minimum_cai * CAI_WEI, terms.coordinator_minimum_cai * CAI_WEI)
    staking = await deployer.deploy(load("Staking"), cai.address, *minimums, terms.unbonding_delay_s)
    faucet: Deployment | None = None
    if terms.faucet_drip_cai:
        faucet = await deployer.deploy(load("Faucet"), cai.address, terms.faucet_drip_cai * CAI_WEI)
        fund = terms.faucet_fund_cai * CAI_WEI
        await deployer.call(load("CAI"), cai.address, "transfer", faucet.address, fund)
    return DeployedSet(cai.address, staking.address, faucet.address if faucet else None, staking.block)
