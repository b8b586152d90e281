"""The trial of configs/deploy as its containers would run it, without containers: the chain's command line, the script
that sets the network up, the settings of each node, the secrets as files."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from node.adapters.chain.devchain import find_anvil, free_port
from tests.support.devnet import PATIENCE_S, wait_until

pytestmark = pytest.mark.e2e

DEPLOY = Path(__file__).parents[2] / "configs" / "deploy"
ROLES = ("bootstrap", "coordinator", "miner")


@contextmanager
def running(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=env, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@contextmanager
def chain(log: Path) -> Iterator[str]:
    """The chain of compose.yaml, on loopback."""
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["chain"]
    port = str(free_port(0))
    words = {"0.0.0.0": "127.0.0.1", "8545": port}
    with running([str(find_anvil()), *(words.get(word, word) for word in service["command"])], log):
        yield f"http://127.0.0.1:{port}"


def environment(folder: Path, rpc: str, entry: str) -> dict[str, str]:
    """What setup.sh is told, where its defaults are those of containers."""
    secrets = folder / "secrets"
    secrets.mkdir(mode=0o700)
    for name in ("cuckoo-password", "cuckoo-gas-password"):
        (secrets / name).write_text(f"{name} of a test\n")
        (secrets / name).chmod(0o400)
    plan = (DEPLOY / "compose" / "network.toml").read_text().replace("http://chain:8545", rpc)
    (folder / "plan.toml").write_text(plan)
    (folder / "network").mkdir()
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "CREDENTIALS_DIRECTORY": str(secrets),
        "PASSWORD": str(secrets / "cuckoo-password"),
        "GAS_PASSWORD": str(secrets / "cuckoo-gas-password"),
        "NETWORK": str(folder / "network"),
        "NODES": str(folder / "nodes"),
        "PLAN": str(folder / "plan.toml"),
        "ENTRY": entry,
        "CHAIN_RPC": rpc,
    }


def set_up(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(DEPLOY / "compose" / "setup.sh")]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def test_trial__set_up_twice_then_run__draws_a_picture_and_is_watched(tmp_path: Path):
    entry_port, metrics = free_port(0), {role: free_port(0) for role in ROLES}
    with ExitStack() as stack:
        rpc = stack.enter_context(chain(tmp_path / "chain.log"))
        env = environment(tmp_path, rpc, f"/ip4/127.0.0.1/tcp/{entry_port}")
        wait_until(lambda: set_up_can_begin(rpc), "the chain")
        made = set_up(env)
        assert made.returncode == 0, made.stdout + made.stderr
        again = set_up(env)
        assert (again.returncode, again.stdout) == (0, ""), again.stderr
        api = free_port(0)
        for role in ROLES:
            text = (DEPLOY / "compose" / f"{role}.toml").read_text()
            for old, new in {
                '"/data': f'"{tmp_path / "nodes" / role}',
                '"/network/': f'"{tmp_path / "network"}/',
                "0.0.0.0": "127.0.0.1",
                "tcp/4001": f"tcp/{entry_port}",
                "tcp/4002": "tcp/0",
                "port = 9464": f"port = {metrics[role]}",
                "port = 8000": f"port = {api}\nrequire_key = true",
            }.items():
                text = text.replace(old, new)
            config = tmp_path / f"{role}.toml"
            config.write_text(text)
            flags = ["--engine", "instant"] if role == "miner" else []
            command = ["cuckoo", "node", "--config", str(config), "--json-logs", *flags]
            command[0] = shutil.which("cuckoo", path=env["PATH"]) or ""
            stack.enter_context(running(command, tmp_path / f"{role}.log", env))
        keys = tmp_path / "nodes" / "coordinator" / "api-keys.json"
        key = [sys.executable, "-m", "node", "apikey", "create", "--keys-file", str(keys), "--label", "me", "--json"]
        created = subprocess.run(key, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
        token = json.loads(created.stdout)["key"]
        with httpx.Client(base_url=f"http://127.0.0.1:{api}", timeout=60, trust_env=False) as client:
            wait_until(lambda: is_ready(client), "the coordinator has its miner", limit_s=90)
            assert client.post("/v1/images/generations", json={"prompt": "a red heart"}).status_code == 401
            client.headers["Authorization"] = f"Bearer {token}"
            answer = client.post("/v1/images/generations", json={"prompt": "a red heart"})
            assert answer.status_code == 200, answer.text
        for role, port in metrics.items():
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
            assert f'cuckoo_node_info{{network="devnet",role="{role}"' in text
            assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
    said = "".join((tmp_path / f"{role}.log").read_text() for role in ROLES)
    assert "of a test" not in said + made.stdout + made.stderr, "no password is ever written"


def set_up_can_begin(rpc: str) -> bool:
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
    try:
        return httpx.post(rpc, json=call, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_setup__chain_is_a_new_one__says_what_to_remove(tmp_path: Path):
    env = environment(tmp_path, "http://127.0.0.1:9", "/ip4/127.0.0.1/tcp/1")
    with chain(tmp_path / "first.log") as rpc:
        wait_until(lambda: set_up_can_begin(rpc), "the chain")
        network = tmp_path / "network"
        (network / "done").touch()
        (network / "network.toml").write_text((tmp_path / "plan.toml").read_text().replace("http://127.0.0.1:9", rpc))
        (network / "network.contracts.toml").write_text(
            "".join(
                f'{name} = "0x{number:040x}"\n'
                for number, name in enumerate(
                    ("cai", "parameters", "staking", "settlement", "slashing", "disputes"), start=1
                )
            )
        )
        said = set_up({**env, "CHAIN_RPC": rpc})
    assert said.returncode == 1
    assert "docker compose --profile trial down -v" in said.stderr
