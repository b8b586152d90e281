"""A coordinator asks miners for steps of pictures that they drew: real processes, engines, stores and chain."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from protocol.notes import NoteName
from tests.support.devnet import Running, devnet, wait_until
from tests.support.processes import again, kill, submitted

pytestmark = pytest.mark.e2e
OFTEN = "recheck_newcomer_percent = 100.0\nrecheck_within_s = 6.0\n"
"""So long that twelve tries outlast the other miner's start, however busy this machine is."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    flags = ("--miners", "2", "--engine", "diffusion", "--threads", "1")
    with devnet(tmp_path_factory.mktemp("devnet"), *flags) as running:
        yield running


def rows(node: dict[str, Any], question: str) -> list[tuple[Any, ...]]:
    """What a node's store says."""
    with closing(sqlite3.connect(Path(node["config"]).parent / "store.sqlite")) as connection:
        return connection.execute(question).fetchall()


def test_rechecks__pictures_of_real_engines__are_opened_step_by_step_and_agree(network: Running) -> None:
    (coordinator,) = network.nodes("coordinator")
    kill(coordinator)
    config = Path(coordinator["config"])
    text = config.read_text(encoding="utf-8")
    section = "[coordinator]\n"
    config.write_text(
        text.replace(section, section + OFTEN) if section in text else f"{text}\n{section}{OFTEN}", encoding="utf-8"
    )
    with again(coordinator):
        submitted(network)

        def ended() -> list[dict[str, Any]]:
            return [one for one in network.notes(coordinator) if one["event"] == NoteName.RECHECK_ENDED.value]

        wait_until(lambda: bool(ended()), "a recheck ends", 180)
        assert ended()[0]["reason"] == "agreed"
        subject = ended()[0]["task"]
        shown = [
            one
            for one in network.notes(coordinator)
            if one["event"] == NoteName.RECHECK_STEPS.value and one["task"] == subject
        ]
        assert [(one["reason"], one["apart"]) for one in shown] == [("agreed", 0)] * 2
        assert {one["miner"] for one in shown} == {miner["staking_id"] for miner in network.nodes("miner")}
        drawn = rows(coordinator, f"SELECT steps, length(opened) FROM drawings WHERE subject = x'{subject}'")
        assert [name for name, _ in drawn] == ["agreed"] * 2
        assert all(length > 1000 for _, length in drawn)
        kept = [rows(miner, "SELECT length(fingerprints) FROM steps") for miner in network.nodes("miner")]
        assert all(kept), "each has the steps of its own pictures"
