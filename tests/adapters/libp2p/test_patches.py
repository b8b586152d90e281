"""The installed py-libp2p is the one that the patches were written for."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from libp2p.host.basic_host import BasicHost
from libp2p.io.trio import TrioTCPStream
from libp2p.kad_dht.kad_dht import KadDHT
from libp2p.kad_dht.peer_routing import PeerRouting
from libp2p.kad_dht.provider_store import ProviderStore
from libp2p.kad_dht.routing_table import RoutingTable
from libp2p.network.swarm import Swarm
from libp2p.peer.peerstore import PeerStore
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.relay.circuit_v2.protocol import CircuitV2Protocol

from node.adapters.libp2p import patches
from node.adapters.libp2p.patches import LIBP2P_VERSION, PATCHED, signature_of

HOLDERS = {
    each.__name__: each
    for each in (
        *(Pubsub, GossipSub, PeerStore, Swarm, BasicHost),
        *(KadDHT, PeerRouting, ProviderStore, RoutingTable, MultiselectCommunicator),
        *(TrioTCPStream, CircuitV2Protocol),
    )
}
UNPATCHED = """
from node.adapters.libp2p.patches import PATCHED, signature_of
for name, (holder, symbol, _) in PATCHED.items():
    print(name, signature_of(holder, symbol), sep="\\t")
"""


def test_libp2p__installed__is_the_pinned_version() -> None:
    assert version("libp2p") == LIBP2P_VERSION == "0.8.1"


def test_patched__every_symbol__has_the_expected_signature_before_it_is_patched() -> None:
    out = subprocess.run([sys.executable, "-c", UNPATCHED], capture_output=True, text=True, check=True, timeout=60)
    found = dict(line.split("\t") for line in out.stdout.splitlines())
    assert found == {name: expected for name, (_, _, expected) in PATCHED.items()}


@pytest.mark.parametrize("name", PATCHED)
def test_apply_patches__any_symbol__is_ours_afterwards(name: str) -> None:
    from node.adapters.libp2p import gossip_queue, muxer, patches

    patches.apply_patches()
    holder, symbol, _ = PATCHED[name]
    value = getattr(holder, symbol)
    ours = {
        "swarm._HAPPY_EYEBALLS_DELAY": 0.0,
    }
    if name in ours:
        assert value == ours[name]
    else:
        assert value.__module__ in {patches.__name__, gossip_queue.__name__, muxer.__name__}


def test_signature_of__another_shape__differs() -> None:
    assert signature_of(sys.modules[__name__], "test_signature_of__another_shape__differs") == "()"


UPSTREAM = (Path(patches.__file__).parent / "UPSTREAM.md").read_text()
FAULTS = [[cell.strip() for cell in line.strip("|").split("|")] for line in UPSTREAM.splitlines() if line[:2] == "| "][
    1:
]


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row[1])
def test_upstream__any_fault__is_of_something_that_is_there_and_has_a_test_on_real_sockets(row: list[str]) -> None:
    _, where, _, tests = row
    for holder, name in re.findall(r"`(\w+)\.(\w+)`", where):
        assert hasattr(HOLDERS[holder], name)
    folders = (Path(__file__).parent, Path(__file__).parents[2] / "attacks")
    defined = "".join(path.read_text() for folder in folders for path in folder.glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", tests)
    assert named
    assert all(f"async def {name}(" in defined for name in named)
