"""How soon a task is offered again whose miner is dead, or stands still with its sockets open."""

import json
import os
import signal
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

import httpx
import trio

from node.devnet import Devnet, devnet
from node.devnet_plan import DevnetMember, DevnetOptions
from protocol.notes import NoteName

PICTURE_MS = 30_000
"""Long enough that no picture is ready before its miner is struck."""
TIMES = 3
LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Reoffer:
    """Seconds from the moment that struck a miner to the next offer of its task: medians of ``TIMES``."""

    dead_s: float
    frozen_s: float


async def reoffer(folder: Path, times: int = TIMES) -> Reoffer:
    """Run a network whose miners are struck in the middle of a task, one after another."""
    dead, frozen = [], []
    options = DevnetOptions(miners=2 * times + 1, engine="instant", delay_ms=PICTURE_MS, port=0, data=folder)
    async with devnet(options, lambda _: None) as network:
        for _ in range(times):
            frozen.append(await _strike(network, signal.SIGSTOP))
            dead.append(await _strike(network, signal.SIGKILL))
        for member in network.members:
            if member.child and member.role == "miner":
                _send(member.child.pid, signal.SIGCONT)  # else it could not be asked to stop
    return Reoffer(median(dead), median(frozen))


async def _strike(network: Devnet, number: signal.Signals) -> float:
    """Submit a task, strike whoever has it, and give how long (s) until it is offered again."""
    coordinator = next(member for member in network.members if member.role == "coordinator")
    assert coordinator.child is not None
    log = coordinator.child.log
    async with httpx.AsyncClient(base_url=network.api_urls[0], trust_env=False) as client:
        answer = await client.post("/v1/tasks", json={"prompt": "a red heart"})
        task: str = answer.raise_for_status().json()["task"]
        (awarded,) = await _notes(log, task, NoteName.TASK_AWARDED, 1)
        member = _miner(network, int(awarded["miner"]))
        assert member.child is not None
        member.child.stopping = True
        struck = time.time()
        _send(member.child.pid, number)
        offers = await _notes(log, task, NoteName.TASK_OFFERED, int(awarded["attempt"]) + 2)
        await client.delete(f"/v1/tasks/{task}")
    return datetime.fromisoformat(str(offers[-1]["timestamp"])).timestamp() - struck


def _miner(network: Devnet, staking_id: int) -> DevnetMember:
    return next(member for member, number in network.registered() if number == staking_id)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # one that was killed before


async def _notes(log: Path, task: str, name: NoteName, count: int) -> list[dict[str, str | int]]:
    """Wait until a log has so many notes of a task under one name; gives the first so many."""
    with trio.fail_after(LIMIT_S):
        while True:
            lines = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if task in line)
            found = [line for line in lines if line["event"] == name]
            if len(found) >= count:
                return found[:count]
            await trio.sleep(0.05)
