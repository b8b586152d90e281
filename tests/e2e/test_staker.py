"""A person brings a GPU to a running network: faucet, registration, a vote, a node that joins by one file, rewards."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from protocol.notes import NoteName
from tests.support.commands import command_here
from tests.support.devnet import PATIENCE_S, Running, devnet, wait_until

pytestmark = pytest.mark.e2e
CUCKOO = [sys.executable, "-m", "node"]
OWNER, VOTER = "owner.json", "voter.json"


def cuckoo(folder: Path, *arguments: str) -> str:
    """Run a command in a folder that has a password file; gives what it printed."""
    environment = os.environ | {"CUCKOO_NETWORK": str(folder / "net" / "network.toml")}
    command = [*CUCKOO, *arguments, "--password-file", "password"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rewards(folder: Path, keystore: str) -> dict[str, Any]:
    """What an account has and can claim."""
    asked = ("rewards", "--keystore", keystore, "--json")
    code, said, errors = command_here(*asked, network=folder / "net" / "network.toml", folder=folder)
    assert code == 0, errors
    told: dict[str, Any] = json.loads(said)
    return told


def miners(network: Running) -> int:
    """How many miners the coordinator knows."""
    with network.client as client:
        model, *_aliases = client.get("/v1/models").json()["data"]
    return model["cuckoo"]["miners"]


def earned(folder: Path, keystore: str) -> int:
    """What an account can claim (wei)."""
    return sum(int(position["earned_wei"]) for position in rewards(folder, keystore)["positions"])


def test_newcomer__registers_joins_works_and_earns(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("a password for tests\n", encoding="utf-8")
    password.chmod(0o600)
    with devnet(tmp_path, "--engine", "instant", "--miners", "1") as network:
        for keystore in (OWNER, VOTER, "node.json"):
            cuckoo(tmp_path, "key", "new", "--light", "--keystore", keystore)
        for keystore in (OWNER, VOTER):
            cuckoo(tmp_path, "faucet", "--keystore", keystore)
        owner = json.loads(cuckoo(tmp_path, "key", "show", "--keystore", OWNER, "--json"))["address"]
        proof = cuckoo(tmp_path, "key", "prove", "--owner", owner, "--role", "miner", "--keystore", "node.json")
        (tmp_path / "proof.json").write_text(proof, encoding="utf-8")
        cuckoo(tmp_path, "register", "--proof", "proof.json", "--stake", "24000", "--keystore", OWNER)
        cuckoo(tmp_path, "vote", "3", "10000", "--keystore", VOTER)

        log = tmp_path / "miner.log"
        command = [*CUCKOO, "node", "--role", "miner", "--network", "net/network.toml", "--keystore", "node.json"]
        command += ["--password-file", "password", "--data", "miner", "--engine", "instant", "--json-logs"]
        with log.open("wb") as output:
            node = subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output)
        try:
            wait_until(lambda: miners(network) == 2, "the coordinator finds the new miner")

            def works() -> bool:
                with network.client as client:
                    for _ in range(5):  # a third of all is its: a look in vain is one of eight, and there are many
                        client.post("/v1/tasks", json={"prompt": "a red heart"}).raise_for_status()
                return NoteName.RECEIPT_RECEIVED in log.read_text(encoding="utf-8")

            wait_until(works, "the new miner is drawn, draws, and gets a receipt")
            wait_until(lambda: earned(tmp_path, VOTER) > 0, "the vote earns")
        finally:
            node.send_signal(signal.SIGINT)
            node.wait(PATIENCE_S)
        before = rewards(tmp_path, VOTER)
        cuckoo(tmp_path, "claim", "--keystore", VOTER)
        after = rewards(tmp_path, VOTER)
        assert int(after["balance_wei"]) > int(before["balance_wei"])
        assert "withdraw it from" in cuckoo(tmp_path, "unvote", "3", "all", "--keystore", VOTER)
        (waiting,) = rewards(tmp_path, VOTER)["unbonding"]
        assert int(waiting["value_wei"]) == 10_000 * 10**18
