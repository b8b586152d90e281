"""Our import names are ours alone, each folder imports only what it may, and each role loads only what it needs."""

import ast
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("protocol", "node", "contracts", "configs")

BUILD_PORTS = """
import json, sys, trio
from pathlib import Path
from node.adapters.system import SystemClock
from node.compose import identity_of, real_ports
from node.config.configuration import load_settings
from node.journal import StructuredJournal
from node.settings import NodeRole

flags = json.loads(sys.argv[1])
flags["data"] = Path(flags["data"])
settings = load_settings(None, flags, {})

async def build():
    secret = bytes([1]) * 32
    real_ports(settings, secret, identity_of(settings, secret).catalog, SystemClock(), StructuredJournal())

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


PURE = frozenset(
    {"abc", "collections", "dataclasses", "enum", "functools", "hashlib", "math", "pathlib", "re", "struct", "typing"}
    | {"bisect", "heapq", "itertools", "operator", "zlib"}
)
"""Of the standard library, what the protocol may use: no file, clock, randomness, log, thread or process."""
PURE_NAMES = {"pathlib": {"PurePosixPath", "PurePath"}}
"""Of those, where only a part is pure."""

MAY_IMPORT = {
    "protocol": {"msgpack", "pydantic", "protocol"},
    "protocol/crypto": {"coincurve", "cryptography", "sha3", "base58", "pydantic", "protocol"},
    "contracts": {"contracts", "vyper"},
    "node": {"trio", "pydantic", "node", "protocol"},
    "node/cli": {"trio", "typer", "rich", "httpx", "node", "protocol"},
    "node/adapters": set(),
    "node/adapters/chain": {"trio", "httpx", "contracts"},
    "node/adapters/control": {"trio"},
    "node/adapters/device": {"pynvml"},
    "node/adapters/engine": {"trio", "msgpack", "pydantic", "node.engine_report", "node.child_environment"},
    "node/adapters/http": {"trio", "pydantic", "fastapi", "starlette", "hypercorn", "h11", "prometheus_client"}
    | {"node.desk_ports", "node.portal.ports", "node.apps.app_keys"},
    "node/adapters/libp2p": {"trio", "libp2p", "multiaddr", "base58", "google", "node.disputes.ports"}
    | {"node.stand_ins"},
    "node/adapters/memory": {"trio"},
    "node/adapters/pictures": {"trio", "node.child_environment"},
    "node/adapters/review": {"trio", "httpx", "node.child_environment"},
    "node/adapters/store": {"trio"},
    "node/adapters/system": {"trio"},
    "node/adapters/telemetry": {"trio", "h11", "prometheus_client"},
}
"""What each folder may import beside the standard library. An adapter also imports ``protocol``, the ports, itself."""

MAY_ALSO_IMPORT = {
    "node/adapters/chain/abi.py": {"eth_abi", "eth_utils", "node.lean_ethereum"},
    "node/adapters/chain/gas_account.py": {"node.ethereum_account"},
    "node/adapters/chain/sender.py": {"eth_utils", "node.lean_ethereum"},
    "node/adapters/engine/families.py": {"diffusers"},
    "node/adapters/engine/lean.py": {"diffusers", "transformers", "scipy", "node.stand_ins"},
    "node/adapters/engine/loading.py": {"torch"},
    "node/adapters/engine/pipeline.py": {"torch", "diffusers", "transformers", "numpy", "PIL"},
    "node/adapters/engine/variants.py": {"diffusers"},
    "node/adapters/telemetry/tracing.py": {"opentelemetry"},
    "node/adapters/engine/denoised.py": {"torch"},
    "node/adapters/engine/trace.py": {"torch"},
    "node/adapters/engine/files.py": {"PIL"},
    "node/adapters/engine/sources.py": {"PIL"},
    "node/adapters/engine/preview.py": {"numpy", "PIL"},
    "node/adapters/pictures/child.py": {"PIL"},
    "node/adapters/review/safety_child.py": {"torch", "diffusers", "transformers", "numpy", "PIL"},
    "node/accounts.py": {"node.adapters.store"},
    "node/apps/app_client.py": {"node.adapters.libp2p.app", "node.adapters.system"},
    "node/audit_chart.py": {"matplotlib"},
    "node/cli/picture.py": {"PIL", "textual_image"},
    "node/cli/status_watch.py": {"node.adapters.control"},
    "node/cli/submit_overlay.py": {"pydantic"},
    "node/figures.py": {"prometheus_client"},
    "node/compose.py": {"node.adapters"},
    "node/apps/gateway.py": {"node.adapters.http", "node.adapters.review"},
    "node/gauges.py": {"node.adapters.device", "prometheus_client"},
    "node/watching.py": {"node.adapters.telemetry", "prometheus_client"},
    "node/deployment.py": {"node.adapters.chain", "contracts"},
    "node/door.py": {"node.adapters.device"},
    "node/doctor/chain.py": {"node.adapters.chain", "contracts"},
    "node/doctor/device.py": {"node.adapters.device", "node.adapters.engine"},
    "node/doctor/machine.py": {"node.adapters.control"},
    "node/adapters/engine/describing.py": {"torch"},
    "node/devnet.py": {"node.adapters.chain", "httpx"},
    "node/devnet_plan.py": {"node.adapters.chain.devchain"},
    "node/chain_views.py": {"node.adapters.chain"},
    "node/apps/award_check.py": {"node.adapters.chain", "node.adapters.system"},
    "node/receipts.py": {"node.adapters.chain"},
    "node/cli/bench.py": {"node.adapters.engine"},
    "node/miner_engine.py": {"node.adapters.engine"},
    "node/engine_bench.py": {"node.adapters.engine"},
    "node/adapters/engine/memory.py": {"torch"},
    "node/adapters/engine/layout.py": {"torch"},
    "node/cli/evidence.py": {"node.adapters.store"},
    "node/cli/dispute.py": {"node.adapters.store"},
    "node/disputes/view.py": {"node.adapters.chain"},
    "node/cli/status.py": {"node.adapters.control"},
    "node/cli/miner.py": {"node.adapters.control"},
    "node/cli/demo.py": {"node.adapters.system"},
    "node/model_files/hub.py": {"huggingface_hub", "httpx2"},
    "node/model_files/check.py": {"node.adapters.engine"},
    "node/model_files/pull.py": {"node.adapters.engine"},
    "node/model_files/shelf.py": {"node.adapters.engine"},
    "node/model_files/style_pull.py": {"node.adapters.engine"},
    "node/journal.py": {"structlog", "prometheus_client"},
    "node/metrics.py": {"prometheus_client"},
    "node/ethereum_account.py": {"eth_account"},
    "node/keystore.py": {"coincurve"},
    "node/config/setting_faults.py": {"pydantic_core"},
    "node/config/setting_types.py": {"multiaddr"},
    "node/addresses.py": {"eth_utils"},
    "node/lean_ethereum.py": {"eth_utils"},
    "node/owner/slashes.py": {"node.adapters.chain"},
    "node/portal/stakers_desk.py": {"node.adapters.chain"},
    "node/owner/wallet.py": {"node.adapters.chain", "contracts"},
}
"""What single files may import besides: heavy libraries stay where they are needed, adapters are put together there."""


def sources() -> list[Path]:
    """Every module that is installed, without the scripts that trained the embedded model."""
    found = [path for name in OURS[:3] for path in (ROOT / name).rglob("*.py") if "training" not in path.parts]
    return sorted(path.relative_to(ROOT) for path in found)


def imported(source: str) -> Iterator[str]:
    """Full dotted names that a module imports anywhere in it, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield from (f"{'.' * level}{module or ''}.{name.name}" for name in names)
            case ast.Name(id="__import__") | ast.Attribute(attr="import_module"):
                yield "an import by name"
            case _:
                pass


def is_within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def forbidden_imports(path: Path, source: str) -> list[str]:
    """Give what a module of ours imports and may not."""
    folder = next(str(parent) for parent in path.parents if str(parent) in MAY_IMPORT)
    own = MAY_ALSO_IMPORT.get(str(path), set())
    allowed = MAY_IMPORT[folder] | own
    if folder.startswith("node/adapters/"):
        allowed |= {"protocol", "node.ports", folder.replace("/", ".")}
    found = []
    for name in imported(source):
        top, _, rest = name.partition(".")
        if top in sys.stdlib_module_names:
            pure = top in PURE and rest.partition(".")[0] in PURE_NAMES.get(top, {rest.partition(".")[0]})
            good = pure or not folder.startswith("protocol")
        elif folder in {"node", "node/cli"} and is_within(name, {"node.adapters"}):
            good = is_within(name, own)
        else:
            good = is_within(name, allowed)
        if not good:
            found.append(name)
    return found


def test_imports__every_module__only_what_its_folder_may():
    found = {str(path): forbidden_imports(path, (ROOT / path).read_text()) for path in sources()}
    assert {path: names for path, names in found.items() if names} == {}
    assert len(found) > 100
    assert set(MAY_ALSO_IMPORT) <= set(found)


@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("protocol/units.py", "import sqlite3"),
        ("protocol/units.py", "import os"),
        ("protocol/roles/miner/miner.py", "from secrets import token_bytes"),
        ("protocol/stake/book.py", "import urllib.request"),
        ("protocol/stake/book.py", "from datetime import datetime"),
        ("protocol/task/catalog.py", "from pathlib import Path"),
        ("protocol/task/catalog.py", "import pathlib"),
        ("protocol/task/catalog.py", "import trio"),
        ("protocol/gossip/seen.py", "import coincurve"),
        ("protocol/gossip/seen.py", "from node import ports"),
        ("protocol/gossip/seen.py", "from . import verdict"),
        ("contracts/deploy.py", "import node.journal"),
        ("node/adapters/store/rows.py", "from node.journal import StructuredJournal"),
        ("node/adapters/store/rows.py", "from node import desk"),
        ("node/adapters/libp2p/host.py", "import node.keystore"),
        ("node/adapters/libp2p/host.py", "from node.adapters import http"),
        ("node/adapters/libp2p/host.py", "from contracts import bindings"),
        ("node/adapters/chain/follower.py", "def f():\n    import eth_abi"),
        ("node/adapters/engine/child.py", "def f():\n    import torch"),
        ("node/adapters/engine/child.py", "import importlib\nimportlib.import_module('torch')"),
        ("node/adapters/store/rows.py", "__import__('torch')"),
        ("node/keystore.py", "import torch"),
        ("node/journal.py", "from libp2p.crypto import keys"),
        ("node/cli/node.py", "from hypercorn.config import Config"),
        ("node/cli/node.py", "from fastapi import FastAPI"),
        ("node/desk.py", "from node.adapters.store import SqliteStore"),
    ],
)
def test_imports__one_that_is_not_allowed__is_found(path, statement):
    assert len(forbidden_imports(Path(path), statement)) == 1


def test_imports__third_parties__are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    declared = {canonical(re.split(r"[^\w.-]", requirement)[0]) for requirement in listed}
    known = importlib.metadata.packages_distributions()
    tops = {name.partition(".")[0] for path in sources() for name in imported((ROOT / path).read_text())}
    theirs = tops - set(sys.stdlib_module_names) - set(OURS) - {"__future__"}
    undeclared = {top for top in theirs if not {canonical(name) for name in known[top]} & declared}
    assert undeclared == set()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


RUN_AND_DECODE = """
import json, sys, trio
import eth_account
from pathlib import Path
from node.compose import run_node
from node.config.configuration import load_settings
from protocol.errors import ConfigError

flags = json.loads(sys.argv[1])
flags["data"] = Path(flags["data"])
try:
    trio.run(run_node, load_settings(None, flags, {}), bytes([1]) * 32, bytes([1]) * 32)
except ConfigError:
    pass  # the gas key is the node's: it stops before it opens anything
try:
    json.loads("[" * 99_000)
except RecursionError:
    print("refused")
"""


def test_run_node__library_raised_the_limit_of_recursion__nested_json_does_not_end_the_process(tmp_path):
    flags = {
        "role": "bootstrap",
        "data": str(tmp_path),
        "params": "minimal",
        "chain.rpc_urls": ["http://127.0.0.1:9"],
        "chain.chain_id": 1,
        "chain.staking": "0x5fbdb2315678afecb367f032d93f642f64180aa3",
    }
    command = [sys.executable, "-c", RUN_AND_DECODE, json.dumps(flags)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stdout) == (0, "refused\n"), answer.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "from node.keystore import create; from pathlib import Path; create(Path('key.json'), 'password', light=True)",
        "import node.adapters.chain.gas_account",
        "import node.adapters.chain.sender",
        "import node.owner.wallet",
    ],
)
def test_import__of_what_opens_keys_or_sends__nested_json_does_not_end_the_process(statement: str, tmp_path: Path):
    """As commands do that read what a server sends once a keystore is open."""
    program = f"""
import json
{statement}
try:
    json.loads("[" * 99_000)
except RecursionError:
    print("refused")
"""
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stdout) == (0, "refused\n"), answer.stderr


def test_import__of_what_knows_addresses__reads_no_table_of_networks_and_leaves_it_to_others():
    program = """
import sys
import node.addresses, node.ethereum_account, node.adapters.chain.abi, node.adapters.chain.sender
print(*(name for name in sys.modules if name == "eth_utils.network"))
from eth_utils.network import name_from_chain_id
assert name_from_chain_id(1) == "Ethereum Mainnet"
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stdout) == (0, "\n"), answer.stderr


def test_import__of_what_opens_keys__works_out_no_other_curve_and_leaves_it_to_others(tmp_path: Path):
    program = """
import sys
from pathlib import Path
from node import keystore
secret = keystore.create(Path("key.json"), "password", light=True)
assert keystore.load(Path("key.json"), "password") == secret
print(*(name for name in sys.modules if name.startswith("py_ecc.") and "12_381" in name))
from py_ecc.bls12_381 import curve_order
assert curve_order.bit_length() == 255
"""
    answer = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stdout) == (0, "\n"), answer.stderr
