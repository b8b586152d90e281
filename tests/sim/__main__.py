"""``make sim``: run one scenario, with a progress bar, and tell what it was like."""

import argparse
import secrets
import sys
import time

from rich.progress import Progress

from tests.sim.adversaries import CHEATS
from tests.sim.invariants import Violation
from tests.sim.scenario import Run, Scenario
from tests.sim.shrink import explain


def arguments() -> argparse.Namespace:
    """Read the command line."""
    usual = Scenario()
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(2**32), help="of everything; fresh when not given"
    )
    parser.add_argument("--miners", type=int, default=usual.miners)
    parser.add_argument("--coordinators", type=int, default=usual.coordinators)
    parser.add_argument("--tasks", type=int, default=usual.tasks)
    parser.add_argument(
        "--load", type=float, default=usual.load, help="share of GPU time that the tasks take, 0.01 to 2"
    )
    parser.add_argument("--faults", type=int, default=usual.faults, help="how many go wrong on the way")
    parser.add_argument("--latency", type=latency, default=usual.latency_ms, help="one way (ms), as 10-75")
    parser.add_argument("--selfish", type=float, default=0, help="per cent of the miners that claim before their slots")
    parser.add_argument("--cheats", default="", help=f"as kind:number,kind:number; kinds: {', '.join(CHEATS)}")
    return parser.parse_args()


def latency(text: str) -> tuple[int, int]:
    """Read a span of latencies (ms)."""
    low, _, high = text.partition("-")
    if not 0 < int(low) <= int(high or low):
        raise ValueError(text)
    return int(low), int(high or low)


def selfish(percent: float, miners: int) -> tuple[str, ...]:
    """Give the cheats that so many per cent of the miners are."""
    number = round(miners * percent / 100)
    return (f"early:{number}",) if number else ()


def main() -> int:
    """Run and print."""
    asked = arguments()
    cheats = (tuple(asked.cheats.split(",")) if asked.cheats else ()) + selfish(asked.selfish, asked.miners)
    scenario = Scenario(
        asked.seed,
        asked.miners,
        asked.coordinators,
        asked.tasks,
        asked.load,
        asked.faults,
        cheats,
        latency_ms=asked.latency,
    )
    print(f"seed {scenario.seed}, {scenario.miners} miners, {scenario.coordinators} coordinators")
    begun = time.process_time()
    with Progress(transient=True) as progress:
        bar = progress.add_task("tasks ended", total=scenario.tasks)
        run = Run(scenario)
        try:
            run.go(lambda ended: progress.update(bar, completed=ended))
        except Violation as violation:
            broken = violation
        else:
            broken = None
    if broken is not None:
        print(f"broken: {broken}\nLooking for the fewest of {len(run.plan)} steps that break it ...", flush=True)
        print("\n".join(explain(scenario, run.plan)))
        return 1
    print("\n".join(run.summary.lines()))
    print(f"CPU time             {time.process_time() - begun:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
