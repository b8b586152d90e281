"""A whole network on this machine: a chain, a bootstrap, coordinators and miners, each a process of its own.

The nodes are ordinary ``cuckoo node`` processes that know nothing of each other but the bootstrap's address. Keys
are light, the chain is thrown away, and so is the folder unless somebody wants to keep it.
"""

import dataclasses
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import trio

from node.amounts import wei_of
from node.children import Child
from node.config.configuration import load_params
from node.devnet_plan import (
    NETWORK_FILE,
    DevnetMember,
    DevnetOptions,
    check_options,
    make_folder,
    make_members,
    write_api_key,
    write_config,
)
from node.settings import NodeRole
from protocol.crypto.keys import NodeKey
from protocol.errors import Unavailable
from protocol.units import Role

if TYPE_CHECKING:
    from node.adapters.chain.devchain import DevnetContracts, DevnetNode

STOP_SECONDS: Final = 3.5
"""How long (s) children may take to stop before they are killed, out of five for everything."""

SERVING_SECONDS: Final = 90.0
"""How long (s) a network may take, once its nodes run, until it serves: two epochs, and loading the model."""

READY_POLL_SECONDS: Final = 0.1
"""How often (s) a coordinator is asked whether it serves."""

CHAIN_POLL_SECONDS: Final = 0.5
"""How often (s) nodes ask for the chain's head: half of its block time."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Devnet:
    """A network that serves."""

    folder: Path
    chain_url: str
    contracts: "DevnetContracts"
    members: tuple[DevnetMember, ...]
    api_key: str | None

    @property
    def api_urls(self) -> tuple[str, ...]:
        """Addresses of the coordinators' APIs, first the one on the chosen port."""
        found = (member.readiness.http_url for member in self.members if member.readiness)
        return tuple(url for url in found if url)

    def registered(self) -> list[tuple[DevnetMember, int]]:
        """List the registered members with their staking ids."""
        return list(zip((m for m in self.members if m.stake_cai), self.contracts.ids, strict=True))

    def chain_section(self) -> dict[str, object]:
        """The ``[chain]`` section of every node's settings."""
        return {
            "rpc_urls": [self.chain_url],
            "chain_id": self.contracts.chain_id,
            "staking": self.contracts.deployed.staking,
            "start_block": self.contracts.deployed.start_block,
            "poll_s": CHAIN_POLL_SECONDS,
            "confirmations": 1,  # one machine has one chain node: its blocks stay
        }

    @property
    def network_path(self) -> Path:
        """Where the network's file is, for stakers and for nodes that join."""
        return self.folder / NETWORK_FILE

    def write_network_file(self, entry: Sequence[str]) -> None:
        """Describe the network to everybody's tools.

        Args:
            entry: Addresses of the bootstrap.
        """
        from node.network_file import NetworkChain, NetworkContracts, NetworkFile  # imported here: takes 0.2 s

        deployed = self.contracts.deployed
        NetworkFile(
            params="minimal",
            bootstrap=tuple(entry),
            chain=NetworkChain(rpc_urls=(self.chain_url,), chain_id=self.contracts.chain_id),
            contracts=NetworkContracts(**dataclasses.asdict(deployed)),
        ).write(self.network_path)

    def describe(self) -> dict[str, object]:
        """Say what a program needs to know of the network."""
        ids = {member.name: staking_id for member, staking_id in self.registered()}
        return {
            "event": "ready",
            "api_urls": self.api_urls,
            "api_key": self.api_key,
            "folder": str(self.folder),
            "network": str(self.network_path),
            "chain": {
                "rpc_url": self.chain_url,
                "chain_id": self.contracts.chain_id,
                **dataclasses.asdict(self.contracts.deployed),
            },
            "nodes": [member.describe() | {"staking_id": ids.get(member.name)} for member in self.members],
        }


@asynccontextmanager
async def devnet(options: DevnetOptions, report: Report) -> AsyncIterator[Devnet]:
    """Run a network for as long as the context is open; it serves when the context begins.

    Args:
        options: What it should be like.
        report: Hears in one line what is being done, and later which node stopped.

    Raises:
        ConfigError: An option is wrong, or a port in use.
        Unavailable: The chain or a node did not start; the text says why.
    """
    async with registered_network(options, report) as network, trio.open_nursery() as nursery:
        members = list(network.members)
        try:
            await _start_all(network, options, report)
            for member in members:
                nursery.start_soon(_tell_when_ended, member, report)
            await _wait_until_serving(network, options, report)
            yield network
        finally:
            await _stop_all(members)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def by_hand(options: DevnetOptions, report: Report) -> AsyncIterator[tuple[Devnet, tuple[Path, ...]]]:
    """Run only the chain, with every node registered and none started; gives the settings file of each node.

    The files are as a person would write them: started in their order, each with ``cuckoo node --config FILE``, they
    make the same network as ``devnet``.

    Raises:
        ConfigError, Unavailable: As ``devnet``.
    """
    from node.adapters.chain.devchain import free_port  # imported here: as in registered_network

    async with registered_network(options, report) as network:
        port = free_port(0)
        bootstrap, *others = network.members
        entry = f"/ip4/127.0.0.1/tcp/{port}/p2p/{NodeKey(bootstrap.secret).peer_id}"
        network.write_network_file((entry,))
        chain = network.chain_section()
        configs = [write_config(bootstrap, options, chain, (), port=port)]
        configs += [write_config(member, options, chain, (entry,)) for member in others]
        yield network, tuple(configs)


@asynccontextmanager
async def registered_network(options: DevnetOptions, report: Report) -> AsyncIterator[Devnet]:
    """Run a chain on which all nodes of a devnet are registered; its folder goes with the context unless kept."""
    from node.adapters.chain.devchain import deploy_devnet, devchain  # imported here: as in registered_network

    check_options(options)
    folder = make_folder(options)
    failed = False
    try:
        report("starting the chain")
        async with devchain(log=folder / "anvil.log") as chain_url:
            members = make_members(options, folder)
            report("deploying the contracts, registering the nodes")
            params = load_params("minimal")
            contracts = await deploy_devnet(
                chain_url, params, [_entry(m) for m in members if m.stake_cai], escrow=wei_of(options.escrow_cai)
            )
            api_key = write_api_key(options, folder)
            yield Devnet(folder, chain_url, contracts, tuple(members), api_key)
    except Exception:
        failed = True  # its logs are wanted, and the error names them
        raise
    finally:
        if options.data is None and not options.keep and not failed:
            shutil.rmtree(folder, ignore_errors=True)


def _entry(member: DevnetMember) -> "DevnetNode":
    """Describe a member for its registration."""
    from node.adapters.chain.devchain import DevnetNode  # imported here: as in registered_network

    role = Role.COORDINATOR if member.role is NodeRole.COORDINATOR else Role.MINER
    return DevnetNode(role, member.secret, member.stake_cai, member.name, member.gas_secret)


async def _start_all(network: Devnet, options: DevnetOptions, report: Report) -> None:
    """Start the bootstrap, then everybody else at once."""
    bootstrap, *others = network.members
    report("starting the bootstrap")
    await _start(bootstrap, network, options, ())
    assert bootstrap.readiness is not None
    entry = bootstrap.readiness.addresses
    network.write_network_file(entry)
    report(f"starting {options.coordinators} coordinator(s) and {options.miners} miner(s)")
    async with trio.open_nursery() as nursery:
        for member in others:
            nursery.start_soon(_start, member, network, options, entry)


async def _start(member: DevnetMember, network: Devnet, options: DevnetOptions, entry: tuple[str, ...]) -> None:
    """Start one node and wait until it is ready."""
    config = write_config(member, options, network.chain_section(), entry)
    member.child = await Child.start(member.name, member.role, config, member.folder / "log")
    member.readiness = await member.child.ready()


async def _wait_until_serving(network: Devnet, options: DevnetOptions, report: Report) -> None:
    """Wait until every coordinator serves tasks, and knows all miners."""
    report("waiting for the miners to load their model and to find the coordinators")
    headers = {"Authorization": f"Bearer {network.api_key}"} if network.api_key else {}
    # A proxy of the environment leads to the Internet, never to this machine.
    async with httpx.AsyncClient(timeout=5.0, headers=headers, trust_env=False) as client:
        for url in network.api_urls:
            answer = "no answer yet"
            with trio.move_on_after(SERVING_SECONDS) as patience:
                while answer := await _why_not_serving(client, url, options):  # noqa: ASYNC110 it is another process
                    await trio.sleep(READY_POLL_SECONDS)
            if patience.cancelled_caught:
                raise Unavailable(
                    f"{url} did not serve within {SERVING_SECONDS:.0f} s: {answer}; on a busy machine try again, or "
                    f"with --miners 1; each node's log is in {network.folder}"
                )


async def _why_not_serving(client: httpx.AsyncClient, url: str, options: DevnetOptions) -> str:
    """Say why a coordinator does not serve with all miners yet; empty when it does."""
    try:
        ready = await client.get(f"{url}/readyz")
        if ready.status_code != httpx.codes.OK:
            return ready.text.strip()
        models = (await client.get(f"{url}/v1/models")).json()["data"]
    except httpx.TransportError as error:
        return f"no answer ({type(error).__name__})"
    serving = {model["id"]: model["cuckoo"]["miners"] for model in models}
    missing = [
        f"{serving.get(model, 0)} for {model}" for model in options.models if serving.get(model, 0) < options.miners
    ]
    return f"of {options.miners} miners so few draw yet: {', '.join(missing)}" if missing else ""


async def _tell_when_ended(member: DevnetMember, report: Report) -> None:
    """Tell when a node ends that nobody stopped. The network goes on without it, as networks do."""
    assert member.child is not None
    how = await member.child.ended()
    if not member.child.stopping:
        report(f"{member.name} stopped with {how}; the network goes on without it; its log: {member.child.log}")


async def _stop_all(members: list[DevnetMember]) -> None:
    """Stop all nodes at once."""
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            for member in members:
                if member.child is not None:
                    nursery.start_soon(member.child.stop, STOP_SECONDS)
