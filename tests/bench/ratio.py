"""``make ratio``: pictures/s through the whole network ÷ a bare diffusers loop, with the embedded model on a CPU.

A coordinator, one miner and its engine, a bootstrap and the chain as processes, asked over HTTP with a few tasks in
flight; the loop in a process of its own. One thread each draws: with more, two would be compared that wait for each
other in other ways. Both in turns, because the machine may have other work: then the times are the others' too, and the
CPU of the engine for a picture, against the loop's, is what to go by.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import trio

from node.child_environment import child_environment
from node.devnet import Devnet, devnet
from node.devnet_plan import DevnetOptions
from tests.bench.client import Client

IN_FLIGHT = 3
"""One drawn, one at the miner, one that crosses the network."""
GOAL = 0.95
THREADS = 1
"""Of the engine and of the loop."""

Round = tuple[int, float, float]
"""Pictures, seconds, seconds of CPU of whoever draws."""


def main() -> None:
    """Run both and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=5, help="of each of both")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(run, chosen.seconds, chosen.rounds, Path(folder) / "net")


async def run(seconds: float, rounds: int, folder: Path) -> None:
    """Alternate between the loop and the network."""
    options = DevnetOptions(miners=1, port=0, data=folder, threads=THREADS)
    async with devnet(options, lambda _: None) as network:
        command = [sys.executable, "-W", "ignore", "-m", "tests.bench.bare_loop"]
        same = child_environment(THREADS, os.environ)  # as our engine's
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=same) as loop:
            assert loop.stdin is not None
            assert loop.stdout is not None
            await trio.to_thread.run_sync(loop.stdout.readline)
            engine = engine_of(network)
            await through_network(network, engine, 2.0)
            print(f"{os.cpu_count()} cores, others' load and ours {os.getloadavg()[0]:.1f}; rounds of {seconds:g} s")
            print("           pictures/s: loop network ratio   CPU s a picture: loop engine ratio")
            ratios: list[tuple[float, float]] = []
            for number in range(1, rounds + 1):
                loop.stdin.write(f"{seconds}\n")
                loop.stdin.flush()
                bare: Round = tuple(json.loads(await trio.to_thread.run_sync(loop.stdout.readline)))
                ours = await through_network(network, engine, seconds)
                rates, cpus = (bare[0] / bare[1], ours[0] / ours[1]), (bare[2] / bare[0], ours[2] / ours[0])
                ratios.append((rates[1] / rates[0], cpus[0] / cpus[1]))
                print(
                    f"  round {number}              {rates[0]:5.2f}   {rates[1]:5.2f} {ratios[-1][0]:5.3f}"
                    f"                    {cpus[0]:5.3f}  {cpus[1]:5.3f} {ratios[-1][1]:5.3f}",
                    flush=True,
                )
            loop.stdin.close()
        wall, cpu = (statistics.median(one[place] for one in ratios) for place in (0, 1))
        print(f"median: {wall:.3f} by time, {cpu:.3f} by CPU of who draws; goal {GOAL}")


def engine_of(network: Devnet) -> psutil.Process:
    """Find the child of the miner that holds the model."""
    miner = next(member for member in network.members if member.role == "miner")
    assert miner.child is not None
    children = psutil.Process(miner.child.pid).children(recursive=True)
    return next(child for child in children if "node.adapters.engine.child" in child.cmdline())


async def through_network(network: Devnet, engine: psutil.Process, seconds: float) -> Round:
    """Keep some tasks in flight for so long, and count what is delivered."""
    clients = [await Client.open(network.api_urls[0], f"127.0.0.{number + 2}") for number in range(IN_FLIGHT)]
    done, begin = 0, time.perf_counter()
    before = engine.cpu_times()

    async def ask(client: Client) -> None:
        nonlocal done
        while time.perf_counter() - begin < seconds:
            await client.picture()
            done += 1

    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(ask, client)
    # The last tasks end one after another with nothing behind them: no more is begun, but all of it is counted.
    took, after = time.perf_counter() - begin, engine.cpu_times()
    for client in clients:
        await client.close()
    return done, took, after.user + after.system - before.user - before.system


if __name__ == "__main__":
    main()
