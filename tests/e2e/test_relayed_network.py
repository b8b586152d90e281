"""A whole network of processes whose nodes meet through a relay alone: a task is done, and its receipt is there."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from protocol.notes import NoteName
from tests.support.devnet import Running, devnet, wait_until
from tests.support.processes import ROOT, again, done, kill, submitted

pytestmark = pytest.mark.e2e


def _set(node: dict[str, Any], *lines: str) -> None:
    """Add settings of the overlay to a node's file."""
    path = Path(node["config"])
    text = path.read_text()
    assert "[overlay]\n" in text
    path.write_text(text.replace("[overlay]\n", "\n".join(["[overlay]", *lines, ""])))


def _said(network: Running, node: dict[str, Any], name: NoteName, since: int = 0) -> list[dict[str, Any]]:
    return [note for note in network.notes(node)[since:] if note["event"] == name]


def test_network__coordinator_and_miner_reached_through_a_relay_alone__task_done(tmp_path: Path) -> None:
    with devnet(tmp_path, "--engine", "instant", "--miners", "1") as network, ExitStack() as nodes:
        (bootstrap,), (coordinator,), (miner,) = map(network.nodes, ("bootstrap", "coordinator", "miner"))
        for node in (bootstrap, coordinator, miner):
            kill(node)
        # On new ports and with no word of them, they know each other's old addresses and the relay.
        relay = f"relays = [{bootstrap['addresses'][0]!r}]"
        _set(bootstrap, "relay = true")
        _set(coordinator, relay)
        _set(miner, relay)
        listen = bootstrap["addresses"][0].partition("/p2p/")[0]
        nodes.enter_context(again(bootstrap, "--log-level", "debug", "--listen", listen))
        nodes.enter_context(again(coordinator, "--listen", "/ip4/127.0.0.1/tcp/0"))
        nodes.enter_context(again(miner, "--listen", "/ip4/127.0.0.1/tcp/0"))
        for node in (coordinator, miner):
            wait_until(lambda node=node: _said(network, node, NoteName.RELAY_HELD), "a reservation")
        done(network, submitted(network))
        carried = _said(network, bootstrap, NoteName.RELAY_CARRIES)
        assert {coordinator["peer_id"], miner["peer_id"]} == {carried[-1]["peer"], carried[-1]["source"]}
        wait_until(lambda: _said(network, miner, NoteName.RECEIPT_RECEIVED), "the receipt")
        wait_until(lambda: _said(network, coordinator, NoteName.REACH_KNOWN), "what peers found when they dialled it")
        command = [sys.executable, "-m", "node", "status", "--node", str(Path(coordinator["config"]).parent)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert f"reached   {bootstrap['addresses'][0]}/p2p-circuit/p2p/{coordinator['peer_id']}\n" in said
        assert "dialled   others can dial it where it listens\n" in said
