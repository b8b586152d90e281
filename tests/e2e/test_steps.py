"""A coordinator has pictures drawn again, also of edits, and asks for their steps: real engines, stores and chain."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from protocol.notes import NoteName
from tests.e2e.test_payments import cuckoo, folder_of, noted
from tests.support.devnet import Running, devnet, wait_until
from tests.support.pictures import png
from tests.support.processes import again, kill, submitted

pytestmark = pytest.mark.e2e
PATIENCE_S = 180.0
"""Three engines draw on one machine."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    flags = ("--miners", "3", "--engine", "diffusion", "--threads", "1")
    with devnet(tmp_path_factory.mktemp("devnet"), *flags, module="tests.support.rechecking_devnet") as running:
        yield running


def rows(node: dict[str, Any], question: str) -> list[tuple[Any, ...]]:
    """What a node's store says."""
    with closing(sqlite3.connect(Path(node["config"]).parent / "store.sqlite")) as connection:
        return connection.execute(question).fetchall()


def outcomes(network: Running) -> dict[str, str]:
    """How the recheck of each task ended of which there is one; empty while it is under way."""
    (coordinator,) = network.nodes("coordinator")
    return dict(rows(coordinator, "SELECT lower(hex(subject)), outcome FROM rechecks"))


def all_ended(network: Running) -> None:
    """Wait until no recheck is under way."""
    wait_until(lambda: all(outcomes(network).values()), "rechecks end", PATIENCE_S)


def edited(network: Running) -> str:
    """Have a picture made of another one; gives its task."""
    form = {"image": ("source.png", png(128, 128, 7), "image/png")}
    with network.client as client:
        answer = client.post(
            "/v1/images/edits", files=form, data={"prompt": "a red heart", "strength": "0.9", "steps": "6"}
        )
    assert answer.status_code == 200, answer.text
    made = answer.json()["data"][0]["cuckoo"]
    assert made["work"] == "image_to_image"
    return str(made["task"])


def test_rechecks__pictures_and_edits_of_real_engines__are_opened_step_by_step_and_agree(network: Running) -> None:
    (coordinator,) = network.nodes("coordinator")
    subject, edit = submitted(network), edited(network)
    wait_until(lambda: outcomes(network) == {subject: "agreed", edit: "agreed"}, "rechecks end", PATIENCE_S)
    shown = [one for one in noted(network, coordinator, NoteName.RECHECK_STEPS) if one["task"] == subject]
    assert [(one["reason"], one["apart"]) for one in shown] == [("agreed", 0)] * 2
    drew = {one["miner"] for one in shown}
    assert len(drew) == 2
    drawn = rows(coordinator, f"SELECT steps, length(opened) FROM drawings WHERE subject = x'{subject}'")
    assert [name for name, _ in drawn] == ["agreed"] * 2
    assert all(length > 1000 for _, length in drawn)
    miners = [miner for miner in network.nodes("miner") if miner["staking_id"] in drew]
    kept = [rows(miner, "SELECT length(fingerprints) FROM steps") for miner in miners]
    assert all(kept), "each has the steps of its own pictures"


def test_rechecks__of_edits__find_who_returns_another_picture(network: Running) -> None:
    (coordinator,), cheat = network.nodes("coordinator"), network.nodes("miner")[0]

    def left_out() -> list[int]:
        paused = noted(network, coordinator, NoteName.MINER_PAUSED)
        return [note["miner"] for note in paused if note["reason"] == "recheck"]

    kill(cheat)
    with again(cheat, tamper=("--engine", "wrong")):
        wait_until(lambda: len(noted(network, cheat, NoteName.ENGINE_UP)) == 2, "it draws again", PATIENCE_S)
        end, subjects = time.monotonic() + 3 * PATIENCE_S, []
        while not left_out():  # a third of all comes from it, or is drawn again by it
            assert time.monotonic() < end, "rechecks find it twice"
            subjects += [edited(network) for _ in range(4)]
            all_ended(network)
        assert set(left_out()) == {cheat["staking_id"]}
        odd = noted(network, coordinator, NoteName.RECHECK_ODD)
        assert {note["miner"] for note in odd} == {cheat["staking_id"]}, "nobody else is blamed"
        assert {note["task"] for note in odd} <= set(subjects)
        told = json.loads(cuckoo(network, "status", "--node", folder_of(coordinator), "--json"))
        (about,) = (one for one in told["miners"] if one["id"] == cheat["staking_id"])
        assert about["left_out_hours"] > 0
        for task in (edited(network), edited(network)):
            assert network.holder(task)["staking_id"] != cheat["staking_id"]
        all_ended(network)
    wait_until(lambda: not rows(coordinator, "SELECT * FROM inputs"), "no picture to begin from is left", PATIENCE_S)
