"""Deploy the set of contracts through whatever sends transactions.

Knows the order and the constructor arguments; knows neither keys nor the network. Spec: contracts/SPEC.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, final

from contracts.bindings import Artifact, ContractName, load

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

    async def read(self, artifact: Artifact, address: str, function: str, *arguments: Argument) -> Any:  # noqa: ANN401 the ABI decides at run time
        """Read from a contract at the latest block; raises when it refuses."""
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


class DeploymentLog(Protocol):
    """Remembers what was deployed, so that a deployment that was interrupted goes on where it stopped."""

    def known(self, name: ContractName) -> Deployment | None:
        """Give where a contract lies already."""
        ...

    def record(self, name: ContractName, deployment: Deployment) -> None:
        """Remember where a contract lies; durable before this returns."""
        ...


@final
class NoLog:
    """Remembers nothing: for chains that end with their process."""

    def known(self, name: ContractName) -> Deployment | None:
        """Know nothing."""
        return None

    def record(self, name: ContractName, deployment: Deployment) -> None:
        """Forget it."""


async def deploy_all(deployer: Deployer, terms: Terms, log: DeploymentLog | None = None) -> DeployedSet:
    """Deploy the set, connect it and fill its pools; what was done before is not done again.

    CAI's whole supply goes to the deployer, who also owns Parameters. The Faucet comes where the terms name a drip.

    Args:
        deployer: Sends the transactions; the same account each time.
        terms: The numbers; the same each time.
        log: What earlier tries deployed.
    """
    log = log or NoLog()

    async def deploy(name: ContractName, *arguments: Argument) -> Deployment:
        found = log.known(name)
        if found is None:
            found = await deployer.deploy(load(name), *arguments)
            log.record(name, found)
        return found

    cai = await deploy("CAI", deployer.address)
    parameters = await deploy("Parameters", terms.unbonding_delay_s, terms.parameter_delay_s)
    minimums: Sequence[int] = (terms.miner_minimum_cai * CAI_WEI, terms.coordinator_minimum_cai * CAI_WEI)
    spans: Sequence[int] = (terms.epoch_s, terms.stream_s)
    staking = await deploy("Staking", cai.address, parameters.address, *minimums, *spans)
    settlement = await deploy("Settlement", staking.address, terms.escrow_notice_s)
    slashing = await deploy("Slashing", staking.address)
    disputes = await deploy("Disputes", staking.address)
    faucet = await deploy("Faucet", cai.address, terms.faucet_drip_cai * CAI_WEI) if terms.faucet_drip_cai else None
    if int(await deployer.read(load("Staking"), staking.address, "settlement"), 16) == 0:
        connected = (settlement.address, slashing.address, disputes.address)
        await deployer.call(load("Staking"), staking.address, "connect", *connected)
    await fund_emission(deployer, cai.address, staking.address, terms.emission_fund_cai * CAI_WEI)
    if faucet is not None:
        await _fund_faucet(deployer, cai.address, faucet.address, terms.faucet_fund_cai * CAI_WEI)
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


async def fund_emission(deployer: Deployer, cai: str, staking: str, amount: int) -> None:
    """Fill the pool (amount in wei), out of which active nodes are paid from now on, unless it was filled."""
    pool, _, _ = await deployer.read(load("Staking"), staking, "emission_status")
    if pool or not amount:
        return
    if await deployer.read(load("CAI"), cai, "allowance", deployer.address, staking) < amount:
        await deployer.call(load("CAI"), cai, "approve", staking, amount)
    await deployer.call(load("Staking"), staking, "fund_emission", amount)


async def _fund_faucet(deployer: Deployer, cai: str, faucet: str, amount: int) -> None:
    """Fill the faucet, unless it was filled."""
    if amount and not await deployer.read(load("CAI"), cai, "balanceOf", faucet):
        await deployer.call(load("CAI"), cai, "transfer", faucet, amount)
