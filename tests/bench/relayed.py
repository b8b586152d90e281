"""What a relay costs: latency, throughput and CPU of a work stream directly and through one, in three processes here.

python -m tests.bench.relayed
"""

import hashlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import psutil
import trio

from node.adapters.libp2p import RelayLimits
from protocol.effects import Lane
from protocol.events import ArtifactReceived, StreamReceived
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import Digest, TaskId
from tests.support.overlay import Running, overlay, peer_of, until

RELAY: Final = 1
FAR: Final = 2
NEAR: Final = 3
PINGS: Final = 500
ARTIFACTS: Final = 20
ARTIFACT: Final = os.urandom(1_500_000)
ROOT: Final = Path(__file__).parents[2]


def _standings() -> dict[int, Standing]:
    return {RELAY: Standing.BOOTSTRAP, FAR: Standing.COORDINATOR, NEAR: Standing.MINER}


async def _serve(number: int, relay: str | None) -> None:
    """Run the relay, or the far end: it echoes frames, and says so when an artifact is there."""
    async with overlay() as place:
        place.standings.update({peer_of(each): standing for each, standing in _standings().items()})
        relays = [relay] if relay else []
        service = RelayLimits() if number == RELAY else None
        node = await place.start(number, _standings()[number], relays, relays=relays, service=service)
        if relay:
            await until(lambda: node.journal.of(NoteName.RELAY_HELD), "a reservation")
        print(node.address, flush=True)
        while True:
            events, node.sink.events[:] = list(node.sink.events), []
            for event in events:
                if isinstance(event, StreamReceived):
                    node.transport.send(event.peer, event.data, Lane.PRIORITY)
                elif isinstance(event, ArtifactReceived):
                    node.transport.send(event.peer, b"there", Lane.PRIORITY)
            await trio.sleep(0)
            if not events:
                await trio.sleep(0.0002)


async def _answer(node: Running) -> None:
    """Wait for one frame."""
    with trio.fail_after(30):
        while not node.sink.of(StreamReceived):
            await trio.sleep(0.0002)
    node.sink.events.clear()


async def _measure(address: str, processes: dict[str, psutil.Process]) -> str:
    """Ping and send artifacts to the far end under this address; gives a row of a table."""
    async with overlay() as place:
        place.standings.update({peer_of(each): standing for each, standing in _standings().items()})
        node = await place.start(NEAR, Standing.MINER, book=[address])
        await trio.sleep(1)
        node.transport.open_stream(peer_of(FAR))
        await until(lambda: [e for e in node.sink.events if type(e).__name__ == "StreamOpened"], "the stream")
        node.sink.events.clear()
        times = []
        for _ in range(PINGS):
            began = time.perf_counter()
            node.transport.send(peer_of(FAR), b"x" * 100, Lane.PRIORITY)
            await _answer(node)
            times.append((time.perf_counter() - began) * 1000)
        before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
        digest = Digest(hashlib.sha256(ARTIFACT).digest())
        took = []
        for number in range(ARTIFACTS):
            began = time.perf_counter()
            node.transport.send_artifact(peer_of(FAR), TaskId(number.to_bytes(32, "big")), 0, digest, ARTIFACT)
            await _answer(node)
            took.append((time.perf_counter() - began) * 1000)
        spent = {
            name: (sum(process.cpu_times()[:2]) - before[name]) * 1000 / ARTIFACTS
            for name, process in processes.items()
        }
        p50, p95 = statistics.median(times), sorted(times)[int(PINGS * 0.95)]
        artifact = statistics.median(took)
        cpu = ", ".join(f"{name} {each:.1f}" for name, each in spent.items())
        return f"{p50:.2f} / {p95:.2f} ms | {artifact:.0f} ms ({len(ARTIFACT) / artifact / 1000:.0f} MB/s) | {cpu}"


def _start(number: int, *arguments: str) -> tuple["subprocess.Popen[str]", str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.relayed", str(number), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def main() -> None:
    """Print the table."""
    relay, relay_address = _start(RELAY)
    direct, direct_address = _start(FAR)
    hidden: subprocess.Popen[str] | None = None
    try:
        own = psutil.Process()
        print("| way | ping p50 / p95 | artifact of 1.5 MB, p50 | CPU ms per artifact |\n|---|---|---|---|")
        print("| direct |", trio.run(_measure, direct_address, {"near": own, "far": psutil.Process(direct.pid)}), "|")
        direct.kill()
        hidden, hidden_address = _start(FAR, relay_address)
        processes = {"near": own, "far": psutil.Process(hidden.pid), "relay": psutil.Process(relay.pid)}
        print("| relay |", trio.run(_measure, hidden_address, processes), "|")
    finally:
        for process in (relay, direct, hidden):
            if process is not None:
                process.kill()
                process.wait()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        trio.run(_serve, int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
    else:
        main()
