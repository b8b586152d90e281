"""A chain on this machine for devnets and tests: anvil, started, filled and stopped with us.

Its first block lies in the past, so that what is deployed and registered there has settled when the clock is put to
now: a stake table takes two epochs to count, and a person who starts a devnet should not wait for that.
"""

import hashlib
import itertools
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from node.adapters.chain.answers import quantity
from node.adapters.chain.rpc import JsonRpc
from protocol.crypto.keys import NodeKey
from protocol.errors import ConfigError
from protocol.params import Params
from protocol.units import CAI, Address, Role, StakingId, Wei

if TYPE_CHECKING:
    from contracts.deploy import DeployedSet

DEV_CHAIN_ID: Final = 31_337
"""What anvil calls itself."""
DEV_TREASURY_SECRET: Final = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
"""Anvil's first account, known to everybody: it holds all CAI of a devnet that nobody else holds."""
HEAD_START_S: Final = 7 * 86_400
"""How far in the past (s) the first block lies: more than three of the longest epochs."""
DEV_UNBONDING_DELAY_S: Final = 60
"""Unbonding delay (s) of a devnet: long enough to see, short enough to wait for."""
DEV_STREAM_S: Final = 120
"""How long (s) a payment takes to reach a devnet's miner and its voters: it is seen within a minute."""
DEV_ESCROW_NOTICE_S: Final = 60
"""How long (s) a devnet's coordinator waits for its escrow."""
DEV_EMISSION_CAI: Final = 50_000_000
"""What a devnet emits (CAI) in all: at 1 CAI/s more than a year, so that stakers see rewards."""
DEV_FAUCET_DRIP_CAI: Final = 25_000
"""What a devnet's faucet gives an address a day (CAI): enough to register a miner."""
DEV_FAUCET_FUND_CAI: Final = 100_000_000
"""What a devnet's faucet holds (CAI)."""
START_LIMIT_S: Final = 15.0
"""How long (s) anvil may take to answer; it takes 0.1 s on an idle machine."""
STOP_LIMIT_S: Final = 5.0
"""How long (s) the guard may take to stop anvil."""
KEPT_STATES: Final = 256
"""Past states that anvil keeps: tables are built from events, so a devnet that runs for days need not grow by them."""
FREE_PORTS: Final = range(20_000, 32_000)
"""Where a free port is looked for: below those that systems give to whoever asks for any, of which another process may
be given the one found before it is used."""
PORT_TRIES: Final = 100
"""Ports of them that are tried."""
_candidates: Final = itertools.cycle(secrets.SystemRandom().sample(FREE_PORTS, 1000))
"""Tried in this order, so that a process does not find one again that it has not used yet."""
_OWNER_ETHER: Final = 1000
_GAS_ETHER: Final = 10
_REGISTRATION_LIFE_S: Final = 3600


@dataclass(frozen=True, slots=True)
class DevnetNode:
    """A node to register."""

    role: Role
    node_key: bytes
    """Secret of the hot key, 32 bytes."""
    stake_cai: int
    name: str
    gas_key: bytes | None = None
    """Secret of the account that pays for its transactions, which gets something to pay with."""


@dataclass(frozen=True, slots=True)
class DevnetContracts:
    """What was deployed, and whom it registered."""

    chain_id: int
    deployed: "DeployedSet"
    """The addresses of the contracts."""
    ids: tuple[StakingId, ...]
    """In the order of the nodes."""

    @property
    def staking(self) -> Address:
        """The staking contract's address as 20 bytes."""
        return Address(bytes.fromhex(self.deployed.staking[2:]))


def owner_secret(name: str) -> bytes:
    """Give the secret of a devnet node's owner. Everybody can compute it: for devnets only."""
    return hashlib.sha256(b"cuckoo devnet owner " + name.encode()).digest()


def find_anvil() -> Path:
    """Find the anvil binary: beside this checkout as npm installed it, else on PATH.

    Raises:
        ConfigError: There is none.
    """
    root = Path(__file__).parents[3]
    for candidate in sorted(root.glob("node_modules/@foundry-rs/anvil-*/bin/anvil")):
        if os.access(candidate, os.X_OK):
            return candidate
    found = shutil.which("anvil")
    if found is None:
        raise ConfigError("anvil, the dev chain, is not installed: run `make setup` in the checkout")
    return Path(found)


@asynccontextmanager
async def devchain(*, port: int = 0, block_time_s: int = 1, log: Path) -> AsyncIterator[str]:
    """Run anvil on loopback and give its URL; it stops with the context, and with this process however that ends.

    Transactions are mined at once, and an empty block every ``block_time_s``. Chain time begins a week ago;
    ``deploy_devnet`` puts it to now.

    Raises:
        ConfigError: anvil is not installed, the port is taken, or it does not start.
    """
    anvil = find_anvil()
    port = free_port(port)
    url = f"http://127.0.0.1:{port}"
    # Wall time, since block times are compared with the clocks of nodes.
    genesis = int(time.time()) - HEAD_START_S
    options = ["--host", "127.0.0.1", "--port", str(port), "--chain-id", str(DEV_CHAIN_ID), "--timestamp", str(genesis)]
    options += ["--block-time", str(block_time_s), "--mixed-mining", "--prune-history", str(KEPT_STATES), "--quiet"]
    command = [sys.executable, "-m", "node.adapters.chain.guard", "--", str(anvil), *options]
    with log.open("ab") as output:
        # Its own session: Ctrl-C is for us, and the chain goes last.
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
        )
    try:
        await _wait_until_up(url, process, log)
        yield url
    finally:
        await _stop(process)


async def deploy_devnet(
    url: str, params: Params, nodes: Sequence[DevnetNode], *, escrow: Wei = Wei(0)
) -> DevnetContracts:
    """Deploy the contracts and register the nodes so that they count at once, then put chain time to now.

    Each node belongs to an owner of its own, with ``owner_secret(name)``, and some ether for gas. Each coordinator gets
    ``escrow`` (wei).

    Raises:
        ConfigError: A stake is not above its role's minimum, or a key or name is given twice.
        Unavailable: The chain does not answer.
    """
    _check_nodes(params, nodes)
    # Imported here: what signs costs half a second, and nodes that only follow the chain do without.
    from contracts.bindings import load
    from contracts.deploy import Terms, deploy_all, fund_emission
    from node.adapters.chain.registration import register_node
    from node.adapters.chain.sender import Sender

    async with JsonRpc([url], chain_id=DEV_CHAIN_ID) as rpc:
        treasury = Sender(rpc, DEV_TREASURY_SECRET, DEV_CHAIN_ID)
        terms = Terms(
            miner_minimum_cai=params.miner_minimum_cai,
            coordinator_minimum_cai=params.coordinator_minimum_cai,
            unbonding_delay_s=DEV_UNBONDING_DELAY_S,
            epoch_s=params.epoch_s,
            stream_s=DEV_STREAM_S,
            parameter_delay_s=DEV_UNBONDING_DELAY_S,
            escrow_notice_s=DEV_ESCROW_NOTICE_S,
            faucet_drip_cai=DEV_FAUCET_DRIP_CAI,
            faucet_fund_cai=DEV_FAUCET_FUND_CAI,
        )
        deployed = await deploy_all(treasury, terms)
        latest = await rpc.call("eth_getBlockByNumber", "latest", False)
        deadline = quantity(latest["timestamp"]) + _REGISTRATION_LIFE_S
        ids: list[StakingId] = []
        for node in nodes:
            owner = Sender(rpc, owner_secret(node.name), DEV_CHAIN_ID)
            await rpc.call("anvil_setBalance", owner.address, hex(_OWNER_ETHER * 10**18))
            await treasury.call(load("CAI"), deployed.cai, "transfer", owner.address, node.stake_cai * CAI)
            number = await register_node(
                owner,
                cai=deployed.cai,
                staking=deployed.staking,
                chain_id=DEV_CHAIN_ID,
                key=NodeKey(node.node_key),
                role=node.role,
                stake_cai=node.stake_cai,
                deadline=deadline,
                profile={"name": node.name},
            )
            ids.append(number)
            if node.gas_key is not None:
                payer = "0x" + NodeKey(node.gas_key).address.hex()
                await rpc.call("anvil_setBalance", payer, hex(_GAS_ETHER * 10**18))
        rich = [number for node, number in zip(nodes, ids, strict=True) if node.role is Role.COORDINATOR and escrow]
        if rich:
            settlement = await treasury.read(load("Staking"), deployed.staking, "settlement")
            await treasury.call(load("CAI"), deployed.cai, "approve", settlement, escrow * len(rich))
            for number in rich:
                await treasury.call(load("Settlement"), settlement, "deposit", number, escrow)
        await rpc.call("evm_setTime", int(time.time()), repeat=False)
        await rpc.call("evm_mine", repeat=False)
        # After the jump: the week before it pays nobody.
        await fund_emission(treasury, deployed.cai, deployed.staking, DEV_EMISSION_CAI * CAI)
        return DevnetContracts(chain_id=DEV_CHAIN_ID, deployed=deployed, ids=tuple(ids))


def _check_nodes(params: Params, nodes: Sequence[DevnetNode]) -> None:
    """Refuse what the contract would refuse, with a line that names the node."""
    for node in nodes:
        minimum = params.coordinator_minimum_cai if node.role is Role.COORDINATOR else params.miner_minimum_cai
        if node.stake_cai <= minimum:
            raise ConfigError(f"{node.name}: a {node.role.name.lower()} stakes more than {minimum} CAI")
    for what, values in (("name", [node.name for node in nodes]), ("node key", [node.node_key for node in nodes])):
        if len(set(values)) != len(values):
            raise ConfigError(f"two nodes of the devnet have the same {what}")


def free_port(port: int) -> int:
    """Make sure that a loopback port is free; 0 finds one that stays so until it is used, or used again."""
    reason = None
    for candidate in [port] if port else itertools.islice(_candidates, PORT_TRIES):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError as error:
                reason = error.strerror
            else:
                return candidate
    raise ConfigError(f"the dev chain cannot use port {port}: {reason}; choose another")


async def _wait_until_up(url: str, process: trio.Process, log: Path) -> None:
    """Wait until anvil answers."""
    with trio.move_on_after(START_LIMIT_S):
        async with JsonRpc([url]) as rpc:
            while process.poll() is None:
                answers = await rpc.probe()
                if answers[url] == DEV_CHAIN_ID:
                    return
                await trio.sleep(0.02)
    lines = (await trio.Path(log).read_text(encoding="utf-8", errors="replace")).strip().splitlines()
    raise ConfigError(f"the dev chain did not start: {lines[-1] if lines else 'no answer'} (log: {log})")


async def _stop(process: trio.Process) -> None:
    """Let go of the guard, which stops anvil; also when we are being cancelled."""
    with trio.CancelScope(shield=True):
        assert process.stdin is not None, "it was opened as a pipe"
        await process.stdin.aclose()
        with trio.move_on_after(STOP_LIMIT_S):
            await process.wait()
            return
        process.kill()
        await process.wait()
