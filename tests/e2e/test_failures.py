"""Rows of the failure table (SPEC.md §9.7) that cross a process, on one network of real ones."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from node import keystore
from node.adapters.chain.devchain import owner_secret
from protocol.notes import NoteName
from tests.support.devnet import PATIENCE_S, Running, devnet, wait_until
from tests.support.patience import stopwatch
from tests.support.processes import again, ask, done, kill, status_of, submitted

pytestmark = pytest.mark.e2e
DELAY_MS = 1500
"""Time of a picture: long enough to do something to whoever draws it."""
LEASE_S = 3.0


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("devnet")
    with devnet(folder, "--engine", "instant", "--delay-ms", str(DELAY_MS), "--coordinators", "2") as running:
        yield running


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that stands still: its sockets are open, and nobody answers at them."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # an engine that does not answer is killed by its node
            os.kill(pid, signal.SIGCONT)


def noted(network: Running, task: str, name: NoteName) -> list[dict[str, Any]]:
    """What all nodes noted of a task under one name."""
    return [note for note in network.all_notes(task) if note["event"] == name]


def begun(network: Running, key: str | None = None) -> tuple[str, dict[str, Any]]:
    """A task that a miner draws now, and that miner."""
    task = submitted(network, key)
    wait_until(lambda: bool(noted(network, task, NoteName.JOB_STARTED)), "the job")
    return task, network.holder(task)


def chain_pid(network: Running) -> int:
    """The chain node's process."""
    children = psutil.Process(network.process.pid).children(recursive=True)
    return next(child.pid for child in children if "anvil" in " ".join(child.cmdline()))


def test_miner__frozen_with_the_task__another_delivers_and_the_thawed_one_works_on(network: Running) -> None:
    task, first = begun(network)
    with frozen(first["pid"]), stopwatch() as watch:
        wait_until(lambda: len(noted(network, task, NoteName.TASK_AWARDED)) == 2, "the second award")
        assert watch.seconds < (LEASE_S + 2) * network.slowness, "a lease, and what the machine takes"
        done(network, task)
    assert network.holder(task)["name"] != first["name"]
    assert len(noted(network, task, NoteName.TASK_DONE)) == 1

    def works_again() -> bool:
        tasks = [submitted(network) for _ in network.nodes("miner")]  # at once: whoever draws claims no other
        for later in tasks:
            done(network, later)
        return first["name"] in {network.holder(later)["name"] for later in tasks}

    wait_until(works_again, "the thawed miner is drawn again")


def test_app__disconnects_in_the_middle__reaches_the_gpu(network: Running) -> None:
    host, _, port = network.url.removeprefix("http://").partition(":")
    body = b'{"prompt": "a red heart that nobody waits for"}'
    (coordinator, *_) = network.nodes("coordinator")
    before = len([note for note in network.notes(coordinator) if note["event"] == NoteName.TASK_AWARDED])
    with socket.create_connection((host, int(port))) as app:
        head = f"POST /v1/images/generations HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        app.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)

        def awarded() -> list[dict[str, Any]]:
            return [note for note in network.notes(coordinator) if note["event"] == NoteName.TASK_AWARDED][before:]

        wait_until(lambda: bool(awarded()), "the award")
        task = awarded()[0]["task"]
        wait_until(lambda: bool(noted(network, task, NoteName.JOB_STARTED)), "the job")
    wait_until(lambda: status_of(network, task) in {"failed", ""}, "the end")
    time.sleep(2 * DELAY_MS / 1000)
    assert not noted(network, task, NoteName.JOB_FINISHED), "the engine stopped before its end"
    assert [note["reason"] for note in noted(network, task, NoteName.TASK_FAILED)] == ["cancelled"]


def test_coordinators__two_with_tasks_at_once__every_gpu_serves_both(network: Running) -> None:
    first, second = network.nodes("coordinator")
    tasks = {node["name"]: [] for node in (first, second)}
    other = Running(network.process, {**network.description, "api_urls": [second["http_url"]]})
    for number in range(6):
        tasks[first["name"]].append(submitted(network, f"both {number}"))
        tasks[second["name"]].append(submitted(other, f"both {number}"))
    for task in tasks[first["name"]]:
        done(network, task)
    for task in tasks[second["name"]]:
        done(other, task)


def test_chain_node__stands_still__tasks_go_on_and_it_is_heard_again(network: Running) -> None:
    with frozen(chain_pid(network)):
        time.sleep(5)
        task, _ = begun(network)
        done(network, task)
    # It was away for less than an epoch: tables go on, and so do tasks.
    time.sleep(5)
    done(network, submitted(network))


def test_bootstrap__killed__tasks_go_on(network: Running) -> None:
    (bootstrap,) = network.nodes("bootstrap")
    kill(bootstrap)
    done(network, submitted(network))
    with again(bootstrap):
        done(network, submitted(network))


def test_miner__sends_what_is_no_picture__is_judged_and_another_delivers(network: Running) -> None:
    cheat = network.nodes("miner")[2]  # the largest stake is drawn soonest
    kill(cheat)
    with again(cheat, tamper=("--engine", "garbage")):
        caught: list[str] = []

        def catches_it() -> bool:
            task, _ = begun(network)
            done(network, task)
            caught.extend([task] if noted(network, task, NoteName.RESULT_REJECTED) else [])
            return bool(caught)

        wait_until(catches_it, "the cheat is drawn", 3 * PATIENCE_S)  # 4 of 7 times
        task = caught[0]
        assert network.holder(task)["name"] != cheat["name"]
        assert len(noted(network, task, NoteName.TASK_DONE)) == 1
        judged = [note for node in network.nodes("coordinator") for note in network.notes(node)]
        assert any(n["event"] == NoteName.PEER_JUDGED and n["rule"] == "artifact.signature" for n in judged)


def test_stake__unbonded_below_the_minimum__gets_no_more_work(network: Running, tmp_path: Path) -> None:
    miner = network.nodes("miner")[1]
    keystore.create(tmp_path / "owner.json", "a password", light=True, key=owner_secret(miner["name"]))
    keystore.write_private(tmp_path / "password", "a password\n")
    tasks = [submitted(network) for _ in range(12)]
    command = [sys.executable, "-m", "node", "unbond", str(miner["staking_id"]), "all", "--network"]
    command += [network.description["network"], "--keystore", str(tmp_path / "owner.json")]
    told = subprocess.run(
        [*command, "--password-file", str(tmp_path / "password")], capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr
    (coordinator, *_) = network.nodes("coordinator")

    def noticed() -> list[str]:
        notes = network.notes(coordinator)
        return [n["timestamp"] for n in notes if n["event"] == NoteName.NODES_INACTIVE and n["nodes"] == 1]

    wait_until(lambda: bool(noticed()), "the coordinator hears of it")
    for task in [*tasks, *(submitted(network) for _ in range(4))]:
        done(network, task)
    awards = [note for note in network.notes(coordinator) if note["event"] == NoteName.TASK_AWARDED]
    assert not [n for n in awards if n["miner"] == miner["staking_id"] and n["timestamp"] > noticed()[0]]


def test_coordinator__restored_from_an_old_copy__promises_on_top(network: Running) -> None:
    (coordinator, *_) = network.nodes("coordinator")
    kill(coordinator)
    folder = Path(coordinator["config"]).parent
    copy = folder.parent / "copy"
    copy.mkdir()
    for path in folder.glob("store.sqlite*"):
        shutil.copy(path, copy)
    with again(coordinator):
        first = submitted(network)
        done(network, first)
        before = ask(network, "GET", f"/v1/receipts/{first}")
        assert before is not None
    for path in folder.glob("store.sqlite*"):
        path.unlink()
    for path in copy.iterdir():
        shutil.copy(path, folder)
    promised: dict[str, int] = {before.json()["voucher"]["miner"]: int(before.json()["voucher"]["cumulative"])}
    with again(coordinator):
        for _ in range(12):
            task = submitted(network)
            done(network, task)
            answer = ask(network, "GET", f"/v1/receipts/{task}")
            assert answer is not None
            voucher = answer.json()["voucher"]
            if voucher["miner"] in promised:
                assert int(voucher["cumulative"]) > promised[voucher["miner"]]
                return
    raise AssertionError("the miner that held the highest voucher was never drawn again")
