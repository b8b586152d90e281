"""``python -m tests.bench.overlay``: discovery and liveness, of this project and of an unmodified py-libp2p, in turn.

Nodes in a few processes that share this machine join at once by three bootstraps, of which one lives. Prints a table;
judges nothing.
"""

import argparse
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import trio

from tests.support.overlay import peer_of

BOOTSTRAP = 1
DEAD = [f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_of(number)}" for port, number in ((9, 2), (11, 3))]
FIRST = 4
MODEL = "/cuckoo/1/devnet/model/pocket-emoji"
JOIN_LIMIT_S = 10.0
JOIN_PATIENCE_S = 120.0
"""A machine that others use as well may need so long (s)."""
FIND_PAUSE_S = 1.0
"""Between two look-ups of a node that has not found all yet, as the core does."""
QUESTIONS = 20
LIVENESS_LIMIT_S = 20.0
SETTLE_S = 60.0
"""After which a young network looks for others no more than an old one."""
REST_S = 10.0
PUBLISHERS = 10
GOSSIP_S = 10.0
MESH_S = 15.0
"""After so long (s) everybody has heard of everybody's subscription, and meshes stand."""


class Worker:
    """One process with nodes."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._numbers = itertools.count()
        self._answers: dict[int, Any] = {}
        self._answered = trio.Event()
        self._writing = trio.Lock()

    async def listen(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                said = json.loads(line)
                self._answers[said["order"]] = said["answer"]
            self._answered.set()
            self._answered = trio.Event()

    async def do(self, what: str, *arguments: Any) -> Any:
        """Have something done and wait for the answer."""
        number = next(self._numbers)
        assert self.process.stdin is not None
        line = json.dumps({"order": number, "do": what, "with": arguments}).encode() + b"\n"
        async with self._writing:
            await self.process.stdin.send_all(line)
        while number not in self._answers:
            await self._answered.wait()
        return self._answers.pop(number)


@asynccontextmanager
async def worker(kind: str, nursery: trio.Nursery) -> AsyncIterator[Worker]:
    command = [sys.executable, "-m", "tests.bench.overlay_worker", kind]
    errors = subprocess.DEVNULL if kind == "stock" else None
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    one = Worker(process)
    nursery.start_soon(one.listen)
    try:
        await one.do("ready")
        yield one
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def measure(kind: str, count: int, processes: int) -> dict[str, str]:
    """Put one kind through everything."""
    figures: dict[str, str] = {}
    async with trio.open_nursery() as nursery, worker(kind, nursery) as boot:
        address = await boot.do("start", BOOTSTRAP, [], [])
        places: dict[int, Worker] = {}
        async with worker(kind, nursery) as last, _workers(kind, nursery, processes) as workers:
            for number in range(FIRST, FIRST + count):
                places[number] = workers[number % processes]
            await _join(places, [*DEAD, address], figures)
            await _look_up(places, "look-ups across the network, all bootstraps alive", figures)
            await _rest(places, figures)
            await _gossip(places, figures)
            boot.process.kill()
            await trio.sleep(1)
            await _look_up(places, "the same once every bootstrap is dead", figures)
            await _rejoin(kind, nursery, places, [*DEAD, address], figures)
            await _liveness(last, places, figures)
        nursery.cancel_scope.cancel()
    return figures


@asynccontextmanager
async def _workers(kind: str, nursery: trio.Nursery, count: int) -> AsyncIterator[list[Worker]]:
    if not count:
        yield []
        return
    async with worker(kind, nursery) as first, _workers(kind, nursery, count - 1) as others:
        yield [first, *others]


async def _join(places: dict[int, Worker], bootstraps: list[str], figures: dict[str, str]) -> None:
    """All start, announce themselves and look for all others."""
    processes = _processes(places)
    spent, busy = _cpu_s(processes), _busy_s()
    began, took, known = time.monotonic(), dict[int, float](), dict[int, int]()
    tables: list[int] = []

    async def one(number: int) -> None:
        place = places[number]
        await place.do("start", number, bootstraps, [])
        nursery.start_soon(place.do, "provide", number, MODEL)
        await place.do("provide", number, f"/only/{number}")
        while number not in took:
            found = set(await place.do("find", number, MODEL)) - {peer_of(number)}
            known[number] = max(known.get(number, 0), len(found))
            if len(found) >= len(places) - 1:
                took[number] = time.monotonic() - began
            await trio.sleep(FIND_PAUSE_S)

    with trio.move_on_after(JOIN_PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for number in places:
                nursery.start_soon(one, number)
            while len(took) < len(places):
                await trio.sleep(0.1)
                if not tables and time.monotonic() - began > 6 and len(known) == len(places):
                    tables += [await place.do("table", number) for number, place in places.items()]
            nursery.cancel_scope.cancel()
    times = sorted(took.values())
    spent, busy = _cpu_s(processes) - spent, _busy_s() - busy
    cores = (os.cpu_count() or 1) * (time.monotonic() - began)
    figures["of all cores, used by others meanwhile"] = f"{max(busy - spent, 0) / cores:.0%}"
    figures["CPU until then, for each node"] = f"{1000 * spent / len(places):.0f} ms"
    within = sum(each <= JOIN_LIMIT_S for each in times)
    figures["found all others within 10 s of the start"] = f"{within} of {len(places)}"
    figures["half / all had found all others after"] = (
        f"{times[len(places) // 2]:.1f} / {times[-1]:.1f} s" if len(times) == len(places) else f"{len(times)} ever did"
    )
    figures["others found, fewest / median"] = (
        f"{min(known.values(), default=0)} / {statistics.median(known.values() or [0]):.0f} of {len(places) - 1}"
    )
    if not tables:
        tables = [await place.do("table", number) for number, place in places.items() if number in known]
    figures["peers in the tables, fewest / median"] = f"{min(tables)} / {statistics.median(tables):.0f}"


async def _look_up(places: dict[int, Worker], title: str, figures: dict[str, str]) -> None:
    """Nodes ask for a key of one other that they do not hold themselves."""
    dice, times, asked = random.Random(title), list[float](), 0
    for _ in range(20 * QUESTIONS):
        asker, owner = dice.sample(sorted(places), 2)
        if asked < QUESTIONS and not await places[asker].do("holds", asker, f"/only/{owner}"):
            asked += 1
            began = time.monotonic()
            if peer_of(owner) in await places[asker].do("find", asker, f"/only/{owner}"):
                times.append(1000 * (time.monotonic() - began))
    half = f", p50 {statistics.median(times):.0f}, worst {max(times):.0f} ms" if times else ""
    figures[title] = f"{len(times)} of {asked}{half}"


async def _rest(places: dict[int, Worker], figures: dict[str, str]) -> None:
    """What it costs to be there while nobody asks for anything."""
    processes = _processes(places)
    await trio.sleep(SETTLE_S)
    spent, began = _cpu_s(processes), time.monotonic()
    await trio.sleep(REST_S)
    spent, elapsed = _cpu_s(processes) - spent, time.monotonic() - began
    ends = [await place.do("connections", number) for number, place in places.items()]
    figures["connections of a node, fewest / median"] = f"{min(ends)} / {statistics.median(ends):.0f}"
    figures["CPU at rest, for each end of a connection"] = f"{spent / elapsed / max(sum(ends), 1):.3%} of a core"
    resident = sum(process.memory_info().rss for process in processes)
    figures["resident memory, for each node"] = f"{resident / len(places) / 2**20:.1f} MiB"


async def _gossip(places: dict[int, Worker], figures: dict[str, str]) -> None:
    """All hear a topic, and some publish a message of 300 bytes each second."""
    for number, place in places.items():
        await place.do("subscribe", number)
    await trio.sleep(MESH_S)
    publishers = sorted(places)[:: -(-len(places) // PUBLISHERS)]
    processes, published = _processes(places), 0
    spent, ends = _cpu_s(processes), time.monotonic() + GOSSIP_S
    while time.monotonic() < ends:
        for number in publishers:
            await places[number].do("publish", number)
            published += 1
            await trio.sleep(1 / len(publishers))
    await trio.sleep(2)
    spent = _cpu_s(processes) - spent
    ages: list[float] = []
    for number, place in places.items():
        ages += await place.do("heard", number)
    # One that publishes hears itself at once: that is no delivery.
    ages = sorted(ages)[published:] if len(ages) > published * (len(places) - 1) else sorted(ages)
    wanted = published * (len(places) - 1)
    figures["gossip of 300 B: messages delivered"] = f"{len(ages)} of {wanted}"
    if ages:
        p50, p95, p99 = (ages[int(share * (len(ages) - 1))] for share in (0.5, 0.95, 0.99))
        figures["gossip of 300 B: p50 / p95 / p99"] = f"{p50:.0f} / {p95:.0f} / {p99:.0f} ms"
        figures["CPU of one delivery, all told"] = f"{1000 * spent / len(ages):.2f} ms"


def _processes(places: dict[int, Worker]) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in {place.process.pid for place in places.values()}]


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _busy_s() -> float:
    """CPU that everybody on this machine has used."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


async def _rejoin(
    kind: str, nursery: trio.Nursery, places: dict[int, Worker], bootstraps: list[str], figures: dict[str, str]
) -> None:
    """One node comes back with its address book alone."""
    number = max(places)
    book = await places[number].do("addresses", number)
    title = "comes back with no bootstrap, finds a model after"
    if not book:
        figures[title] = "keeps no addresses"
        return
    async with worker(kind, nursery) as again:
        began = time.monotonic()
        await again.do("start", 190, bootstraps, book)
        found: list[str] = []
        with trio.move_on_after(LIVENESS_LIMIT_S):
            while not found:
                found = await again.do("find", 190, MODEL)
        figures[title] = f"{time.monotonic() - began:.1f} s" if found else "never"


async def _liveness(last: Worker, places: dict[int, Worker], figures: dict[str, str]) -> None:
    """A peer in a process of its own is stopped, and another killed; who works with them is to notice."""
    watcher = min(places)
    place = places[watcher]
    for title, stop in (("frozen peer noticed after", signal.SIGSTOP), ("killed peer noticed after", signal.SIGKILL)):
        number = 195 if stop is signal.SIGSTOP else 196
        await last.do("start", number, [await place.do("address", watcher)], [])
        await place.do("watch", watcher, number)
        await trio.sleep(2)
        if stop is signal.SIGSTOP:
            last.process.send_signal(signal.SIGSTOP)
        else:
            last.process.kill()
        began = time.monotonic()
        with trio.move_on_after(LIVENESS_LIMIT_S) as patience:
            while not await place.do("has_lost", watcher, number):
                await trio.sleep(0.02)
        figures[title] = (
            f"not within {LIVENESS_LIMIT_S:.0f} s" if patience.cancelled_caught else f"{time.monotonic() - began:.1f} s"
        )
        last.process.send_signal(signal.SIGCONT)
        await trio.sleep(2)


def main() -> None:
    """Measure both kinds, one after the other, and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--kinds", nargs="*", default=["ours", "stock"])
    chosen = parser.parse_args()
    print(
        f"{chosen.nodes} nodes in {chosen.processes} processes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    results = []
    for kind in chosen.kinds:
        results.append(trio.run(measure, kind, chosen.nodes, chosen.processes))
        print(f"{kind}: {results[-1]}", file=sys.stderr, flush=True)
    titles = list(dict.fromkeys(title for result in results for title in result))
    print(f"{'':<52}" + "".join(f"{kind:<34}" for kind in chosen.kinds))
    for title in titles:
        print(f"{title:<52}" + "".join(f"{result.get(title, '-'):<34}" for result in results))


if __name__ == "__main__":
    main()
