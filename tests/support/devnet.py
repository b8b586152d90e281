"""A devnet as people start it: `cuckoo devnet` in a process of its own, read through its JSON line and logs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.patience import PATIENCE_S, stopwatch

START_LIMIT_S = 90.0
"""Longest start of a devnet (s); it takes 6 on an idle machine with two cores."""
USUAL_START_S = 15.0
"""What it takes while two more processes run tests."""


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = PATIENCE_S) -> None:
    """Wait for something that other processes do; leaves them most of the time, however long it takes to look."""
    if condition():
        return
    looked = time.monotonic()
    with stopwatch() as watch:
        while not condition():
            assert watch.seconds < limit_s, f"waited {limit_s:.0f} s in vain: {what}"
            time.sleep(min(max(0.05, 3 * (time.monotonic() - looked)), 0.5))
            looked = time.monotonic()


@dataclass
class Running:
    """A devnet that serves."""

    process: subprocess.Popen[bytes]
    description: dict[str, Any]
    slowness: float = 1.0
    """By how much this machine was slower, while it started, than one that others use a little; at least 1."""

    @property
    def url(self) -> str:
        """Address of the first coordinator's API."""
        return self.description["api_urls"][0]

    @property
    def client(self) -> httpx.Client:
        """A client of the first coordinator's API."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False)

    def nodes(self, role: str) -> list[dict[str, Any]]:
        """The nodes of a role."""
        return [node for node in self.description["nodes"] if node["role"] == role]

    def notes(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        """Everything that a node noted so far, in order."""
        lines = Path(node["log"]).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def all_notes(self, task: str) -> list[dict[str, Any]]:
        """What all nodes noted of a task, by time."""
        found = [
            {**note, "role": node["role"], "node": node["name"]}
            for node in self.description["nodes"]
            for note in self.notes(node)
            if note.get("task") == task
        ]
        return sorted(found, key=lambda note: note["timestamp"])

    def holder(self, task: str) -> dict[str, Any]:
        """The miner that the coordinator last awarded the task to."""
        awarded = [note for note in self.all_notes(task) if note["event"] == "task.awarded"]
        by_id = {row["staking_id"]: row for row in self.nodes("miner")}
        return by_id[awarded[-1]["miner"]]

    def pids(self) -> list[int]:
        """All processes that this devnet started, the chain's and engines' included."""
        return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]


@contextmanager
def devnet(folder: Path, *flags: str, module: str = "node") -> Iterator[Running]:
    """Run a devnet whose files are kept in ``folder``; ``module`` is a stand-in for ``node``."""
    command = [sys.executable, "-m", module, "devnet", "--port", "0", "--json", "--data", str(folder / "net"), *flags]
    errors = folder / "devnet.err"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, cwd=Path(__file__).parents[2])
    try:
        assert process.stdout is not None
        timer = time.monotonic()
        line = process.stdout.readline()
        assert line, f"devnet ended after {time.monotonic() - timer:.1f} s: {errors.read_text()[-3000:]}"
        yield Running(process, json.loads(line), max(1.0, (time.monotonic() - timer) / USUAL_START_S))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
        if process.stdout is not None:
            process.stdout.close()
