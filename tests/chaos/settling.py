"""The end of a chaos run: what stores, contracts, commands and logs say, once everybody is back."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from node.devnet import Devnet
from node.network_file import read_network
from node.owner.wallet import Wallet, open_wallet
from tests.chaos.ledgers import CAI, Escrow, OnChain

NOBODY = "0x" + "00" * 20


@dataclass(frozen=True)
class Contracts:
    """What the contracts say of the whole network."""

    pairs: Mapping[tuple[int, int], OnChain]
    """By coordinator and miner."""
    escrows: Mapping[int, Escrow]
    held: int
    """What the Settlement contract has (wei)."""
    inactive: tuple[str, ...]
    """Nodes that somebody jailed, slashed below their minimum, or put into debt."""


async def ask_contracts(devnet: Devnet, deposited_cai: int) -> Contracts:
    """Read what the contracts say now."""
    ids = {member.name: int(number) for member, number in devnet.registered()}
    coordinators = [number for name, number in ids.items() if name.startswith("coordinator")]
    miners = [number for name, number in ids.items() if name.startswith("miner")]
    async with open_wallet(read_network(devnet.network_path), address=NOBODY) as wallet:
        pairs = {(one, other): await _pair(wallet, one, other) for one in coordinators for other in miners}
        escrows = {}
        for number in coordinators:
            views = ("escrow", "redeemed_total", "owed")
            answers = await wallet.read(*(wallet.call("Settlement", view, number) for view in views))
            escrows[number] = Escrow(deposited_cai * CAI, *answers)
        settlement = wallet.call("Settlement", "notice").address
        (held,) = await wallet.read(wallet.call("CAI", "balanceOf", settlement))
        nodes = await wallet.read(*(wallet.call("Staking", "node", number) for number in ids.values()))
    stakes = {member.name: member.stake_cai * CAI for member, _ in devnet.registered()}
    inactive = tuple(
        f"{name} is not active on the chain with its whole stake: {node}"
        for name, node in zip(ids, nodes, strict=True)
        if not node[3] or node[4] != stakes[name]
    )
    return Contracts(pairs, escrows, held, inactive)


async def _pair(wallet: Wallet, coordinator: int, miner: int) -> OnChain:
    calls = [wallet.call("Settlement", view, coordinator, miner) for view in ("acknowledged", "redeemed")]
    return OnChain(*await wallet.read(*calls))


async def checked_by_itself(name: str, folder: Path, network: Path) -> str:
    """Have a node's own accounts compared with the chain by the command that people use; says what is wrong."""
    command = "spend" if name.startswith("coordinator") else "earnings"
    flags = ["--data", str(folder), "--network", str(network), "--check", "--json"]
    done = await trio.run_process(
        [sys.executable, "-m", "node", command, *flags], capture_stdout=True, capture_stderr=True, check=False
    )
    if done.returncode:
        return f"{name}: cuckoo {command} --check: {(done.stdout + done.stderr).decode()[-500:]}"
    told = json.loads(done.stdout)
    agrees = told["chain"]["agrees"] and told["pending_wei"] == "0"
    return "" if agrees else f"{name}: cuckoo {command} --check says {told}"


def read_diary(app: str, diary: Path, orders: Counter[str]) -> Iterator[str]:
    """Count how an app's orders ended, and give what it found wrong."""
    for line in diary.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # a kill may have torn a line
            said = json.loads(line)
            if said["what"] == "end":
                orders[f"{app} {said['how'][:40]}"] += 1
            if said["what"] == "problem" or said.get("wrong"):
                yield f"{app}: {said}"
