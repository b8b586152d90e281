"""A whole network on this machine: a chain, a bootstrap, coordinators and miners, each a process of its own.

The nodes are ordinary ``cuckoo node`` processes that know nothing of each other but the bootstrap's address. Keys
are light, the chain is thrown away, and so is the folder unless somebody wants to keep it.
"""

import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import trio

from node import keystore
from node.children import Child, Readiness
from node.configuration import load_params
from node.settings import DEFAULT_MODEL, NodeRole
from node.toml_text import toml_text
from protocol.errors import ConfigError, Unavailable
from protocol.units import Role

if TYPE_CHECKING:
    from node.adapters.chain.devchain import DevnetContracts, DevnetNode

COORDINATOR_STAKE_CAI: Final = 2_500_000
"""Stake of each coordinator (CAI), above the minimum of 2,000,000."""

MINER_STAKES_CAI: Final = (25_000, 50_000, 100_000)
"""Stakes of the miners in turn (CAI), above the minimum of 20,000: different, so that the lottery has something to
weigh."""

MAX_NODES: Final = 64
"""Most nodes of one devnet. Each is a process of some 100 MB and more with a model."""

STOP_SECONDS: Final = 3.5
"""How long (s) children may take to stop before they are killed, out of five for everything."""

SERVING_SECONDS: Final = 90.0
"""How long (s) a network may take, once its nodes run, until it serves: two epochs, and loading the model."""

READY_POLL_SECONDS: Final = 0.1
"""How often (s) a coordinator is asked whether it serves."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DevnetOptions:
    """What a devnet should be like."""

    coordinators: int = 1
    miners: int = 3
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    engine: str = "diffusion"
    delay_ms: int = 0
    port: int = 8000
    """Port of the first coordinator's API, 0 for free ones; the others follow it."""
    require_key: bool = False
    data: Path | None = None
    """An empty or new folder that is kept; None for a temporary one."""
    keep: bool = False
    """Keep the temporary folder."""


@dataclass(slots=True)
class DevnetMember:
    """One node of a devnet."""

    name: str
    role: NodeRole
    folder: Path
    secret: bytes = field(repr=False)
    stake_cai: int
    child: Child | None = None
    readiness: Readiness | None = None

    def describe(self) -> dict[str, object]:
        """Say what a program needs to know of it."""
        child, ready = self.child, self.readiness
        assert child is not None
        assert ready is not None
        return {
            "name": self.name,
            "role": self.role.value,
            "pid": child.pid,
            "peer_id": ready.peer_id,
            "address": ready.address,
            "addresses": ready.addresses,
            "http_url": ready.http_url,
            "stake_cai": self.stake_cai,
            "config": str(child.config),
            "log": str(child.log),
        }


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

    def describe(self) -> dict[str, object]:
        """Say what a program needs to know of the network."""
        return {
            "event": "ready",
            "api_urls": self.api_urls,
            "api_key": self.api_key,
            "folder": str(self.folder),
            "chain": {
                "rpc_url": self.chain_url,
                "chain_id": self.contracts.chain_id,
                "staking": "0x" + self.contracts.staking.hex(),
                "cai": "0x" + self.contracts.cai.hex(),
                "faucet": "0x" + self.contracts.faucet.hex(),
                "start_block": self.contracts.start_block,
            },
            "nodes": [member.describe() for member in self.members],
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
    from node.adapters.chain.devchain import deploy_devnet, devchain  # imported here: web3 takes a second

    check_options(options)
    folder = _make_folder(options)
    failed = False
    try:
        async with AsyncExitStack() as stack:
            report("starting the chain")
            chain_url = await stack.enter_async_context(devchain(log=folder / "anvil.log"))
            members = _make_members(options, folder)
            report("deploying the contracts, registering the nodes")
            params = load_params("minimal")
            contracts = await deploy_devnet(chain_url, params, [_entry(m) for m in members if m.stake_cai])
            api_key = _write_api_key(options, folder)
            network = Devnet(folder, chain_url, contracts, tuple(members), api_key)
            async with trio.open_nursery() as nursery:
                try:
                    await _start_all(network, options, report)
                    for member in members:
                        nursery.start_soon(_tell_when_ended, member, report)
                    await _wait_until_serving(network, options, report)
                    yield network
                finally:
                    await _stop_all(members)
                    nursery.cancel_scope.cancel()
    except Exception:
        failed = True  # its logs are wanted, and the error names them
        raise
    finally:
        if options.data is None and not options.keep and not failed:
            shutil.rmtree(folder, ignore_errors=True)


def check_options(options: DevnetOptions) -> None:
    """Refuse what cannot run, before anything is started.

    Raises:
        ConfigError: Naming the flag.
    """
    if options.coordinators < 1:
        raise ConfigError("--coordinators: at least 1, or nobody takes a task")
    if options.miners < 1:
        raise ConfigError("--miners: at least 1, or nobody makes a picture")
    if options.coordinators + options.miners > MAX_NODES:
        raise ConfigError(f"--miners: at most {MAX_NODES} nodes in all, as each is a process")
    if options.engine not in {"diffusion", "instant"}:
        raise ConfigError(f"--engine: {options.engine!r} is not one of diffusion, instant")
    if not 0 <= options.port <= 65_535 - options.coordinators:
        raise ConfigError(f"--port: {options.port} is not within 0 and {65_535 - options.coordinators}")
    for number in range(options.coordinators) if options.port else ():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", options.port + number))
            except OSError:
                raise ConfigError(
                    f"--port: {options.port + number} is in use: give another, or --port 0 for a free one"
                ) from None


def _make_folder(options: DevnetOptions) -> Path:
    """Make the folder of this network, private to its owner."""
    if options.data is None:
        return Path(tempfile.mkdtemp(prefix="cuckoo-devnet-"))
    folder = options.data.expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"--data: {folder} is not empty; a devnet begins anew each time: name another folder")
    except OSError as error:
        raise ConfigError(f"--data: {folder} cannot be used: {error.strerror}") from None
    return folder


def _make_members(options: DevnetOptions, folder: Path) -> list[DevnetMember]:
    """Make a folder, a key and a password for each node."""
    plan = [("bootstrap", NodeRole.BOOTSTRAP, 0)]
    plan += [(f"coordinator-{n + 1}", NodeRole.COORDINATOR, COORDINATOR_STAKE_CAI) for n in range(options.coordinators)]
    stakes = MINER_STAKES_CAI
    plan += [(f"miner-{n + 1}", NodeRole.MINER, stakes[n % len(stakes)]) for n in range(options.miners)]
    members = []
    for name, role, stake in plan:
        home = folder / name
        password = secrets.token_urlsafe(16)
        secret = keystore.create(home / "key.json", password, light=True)
        keystore.write_private(home / "password", password + "\n")
        members.append(DevnetMember(name, role, home, secret, stake))
    return members


def _entry(member: DevnetMember) -> "DevnetNode":
    """Describe a member for its registration."""
    from node.adapters.chain.devchain import DevnetNode  # imported here: web3 takes a second

    role = Role.COORDINATOR if member.role is NodeRole.COORDINATOR else Role.MINER
    return DevnetNode(role=role, node_key=member.secret, stake_cai=member.stake_cai, name=member.name)


def _write_api_key(options: DevnetOptions, folder: Path) -> str | None:
    """Make one API key for all coordinators, where they are to ask for one."""
    if not options.require_key:
        return None
    key = "sk-cuckoo-" + secrets.token_urlsafe(24)
    keystore.write_private(folder / "api-keys.txt", f"{key} devnet\n")
    return key


def _write_config(member: DevnetMember, network: Devnet, options: DevnetOptions, entry: tuple[str, ...]) -> Path:
    """Write the settings of one node, as a person would."""
    number = int(member.name.rpartition("-")[2]) - 1 if member.stake_cai else 0
    settings: dict[str, object] = {
        "role": member.role.value,
        "data": str(member.folder),
        "params": "minimal",
        "exit_with_stdin": True,
        "chain": {
            "rpc_urls": [network.chain_url],
            "chain_id": network.contracts.chain_id,
            "staking": "0x" + network.contracts.staking.hex(),
            "start_block": network.contracts.start_block,
            "poll_s": 0.5,
        },
        "overlay": {"listen": ["/ip4/127.0.0.1/tcp/0"], "bootstrap": list(entry)},
        "key": {"keystore": str(member.folder / "key.json"), "password_file": str(member.folder / "password")},
        "logs": {"format": "json"},
    }
    if member.role is NodeRole.COORDINATOR:
        http: dict[str, object] = {"port": options.port + number if options.port else 0}
        if options.require_key:
            http |= {"require_key": True, "keys_file": str(network.folder / "api-keys.txt")}
        settings["http"] = http
    if member.role is NodeRole.MINER:
        settings["engine"] = {
            "kind": options.engine,
            "models": list(options.models),
            "engines_on_machine": options.miners,
            "delay_ms": options.delay_ms,
        }
    path = member.folder / "node.toml"
    keystore.write_private(path, toml_text(settings))
    return path


async def _start_all(network: Devnet, options: DevnetOptions, report: Report) -> None:
    """Start the bootstrap, then everybody else at once."""
    bootstrap, *others = network.members
    report("starting the bootstrap")
    await _start(bootstrap, network, options, ())
    assert bootstrap.readiness is not None
    entry = bootstrap.readiness.addresses
    report(f"starting {options.coordinators} coordinator(s) and {options.miners} miner(s)")
    async with trio.open_nursery() as nursery:
        for member in others:
            nursery.start_soon(_start, member, network, options, entry)


async def _start(member: DevnetMember, network: Devnet, options: DevnetOptions, entry: tuple[str, ...]) -> None:
    """Start one node and wait until it is ready."""
    config = _write_config(member, network, options, entry)
    member.child = await Child.start(member.name, member.role, config, member.folder / "log")
    member.readiness = await member.child.ready()


async def _wait_until_serving(network: Devnet, options: DevnetOptions, report: Report) -> None:
    """Ask every coordinator until it can serve tasks with all miners."""
    report("waiting for the stake table's epoch, and for the miners to find the coordinator")
    headers = {"Authorization": f"Bearer {network.api_key}"} if network.api_key else {}
    async with httpx.AsyncClient(timeout=5.0, headers=headers, trust_env=False) as client:
        for url in network.api_urls:
            answer = "no answer yet"
            with trio.move_on_after(SERVING_SECONDS) as patience:
                while True:
                    try:
                        response = await client.get(f"{url}/readyz")
                        answer = response.text.strip()
                        if response.status_code == httpx.codes.OK:
                            break
                    except httpx.TransportError as error:
                        answer = str(error)
                    await trio.sleep(READY_POLL_SECONDS)
            if patience.cancelled_caught:
                raise Unavailable(f"{url} did not serve within {SERVING_SECONDS:.0f} s: {answer}")


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
