"""Processes die with kill -9, and nothing that was accepted is lost."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from protocol.notes import NoteName
from protocol.task.artifact import check_png
from tests.support.devnet import PATIENCE_S, Running, devnet, wait_until

pytestmark = pytest.mark.e2e


def accept(network: Running, key: str) -> str:
    """Submit a detached task, acknowledged by the coordinator."""
    with network.client as client:
        answer = client.post("/v1/tasks", json={"prompt": "a red heart"}, headers={"Idempotency-Key": key})
    assert answer.status_code == 202, answer.text
    return answer.json()["task"]


def task_of(network: Running, task: str) -> dict[str, object]:
    """What the coordinator says of a task; empty while it does not answer."""
    try:
        with network.client as client:
            answer = client.get(f"/v1/tasks/{task}")
    except httpx.TransportError:
        return {}
    return answer.json() if answer.status_code == 200 else {}


def test_miner__killed_with_the_task__another_delivers_within_the_lease(tmp_path: Path) -> None:
    with devnet(tmp_path, "--engine", "instant", "--delay-ms", "2500", "--miners", "2") as network:
        task = accept(network, "killed-miner")
        wait_until(lambda: any(n["event"] == NoteName.JOB_STARTED for n in network.all_notes(task)), "the job")
        first = network.holder(task)
        os.kill(first["pid"], signal.SIGKILL)
        wait_until(lambda: task_of(network, task).get("status") == "done", "the picture")
        second = network.holder(task)
        assert second["name"] != first["name"]
        notes = [note for note in network.all_notes(task) if note["role"] == "coordinator"]
        assert [note["event"] for note in notes].count(NoteName.TASK_DONE) == 1
        assert [note["event"] for note in notes].count(NoteName.TASK_LEASE_EXPIRED) == 1


def test_coordinator__told_to_stop__the_call_that_waits_gets_its_picture_first(tmp_path: Path) -> None:
    with devnet(tmp_path, "--engine", "instant", "--delay-ms", "1500", "--miners", "1") as network:
        answers: list[httpx.Response] = []

        def draw() -> None:
            with network.client as client:
                answers.append(client.post("/v1/images/generations", json={"prompt": "a red heart"}))

        coordinator = network.nodes("coordinator")[0]
        waiting = threading.Thread(target=draw)
        waiting.start()
        wait_until(lambda: any(n["event"] == NoteName.TASK_AWARDED for n in network.notes(coordinator)), "the award")
        os.kill(coordinator["pid"], signal.SIGTERM)
        with network.client as client:
            wait_until(lambda: client.get("/readyz").json().get("reason") == "this node is stopping", "the drain")
        waiting.join(PATIENCE_S)
        assert answers[0].status_code == 200, answers[0].text
        wait_until(lambda: not psutil.pid_exists(coordinator["pid"]), "the end")


def test_coordinator__killed_after_acknowledging__restarts_and_finishes(tmp_path: Path) -> None:
    with devnet(tmp_path, "--engine", "instant", "--delay-ms", "800", "--miners", "1") as network:
        coordinator = network.nodes("coordinator")[0]
        port = coordinator["http_url"].rsplit(":", 1)[1]
        tasks = [accept(network, f"survivor-{number}") for number in range(4)]
        os.kill(coordinator["pid"], signal.SIGKILL)
        command = [sys.executable, "-m", "node", "node", "--role", "coordinator", "--config", coordinator["config"]]
        with Path(coordinator["log"]).open("ab") as log:
            command += ["--http-port", port, "--exit-with-stdin"]
            again = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            wait_until(lambda: all(task_of(network, task).get("status") == "done" for task in tasks), "the pictures")
            for task in tasks:
                with network.client as client:
                    artifact = task_of(network, task)["artifact"]
                    check_png(client.get(f"/v1/artifacts/{artifact}").content, 128, 128)
            assert accept(network, "survivor-0") == tasks[0], "the same key is the same task over a restart"
            done = [n for n in network.notes(coordinator) if n["event"] == NoteName.TASK_DONE]
            assert sorted(note["task"] for note in done) == sorted(tasks)
        finally:
            again.terminate()
            again.wait(PATIENCE_S)
            assert again.stdin is not None
            again.stdin.close()


def test_devnet__killed__leaves_no_process(tmp_path: Path) -> None:
    with devnet(tmp_path, "--engine", "instant") as network:
        pids = network.pids()
        assert len(pids) >= 6, "five nodes and the chain"
        os.kill(network.process.pid, signal.SIGKILL)
        network.process.wait()
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "all children gone")


def test_devnet__interrupted__stops_within_five_seconds(tmp_path: Path) -> None:
    with devnet(tmp_path, "--engine", "instant") as network:
        pids = network.pids()
        network.process.send_signal(signal.SIGINT)
        assert network.process.wait(5 * network.slowness) == 130
        assert not any(psutil.pid_exists(pid) for pid in pids)
