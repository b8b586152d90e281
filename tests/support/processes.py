"""Nodes of a devnet that a test starts again by itself, tampered with or not."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.devnet import PATIENCE_S, Running, wait_until

ROOT = Path(__file__).parents[2]


def kill(node: dict[str, Any]) -> None:
    """End a node that the devnet started, as ``kill -9`` does."""
    os.kill(node["pid"], signal.SIGKILL)


@contextmanager
def again(node: dict[str, Any], *flags: str, tamper: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Run a node of a devnet once more on its folder; what it says goes on in its log.

    Args:
        node: As the devnet describes it.
        flags: More of them for ``cuckoo node``.
        tamper: Flags of ``tests.support.tampered_node``; without any it is an honest node.
    """
    module = ["tests.support.tampered_node", *tamper, "--"] if tamper else ["node"]
    command = [sys.executable, "-m", *module, "node", "--role", node["role"], "--config", node["config"]]
    command.append("--exit-with-stdin")
    if node["http_url"]:
        command += ["--http-port", node["http_url"].rsplit(":", 1)[1]]
    with Path(node["log"]).open("ab") as log:
        process = subprocess.Popen([*command, *flags], cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stdin is not None
        process.stdin.close()


def ask(network: Running, method: str, path: str, **order: Any) -> httpx.Response | None:
    """Ask the first coordinator; None while it does not answer."""
    try:
        with network.client as client:
            return client.request(method, path, **order)
    except httpx.TransportError:
        return None


def status_of(network: Running, task: str) -> str:
    """How a task stands; empty while nobody says."""
    answer = ask(network, "GET", f"/v1/tasks/{task}")
    return str(answer.json()["status"]) if answer is not None and answer.status_code == 200 else ""


def submitted(network: Running, key: str | None = None, limit_s: float = PATIENCE_S) -> str:
    """Have a detached task taken, trying until it is; gives its id."""
    taken: list[str] = []

    def try_once() -> bool:
        headers = {"Idempotency-Key": key} if key else {}
        answer = ask(network, "POST", "/v1/tasks", json={"prompt": "a red heart"}, headers=headers)
        if answer is not None and answer.status_code == 202:
            taken.append(answer.json()["task"])
        return bool(taken)

    wait_until(try_once, "a coordinator takes the task", limit_s)
    return taken[0]


def done(network: Running, task: str, limit_s: float = PATIENCE_S) -> None:
    """Wait until a task has ended with its picture."""
    wait_until(lambda: status_of(network, task) == "done", f"the picture of {task[:12]}", limit_s)
