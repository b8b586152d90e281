"""What a devnet consists of: its options, its nodes, and the files that each node is started with."""

import secrets
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node import keystore
from node.apps.api_keys import changed_entries, entry_of, new_key
from node.children import Child, Readiness
from node.config.toml_text import toml_text
from node.settings import DEFAULT_MODEL, NodeRole
from protocol.errors import ConfigError

API_KEYS: Final = "api-keys.json"
"""File of the API keys of all its coordinators."""
COORDINATOR_STAKE_CAI: Final = 2_500_000
"""Stake of each coordinator (CAI), above the minimum of 2,000,000."""

MINER_STAKES_CAI: Final = (25_000, 50_000, 100_000)
"""Stakes of the miners in turn (CAI), above the minimum of 20,000: different, so that the lottery has something to
weigh."""

REDEEM_AFTER_S: Final = 5.0
"""How long (s) a devnet's miner waits before it redeems what it earned."""

MAX_PLACES: Final = 64
"""Most pictures at once of one miner, as ``engine.places`` allows."""

MAX_THREADS: Final = 1024
"""Most threads of one engine, as ``engine.threads`` allows."""

MAX_ESCROW_CAI: Final = 1_000_000
"""Most escrow of one coordinator (CAI): 64 of them leave enough for everybody's stake."""

NETWORK_FILE: Final = "network.toml"
"""Name of the file, in the devnet's folder, that describes the network."""

MAX_NODES: Final = 64
"""Most nodes of one devnet. Each is a process of some 100 MB and more with a model."""


@dataclass(frozen=True, slots=True)
class DevnetOptions:
    """What a devnet should be like."""

    coordinators: int = 1
    miners: int = 3
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    engine: str = "diffusion"
    delay_ms: int = 0
    threads: int = 0
    """Threads of a CPU of each miner's engine, with ``diffusion`` only; 0 for automatic."""
    escrow_cai: float = 100_000.0
    """What each coordinator has in escrow for its miners (CAI)."""
    places: int = 1
    """Pictures that each miner draws at once, with ``instant`` only."""
    port: int = 8000
    """Port of the first coordinator's API, 0 for free ones; the others follow it."""
    require_key: bool = False
    trace: str | None = None
    """Where all nodes send the spans of tasks (OTLP over HTTP)."""
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
    gas_secret: bytes | None = field(default=None, repr=False)
    """Of the account that pays for its transactions: miners redeem their vouchers."""
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
    if not 0 <= options.threads <= MAX_THREADS:
        raise ConfigError(f"--threads: {options.threads} is not within 0 and {MAX_THREADS}")
    if not 1 <= options.places <= MAX_PLACES:
        raise ConfigError(f"--places: {options.places} is not within 1 and {MAX_PLACES}")
    if options.places > 1 and options.engine != "instant":
        raise ConfigError("--places: only --engine instant draws several pictures at once")
    if not 0 <= options.escrow_cai <= MAX_ESCROW_CAI:
        raise ConfigError(f"--escrow: {options.escrow_cai:g} is not within 0 and {MAX_ESCROW_CAI:,} CAI")
    if options.trace is not None and not options.trace.startswith(("http://", "https://")):
        raise ConfigError(f"--trace: {options.trace!r} is no HTTP address: write it as http://host:4318/v1/traces")
    _check_ports(options)


def _check_ports(options: DevnetOptions) -> None:
    """Refuse ports that there are not, or that something else has."""
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


def make_folder(options: DevnetOptions) -> Path:
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


def make_members(options: DevnetOptions, folder: Path) -> list[DevnetMember]:
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
        gas = keystore.create(home / "gas.json", password, light=True) if role is not NodeRole.BOOTSTRAP else None
        members.append(DevnetMember(name, role, home, secret, stake, gas))
    return members


def write_api_key(options: DevnetOptions, folder: Path) -> str | None:
    """Make one API key for all coordinators, where they are to ask for one."""
    if not options.require_key:
        return None
    key = new_key()
    with changed_entries(folder / API_KEYS) as entries:
        entries.append(entry_of(key, "devnet"))
    return key


def write_config(
    member: DevnetMember,
    options: DevnetOptions,
    chain: Mapping[str, object],
    entry: Sequence[str],
    *,
    port: int = 0,
) -> Path:
    """Write the settings of one node, as a person would.

    Args:
        member: The node.
        options: What its network is like.
        chain: Its ``[chain]`` section.
        entry: Addresses of the bootstrap, all that it is told of the others.
        port: TCP port of its overlay, 0 for a free one.
    """
    from node.adapters.chain.devchain import free_port  # imported here: only who starts a devnet needs it

    number = int(member.name.rpartition("-")[2]) - 1 if member.stake_cai else 0
    settings: dict[str, object] = {
        "role": member.role.value,
        "data": str(member.folder),
        "params": "minimal",
        "chain": dict(chain),
        "overlay": {"listen": [f"/ip4/127.0.0.1/tcp/{port}"], "bootstrap": list(entry)},
        "key": {"keystore": str(member.folder / "key.json"), "password_file": str(member.folder / "password")},
    }
    if options.trace is not None:
        settings["tracing"] = {"endpoint": options.trace}
    if member.role is NodeRole.COORDINATOR:
        # Not 0, with which a coordinator that is started again would be elsewhere.
        http: dict[str, object] = {"port": options.port + number if options.port else free_port(0)}
        if options.require_key:
            http |= {"require_key": True, "keys_file": str(member.folder.parent / API_KEYS)}
        settings["http"] = http
        settings["network"] = str(member.folder.parent / NETWORK_FILE)  # which names the faucet
        settings["portal"] = {"chain_name": "Cuckoo devnet", "wallet_rpc_url": wallet_rpc_url(chain)}
    if member.gas_secret is not None:
        settings["chain"] = {
            **chain,
            "gas_keystore": str(member.folder / "gas.json"),
            "gas_password_file": str(member.folder / "password"),
        }
    if member.role is NodeRole.MINER:
        # Seen while one looks on: on a network that lasts, a day's vouchers are redeemed at once.
        settings["miner"] = {"redeem_after_s": REDEEM_AFTER_S, "redeem_least_cai": 0.0}
        settings["engine"] = {
            "kind": options.engine,
            "models": list(options.models),
            "engines_on_machine": options.miners,
            "delay_ms": options.delay_ms,
            "threads": options.threads,
            "places": options.places,
        }
    path = member.folder / "node.toml"
    keystore.write_private(path, toml_text(settings))
    return path


def wallet_rpc_url(chain: Mapping[str, object]) -> str:
    """Give the chain node that wallets may add: the devnet's own, which holds no secret."""
    urls = chain["rpc_urls"]
    assert isinstance(urls, Sequence), "a devnet writes it"
    return str(urls[0])
