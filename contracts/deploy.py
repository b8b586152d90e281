"""Deploy the set of contracts through whatever sends transactions.

Knows the order and the constructor arguments; knows neither keys nor the network. Spec: contracts/SPEC.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from contracts.bindings import Artifact, load

CAI_WEI = 10**18
"""Wei in one CAI."""


Argument: TypeAlias = str | bytes | int | Sequence[int]
"""What a contract's functions take: addresses and texts, bytes, numbers, lists of numbers."""


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
    epoch_s: int
    """Length of an epoch (s), as in the network's params: a vote earns from the next one."""
    stream_s: int
    """How long (s) a payment takes to reach a node and its voters."""
    parameter_delay_s: int
    """How long (s) a change of a parameter is announced before it holds; at least the unbonding delay."""
    escrow_notice_s: int
    """How long (s) a coordinator waits for its escrow, in which miners redeem what they hold."""
    emission_fund_cai: int = 0
    """What the deployer puts into the pool of the emission."""
    faucet_drip_cai: int = 0
    """What the faucet gives an address a day; 0 deploys no faucet, as on a network whose CAI has value."""
    faucet_fund_cai: int = 0
    """What the faucet holds at the beginning."""


@dataclass(frozen=True, slots=True)
class DeployedSet:
    """The addresses of one network's contracts."""

    cai: str
    parameters: str
    staking: str
    settlement: str
    slashing: str
    disputes: str
    faucet: str | None
    start_block: int
    """Block of the Staking contract: no event is older."""


async def deploy_all(deployer: Deployer, terms: Terms) -> DeployedSet:
    """Deploy the set and connect it.

    CAI's whole supply goes to the deployer, who also owns Parameters. The Faucet comes where the terms name a drip.
    """
    cai = await deployer.deploy(load("CAI"), deployer.address)
    parameters = await deployer.deploy(load("Parameters"), terms.unbonding_delay_s, terms.parameter_delay_s)
    minimums: Sequence[int] = (terms.miner_minimum_cai * CAI_WEI, terms.coordinator_minimum_cai * CAI_WEI)
    spans: Sequence[int] = (terms.epoch_s, terms.stream_s)
    staking = await deployer.deploy(load("Staking"), cai.address, parameters.address, *minimums, *spans)
    settlement = await deployer.deploy(load("Settlement"), staking.address, terms.escrow_notice_s)
    slashing = await deployer.deploy(load("Slashing"), staking.address)
    disputes = await deployer.deploy(load("Disputes"), staking.address)
    connected = (settlement.address, slashing.address, disputes.address)
    await deployer.call(load("Staking"), staking.address, "connect", *connected)
    if terms.emission_fund_cai:
        fund = terms.emission_fund_cai * CAI_WEI
        await deployer.call(load("CAI"), cai.address, "approve", staking.address, fund)
        await deployer.call(load("Staking"), staking.address, "fund_emission", fund)
    faucet: Deployment | None = None
    if terms.faucet_drip_cai:
        faucet = await deployer.deploy(load("Faucet"), cai.address, terms.faucet_drip_cai * CAI_WEI)
        fund = terms.faucet_fund_cai * CAI_WEI
        await deployer.call(load("CAI"), cai.address, "transfer", faucet.address, fund)
    return DeployedSet(
        cai=cai.address,
        parameters=parameters.address,
        staking=staking.address,
        settlement=settlement.address,
        slashing=slashing.address,
        disputes=disputes.address,
        faucet=faucet.address if faucet else None,
        start_block=staking.block,
    )
