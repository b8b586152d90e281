"""A real disk without space: nothing is acknowledged that is not on it, and work goes on once there is room."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from protocol.notes import NoteName
from tests.support.devnet import Running, devnet, wait_until
from tests.support.processes import again, ask, done, kill, status_of, submitted
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with devnet(tmp_path_factory.mktemp("devnet"), "--engine", "instant", "--miners", "2") as running:
        yield running


def submit_until_refused(network: Running, prefix: str) -> tuple[list[str], str, httpx.Response]:
    """Hand in tasks until one is refused; gives those that were acknowledged, the last key, and its answer."""
    accepted: list[str] = []
    for number in range(200):
        key = f"{prefix} {number}"
        answer = ask(network, "POST", "/v1/tasks", json={"prompt": "a red heart"}, headers={"Idempotency-Key": key})
        assert answer is not None
        if answer.status_code != 202:
            return accepted, key, answer
        accepted.append(answer.json()["task"])
    raise AssertionError("the disk is never full")


def ready(network: Running) -> bool:
    """Whether the coordinator takes tasks."""
    answer = ask(network, "GET", "/readyz")
    return answer is not None and answer.status_code == 200


def check_refusal(network: Running, answer: httpx.Response) -> None:
    """It is by name, says when to come back, and the node says the same to whoever watches it."""
    assert answer.status_code == 507
    assert answer.json()["error"]["code"] == "disk_full"
    assert answer.headers["retry-after"] == "30"
    told = ask(network, "GET", "/readyz")
    assert told is not None
    assert told.status_code == 503
    assert "is full" in told.json()["reason"]


def test_miner__disk_full__leaves_the_work_to_others_and_is_back_once_there_is_room(
    network: Running, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small") as disk:
        full, other = network.nodes("miner")
        kill(full)

        def works(task: str) -> str:
            done(network, task)
            return str(network.holder(task)["name"])

        with again(full, "--data", str(disk.folder)) as process:
            wait_until(lambda: works(submitted(network)) == full["name"], "it works on its small disk")
            disk.fill()
            wait_until(
                lambda: works(submitted(network)) and count(network, full, NoteName.STORE_FULL), "its disk is full"
            )
            assert {works(submitted(network)) for _ in range(6)} == {other["name"]}
            disk.empty()
            wait_until(lambda: works(submitted(network)) == full["name"], "it works again")
            assert process.poll() is None
        assert "Traceback" not in Path(full["log"]).read_text(encoding="utf-8")


def test_coordinator__disk_full__refuses_by_name_keeps_what_it_acknowledged_and_recovers(
    network: Running, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small") as disk:
        (coordinator,) = network.nodes("coordinator")
        kill(coordinator)
        for path in Path(coordinator["config"]).parent.glob("store.sqlite*"):  # it knows what it has promised
            shutil.copy(path, disk.folder)
        with again(coordinator, "--data", str(disk.folder)) as process:
            first = submitted(network)
            done(network, first)
            disk.fill()
            accepted, refused_key, answer = submit_until_refused(network, "one")
            check_refusal(network, answer)
            assert status_of(network, first) == "done", "what is on the disk can be read"
            disk.empty()
            wait_until(lambda: ready(network), "it takes tasks again")
            for task in [*accepted, submitted(network, refused_key), submitted(network)]:
                done(network, task)
            assert process.poll() is None

            disk.fill()
            accepted, _, answer = submit_until_refused(network, "two")
            check_refusal(network, answer)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        with again(coordinator, "--data", str(disk.folder)) as process:
            complaints = [note for note in network.notes(coordinator) if "is full" in note.get("reason", "")]
            # Whatever part of it wants to write first says why the node does not get ready.
            wait_until(
                lambda: sum("is full" in n.get("reason", "") for n in network.notes(coordinator)) > len(complaints),
                "it starts, and waits for room",
            )
            assert process.poll() is None
            disk.empty()
            for task in [*accepted, first]:
                done(network, task)
        assert count(network, coordinator, NoteName.STORE_WRITABLE) >= 1


def count(network: Running, node: dict[str, Any], name: NoteName) -> int:
    """How often a node has said this."""
    return [note["event"] for note in network.notes(node)].count(name)
