"""Our import names are ours alone, and each role loads only what it needs."""

import importlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("protocol", "node", "contracts", "configs")

BUILD_PORTS = """
import json, sys, trio
from pathlib import Path
from node.adapters.system import SystemClock
from node.compose import real_ports
from node.configuration import load_settings
from node.journal import StructuredJournal
from node.settings import NodeRole

flags = json.loads(sys.argv[1])
flags["data"] = Path(flags["data"])
settings = load_settings(None, flags, {})

async def build():
    real_ports(settings, bytes([1]) * 32, SystemClock(), StructuredJournal())

trio.run(build)
if settings.role is NodeRole.COORDINATOR:
    import node.adapters.http
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("name", OURS)
def test_import__our_packages__come_from_this_checkout(name):
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve().is_relative_to(ROOT)


@pytest.mark.parametrize("name", OURS)
def test_installed__our_names__belong_to_us_alone(name):
    assert set(importlib.metadata.packages_distributions().get(name, [])) <= {"cuckoo-overlay"}


def test_installed__this_distribution__is_here():
    assert importlib.metadata.version("cuckoo-overlay")


def loaded_by(role: str, tmp_path: Path) -> set[str]:
    """Top-level modules that a node of the role has loaded when it is put together."""
    flags = {
        "role": role,
        "data": str(tmp_path),
        "params": "minimal",
        "chain.rpc_urls": ["http://127.0.0.1:9"],
        "chain.chain_id": 1,
        "chain.staking": "0x5fbdb2315678afecb367f032d93f642f64180aa3",
        "overlay.bootstrap": ["/ip4/127.0.0.1/tcp/1/p2p/16Uiu2HAmEWQnHq2jLKJypwVnVoQeFCULuyop6atvq2eWjYSUjzNi"],
    }
    command = [sys.executable, "-c", BUILD_PORTS, json.dumps(flags)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


@pytest.mark.parametrize(
    ("role", "needed", "forbidden"),
    [
        ("bootstrap", {"libp2p"}, {"fastapi", "hypercorn", "torch", "diffusers", "transformers", "PIL"}),
        ("coordinator", {"libp2p", "fastapi", "hypercorn"}, {"torch", "diffusers", "transformers", "PIL"}),
        ("miner", {"libp2p"}, {"fastapi", "hypercorn", "torch", "diffusers", "transformers"}),
    ],
)
def test_compose__each_role__loads_what_it_needs_and_no_more(role, needed, forbidden, tmp_path):
    loaded = loaded_by(role, tmp_path)
    assert needed <= loaded
    assert not loaded & forbidden
