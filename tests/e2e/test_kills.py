"""Processes die with kill -9, and nothing that was accepted is lost. How a devnet ends: test_audit and test_network."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psutil
import pytest

from protocol.notes import NoteName
from protocol.task.artifact import check_png
from tests.support.devnet import PATIENCE_S, Running, devnet, wait_until
from tests.support.processes import again, submitted

pytestmark = pytest.mark.e2e
DELAY_MS = 1500
"""Time of a picture: long enough to kill whoever draws it."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    flags = ("--engine", "instant", "--delay-ms", str(DELAY_MS), "--miners", "2")
    with devnet(tmp_path_factory.mktemp("devnet"), *flags) as running:
        yield running


def back(node: dict[str, Any], restarts: ExitStack) -> None:
    """Start a node again that has ended."""
    node["pid"] = restarts.enter_context(again(node)).pid


def task_of(network: Running, task: str) -> dict[str, object]:
    """What the coordinator says of a task; empty while it does not answer."""
    try:
        with network.client as client:
            answer = client.get(f"/v1/tasks/{task}")
    except httpx.TransportError:
        return {}
    return answer.json() if answer.status_code == 200 else {}


def test_coordinator__told_to_stop__the_call_that_waits_gets_its_picture_first(
    network: Running, restarts: ExitStack
) -> None:
    answers: list[httpx.Response] = []

    def draw() -> None:
        with network.client as client:
            answers.append(client.post("/v1/images/generations", json={"prompt": "a red heart"}))

    (coordinator,) = network.nodes("coordinator")

    def awarded() -> int:
        return sum(note["event"] == NoteName.TASK_AWARDED for note in network.notes(coordinator))

    before = awarded()
    waiting = threading.Thread(target=draw)
    waiting.start()
    wait_until(lambda: awarded() > before, "the award")
    os.kill(coordinator["pid"], signal.SIGTERM)
    with network.client as client:
        wait_until(lambda: client.get("/readyz").json().get("reason") == "this node is stopping", "the drain")
    waiting.join(PATIENCE_S)
    assert answers[0].status_code == 200, answers[0].text
    wait_until(lambda: not psutil.pid_exists(coordinator["pid"]), "the end")
    back(coordinator, restarts)


def test_coordinator__killed_after_acknowledging__restarts_and_finishes(network: Running, restarts: ExitStack) -> None:
    (coordinator,) = network.nodes("coordinator")
    tasks = [submitted(network, f"survivor-{number}") for number in range(4)]
    os.kill(coordinator["pid"], signal.SIGKILL)
    wait_until(lambda: not task_of(network, tasks[0]), "the end")
    back(coordinator, restarts)
    wait_until(lambda: all(task_of(network, task).get("status") == "done" for task in tasks), "the pictures")
    for task in tasks:
        with network.client as client:
            artifact = task_of(network, task)["artifact"]
            check_png(client.get(f"/v1/artifacts/{artifact}").content, 128, 128)
    assert submitted(network, "survivor-0") == tasks[0], "the same key is the same task over a restart"
    assert [done_by(network, coordinator, task) for task in tasks] == [1] * len(tasks)


def done_by(network: Running, coordinator: dict[str, Any], task: str) -> int:
    """How often a coordinator said that this task is done."""
    return sum(n["event"] == NoteName.TASK_DONE and n["task"] == task for n in network.notes(coordinator))


def test_miner__killed_with_the_task__another_delivers_within_the_lease(network: Running) -> None:
    task = submitted(network, "killed-miner")
    wait_until(lambda: any(n["event"] == NoteName.JOB_STARTED for n in network.all_notes(task)), "the job")
    first = network.holder(task)
    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: task_of(network, task).get("status") == "done", "the picture")
    second = network.holder(task)
    assert second["name"] != first["name"]
    notes = [note for note in network.all_notes(task) if note["role"] == "coordinator"]
    assert [note["event"] for note in notes].count(NoteName.TASK_DONE) == 1
    assert [note["event"] for note in notes].count(NoteName.TASK_LEASE_EXPIRED) == 1
