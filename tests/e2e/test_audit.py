"""A network of real processes, recorded by a stranger that only listens; then somebody edits the record."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from node.record_file import RecordFiles
from protocol.audit.record import Heard, ViewSeen
from tests.support.commands import command_here
from tests.support.devnet import PATIENCE_S, Running, devnet, wait_until

pytestmark = pytest.mark.e2e

TASKS = 12
AUDIT = [sys.executable, "-m", "node", "audit"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with devnet(tmp_path_factory.mktemp("devnet"), "--engine", "instant", "--coordinators", "2") as running:
        yield running


def make_pictures(network: Running) -> None:
    for number in range(TASKS):
        url = network.description["api_urls"][number % 2]
        with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
            answer = client.post("/v1/images/generations", json={"prompt": "a red heart", "steps": 5 + number})
            assert answer.status_code == 200, answer.text


def audited(*arguments: object) -> tuple[int, dict[str, Any]]:
    code, said, errors = command_here("audit", *map(str, arguments), "--json", network=None)
    assert said, errors
    return code, json.loads(said)


@pytest.fixture(scope="module")
def record(network: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a node hears that joins with a key of its own and a network file, and nothing else."""
    kept = tmp_path_factory.mktemp("record") / "gossip.jsonl"
    flags = ["--live", "--seconds", "600", "--network", network.description["network"], "--keep", str(kept), "--json"]
    with subprocess.Popen([*AUDIT, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listening:

        def hears() -> bool:
            make_pictures(network)
            return kept.exists() and kept.read_text().count('"data"') >= 4 * TASKS

        wait_until(hears, "the listener hears what is offered and awarded")
        listening.terminate()
        told, errors = listening.communicate(timeout=60)
    assert listening.returncode == 0, errors.decode()
    live = json.loads(told)
    assert live["is_clean"]
    return kept


def test_audit__real_network__is_clean_and_complete(record: Path, network: Running) -> None:
    code, told = audited(record, "--network", network.description["network"])
    assert code == 0
    assert told["record"]["faults"] == []
    assert told["record"]["views_of_chain"] > 1
    assert told["proven"]["findings"] == []
    assert told["estimated"]["findings"] == []
    facts = {fact["coordinator"]: fact for fact in told["proven"]["facts"]}
    coordinators = {node["staking_id"] for node in network.nodes("coordinator")}
    assert facts.keys() == coordinators
    assert all(fact["boots"] == 1 and fact["tasks"] >= TASKS // 2 for fact in facts.values())
    assert all(fact["awards_checked"] >= fact["tasks"] - 2 for fact in facts.values())


def test_audit__record_of_a_real_network__holds_signed_gossip_and_tables(record: Path) -> None:
    entries = list(RecordFiles([record]).entries())
    assert sum(isinstance(entry, Heard) for entry in entries) >= 4 * TASKS
    tables = [entry.view.table for entry in entries if isinstance(entry, ViewSeen)]
    assert {len(table.rows) for table in tables} == {5}


def test_audit__record_with_another_beacon__is_found_out_by_the_chain(
    record: Path, network: Running, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    beacons = [line for line in lines if "beacon" in line]
    beacons[1]["beacon"] = "00" * 32
    edited = tmp_path / "edited.jsonl"
    edited.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, told = audited(edited, "--network", network.description["network"])
    assert code == 1
    assert [(fault["rule"], fault["count"]) for fault in told["record"]["faults"]] == [("record.view", 1)]
    assert told["proven"]["findings"] == [], "the chain's beacon counts, and nobody is accused for the record's"


@pytest.mark.parametrize("edit", ["another winner", "a richer miner", "a later time"])
def test_audit__record_that_somebody_edited__is_found_out(edit: str, record: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    if edit == "another winner":
        last = [line for line in lines if "data" in line][-1]
        last["data"] = last["data"][:-4] + ("AAAA" if last["data"][-4:] != "AAAA" else "BBBB")
    elif edit == "a richer miner":
        table = next(line for line in lines if "rows" in line)
        table["rows"][-1][3] += "0"
    else:
        next(line for line in lines if "data" in line)["seq"] += 1
    edited = tmp_path / "edited.jsonl"
    edited.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, told = audited(edited)
    assert code == 1
    assert not told["is_clean"]
    assert told["record"]["faults"]


def test_audit__node_that_records__writes_what_it_hears(network: Running, tmp_path: Path) -> None:
    kept, password = tmp_path / "own.jsonl", tmp_path / "password"
    password.write_text("secret enough\n")
    password.chmod(0o600)
    keystore = tmp_path / "key.json"
    new = ["key", "new", "--light", "--keystore", str(keystore), "--password-file", str(password)]
    assert command_here(*new, network=None)[0] == 0
    command = [sys.executable, "-m", "node", "node", "--role", "bootstrap", "--data", str(tmp_path / "data")]
    command += ["--network", network.description["network"], "--keystore", str(keystore)]
    command += ["--password-file", str(password), "--record", str(kept)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:

        def hears() -> bool:
            make_pictures(network)
            return kept.exists() and kept.read_text().count('"data"') >= TASKS

        wait_until(hears, "the node records what is offered")
        running.terminate()
        assert running.wait(PATIENCE_S) == 0
    assert audited(kept)[0] == 0


def test_devnet__killed__leaves_no_process(network: Running) -> None:
    """The last one: nothing is left of the network."""
    pids = network.pids()
    assert len(pids) >= 7, "six nodes and the chain"
    os.kill(network.process.pid, signal.SIGKILL)
    network.process.wait()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "all children gone")
