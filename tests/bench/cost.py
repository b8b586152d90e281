"""What a run costs besides time: CPU of each process, flushes of the disk, claims and offers."""

import os
import re
import time
from pathlib import Path
from statistics import median

import httpx
import psutil
import trio

from node.devnet import Devnet

PROBES = 50
COUNTED = ("cuckoo_offers_total", 'cuckoo_claims_total{direction="received"}', 'cuckoo_tasks_total{outcome="done"}')


async def fsync_ms(folder: Path) -> float:
    """Measure what the disk takes (median, ms) to make 4 KiB durable. A task's line waits for that four times."""
    spans = []
    with (folder / "probe").open("wb") as file:
        for _ in range(PROBES):
            begun = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            spans.append(time.perf_counter() - begun)
            await trio.sleep(0.005)
    return 1000 * median(spans)


class CpuMeter:
    """CPU time that each node of a network and this client spend from now on."""

    def __init__(self, network: Devnet) -> None:
        self._processes = {"this client": psutil.Process()}
        for member in network.members:
            if member.child:
                self._processes[member.name] = psutil.Process(member.child.pid)
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        return {name: sum(process.cpu_times()[:2]) for name, process in self._processes.items()}

    def spent(self) -> dict[str, float]:
        """Give CPU seconds by process since the beginning."""
        return {name: after - self._before[name] for name, after in self._read().items()}


def cpu_line(spent: dict[str, float], parts: float) -> str:
    """Say in one line what each of so many parts costs; the miners are one."""
    miners = [seconds for name, seconds in spent.items() if name.startswith("miner")]
    others = {name: seconds for name, seconds in spent.items() if not name.startswith("miner")}
    shares = [f"{name} {1000 * seconds / parts:.1f}" for name, seconds in others.items()]
    shares.append(f"{len(miners)} miners together {1000 * sum(miners) / parts:.1f}")
    return f"  CPU ms: {', '.join(shares)}; all {1000 * sum(spent.values()) / parts:.1f}"


async def metrics_line(url: str) -> str:
    """Say how many offers and claims the coordinator's tasks took."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{url}/metrics")).text
    offers, claims, done = (
        float(found[1]) if (found := re.search(rf"^{re.escape(name)} (.+)$", text, re.MULTILINE)) else 0.0
        for name in COUNTED
    )
    return f"{offers / max(done, 1):.1f} offers and {claims / max(done, 1):.1f} claims a task"
