"""``python -m tests.bench.joining``: one more miner joins a busy network of processes; how soon it has its first award.

Everybody is a process of its own on this machine, and takes tasks of a second from one coordinator. The newcomer is
registered, and knows the bootstrap alone. Then nobody asks for anything, and it is told what a node costs.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from statistics import median

import httpx
import psutil
import trio

from node.children import Child
from node.devnet import Devnet, registered_network
from node.devnet_plan import DevnetMember, DevnetOptions, write_config
from protocol.notes import NoteName
from tests.bench.client import Client

NODES = 30
STARTING = 4
"""Processes that start at once: loading the libraries is all that they do, and none shall time out over it."""
SERVING_S = 180.0
PICTURE_MS = 1000
STOP_S = 3.0
SETTLE_S = 60.0
"""After which a young network looks for others no more than an old one."""
REST_S = 20.0
JOIN_LIMIT_S = 60.0
POLL_S = 0.05


async def measure(nodes: int, joins: int, folder: Path) -> dict[str, str]:
    """Run a network of so many miners and put so many newcomers into it, one after the other."""
    options = DevnetOptions(
        miners=nodes + joins, engine="instant", delay_ms=PICTURE_MS, port=0, data=folder, coordinators=1
    )
    figures: dict[str, str] = {}
    async with registered_network(options, lambda _: None) as network, _running(network, options) as start:
        members = network.members
        await start(members[:1], ())
        assert members[0].readiness is not None
        entry = members[0].readiness.addresses
        network.write_network_file(entry)
        await start(members[1 : len(members) - joins], entry)
        await _serves(network, nodes)
        awards: list[dict[str, float]] = []
        async with _asked(network, 2 * nodes):
            for member in members[len(members) - joins :]:
                spawned = time.time()
                await start((member,), entry, is_newcomer=True)
                awards.append(await _first_award(member, spawned))
        for title, key in (
            ("process start: spawned -> first dial", "start"),
            ("first dial -> first connection", "connected"),
            ("first dial -> first claim", "claim"),
            ("first dial -> first award", "award"),
        ):
            spans = [each[key] for each in awards]
            figures[title] = f"{median(spans):.2f} s (worst of {joins}: {max(spans):.2f} s)"
        figures |= await _at_rest(members)
    return figures


@asynccontextmanager
async def _running(network: Devnet, options: DevnetOptions) -> AsyncIterator["_Start"]:
    """Give what starts nodes; all are stopped at the end."""
    try:
        yield _Start(network, options)
    finally:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for member in network.members:
                    if member.child is not None:
                        nursery.start_soon(member.child.stop, STOP_S)


class _Start:
    """Starts some nodes and waits until they are ready."""

    def __init__(self, network: Devnet, options: DevnetOptions) -> None:
        self._network = network
        self._options = options
        self._places = trio.CapacityLimiter(STARTING)

    async def __call__(
        self, members: Sequence[DevnetMember], entry: tuple[str, ...], *, is_newcomer: bool = False
    ) -> None:
        async with trio.open_nursery() as nursery:
            for member in members:
                nursery.start_soon(self._one, member, entry, is_newcomer)

    async def _one(self, member: DevnetMember, entry: tuple[str, ...], is_newcomer: bool) -> None:
        async with self._places:
            config = write_config(member, self._options, self._network.chain_section(), entry)
            if is_newcomer:  # what it notes of its connections is wanted, too
                config.write_text(config.read_text().replace("[logs]\n", '[logs]\nlevel = "debug"\n'))
            member.child = await Child.start(member.name, member.role, config, member.folder / "log")
            member.readiness = await member.child.ready()


async def _serves(network: Devnet, miners: int) -> None:
    """Wait until the coordinator knows so many miners."""
    known = 0
    async with httpx.AsyncClient(base_url=network.api_urls[0], trust_env=False) as client:
        with trio.fail_after(SERVING_S):
            while known < miners:
                await trio.sleep(POLL_S)
                models = (await client.get("/v1/models")).json()["data"]
                known = sum(model["cuckoo"]["miners"] for model in models)


@asynccontextmanager
async def _asked(network: Devnet, in_flight: int) -> AsyncIterator[None]:
    """Have so many tasks in flight all the time: each miner has work, and there is more."""

    async def caller(number: int) -> None:
        client = await Client.open(network.api_urls[0], f"127.0.0.{1 + number % 8}")
        while True:
            await client.picture()

    async with trio.open_nursery() as nursery:
        for number in range(in_flight):
            nursery.start_soon(caller, number)
        yield
        nursery.cancel_scope.cancel()


async def _first_award(member: DevnetMember, spawned: float) -> dict[str, float]:
    """Wait for a node's first award; gives seconds since its first dial, and how long its process took until then."""
    assert member.child is not None
    first: dict[str, float] = {}
    with trio.fail_after(JOIN_LIMIT_S):
        while NoteName.AWARD_RECEIVED not in first:
            await trio.sleep(POLL_S)
            for line in member.child.log.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("{"):
                    note = json.loads(line)
                    first.setdefault(note["event"], datetime.fromisoformat(note["timestamp"]).timestamp())
    # A node dials as soon as it listens; whether it says that it is ready before it is connected is chance.
    dialled = min(first[NoteName.NODE_READY], first[NoteName.PEER_UP])
    return {
        "start": dialled - spawned,
        "connected": first[NoteName.PEER_UP] - dialled,
        "claim": first[NoteName.CLAIM_SENT] - dialled,
        "award": first[NoteName.AWARD_RECEIVED] - dialled,
    }


async def _at_rest(members: Sequence[DevnetMember]) -> dict[str, str]:
    """What each process costs while nobody asks for anything."""
    await trio.sleep(SETTLE_S)
    processes = [psutil.Process(member.child.pid) for member in members if member.child is not None]
    before, began = [sum(each.cpu_times()[:2]) for each in processes], time.monotonic()
    await trio.sleep(REST_S)
    elapsed = time.monotonic() - began
    spent = [sum(each.cpu_times()[:2]) - known for each, known in zip(processes, before, strict=True)]
    ends = [
        sum(connection.status == psutil.CONN_ESTABLISHED for connection in each.net_connections("tcp"))
        for each in processes
    ]
    resident = [each.memory_info().rss / 2**20 for each in processes]
    own = [each.memory_full_info().uss / 2**20 for each in processes]
    return {
        "connections of a process, median / most": f"{median(ends):.0f} / {max(ends)}",
        "CPU at rest of a process, median / most": f"{median(spent) / elapsed:.2%} / {max(spent) / elapsed:.2%}",
        "CPU at rest, for each end of a connection": f"{sum(spent) / elapsed / max(sum(ends), 1):.3%} of a core",
        "resident memory of a process, median / most": f"{median(resident):.0f} / {max(resident):.0f} MiB",
        "of it shared with no other, median": f"{median(own):.0f} MiB",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES, help="miners that are there before")
    parser.add_argument("--joins", type=int, default=3, help="newcomers, one after the other")
    chosen = parser.parse_args()
    print(
        f"{chosen.nodes} miners as processes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        figures = trio.run(measure, chosen.nodes, chosen.joins, Path(folder) / "net")
    for title, value in figures.items():
        print(f"{title:<52}{value}")


if __name__ == "__main__":
    main()
