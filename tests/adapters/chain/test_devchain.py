"""A devnet's chain: counts at once, follows the wall clock, refuses with one line, and never outlives us."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import trio

from contracts.bindings import load
from node.adapters.chain import devchain as module
from node.adapters.chain.answers import quantity
from node.adapters.chain.chain import ChainSettings, StakingChain
from node.adapters.chain.devchain import (
    DEV_CHAIN_ID,
    FREE_PORTS,
    DevnetNode,
    deploy_devnet,
    devchain,
    find_anvil,
    free_port,
    owner_secret,
)
from node.adapters.chain.follower import Follower
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.sender import Sender
from node.adapters.memory.store import MemoryStore
from protocol.crypto.keys import NodeKey
from protocol.errors import ConfigError
from protocol.stake.epoch import epoch_at
from protocol.units import CAI, Role, UnixMillis
from tests.adapters.chain.conftest import StakingOnAnvil
from tests.adapters.chain.test_chain import Sink
from tests.support.anvil import running_anvil
from tests.support.journal import RecordingJournal
from tests.support.networks import network_params
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.usefixtures("anvil_is_there")

PARAMS = network_params(epoch_s=8)
NODES = (
    DevnetNode(Role.COORDINATOR, b"\x01" * 32, 2_500_000, "coordinator-1"),
    DevnetNode(Role.MINER, b"\x02" * 32, 30_000, "miner-1"),
    DevnetNode(Role.MINER, b"\x03" * 32, 60_000, "miner-2"),
)


class WallClock:
    """The time of this machine: block times of a devnet follow it."""

    def now(self) -> UnixMillis:
        return UnixMillis(int(time.time() * 1000))


async def test_deploy_devnet__nodes_count_at_once_and_blocks_follow_the_wall_clock(tmp_path: Path):
    sink = Sink()
    async with devchain(log=tmp_path / "chain.log") as url:
        deployed = await deploy_devnet(url, PARAMS, NODES)
        assert deployed.ids == (1, 2, 3)
        settings = ChainSettings(
            (url,), deployed.chain_id, deployed.staking, deployed.deployed.start_block, poll_s=0.05
        )
        async with trio.open_nursery() as nursery, JsonRpc([url], chain_id=DEV_CHAIN_ID) as rpc:
            chain = StakingChain(settings, PARAMS, WallClock(), RecordingJournal(), MemoryStore())
            with trio.fail_after(PATIENCE_S):
                await nursery.start(chain.run, sink)
            epoch = epoch_at(WallClock().now(), PARAMS)
            assert epoch in [view.epoch for view in sink.views]
            for view in sink.views:
                found = [(row.id, row.address, row.role, row.stake, row.active) for row in view.table.rows]
                assert found == [
                    (number, NodeKey(node.node_key).address, node.role, node.stake_cai * CAI, True)
                    for number, node in enumerate(NODES, start=1)
                ]
            first = quantity(await rpc.call("eth_blockNumber"))
            with trio.fail_after(PATIENCE_S):
                while quantity(await rpc.call("eth_blockNumber")) == first:
                    await trio.sleep(0.05)
            before = time.time()
            block = await rpc.call("eth_getBlockByNumber", "latest", False)
            assert before - 2 <= quantity(block["timestamp"]) <= time.time() + 2
            faucet = await rpc.call("eth_getCode", deployed.deployed.faucet, "latest")
            assert len(faucet) > 2
            owner = Sender(rpc, owner_secret("miner-1"), DEV_CHAIN_ID)
            balance = quantity(await rpc.call("eth_getBalance", owner.address, "latest"))
            assert balance > 10**18, "an owner can go on to vote"
            staking = "0x" + deployed.staking.hex()
            earned = 0
            with trio.fail_after(PATIENCE_S):
                while not earned:
                    earned = await owner.read(load("Staking"), staking, "earned", 2, owner.address)
                    await trio.sleep(0.05)
            assert earned < 60 * CAI, "stakers see rewards, and none for the head start"
            nursery.cancel_scope.cancel()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0, "anvil stopped with the context"


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ((DevnetNode(Role.MINER, b"\x02" * 32, 20_000, "m"),), "m: a miner stakes more than 20000 CAI"),
        ((DevnetNode(Role.COORDINATOR, b"\x02" * 32, 2_000_000, "c"),), "c: a coordinator stakes more than 2000000"),
        ((NODES[1], NODES[1]), "two nodes of the devnet have the same name"),
        ((NODES[1], DevnetNode(Role.MINER, b"\x02" * 32, 30_000, "x")), "have the same node key"),
    ],
)
async def test_deploy_devnet__nodes_that_cannot_be__are_named(nodes: tuple[DevnetNode, ...], text: str):
    with pytest.raises(ConfigError, match=text):
        await deploy_devnet("http://127.0.0.1:1", PARAMS, nodes)


async def test_devchain__port_in_use__is_named(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot use port {port}"):
            async with devchain(port=port, log=tmp_path / "chain.log"):
                pytest.fail("it started")


def test_free_port__any__is_none_that_others_are_given_before_it_is_used():
    found = {free_port(0) for _ in range(20)}
    assert found <= set(FREE_PORTS)
    assert len(found) == 20, "none twice before it is used"
    assert FREE_PORTS[-1] < 32_768, "from there on Linux gives them to whoever asks for any"


async def test_devchain__binary_that_fails__tells_the_last_line_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    broken = tmp_path / "anvil"
    broken.write_text("#!/bin/sh\necho first; echo 'no such option' >&2; exit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(module, "find_anvil", lambda: broken)
    with pytest.raises(ConfigError, match="did not start: no such option"):
        async with devchain(log=tmp_path / "chain.log"):
            pytest.fail("it started")


def test_find_anvil__none_installed__says_make_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "__file__", str(tmp_path / "a" / "b" / "c" / "devchain.py"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="make setup"):
        find_anvil()
    (tmp_path / "anvil").write_text("")
    (tmp_path / "anvil").chmod(0o755)
    assert find_anvil() == tmp_path / "anvil"


async def test_follower__chain_that_keeps_few_states__still_reads_all_events():
    with running_anvil(kept_states=4) as anvil:
        staking = StakingOnAnvil(anvil)
        staking.register(1)
        for _ in range(40):
            anvil.rpc("evm_mine")
        async with JsonRpc([anvil.url]) as rpc:
            follower = Follower(rpc, staking.address, staking.start_block)
            await follower.step()
        assert follower.head is not None
        assert len(follower.history.table_at(follower.head.number).rows) == 1


PARENT = """
import sys, trio
from pathlib import Path
from node.adapters.chain.devchain import devchain
async def main():
    async with devchain(log=Path(sys.argv[1])) as url:
        print(url, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


def _gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("victim", ["parent", "guard"])
def test_devchain__kill_9__leaves_no_anvil(tmp_path: Path, victim: str):
    command = [sys.executable, "-c", PARENT, str(tmp_path / "chain.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline().startswith(b"http://127.0.0.1:")
            family = psutil.Process(parent.pid).children(recursive=True)
            guard = next(process for process in family if "node.adapters.chain.guard" in process.cmdline())
            anvil = next(process for process in family if process.name() == "anvil")
            os.kill(parent.pid if victim == "parent" else guard.pid, signal.SIGKILL)
            assert _gone([anvil])
        finally:
            parent.kill()
            parent.wait()


def _guard(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "node.adapters.chain.guard", *command], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_guard__command_ends__passes_its_status_on():
    with _guard("--", "sh", "-c", "exit 7") as guard:
        assert guard.wait(timeout=PATIENCE_S) == 7


def test_guard__no_command__says_how_it_is_used():
    with _guard() as guard:
        assert guard.wait(timeout=PATIENCE_S) == 2
        assert guard.stderr is not None
        assert guard.stderr.read().startswith(b"usage:")


IGNORING = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "node.adapters.chain.guard", "--", *sys.argv[1:]])
"""
SLEEPING = "import time; print('up', flush=True); time.sleep(60)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_guard__signal_also_when_inherited_as_ignored__stops_the_command(number: signal.Signals):
    command = [sys.executable, "-c", IGNORING, sys.executable, "-c", SLEEPING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guard:
        assert guard.stdout is not None
        assert guard.stdout.readline() == b"up\n"
        (child,) = psutil.Process(guard.pid).children()
        guard.send_signal(number)
        assert guard.wait(timeout=PATIENCE_S) == 0
        assert _gone([child])
