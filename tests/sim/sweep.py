"""``make sim-sweep``: many seeds on all cores; each that breaks a promise is named with the command that shows it."""

import argparse
import os
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from typing import Final

from rich.progress import Progress

from tests.sim.adversaries import CHEATS
from tests.sim.invariants import Violation
from tests.sim.scenario import Run, Scenario

ALL_FAULTS: Final = Scenario(miners=50, coordinators=4, tasks=80, faults=60)
"""Every kind of fault about three times, most of them at once with others."""
ALL_CHEATS: Final = Scenario(
    miners=50,
    coordinators=10,
    tasks=80,
    cheats=tuple(f"{name}:{1 if kind.role == 'coordinator' else 2}" for name, kind in CHEATS.items()),
)
"""Every kind of adversary at once: as many coordinators are honest as not, and most of the miners."""


def outcome(scenario: Scenario) -> str:
    """Run one scenario; tell what it breaks, empty when that is nothing."""
    try:
        Run(scenario).go()
    except Violation as violation:
        return str(violation)
    except Exception as error:  # whatever a core raises is what a sweep looks for
        return f"{type(error).__name__}: {error}"
    return ""


def sweep(scenarios: list[Scenario], processes: int) -> Iterator[tuple[Scenario, str]]:
    """Run scenarios side by side; give each as it ends, with what it breaks."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        running = {pool.submit(outcome, scenario): scenario for scenario in scenarios}
        for future in as_completed(running):
            yield running[future], future.result()


def command(scenario: Scenario) -> str:
    """Give the command that runs a scenario again."""
    named = f"make sim SEED={scenario.seed} MINERS={scenario.miners} COORDINATORS={scenario.coordinators}"
    cheats = f" CHEATS={','.join(scenario.cheats)}" if scenario.cheats else ""
    return f"{named} TASKS={scenario.tasks} LOAD={scenario.load} FAULTS={scenario.faults}{cheats}"


def main() -> int:
    """Sweep and tell; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="make sim-sweep", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many, for faults and again for cheats")
    parser.add_argument("--first", type=int, default=secrets.randbelow(2**32), help="seed; fresh when not given")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    broken = 0
    for what, usual in (("faults", ALL_FAULTS), ("cheats", ALL_CHEATS)):
        scenarios = [replace(usual, seed=asked.first + number) for number in range(asked.seeds)]
        failing = 0
        with Progress(transient=True) as progress:
            bar = progress.add_task(f"seeds with {what}", total=len(scenarios))
            for scenario, promise in sweep(scenarios, asked.processes):
                progress.advance(bar)
                if promise:
                    failing += 1
                    progress.console.print(f"{command(scenario)}\n    {promise}", soft_wrap=True, highlight=False)
        last = asked.first + asked.seeds - 1
        print(f"all {what:6}  seeds {asked.first} to {last}, {usual.miners} miners: {failing} of {asked.seeds} failed")
        broken += failing
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
