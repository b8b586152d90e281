"""Work is paid by the nodes themselves: vouchers, redemption, accounts that agree with the chain to the wei, kills."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from protocol.notes import NoteName
from protocol.units import CAI
from tests.support.commands import command_here
from tests.support.devnet import Running, devnet, wait_until
from tests.support.processes import again, done, kill, submitted

pytestmark = pytest.mark.e2e


def cuckoo(network: Running, *arguments: str, good: tuple[int, ...] = (0,)) -> str:
    """Run a command on this network; gives what it printed."""
    code, said, errors = command_here(*arguments, network=Path(network.description["network"]))
    assert code in good, errors
    return said


def folder_of(node: dict[str, Any]) -> str:
    return str(Path(node["config"]).parent)


def accounts(network: Running, command: str, node: dict[str, Any]) -> dict[str, Any]:
    """What a node's accounts say, compared with the chain."""
    flags = ("--data", folder_of(node), "--check", "--json")
    told: dict[str, Any] = json.loads(cuckoo(network, command, *flags, good=(0, 1)))
    return told


def noted(network: Running, node: dict[str, Any], name: NoteName) -> list[dict[str, Any]]:
    return [note for note in network.notes(node) if note["event"] == name]


def redeemed_so_far(network: Running, miner: dict[str, Any]) -> tuple[int, int]:
    """How often a miner has asked for a redemption, and has seen a payment."""
    return len(noted(network, miner, NoteName.REDEEM_ASKED)), len(noted(network, miner, NoteName.PAYMENT_SEEN))


def escrow_of(network: Running, coordinator: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(cuckoo(network, "escrow", "show", str(coordinator["staking_id"]), "--json"))
    return told


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with devnet(tmp_path_factory.mktemp("devnet"), "--engine", "instant", "--miners", "1") as running:
        yield running


def test_pay__over_kills_of_the_miner_and_the_coordinator__agrees_on_both_sides_to_the_wei(
    network: Running, restarts: ExitStack
) -> None:
    """The first one: what it counts begins at nothing."""
    (miner,), (coordinator,) = network.nodes("miner"), network.nodes("coordinator")
    tasks = [submitted(network) for _ in range(3)]
    for task in tasks:
        done(network, task)
    wait_until(lambda: len(noted(network, miner, NoteName.RECEIPT_RECEIVED)) == 3, "the receipts")
    kill(miner)
    assert accounts(network, "earnings", miner)["pending_wei"] != "0", "it had no time to redeem all"
    before = redeemed_so_far(network, miner)
    with again(miner) as second:
        wait_until(lambda: redeemed_so_far(network, miner) > before, "vouchers of before are redeemed")
        os.kill(second.pid, signal.SIGKILL)
        second.wait()
    restarts.enter_context(again(miner))
    wait_until(lambda: redeemed_so_far(network, miner)[1] > before[1], "the payment, after the kill")
    kill(coordinator)
    restarts.enter_context(again(coordinator))
    tasks += [submitted(network) for _ in range(2)]
    for task in tasks[3:]:
        done(network, task)
    wait_until(lambda: accounts(network, "earnings", miner)["pending_wei"] == "0", "all is redeemed")
    wait_until(lambda: accounts(network, "spend", coordinator)["pending_wei"] == "0", "so it says too")
    earned = accounts(network, "earnings", miner)
    spent = accounts(network, "spend", coordinator)
    escrow = escrow_of(network, coordinator)
    with network.client as client:
        receipts = [client.get(f"/v1/receipts/{task}").json() for task in tasks]
    prices = sum(int(receipt["statement"]["price"]) for receipt in receipts)
    assert len({receipt["statement"]["task"] for receipt in receipts}) == 5
    assert int(earned["promised_wei"]) == int(spent["promised_wei"]) == prices
    assert int(earned["redeemed_wei"]) == int(spent["redeemed_wei"]) == int(escrow["redeemed_wei"]) == prices
    assert int(escrow["escrow_wei"]) == 100_000 * CAI - prices
    assert earned["chain"] == spent["chain"] == {"redeemed_wei": str(prices), "agrees": True}
    assert sum(int(day["promised_wei"]) for day in earned["days"]) == prices
    assert sum(int(day["redeemed_wei"]) for day in spent["days"]) == prices
    paid = sum(int(note["wei"]) for note in noted(network, miner, NoteName.PAYMENT_SEEN))
    assert paid >= prices, "a payment may be told again after a kill, and is counted once"


def test_pay__gas_account_is_empty__says_so_works_on_and_is_paid_once_somebody_sends_gas(network: Running) -> None:
    (miner,) = network.nodes("miner")
    gas = "0x" + json.loads(Path(folder_of(miner), "gas.json").read_text(encoding="utf-8"))["address"]
    before = accounts(network, "earnings", miner)["redeemed_wei"]

    def set_balance(wei: int) -> None:
        order = {"jsonrpc": "2.0", "id": 1, "method": "anvil_setBalance", "params": [gas, hex(wei)]}
        answer = httpx.post(network.description["chain"]["rpc_url"], json=order, trust_env=False).json()
        assert "error" not in answer, answer

    set_balance(0)
    task = submitted(network)
    done(network, task)
    wait_until(lambda: bool(noted(network, miner, NoteName.TX_STUCK)), "it cannot pay for its transaction")
    (low,) = noted(network, miner, NoteName.GAS_LOW)
    assert (low["transactions"], low["account"].lower()) == (0, gas.lower())
    assert "insufficient funds" in noted(network, miner, NoteName.TX_STUCK)[0]["detail"].lower()
    done(network, submitted(network))
    assert accounts(network, "earnings", miner)["redeemed_wei"] == before, "it works on, and keeps its vouchers"
    set_balance(10**18)
    wait_until(lambda: accounts(network, "earnings", miner)["pending_wei"] == "0", "all is paid")
    assert int(accounts(network, "earnings", miner)["redeemed_wei"]) > int(before)
    assert accounts(network, "earnings", miner)["chain"]["agrees"]


def test_escrow__none_then_too_small__is_refused_by_both_sides_with_the_reason_until_somebody_deposits(
    tmp_path: Path,
) -> None:
    with devnet(tmp_path, "--engine", "instant", "--miners", "1", "--escrow", "0") as network:
        (miner,), (coordinator,) = network.nodes("miner"), network.nodes("coordinator")
        order = {"prompt": "a red heart"}
        with network.client as client:
            answer = client.post("/v1/images/generations", json=order)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "escrow_short")
        wait_until(lambda: bool(noted(network, miner, NoteName.COORDINATOR_REFUSED)), "the miner says so")
        (note,) = noted(network, miner, NoteName.COORDINATOR_REFUSED)
        assert (note["coordinator"], note["reason"], note["escrow_wei"]) == (
            coordinator["staking_id"],
            "uncovered",
            "0",
        )
        assert not noted(network, coordinator, NoteName.TASK_OFFERED)

        password = tmp_path / "password"
        password.write_text("a password for tests\n", encoding="utf-8")
        password.chmod(0o600)
        account = ("--keystore", str(tmp_path / "giver.json"), "--password-file", str(password))
        cuckoo(network, "key", "new", "--light", *account)
        cuckoo(network, "faucet", *account)

        def served() -> bool:
            with network.client as client:
                return client.post("/v1/images/generations", json=order).status_code == 200

        cuckoo(network, "escrow", "deposit", str(coordinator["staking_id"]), "0.06", *account)
        wait_until(served, "it serves once the deposit is confirmed")
        with network.client as client:
            answers = [client.post("/v1/images/generations", json=order) for _ in range(3)]
        refused = answers[-1]
        assert refused.status_code == 503, "a picture costs more than a hundredth of a CAI"
        assert refused.json()["error"]["code"] == "escrow_short"
        assert "its owner has to make a deposit" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"] == "60"
        assert noted(network, coordinator, NoteName.ESCROW_LOW), "it warned"
        wait_until(lambda: accounts(network, "earnings", miner)["pending_wei"] == "0", "what was promised is paid")
        spent = accounts(network, "spend", coordinator)
        assert spent["chain"]["agrees"]
        assert int(spent["escrow"]["deposited_wei"]) == int(0.06 * CAI) - int(spent["redeemed_wei"])

        cuckoo(network, "escrow", "deposit", str(coordinator["staking_id"]), "1", *account)
        wait_until(served, "it serves again once the deposit is confirmed")


def test_pay__two_coordinators__are_redeemed_in_one_transaction(tmp_path: Path) -> None:
    with devnet(tmp_path, "--engine", "instant", "--miners", "1", "--coordinators", "2") as network:
        (miner,) = network.nodes("miner")
        for url in network.description["api_urls"]:  # detached, so that both are done at about the same time
            answer = httpx.post(f"{url}/v1/tasks", json={"prompt": "a red heart"}, timeout=60, trust_env=False)
            assert answer.status_code == 202, answer.text
        wait_until(lambda: len(noted(network, miner, NoteName.PAYMENT_SEEN)) == 2, "both pay")
        (asked,) = noted(network, miner, NoteName.REDEEM_ASKED)
        assert asked["coordinators"] == "1,2"
        assert len({note["block"] for note in noted(network, miner, NoteName.PAYMENT_SEEN)}) == 1
        told = accounts(network, "earnings", miner)
        assert [one["pending_wei"] for one in told["coordinators"]] == ["0", "0"]
        assert told["chain"]["agrees"]
