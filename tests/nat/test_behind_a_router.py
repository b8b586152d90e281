"""Miners and coordinators at home: behind address translation, with no port open, in network namespaces here."""

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.overlay import peer_of
from tests.support.patience import PATIENCE_S

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COORDINATOR, ONE, TWO, BOOTSTRAP = (peer_of(number) for number in (1, 2, 3, 4))
ADDRESS = f"/ip4/203.0.113.1/tcp/4001/p2p/{COORDINATOR}"

pytestmark = pytest.mark.e2e


@pytest.fixture
def world() -> Iterator[list[str]]:
    """The namespaces; gives the command that enters them."""
    missing = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    if missing or not (shutil.which("nft") or shutil.which("iptables")):
        pytest.skip(f"needs {', '.join(missing) or 'nft or iptables'} for routers in network namespaces")
    unshare = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--kill-child", "--fork"]
    with subprocess.Popen(
        [*unshare, "sh", str(HERE / "world.sh")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            if holder.stdout.readline().strip() != "ready":
                assert holder.stderr is not None
                pytest.skip(f"this machine lets nobody make routers: {holder.stderr.read().strip()[-200:]}")
            child = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0]
            yield ["nsenter", "--target", child, "--user", "--net", "--mount", "--preserve-credentials"]
        finally:
            holder.kill()


class Node:
    """A node in one of the namespaces."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._heard: list[dict[str, Any]] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(json.loads(line))

    def stop(self) -> None:
        """Kill it, and hear what it said until then: nobody closes its pipe while somebody reads it."""
        self._process.kill()
        self._listener.join(PATIENCE_S)

    def hears(self, event: str, **fields: object) -> dict[str, Any]:
        """Wait until it says something, and take it out."""
        end = time.monotonic() + PATIENCE_S
        while True:
            for said in self._heard:
                if said["event"] == event and fields.items() <= said.items():
                    self._heard.remove(said)
                    return said
            try:
                self._heard.append(self._said.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"not within {PATIENCE_S} s: {event} {fields}; it said {self._heard}") from None

    def forgets(self, event: str) -> None:
        """Take out all of a kind that it has said so far."""
        self._heard = [said for said in self._heard if said["event"] != event]

    def dials(self, peer: str) -> bool:
        """Let it try to reach a peer; False when it cannot."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{peer}\n")
        self._process.stdin.flush()
        return not self.hears("dialled", peer=peer)["refused"]


@contextmanager
def _node(
    world: list[str], place: str, number: int, listen: str, *bootstraps: str, relay: str = "none"
) -> Iterator[Node]:
    command = [*world, "ip", "netns", "exec", place, sys.executable, "-m", "tests.nat.node", str(number), listen, relay]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, *bootstraps], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as process:
        node = Node(process)
        try:
            node.hears("listening")
            yield node
        finally:
            node.stop()


def _run(world: list[str], place: str, *command: str) -> None:
    subprocess.run(
        [*world, "ip", "netns", "exec", place, *command], check=True, capture_output=True, timeout=PATIENCE_S
    )


def test_miners_at_home__no_port_open__work_hear_each_other_and_survive_a_new_address(world: list[str]) -> None:
    home = "/ip4/0.0.0.0/tcp/4001"
    with ExitStack() as nodes:
        coordinator = nodes.enter_context(_node(world, "internet", 1, "/ip4/203.0.113.1/tcp/4001"))
        one = nodes.enter_context(_node(world, "one", 2, home, ADDRESS))
        coordinator.hears("stream", peer=ONE, from_last="203.0.113.2")
        assert COORDINATOR in one.hears("found")["peers"]
        assert one.hears("received")["data"].startswith("award of claim")
        assert coordinator.hears("artifact", peer=ONE)["bytes"] == 256 * 4000
        two = nodes.enter_context(_node(world, "two", 3, home, ADDRESS))
        assert two.hears("received")["data"].startswith("award of claim")
        # Neither can reach the other: what it hears comes through the coordinator.
        two.hears("heard", signer=COORDINATOR)
        two.hears("heard", signer=ONE)
        assert not two.dials(ONE)
        # The line is cut and comes back under another address, as it does at night; nobody is told.
        one.forgets("received")
        _run(world, "router-one", "ip", "addr", "del", "203.0.113.2/24", "dev", "wan")
        _run(world, "router-one", "ip", "addr", "add", "203.0.113.77/24", "dev", "wan")
        began = time.monotonic()
        coordinator.hears("stream", peer=ONE, from_last="203.0.113.77")
        assert one.hears("received")["data"].startswith("award of claim")
        print(f"works again {time.monotonic() - began:.1f} s after its address changed")


def test_coordinator_at_home__no_port_open__works_through_a_relay_with_a_miner_at_another_home(
    world: list[str],
) -> None:
    home = "/ip4/0.0.0.0/tcp/4001"
    entry = f"/ip4/203.0.113.1/tcp/4001/p2p/{BOOTSTRAP}"
    with ExitStack() as nodes:
        nodes.enter_context(_node(world, "internet", 4, "/ip4/203.0.113.1/tcp/4001", relay="serve"))
        coordinator = nodes.enter_context(_node(world, "two", 1, home, entry, relay="use"))
        assert coordinator.hears("reserved")["addresses"] == [f"{entry}/p2p-circuit/p2p/{COORDINATOR}"]
        began = time.monotonic()
        one = nodes.enter_context(_node(world, "one", 2, home, entry))
        assert COORDINATOR in one.hears("found")["peers"]
        coordinator.hears("stream", peer=ONE, relayed=True)
        assert one.hears("received")["data"].startswith("award of claim")
        assert coordinator.hears("artifact", peer=ONE)["bytes"] == 256 * 4000
        one.hears("heard", signer=COORDINATOR)
        print(f"a task is done {time.monotonic() - began:.1f} s after the miner's start")
        # The relay's line is cut: the coordinator's address changes, and it reserves anew from the other.
        one.forgets("received")
        _run(world, "router-two", "ip", "addr", "del", "203.0.113.3/24", "dev", "wan")
        _run(world, "router-two", "ip", "addr", "add", "203.0.113.78/24", "dev", "wan")
        began = time.monotonic()
        coordinator.hears("stream", peer=ONE, relayed=True)
        assert one.hears("received")["data"].startswith("award of claim")
        print(f"works again {time.monotonic() - began:.1f} s after the coordinator's address changed")


def test_coordinator_at_home__names_no_relay__finds_out_that_nobody_can_dial_it_and_works_all_the_same(
    world: list[str],
) -> None:
    home = "/ip4/0.0.0.0/tcp/4001"
    entry = f"/ip4/203.0.113.1/tcp/4001/p2p/{BOOTSTRAP}"
    with ExitStack() as nodes:
        nodes.enter_context(_node(world, "internet", 4, "/ip4/203.0.113.1/tcp/4001", relay="serve"))
        coordinator = nodes.enter_context(_node(world, "two", 1, home, entry, relay="ask"))
        assert coordinator.hears("reserved")["addresses"] == [f"{entry}/p2p-circuit/p2p/{COORDINATOR}"]
        one = nodes.enter_context(_node(world, "one", 2, home, entry))
        coordinator.hears("stream", peer=ONE, relayed=True)
        assert one.hears("received")["data"].startswith("award of claim")


def test_ip6__global_addresses__dialled_found_and_worked_with(world: list[str]) -> None:
    # Upstream leaves global addresses of IPv6 alone where it finds none on this machine: loopback shows nothing of it.
    entry = f"/ip6/2000:1::1/tcp/4001/p2p/{COORDINATOR}"
    with ExitStack() as nodes:
        coordinator = nodes.enter_context(_node(world, "internet", 1, "/ip6/::/tcp/4001"))
        miner = nodes.enter_context(_node(world, "router-one", 2, "/ip6/::/tcp/4001", entry))
        assert COORDINATOR in miner.hears("found")["peers"]
        coordinator.hears("stream", peer=ONE, relayed=False)
        assert coordinator.hears("artifact", peer=ONE)["bytes"] == 256 * 4000
        other = nodes.enter_context(_node(world, "router-two", 3, "/ip6/::/tcp/4001", entry))
        other.hears("heard", signer=ONE)
        assert other.dials(ONE)  # under the address of ONE's outward interface, as it told it
