"""Wrong pictures end in a slash by jurors, and false accusations cost the accuser: real processes, engines and chain.

One network for both, since each miner draws with a model: first all are honest and one is accused wrongly; then one
of them draws something else, rechecks find it, its coordinator's owner reports it, and the others judge.
"""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from node import keystore
from node.adapters.chain.devchain import owner_secret
from node.disputes.files import keep_bundle
from protocol.justice.bundle import make_bundle
from protocol.notes import NoteName
from protocol.units import CAI
from tests.e2e.test_justice import VOTE, listed_slashes, registered, rewards, voter
from tests.e2e.test_payments import cuckoo, folder_of, noted
from tests.support.devnet import PATIENCE_S as ANSWER_S
from tests.support.devnet import Running, devnet, wait_until
from tests.support.processes import again, ask, done, kill

pytestmark = pytest.mark.e2e
PROMPT = "a red heart"
BOND = 1_000 * CAI
SEATS, SLASH_BPS = 3, 200
AT_ONCE = 3
"""Rechecks under way with which no more is ordered: whatever is still to be drawn again keeps jurors waiting."""
SEED_BLOCKS = 20
"""After these the seed of a round is known."""
PATIENCE_S = 180.0
"""Four engines draw on one machine."""


def ordered(network: Running) -> str:
    """Have a picture drawn of which jurors may see everything; gives its task."""
    taken = ask(network, "POST", "/v1/tasks", json={"prompt": PROMPT, "steps": 8, "may_be_disputed": True})
    assert taken is not None
    assert taken.status_code == 202, taken.text
    task: str = taken.json()["task"]
    done(network, task, PATIENCE_S)
    return task


def rechecks(network: Running, coordinator: dict[str, Any], outcome: str) -> list[dict[str, Any]]:
    return [note for note in noted(network, coordinator, NoteName.RECHECK_ENDED) if note["reason"] == outcome]


def drawn_of_open_rechecks(coordinator: dict[str, Any]) -> list[set[int]]:
    """Who has drawn the pictures that a coordinator is looking at, of each recheck that has not ended."""
    asked = "SELECT r.subject, d.miner FROM rechecks r JOIN drawings d ON d.subject = r.subject WHERE r.outcome = ''"
    drew: dict[bytes, set[int]] = {}
    with closing(sqlite3.connect(Path(folder_of(coordinator)) / "store.sqlite")) as connection:
        for subject, miner in connection.execute(asked):
            drew.setdefault(subject, set()).add(int.from_bytes(miner, "big"))
    return list(drew.values())


def account_of(folder: Path, node: dict[str, Any]) -> tuple[str, ...]:
    """Flags of the owner's account of a devnet's node."""
    password = folder / "password"
    password.write_text("a password for tests\n", encoding="utf-8")
    password.chmod(0o600)
    path = folder / f"{node['name']}-owner.json"
    keystore.create(path, "a password for tests", light=True, key=owner_secret(node["name"]))
    return ("--keystore", str(path), "--password-file", str(password))


def an_honest_picture(coordinator: dict[str, Any]) -> tuple[Path, int]:
    """Put evidence of a picture together with which nothing is wrong; gives its file and its miner."""
    folder = Path(folder_of(coordinator))
    with closing(sqlite3.connect(folder / "store.sqlite")) as connection:
        award, result, said, picture, miner = connection.execute(
            "SELECT a.award, d.result, d.capability, p.data, d.miner FROM drawings d "
            "JOIN artifacts p ON p.digest = d.artifact JOIN attempts a ON a.task = d.task AND a.attempt = d.attempt "
            "WHERE d.odd = 0 LIMIT 1"
        ).fetchone()
    return keep_bundle(folder, make_bundle(award, result, said, picture)), int.from_bytes(miner, "big")


def rpc(network: Running, method: str, *params: Any) -> Any:
    """Ask the devnet's chain."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    with httpx.Client(timeout=ANSWER_S, trust_env=False) as client:
        return client.post(network.description["chain"]["rpc_url"], json=body).json()["result"]


def seed_is_known(network: Running) -> None:
    """Have the chain make the blocks of a seed at once; its time stays that of the wall."""
    rpc(network, "anvil_mine", hex(SEED_BLOCKS))


def dispute(network: Running, number: int) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(cuckoo(network, "dispute", "show", str(number), "--json"))
    return told


def ended(network: Running, number: int, status: str) -> dict[str, Any]:
    """Wait until a dispute has ended so; nobody but the nodes does anything."""
    last: dict[str, Any] = {}

    def is_over() -> bool:
        last.update(dispute(network, number))
        return not last["is_open"]

    wait_until(is_over, f"dispute {number} is over", PATIENCE_S)
    assert last["status"] == status, last
    return last


def balance(network: Running, node: dict[str, Any]) -> int:
    return int(rewards(network, registered(network, node)["owner"])["balance_wei"])


def by_id(network: Running, number: int) -> dict[str, Any]:
    return next(node for node in network.nodes("miner") if node["staking_id"] == number)


def said(network: Running, number: int) -> dict[int, str]:
    """What each miner signed in a dispute, by its own log."""
    return {
        node["staking_id"]: note["verdict"]
        for node in network.nodes("miner")
        for note in noted(network, node, NoteName.VERDICT_SIGNED)
        if note["dispute"] == number
    }


def test_disputes__false_accusation_and_wrong_picture__each_cost_whom_they_should(tmp_path: Path) -> None:
    flags = ("--miners", "4", "--threads", "1")
    with devnet(tmp_path, *flags, module="tests.support.disputed_devnet") as network:
        (coordinator,), cheat = network.nodes("coordinator"), network.nodes("miner")[2]
        account = account_of(tmp_path, coordinator)
        cuckoo(network, "faucet", *account)

        ordered(network)
        wait_until(lambda: bool(rechecks(network, coordinator, "agreed")), "two pictures agree", PATIENCE_S)
        assert json.loads(cuckoo(network, "dispute", "found", "--data", folder_of(coordinator), "--json")) == {
            "pictures": []
        }
        false_evidence, accused = an_honest_picture(coordinator)
        before = balance(network, coordinator)
        cuckoo(network, "dispute", "report", str(false_evidence), *account)
        seed_is_known(network)
        told = ended(network, 1, "dismissed")
        assert (told["accused"], told["right"]) == (accused, SEATS)
        jurors = {juror["juror"] for juror in told["jurors"]}
        assert said(network, 1) == dict.fromkeys(jurors, "right")
        assert accused not in jurors
        assert before - balance(network, coordinator) == BOND, "a third of it to the jurors, the rest is burnt"
        assert registered(network, by_id(network, accused))["state"] == "active"

        voters = voter(network, tmp_path, cheat)
        kill(cheat)
        with again(cheat, tamper=("--engine", "wrong")):
            wait_until(lambda: len(noted(network, cheat, NoteName.ENGINE_UP)) == 2, "it draws again", PATIENCE_S)
            end = time.monotonic() + 3 * PATIENCE_S  # one of four draws wrongly, or draws again
            while not any(note["drawn"] > SEATS for note in rechecks(network, coordinator, "odd_one_out")):
                assert time.monotonic() < end, "rechecks find it, and three agree"
                drew = drawn_of_open_rechecks(coordinator)
                if len(drew) < AT_ONCE and not any(cheat["staking_id"] in miners for miners in drew):
                    ordered(network)
                else:
                    time.sleep(0.5)
            found = json.loads(cuckoo(network, "dispute", "found", "--data", folder_of(coordinator), "--json"))
            (picture, *_) = found["pictures"]
            assert picture["miner"] == cheat["staking_id"]
            data = ("--data", folder_of(coordinator))
            written = json.loads(cuckoo(network, "dispute", "export", picture["task"], *data, "--json"))
            before, cheats = balance(network, coordinator), registered(network, cheat)
            weight = int(cheats["effective_wei"])
            cuckoo(network, "dispute", "report", written["file"], *account)
            seed_is_known(network)
            told = ended(network, 2, "executed")
            jurors = {juror["juror"] for juror in told["jurors"]}
            assert said(network, 2) == dict.fromkeys(jurors, "wrong")
            after = registered(network, cheat)
            slashed = weight - int(after["effective_wei"])
            assert (after["state"], slashed) == ("jailed", weight * SLASH_BPS // 10_000)
            lost = int(cheats["own_wei"]) - int(after["own_wei"])
            fees = SEATS * (BOND // (3 * SEATS))
            back = min(fees, lost * 9 // 10)
            gained = balance(network, coordinator) - before
            assert gained == pytest.approx(back - fees + min(lost // 10, lost * 9 // 10 - back), abs=2)
            seen = rewards(network, voters)
            (slash,) = seen["slashes"]
            said_so = (slash["node"], slash["reason"], slash["slashed_wei"])
            assert said_so == (cheat["staking_id"], "quorum", str(slashed))
            (position,) = seen["positions"]
            assert VOTE - int(position["stake_wei"]) == pytest.approx(VOTE * SLASH_BPS // 10_000, abs=2)
            assert "jurors of dispute 2 found its picture wrong" in cuckoo(network, "rewards", "--account", voters)
            wait_until(lambda: listed_slashes(network, cheat) == [slash["transaction"]], "the portal lists the slash")
        shown = noted(network, coordinator, NoteName.BUNDLE_SHOWN)
        assert {note["juror"] for note in shown} <= {node["staking_id"] for node in network.nodes("miner")}
        for node in network.description["nodes"]:
            if node["role"] == "miner":
                assert PROMPT not in Path(node["log"]).read_text(encoding="utf-8"), "no log tells what jurors saw"
