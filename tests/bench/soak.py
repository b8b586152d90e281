"""``make soak``: one coordinator for an hour among peers that come and go; its memory and descriptors must stay flat.

It runs in a process of its own, so that what it holds is its own. In another one eight miners gossip, work, send
artifacts and look each other up; one of them restarts every few seconds, strangers with ever new keys come for a
moment, and some send garbage. Prints a table and a verdict; draws both curves over time.
"""

import argparse
import contextlib
import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil
import trio

from node.adapters.libp2p.framing import STREAM_ERRORS
from protocol.effects import Lane
from protocol.stake.standing import Standing
from protocol.units import Digest, TaskId
from tests.support.adversary import adversary, varint
from tests.support.overlay import Overlay, Running, overlay, peer_of

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
KEY = "/cuckoo/1/devnet/model/pocket-emoji"
MESH = "/meshsub/1.1.0"
COORDINATOR = 1
MINERS = range(2, 10)
BEAT_S = 0.5
"""Between two rounds: a message of each miner, a frame to the coordinator and back, and one artifact of all."""
RESTART_S = 7.0
STRANGER_S = 2.0
LOOK_UP_S = 20.0
ARTIFACT_BYTES = 200_000
SAMPLE_S = 10.0
WARM_UP_SHARE = 0.33
"""Of the whole time, before memory counts: caches, tables and the allocator have their size then."""
FLAT_MIB_PER_HOUR = 8.0
"""Less growth is not told from noise in twenty minutes; 1,800 strangers come in an hour: a leak has some KiB each."""
MORE_DESCRIPTORS = 8


@dataclass(frozen=True)
class Sample:
    """What the coordinator held at a moment (s since the start)."""

    at: float
    mib: float
    descriptors: int


def main() -> None:
    """Run the soak, or be one of its two processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--plot", type=Path, default=Path("soak.png"))
    parser.add_argument("--be", choices=["coordinator", "others"])
    parser.add_argument("--address", help="where the coordinator is")
    chosen = parser.parse_args()
    if chosen.be == "coordinator":
        trio.run(be_coordinator)
    elif chosen.be == "others":
        trio.run(be_others, chosen.address)
    else:
        sys.exit(run(chosen.minutes * 60, chosen.plot))


def run(seconds: float, plot: Path) -> int:
    """Run both processes for so long; 1 when something grew or ended."""
    command = [sys.executable, "-m", "tests.bench.soak", "--be"]
    with subprocess.Popen([*command, "coordinator"], stdout=subprocess.PIPE, text=True) as coordinator:
        assert coordinator.stdout is not None
        address = coordinator.stdout.readline().strip()
        with subprocess.Popen([*command, "others", "--address", address], stdout=subprocess.PIPE, text=True) as others:
            try:
                samples = watch(coordinator, others, seconds)
            finally:
                others.terminate()
                coordinator.terminate()
                said = (others.stdout.read() if others.stdout else "").strip().splitlines()
    if said:
        print(said[-1])
    draw(samples, plot)
    return verdict(samples, seconds)


def watch(coordinator: "subprocess.Popen[str]", others: "subprocess.Popen[str]", seconds: float) -> list[Sample]:
    """Sample until the time is over or a process is."""
    process, began, samples = psutil.Process(coordinator.pid), time.monotonic(), list[Sample]()
    cpu = process.cpu_times().user
    while (now := time.monotonic() - began) < seconds and coordinator.poll() is None and others.poll() is None:
        samples.append(Sample(now, process.memory_info().rss / 2**20, process.num_fds()))
        if len(samples) % 6 == 1:
            share = (process.cpu_times().user - cpu) / max(now, 1)
            print(
                f"{now:6.0f} s {samples[-1].mib:7.1f} MiB {samples[-1].descriptors:4d} fds, cpu {share:.1%}", flush=True
            )
        time.sleep(SAMPLE_S)
    return samples


def verdict(samples: list[Sample], seconds: float) -> int:
    """Say whether it is flat."""
    if not samples or samples[-1].at < seconds - 3 * SAMPLE_S:
        print("a process ended before its time")
        return 1
    late = [sample for sample in samples if sample.at > WARM_UP_SHARE * seconds]
    slope = per_hour([sample.at for sample in late], [sample.mib for sample in late])
    half = len(late) // 2
    more = max(sample.descriptors for sample in late[half:]) - max(sample.descriptors for sample in late[:half])
    print(
        f"{seconds / 60:.0f} minutes: {late[0].mib:.1f} -> {late[-1].mib:.1f} MiB after the warm-up, "
        f"{slope:+.1f} MiB an hour; most descriptors {max(sample.descriptors for sample in late)}, {more:+d} later"
    )
    return int(slope > FLAT_MIB_PER_HOUR or more > MORE_DESCRIPTORS)


def per_hour(times: list[float], values: list[float]) -> float:
    """Slope of the straight line through the values, for an hour."""
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in times)
    return 3600 * sum((at - middle) * (value - mean) for at, value in zip(times, values, strict=True)) / max(spread, 1)


def draw(samples: list[Sample], path: Path) -> None:
    """Draw memory and descriptors over time."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, memory = plt.subplots(figsize=(9, 4))
    minutes = [sample.at / 60 for sample in samples]
    memory.plot(minutes, [sample.mib for sample in samples], color="tab:blue")
    memory.set(xlabel="minutes", ylabel="resident memory (MiB)", title="One coordinator among peers that come and go")
    memory.set_ylim(bottom=0)
    descriptors = memory.twinx()
    descriptors.plot(minutes, [sample.descriptors for sample in samples], color="tab:orange")
    descriptors.set_ylabel("file descriptors")
    descriptors.set_ylim(bottom=0)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    print(f"drawn in {path}")


def _forget(node: Running) -> None:
    """Empty what the test's own ends remember."""
    node.sink.events.clear()
    node.gate.judged.clear()
    node.gate.asked.clear()
    node.journal.notes.clear()
    node.record.publications.clear()


async def be_coordinator() -> None:
    """Serve whoever comes until terminated."""
    async with overlay() as place:
        for number in MINERS:
            place.standings[peer_of(number)] = Standing.MINER
        node = await place.start(COORDINATOR, Standing.COORDINATOR)
        node.transport.subscribe(TOPIC)
        print(node.address, flush=True)
        for number in count():
            await trio.sleep(BEAT_S)
            node.transport.publish(TOPIC, b"offer %d" % number)
            for miner in MINERS:
                if peer_of(miner) in {str(peer) for peer in _working(node)}:
                    node.transport.send(peer_of(miner), b"award %d" % number, Lane.PRIORITY)
            _forget(node)


def _working(node: Running) -> list[str]:
    parts = node.transport._parts
    return [] if parts is None else list(parts.work._current)


async def be_others(address: str) -> None:
    """Be all the others."""
    async with overlay() as place, trio.open_nursery() as nursery:
        place.standings[peer_of(COORDINATOR)] = Standing.COORDINATOR
        miners = {number: await _join(place, number, address) for number in MINERS}
        nursery.start_soon(_beat, miners)
        nursery.start_soon(_restart, place, miners, address)
        nursery.start_soon(_strangers, address)
        nursery.start_soon(_look_up, miners)
        parent = os.getppid()
        while os.getppid() == parent:
            await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def _join(place: Overlay, number: int, address: str) -> Running:
    node = await place.start(number, Standing.MINER, [address])
    node.transport.subscribe(TOPIC)
    node.transport.provide(KEY)
    node.transport.open_stream(peer_of(COORDINATOR))
    return node


async def _beat(miners: dict[int, Running]) -> None:
    artifact = os.urandom(ARTIFACT_BYTES)
    digest = Digest(hashlib.sha256(artifact).digest())
    for number in count():
        await trio.sleep(BEAT_S)
        for miner in list(miners.values()):
            miner.transport.publish(TOPIC, b"bulletin %d" % number)
            miner.transport.send(peer_of(COORDINATOR), b"claim %d" % number, Lane.NORMAL)
            if not _working(miner):
                miner.transport.open_stream(peer_of(COORDINATOR))
            _forget(miner)
        sender = miners[MINERS[number % len(MINERS)]]
        task = TaskId(number.to_bytes(32, "big"))
        sender.transport.send_artifact(peer_of(COORDINATOR), task, 0, digest, artifact)


async def _restart(place: Overlay, miners: dict[int, Running], address: str) -> None:
    for turn in count():
        await trio.sleep(RESTART_S)
        number = MINERS[turn % len(MINERS)]
        await miners[number].close()
        miners[number] = await _join(place, number, address)


@dataclass(frozen=True)
class _Victim:
    """Where an adversary knocks."""

    id: str
    address: str


async def _strangers(address: str) -> None:
    for number in count(100_000):
        await trio.sleep(STRANGER_S)
        victim = _Victim(address.rpartition("/")[2], address)
        try:
            async with adversary(victim, number) as enemy:  # type: ignore[arg-type]
                await trio.sleep(0.3)
                if number % 3 == 0:
                    await enemy.say(MESH, varint(64) + b"\xff" * 64)
        except* (*STREAM_ERRORS, trio.TooSlowError):
            pass


async def _look_up(miners: dict[int, Running]) -> None:
    while True:
        await trio.sleep(LOOK_UP_S)
        with contextlib.suppress(KeyError):
            miners[MINERS[0]].transport.find_providers(KEY)


if __name__ == "__main__":
    main()
