"""Deploys a network's contracts from its file, and checks that what lies on the chain is what it should be.

Each address is on disk before the next transaction, in a file beside the network's, so that a deployment that was
interrupted goes on where it stopped. The file that stakers and nodes read is written last, once all is connected.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, final

from pydantic import Field, ValidationError

from contracts.bindings import CONTRACT_NAMES, ContractName, is_code_of, load
from contracts.deploy import Deployment, Terms, deploy_all
from node.adapters.chain.answers import octets
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.sender import Sender
from node.addresses import checksummed
from node.amounts import format_cai
from node.config.configuration import load_params
from node.config.setting_faults import Source
from node.config.toml_file import read_toml
from node.config.toml_text import toml_text
from node.network_file import NetworkChain, NetworkContracts, NetworkFile, addresses_file, read_contracts
from node.owner.wallet import Wallet
from node.settings import Section
from node.whole_file import replace_file
from protocol.errors import ConfigError, Unavailable
from protocol.params import Params
from protocol.units import CAI, Role

_DAY_S: Final = 86_400


@final
class NetworkTerms(Section):
    """What a network's contracts are deployed with, beside the numbers of its params. Nobody can change them later."""

    unbonding_delay_s: Annotated[int, Field(ge=1, le=90 * _DAY_S)]
    """Seconds between taking stake back and withdrawing it; it can be slashed until then."""
    parameter_delay_s: Annotated[int, Field(ge=1, le=180 * _DAY_S)]
    """Seconds for which a change of a parameter is announced; at least the unbonding delay."""
    escrow_notice_s: Annotated[int, Field(ge=1, le=90 * _DAY_S)]
    """Seconds between asking for escrow back and taking it."""
    stream_s: Annotated[int, Field(ge=1, le=30 * _DAY_S)]
    """Seconds over which a payment reaches a miner and its voters."""
    emission_fund_cai: Annotated[int, Field(ge=0, le=10**9)] = 0
    """What the deployer puts into the pool of the emission (CAI)."""
    faucet_drip_cai: Annotated[int, Field(ge=0, le=10**6)] = 0
    """What a faucet gives an address a day (CAI); 0 deploys none."""
    faucet_fund_cai: Annotated[int, Field(ge=0, le=10**9)] = 0
    """What the faucet holds at the beginning (CAI)."""


@final
class NetworkPlan(Section):
    """A network's file before its contracts lie anywhere."""

    params: str = "mainnet"
    """The numbers that its nodes share: a name, or the path of a TOML file as seen from this one."""
    bootstrap: tuple[str, ...] = ()
    """Entry points; deploying does not need them."""
    chain: NetworkChain
    terms: NetworkTerms


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked of a deployment."""

    what: str
    is_right: bool
    detail: str
    """What was found, and where it is wrong what it should be."""


@final
class DeploymentFile:
    """Where each contract lies, on disk. Satisfies ``contracts.deploy.DeploymentLog``."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        """Keep it in ``path``; ``say`` hears each step.

        Raises:
            ConfigError: The file is there and damaged.
        """
        self.path: Final = path
        self._say = say
        self._known: dict[str, dict[str, Any]] = {}
        if path.exists():
            try:
                self._known = json.loads(path.read_text(encoding="utf-8"))
                for name in CONTRACT_NAMES:
                    self.known(name)
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                raise ConfigError(f"{path}: damaged: delete it to deploy everything anew") from None

    def known(self, name: ContractName) -> Deployment | None:
        """Give where a contract lies already."""
        found = self._known.get(name)
        return Deployment(str(found["address"]), int(found["block"])) if found else None

    def record(self, name: ContractName, deployment: Deployment) -> None:
        """Remember where a contract lies, through to the disk.

        Raises:
            ConfigError: It cannot be written; the text has the address, since the transaction is done.
        """
        self._known[name] = asdict(deployment)
        try:
            replace_file(self.path, (json.dumps(self._known, indent=1) + "\n").encode())
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot be written: {error.strerror}; {name} lies at {deployment.address}"
            ) from None
        self._say(f"{name} lies at {deployment.address}")


def read_plan(path: Path) -> NetworkPlan:
    """Read a network's file to deploy from.

    Raises:
        ConfigError: One line that names the file and what is wrong.
    """
    tree = read_toml(path)
    try:
        plan = NetworkPlan.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError(Source(path, frozenset()).explain(error.errors()[0], NetworkPlan)) from None
    if plan.terms.parameter_delay_s < plan.terms.unbonding_delay_s:
        raise ConfigError(f"{path}: terms.parameter_delay_s: below terms.unbonding_delay_s nobody could leave in time")
    return plan


async def deploy_network(path: Path, secret: bytes, say: Callable[[str], None]) -> NetworkFile:
    """Deploy what is not deployed yet, and write the addresses beside the network's file.

    Args:
        path: The network's file, with its ``[terms]``.
        secret: Key of the deployer (32 bytes): it pays, gets all CAI and owns Parameters.
        say: Hears each step.

    Raises:
        ConfigError: The file is wrong, what was deployed is not on this chain, or the account cannot pay the gas.
        TransactionRefused, Unavailable: The chain refuses or does not answer; call it again to go on.
    """
    plan = read_plan(path)
    beside = addresses_file(path)
    log = DeploymentFile(path.with_name(path.name.removesuffix(".toml") + ".deployment.json"), say)
    async with JsonRpc(plan.chain.rpc_urls, chain_id=plan.chain.chain_id) as rpc:
        await _require_there(rpc, log)
        if beside.exists():
            contracts = read_contracts(beside)
            await _require_code(rpc, contracts.staking, beside)
            say("all contracts are deployed already")
            return NetworkFile(params=plan.params, bootstrap=plan.bootstrap, chain=plan.chain, contracts=contracts)
        sender = Sender(rpc, secret, plan.chain.chain_id)
        try:
            deployed = await deploy_all(sender, _terms(plan, path), log)
        except Unavailable as error:
            if "insufficient funds" not in str(error).lower():
                raise
            raise ConfigError(
                f"{sender.address} has too little of the chain's coin for gas: send it some and run this again"
            ) from error
    contracts = NetworkContracts(**asdict(deployed))
    try:
        replace_file(beside, toml_text(contracts.model_dump(exclude_none=True)).encode())
    except OSError as error:
        raise ConfigError(f"{beside}: cannot be written: {error.strerror}; run the command again") from None
    return NetworkFile(params=plan.params, bootstrap=plan.bootstrap, chain=plan.chain, contracts=contracts)


async def _require_there(rpc: JsonRpc, log: DeploymentFile) -> None:
    """Refuse to go on with a deployment on another chain than that on which it was begun."""
    for name in CONTRACT_NAMES:
        found = log.known(name)
        if found is not None:
            await _require_code(rpc, found.address, log.path)


async def _require_code(rpc: JsonRpc, address: str, path: Path) -> None:
    """Refuse a file that names a contract which is not on this chain."""
    if not octets(await rpc.call("eth_getCode", address, "latest")):
        raise ConfigError(
            f"{path}: no contract at {address} on this chain, which may have been started anew: move this file away "
            "to deploy everything there"
        )


async def verify_network(wallet: Wallet, params: Params) -> list[Finding]:
    """Compare what lies on the chain with our artifacts, with each other and with the network's numbers.

    Raises:
        Unavailable: The chain does not answer.
    """
    contracts = wallet.network.contracts
    names: list[ContractName] = [name for name in CONTRACT_NAMES if getattr(contracts, name.lower()) is not None]
    findings = []
    for name in names:
        code = octets(await wallet.rpc.call("eth_getCode", wallet.address_of(name), "latest"))
        artifact = load(name)
        right = is_code_of(artifact, code)
        detail = f"code of {artifact.compiler}" if right else "other code than contracts/artifacts: another version?"
        findings.append(Finding(f"{name} at {wallet.address_of(name)}", right, detail))
    if all(finding.is_right for finding in findings):
        findings += await _links(wallet, names)
        findings += await _numbers(wallet, params)
    return findings


async def _links(wallet: Wallet, names: list[ContractName]) -> list[Finding]:
    """Check that each contract names the others as the network's file does."""
    wanted: list[tuple[ContractName, str, ContractName]] = [
        ("Staking", "token", "CAI"),
        ("Staking", "parameters", "Parameters"),
        ("Staking", "settlement", "Settlement"),
        ("Staking", "slashing", "Slashing"),
        ("Staking", "disputes", "Disputes"),
        ("Settlement", "staking", "Staking"),
        ("Slashing", "staking", "Staking"),
        ("Disputes", "staking", "Staking"),
    ]
    if "Faucet" in names:
        wanted.append(("Faucet", "token", "CAI"))
    answers = await wallet.read(*(wallet.call(name, function) for name, function, _ in wanted))
    return [
        Finding(f"{name}.{function}", checksummed(answer) == wallet.address_of(other), f"is {other}, {answer}")
        for (name, function, other), answer in zip(wanted, answers, strict=True)
    ]


async def _numbers(wallet: Wallet, params: Params) -> list[Finding]:
    """Check the numbers that contract and network must share."""
    miner, coordinator, epoch_s, unbonding_s = await wallet.read(
        wallet.call("Staking", "minimum_stake", int(Role.MINER)),
        wallet.call("Staking", "minimum_stake", int(Role.COORDINATOR)),
        wallet.call("Staking", "epoch_s"),
        wallet.call("Staking", "unbonding_delay"),
    )
    wanted = (
        ("minimum of a miner", format_cai(miner), format_cai(params.miner_minimum_cai * CAI)),
        ("minimum of a coordinator", format_cai(coordinator), format_cai(params.coordinator_minimum_cai * CAI)),
        ("epoch", f"{epoch_s} s", f"{params.epoch_s} s"),
    )
    findings = [
        Finding(what, found == right, found if found == right else f"{found}, and {params.name} says {right}")
        for what, found, right in wanted
    ]
    return [*findings, Finding("unbonding delay", True, f"{unbonding_s} s")]


def params_of(network: NetworkFile | NetworkPlan, path: Path) -> Params:
    """Read the numbers that a network's file names.

    Raises:
        ConfigError: There are none of this name.
    """
    return load_params(network.params, path.absolute().parent)


def _terms(plan: NetworkPlan, path: Path) -> Terms:
    params = params_of(plan, path)
    return Terms(
        miner_minimum_cai=params.miner_minimum_cai,
        coordinator_minimum_cai=params.coordinator_minimum_cai,
        epoch_s=params.epoch_s,
        **plan.terms.model_dump(),
    )
