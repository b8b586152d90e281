"""``make bench``: how fast the network itself is, with an engine that costs nothing. Prints tables, judges nothing.

A whole network of processes and this client share the machine; where others use it too, times are theirs as well as
ours. CPU times hardly are: compare those, medians of runs in turn, and the shares of the hops.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import trio

from node.devnet import Devnet, devnet
from node.devnet_plan import DevnetOptions
from tests.bench.client import Answer, Client
from tests.bench.cost import CpuMeter, cpu_line, fsync_ms, metrics_line
from tests.bench.hops import hop_medians, marks, moments_of
from tests.bench.ranking import ranking_ms
from tests.bench.reoffer import reoffer
from tests.bench.restart import QUEUED, restart

MINERS = 8
WARM_UP = 20
"""Tasks before any that counts: imports and caches are there then, and the log of the store has its length."""
IN_FLIGHT = (16, 64, 256)
RANKED = (1_000, 10_000)
SETTLE_S = 20.0
"""After which a young network looks for others no more than an old one."""
REST_S = 5.0
PAUSE_S = 0.1
"""Between two idle tasks: until all that the first one caused is over."""
SOURCES = 8
"""Loopback addresses that callers come from: each may submit 6,000 tasks a minute."""


def main() -> None:
    """Run the benches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--miners", type=int, default=MINERS)
    parser.add_argument("--places", type=int, default=1, help="pictures that a miner draws at once")
    parser.add_argument("--tasks", type=int, default=100, help="idle tasks, one after another")
    parser.add_argument("--pause", type=float, default=PAUSE_S, help="seconds between two of them")
    parser.add_argument("--in-flight", type=int, nargs="*", default=IN_FLIGHT, help="tasks at once for the throughput")
    parser.add_argument("--seconds", type=float, default=10.0, help="for so long")
    parser.add_argument("--queued", type=int, default=QUEUED, help="tasks queued at a restart; 0: strike no node")
    parser.add_argument("--folder", type=Path, help="where the nodes' data is; a folder in memory leaves the disk out")
    chosen = parser.parse_args()
    print(", ".join(f"{miners:,} miners ranked in {ranking_ms(miners):.1f} ms" for miners in RANKED))
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        trio.run(run, chosen, Path(folder) / "net")


async def run(chosen: argparse.Namespace, folder: Path) -> None:
    """Start a network and put it through everything."""
    options = DevnetOptions(miners=chosen.miners, places=chosen.places, engine="instant", port=0, data=folder)
    async with devnet(options, lambda _: None) as network:
        print(
            f"1 coordinator, {chosen.miners} miners with {chosen.places} places of the instant engine, "
            f"{os.cpu_count()} cores; others' load before and with us {os.getloadavg()[0]:.1f}; "
            f"to flush 4 KiB takes {await fsync_ms(folder):.1f} ms here"
        )
        await at_rest(network)
        await idle(network, chosen.tasks, chosen.pause)
        for in_flight in chosen.in_flight:
            await throughput(network, in_flight, chosen.seconds)
        if chosen.queued:
            back = await restart(network, chosen.queued)
            print(
                f"\nkilled with {back.queued} queued tasks: first award {back.process_s:.2f} s after the process began,"
                f" {back.compose_s:.2f} s after its libraries were loaded"
            )
    if chosen.queued:
        again = await reoffer(folder.with_name("struck"))
        print(
            f"\nminer struck with a task: offered again after {again.dead_s:.2f} s when it is dead, "
            f"{again.frozen_s:.2f} s when it stands still"
        )


async def at_rest(network: Devnet) -> None:
    """Say what the network costs while nobody asks for anything."""
    await trio.sleep(SETTLE_S)
    cpu, begun = CpuMeter(network), time.time()
    await trio.sleep(REST_S)
    print("\nat rest, for each second\n" + cpu_line(cpu.spent(), time.time() - begun))


async def idle(network: Devnet, count: int, pause_s: float) -> None:
    """Tasks one after another, each on an idle network."""
    client = await Client.open(network.api_urls[0], "127.0.0.1")
    for _ in range(WARM_UP):
        await client.picture()
    cpu = CpuMeter(network)
    answers = []
    for _ in range(count):
        await trio.sleep(pause_s)
        answers.append(await client.picture())
    spent = cpu.spent()
    await client.close()
    print(f"\nsubmit -> picture over HTTP, {count} idle tasks {1000 * pause_s:.0f} ms apart: {_times(answers)}")
    known = moments_of([member.child.log for member in network.members if member.child])
    tasks = [known.get(answer.task, {}) | {"http.in": answer.begun, "http.out": answer.ended} for answer in answers]
    for name, millis, meaning in hop_medians(tasks):
        print(f"  {name:<8} {millis:>7.1f} ms   {meaning}")
    print("  for each task, pauses included\n" + cpu_line(spent, count))


async def throughput(network: Devnet, in_flight: int, seconds: float) -> None:
    """So many tasks at once, for so long."""
    answers: list[Answer] = []
    failures: list[str] = []
    end = time.time() + seconds

    async def caller(number: int) -> None:
        client = await Client.open(network.api_urls[0], f"127.0.0.{1 + number % SOURCES}")
        try:
            while time.time() < end:
                answers.append(await client.picture())
        except RuntimeError as error:
            failures.append(str(error))
        await client.close()

    cpu, begun = CpuMeter(network), time.time()
    async with trio.open_nursery() as nursery:
        for number in range(in_flight):
            nursery.start_soon(caller, number)
    elapsed, spent = time.time() - begun, cpu.spent()
    print(
        f"\n{in_flight} in flight for {elapsed:.1f} s: {len(answers) / elapsed:.0f} tasks/s, {_times(answers)}; "
        f"{len(failures)} callers failed{f', the first by {failures[0]}' if failures else ''}"
    )
    print("  for each task\n" + cpu_line(spent, len(answers)))
    print("  of all tasks since the start: " + await metrics_line(network.api_urls[0]))


def _times(answers: list[Answer]) -> str:
    half, most = marks([1000 * (answer.ended - answer.begun) for answer in answers])
    return f"p50 {half:.1f} ms, p95 {most:.1f} ms"


if __name__ == "__main__":
    main()
