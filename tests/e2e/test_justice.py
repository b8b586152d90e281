"""Nodes that contradict themselves are slashed by the nodes that they deal with: real processes, sockets and chain."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocol.notes import NoteName
from protocol.units import CAI
from tests.e2e.test_payments import accounts, cuckoo, escrow_of, folder_of, noted
from tests.support.devnet import Running, devnet, wait_until
from tests.support.processes import again, kill, submitted

pytestmark = pytest.mark.e2e
VOTE = 10_000 * CAI


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One miner, and a coordinator for each story: those that cheat are out of the network then."""
    flags = ("--engine", "instant", "--miners", "1", "--coordinators", "3", "--escrow", "100")
    with devnet(tmp_path_factory.mktemp("devnet"), *flags) as running:
        yield running


def at(network: Running, coordinator: dict[str, Any]) -> Running:
    """The network as apps of this coordinator see it."""
    return replace(network, description={**network.description, "api_urls": [coordinator["http_url"]]})


def redeemed_of(network: Running, miner: dict[str, Any], coordinator: dict[str, Any]) -> int:
    """What a miner has redeemed of one coordinator (wei), by its own accounts, with which the chain agrees."""
    told = accounts(network, "earnings", miner)
    assert told["chain"]["agrees"]
    (of_it,) = [one for one in told["coordinators"] if one["coordinator"] == coordinator["staking_id"]]
    return int(of_it["redeemed_wei"])


def registered(network: Running, node: dict[str, Any]) -> dict[str, Any]:
    """What the staking contract says of a node."""
    told = json.loads(cuckoo(network, "status", "--stakes", "--json"))
    return next(row for row in told["nodes"] if row["id"] == node["staking_id"])


def listed_slashes(network: Running, node: dict[str, Any]) -> list[str]:
    """Transactions of slashes of a node on the portal, which lists none while it reads them for over two seconds."""
    with network.client as client:
        page = client.get("/portal/nodes").json()
    listed = next(row for row in page["nodes"] if row["id"] == node["staking_id"])
    return [one["transaction"] for one in listed["slashes"]]


def rewards(network: Running, account: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(cuckoo(network, "rewards", "--account", account, "--json"))
    return told


def voter(network: Running, folder: Path, node: dict[str, Any]) -> str:
    """Somebody votes for a node; gives his address."""
    password = folder / "password"
    password.write_text("a password for tests\n", encoding="utf-8")
    password.chmod(0o600)
    account = ("--keystore", str(folder / "voter.json"), "--password-file", str(password))
    cuckoo(network, "key", "new", "--light", *account)
    cuckoo(network, "faucet", *account)
    cuckoo(network, "vote", str(node["staking_id"]), str(VOTE // CAI), *account)
    shown = json.loads(cuckoo(network, "key", "show", *account, "--json"))
    return str(shown["address"])


def note_of(network: Running, node: dict[str, Any], name: NoteName) -> dict[str, Any]:
    """Wait for a note of a node; gives it."""
    wait_until(lambda: bool(noted(network, node, name)), f"{node['name']}: {name.value}")
    return noted(network, node, name)[0]


def check_slash(
    network: Running, prover: dict[str, Any], cheat: dict[str, Any], reason: str, before: dict[str, Any], account: str
) -> None:
    """The chain, the prover's accounts, its owner and the voters of the cheat all tell the same."""
    proven = note_of(network, prover, NoteName.EVIDENCE_PROVEN)
    slashed, bounty = int(proven["slashed_wei"]), int(proven["bounty_wei"])
    assert (proven["signer"], proven["reason"]) == (cheat["staking_id"], reason)
    after = registered(network, cheat)
    assert after["state"] == "jailed"
    assert int(before["cheat"]["effective_wei"]) - int(after["effective_wei"]) == slashed > 0
    owner = registered(network, prover)["owner"]
    lost = int(before["cheat"]["own_wei"]) - int(after["own_wei"])
    assert int(rewards(network, owner)["balance_wei"]) - before["owner_wei"] == bounty == lost // 10
    told = rewards(network, account)
    (position,), (slash,) = told["positions"], told["slashes"]
    share = slashed * VOTE // int(before["cheat"]["effective_wei"])
    assert abs(VOTE - int(position["stake_wei"]) - share) <= 2, "voters lose as much of their stake as everybody"
    assert (slash["node"], slash["reason"], slash["slashed_wei"]) == (cheat["staking_id"], reason, str(slashed))
    assert slash["transaction"] == proven["transaction"]
    (case,) = json.loads(cuckoo(network, "evidence", "list", "--data", folder_of(prover), "--json"))["evidence"]
    assert (case["state"], case["kind"], case["transaction"]) == ("proven", reason, proven["transaction"])
    wait_until(lambda: listed_slashes(network, cheat) == [proven["transaction"]], "the portal lists the slash")


def standing(network: Running, prover: dict[str, Any], cheat: dict[str, Any]) -> dict[str, Any]:
    """What there is before the slash."""
    owner = registered(network, prover)["owner"]
    return {"cheat": registered(network, cheat), "owner_wei": int(rewards(network, owner)["balance_wei"])}


def test_debt__uncovered_voucher_is_redeemed__coordinator_is_inactive_and_its_miner_names_it(network: Running) -> None:
    (miner,), coordinator = network.nodes("miner"), network.nodes("coordinator")[2]
    kill(coordinator)
    with again(coordinator, tamper=("--cheat", "promise-too-much")):
        submitted(at(network, coordinator))
        wait_until(lambda: registered(network, coordinator)["state"] == "in debt", "the debt stands on the chain")
        owed = escrow_of(network, coordinator)
        assert (int(owed["escrow_wei"]), int(owed["owed_wei"])) == (0, (10**6 - 100) * CAI)
        refused(network, miner, coordinator, "in_debt")
        assert redeemed_of(network, miner, coordinator) == 100 * CAI
        signers = {note["signer"] for note in noted(network, miner, NoteName.EVIDENCE_FOUND)}
        assert coordinator["staking_id"] not in signers, "to promise too much contradicts nothing"


def test_coordinator__that_understates_its_total__is_slashed_by_a_miner(network: Running, tmp_path: Path) -> None:
    (miner,), coordinator = network.nodes("miner"), network.nodes("coordinator")[1]
    account = voter(network, tmp_path, coordinator)
    before = standing(network, miner, coordinator)
    kill(coordinator)
    with again(coordinator, tamper=("--cheat", "understate")):
        for _ in range(2):
            submitted(at(network, coordinator))
        check_slash(network, miner, coordinator, "understated", before, account)
        refused(network, miner, coordinator, "contradicted")


def test_miner__that_signs_two_results_for_one_award__is_slashed_by_its_coordinator(
    network: Running, tmp_path: Path
) -> None:
    (miner,), coordinator = network.nodes("miner"), network.nodes("coordinator")[0]
    account = voter(network, tmp_path, miner)
    before = standing(network, coordinator, miner)
    kill(miner)
    with again(miner, tamper=("--cheat", "commit-twice")):
        submitted(network)
        found = note_of(network, coordinator, NoteName.EVIDENCE_FOUND)
        assert (found["signer"], found["reason"]) == (miner["staking_id"], "two_commitments")
        check_slash(network, coordinator, miner, "two_commitments", before, account)
    kill(coordinator)
    with again(coordinator):
        wait_until(
            lambda: len(noted(network, coordinator, NoteName.NODE_READY)) == 2,
            "it is back on its store",
        )
        assert len(noted(network, coordinator, NoteName.EVIDENCE_ASKED)) == 1, "it is proven once"


def refused(network: Running, miner: dict[str, Any], coordinator: dict[str, Any], why: str) -> None:
    """The miner names whom it refuses, and why, to its owner."""

    def says() -> dict[str, str]:
        told = json.loads(cuckoo(network, "status", "--node", folder_of(miner), "--json"))
        found: dict[str, str] = told["refused"]
        return found

    number = str(coordinator["staking_id"])
    is_named: Callable[[], bool] = lambda: says().get(number) == why  # noqa: E731 read once
    wait_until(is_named, f"coordinator {number} is refused: {why}")
    assert f"coordinator {number} gets no work: {why}" in cuckoo(network, "status", "--node", folder_of(miner))
