"""``make bench-submit``: orders a second over the overlay, beside HTTP in the same network.

The client shares the machine, and its own part is larger here: Noise and libp2p in Python, where that of HTTP writes
bytes to a socket. So the ratio says what an app sees that is written in Python, and the CPU of the coordinator what it
costs.
"""

import argparse
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from node.apps.app_client import OrderFailed, open_client, order_of
from node.devnet import Devnet, devnet
from node.devnet_plan import DevnetOptions
from tests.bench.client import Client
from tests.bench.cost import CpuMeter, cpu_line
from tests.bench.hops import marks

MINERS = 8
WARM_UP = 20
Draw = Callable[[], Awaitable[object]]


async def measure(network: Devnet, name: str, in_flight: int, seconds: float, draw: Callable[[], Draw]) -> None:
    """Have so many pictures drawn at once, for so long, and say how that went."""
    took: list[float] = []
    failures: list[str] = []
    end = time.time() + seconds

    async def caller() -> None:
        ask = draw()
        while time.time() < end:
            begun = time.time()
            try:
                await ask()
            except (OrderFailed, RuntimeError) as error:
                failures.append(str(error))
                return
            took.append(1000 * (time.time() - begun))

    cpu, begun = CpuMeter(network), time.time()
    async with trio.open_nursery() as nursery:
        for _ in range(in_flight):
            nursery.start_soon(caller)
    elapsed, spent = time.time() - begun, cpu.spent()
    half, most = marks(took)
    failed = f"; {len(failures)} failed, the first by {failures[0]}" if failures else ""
    print(f"\n{name}, {in_flight} in flight: {len(took) / elapsed:.0f} tasks/s{failed}")
    print(f"  p50 {half:.1f} ms, p95 {most:.1f} ms; CPU for each task")
    print(cpu_line(spent, len(took)), flush=True)


async def run(in_flight: list[int], seconds: float, folder: Path) -> None:
    """Measure both ways in one network, in turn."""
    options = DevnetOptions(miners=MINERS, engine="instant", port=0, data=folder)
    async with devnet(options, lambda _: None) as network:
        entry = network.members[0].readiness
        assert entry is not None
        async with open_client(tuple(entry.addresses), network="devnet") as app:

            def over_http() -> Draw:
                kept: list[Client] = []

                async def ask() -> None:
                    if not kept:
                        kept.append(await Client.open(network.api_urls[0], "127.0.0.1"))
                    await kept[0].picture()

                return ask

            def over_overlay() -> Draw:
                return lambda: app.draw(order_of("a red heart"))

            for _ in range(WARM_UP):
                await over_overlay()()
                await over_http()()
            for count in in_flight:
                await measure(network, "HTTP", count, seconds, over_http)
                await measure(network, "overlay", count, seconds, over_overlay)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in-flight", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=8.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        trio.run(run, chosen.in_flight, chosen.seconds, Path(data) / "net")
