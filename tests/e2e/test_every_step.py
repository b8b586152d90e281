"""One task, and a real process that dies right before and right after each thing that it persists for it."""

import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from protocol.notes import NoteName
from protocol.task.artifact import check_png
from tests.support.devnet import Running, devnet, wait_until
from tests.support.processes import again, ask, done, kill, status_of, submitted

pytestmark = [pytest.mark.e2e, pytest.mark.soak]
KEY = "one task, many deaths"


def stored(node: dict[str, Any], query: str) -> list[tuple[Any, ...]]:
    """Read the store of a node."""
    path = Path(node["config"]).parent / "store.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def keep_asking(network: Running, mortal: subprocess.Popen[bytes]) -> None:
    """Hand the task in again and again, under one key, as an app that hears no answer does."""

    def asked_in_vain() -> bool:
        ask(network, "POST", "/v1/tasks", json={"prompt": "a red heart"}, headers={"Idempotency-Key": KEY})
        return mortal.poll() is not None

    wait_until(asked_in_vain, "the coordinator dies of the task")


def check_paid_once(network: Running, task: str) -> int:
    """The receipt's voucher promises one price; gives it (wei)."""
    answer = ask(network, "GET", f"/v1/receipts/{task}")
    assert answer is not None
    receipt = answer.json()
    price = int(receipt["statement"]["price"])
    assert int(receipt["voucher"]["cumulative"]) == int(receipt["voucher"]["issued_total"]) == price > 0
    return price


def test_coordinator__killed_before_and_after_each_persisted_step__task_is_done_once(tmp_path: Path) -> None:
    with devnet(tmp_path, "--engine", "instant", "--miners", "2") as network:
        (coordinator,) = network.nodes("coordinator")
        kill(coordinator)
        for record in ("BootStarted", "TaskAccepted", "TaskAwarded", "TaskDone"):
            for when in ("before", "after"):
                with again(coordinator, tamper=("--kill-at", record, "--kill", when)) as mortal:
                    if record == "TaskAccepted":
                        keep_asking(network, mortal)
                    assert mortal.wait(60) == -signal.SIGKILL, f"dies {when} {record}"
        with again(coordinator):
            task = submitted(network, KEY)
            done(network, task)
            price = check_paid_once(network, task)
            answer = ask(network, "GET", f"/v1/tasks/{task}")
            assert answer is not None
            picture = ask(network, "GET", f"/v1/artifacts/{answer.json()['artifact']}")
            assert picture is not None
            check_png(picture.content, 128, 128)

            def receipts() -> list[dict[str, Any]]:
                return [note for note in network.all_notes(task) if note["event"] == NoteName.RECEIPT_RECEIVED]

            wait_until(lambda: bool(receipts()), "its miner hears of the receipt")
            assert [int(note["wei"]) for note in receipts()] == [price]
        assert stored(coordinator, "SELECT count(*), count(done), count(failed) FROM tasks") == [(1, 1, 0)]
        (issued,) = stored(coordinator, "SELECT cumulative FROM vouchers_issued")
        assert int.from_bytes(issued[0], "big") == price


def test_miner__killed_before_and_after_each_persisted_step__task_is_done_once(tmp_path: Path) -> None:
    with devnet(tmp_path, "--engine", "instant", "--miners", "1") as network:
        (miner,) = network.nodes("miner")
        task = submitted(network)
        done(network, task)
        kill(miner)
        # The coordinator takes the task while it still believes in its miner, or again once that is back.
        deaths = [(record, when) for record in ("ClaimSigned", "ResultCommitted") for when in ("before", "after")]
        deaths += [("VoucherHeld", when) for when in ("before", "after")]
        second = ""
        for record, when in deaths:
            with again(miner, tamper=("--kill-at", record, "--kill", when)) as mortal:
                second = second or submitted(network, "second")
                assert mortal.wait(60) == -signal.SIGKILL, f"dies {when} {record}"
        assert status_of(network, second) == "done"
        (coordinator,) = network.nodes("coordinator")
        finished = [n for n in network.notes(coordinator) if n["event"] == NoteName.TASK_DONE]
        assert [note["task"] for note in finished] == [task, second]
        answer = ask(network, "GET", f"/v1/receipts/{second}")
        assert answer is not None
        promised = int(answer.json()["voucher"]["cumulative"])
        assert promised == 2 * int(answer.json()["statement"]["price"])
        (held,) = stored(miner, "SELECT cumulative FROM vouchers_held")
        assert int.from_bytes(held[0], "big") == promised
        with again(miner):
            done(network, submitted(network))
            # Attempts that it had to do again are told to be superseded; then nothing waits any more.
            unsettled = "SELECT count(*) FROM results WHERE settled IS NULL"
            wait_until(lambda: stored(miner, unsettled) == [(0,)], "every result is settled")
