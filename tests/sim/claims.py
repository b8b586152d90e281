"""``make sim-claims``: how many claims a task costs, by size of the network, load, latency and selfish miners.

The network's numbers are mainnet's throughout (δ 150 ms, A 300 ms), so that longer latencies show how they adapt.
Counted are the tasks that come once the network has as much work as the load says. Three numbers of claims: of honest
miners, for which the budget is; of all that were answered, early ones of selfish miners with them; and of all that
came, with those that paused miners send in vain and coordinators leave unread.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.sim.__main__ import latency, selfish
from tests.sim.scenario import Run, Scenario
from tests.sim.summary import percentile

BUDGET = 2.2
"""Claims per task, in the mean."""
EXPECTED_MS = 75
"""Longest latency that mainnet's numbers are chosen for."""
JOBS_BEFORE = 2
"""Times of a picture after which the network is as busy as it will be."""
COUNTED = 600
"""Tasks that are counted at least."""


@dataclass(frozen=True)
class Costs:
    """What tasks cost in one run."""

    counted: int
    honest: float
    answered: float
    all: float
    most: int
    """Most claims of honest miners for one of the counted tasks."""
    most_before: int
    """The same of those before, while coordinators have not measured the latencies yet."""
    drawn_first: float
    awarded_ms: tuple[int, int]
    """p50 and p95 from acceptance to award."""

    def __str__(self) -> str:
        """Give one line of the table."""
        p50, p95 = self.awarded_ms
        numbers = f"{self.honest:>7.2f} {self.answered:>9.2f} {self.all:>6.2f} {self.most_before:>6} {self.most:>4}"
        return f"{self.counted:>6} {numbers} {self.drawn_first:>11.0%} {p50:>7} {p95:>7}"


def scenario(
    miners: int,
    load: float,
    latency_ms: tuple[int, int],
    selfish_percent: float,
    *,
    seed: int = 1,
    counted: int = COUNTED,
) -> Scenario:
    """Describe a run that counts so many tasks after its warm-up."""
    plain = Scenario(seed, miners, load=load, latency_ms=latency_ms, expected_ms=EXPECTED_MS)
    before = round(JOBS_BEFORE * plain.job_ms / plain.pause_ms)
    return Scenario(
        seed,
        miners,
        tasks=before + counted,
        load=load,
        cheats=selfish(selfish_percent, miners),
        latency_ms=latency_ms,
        expected_ms=EXPECTED_MS,
    )


def measure(described: Scenario) -> Costs:
    """Run it, with every promise checked as it goes."""
    summary = Run(described).go()
    since = min(summary.accepted_at.values()) + JOBS_BEFORE * described.job_ms
    early, counted = (
        {task for task, at in summary.accepted_at.items() if (at < since) is is_early} for is_early in (True, False)
    )
    return Costs(
        counted=sum(at >= since for at in summary.accepted_at.values()),
        honest=summary.claims_per_task(summary.claims, since=since),
        answered=summary.claims_per_task(summary.claims, summary.claims_of_cheats, since=since),
        all=summary.claims_per_task(summary.claims, summary.claims_of_cheats, summary.claims_unanswered, since=since),
        most=max((summary.claims[task] for task in counted), default=0),
        most_before=max((summary.claims[task] for task in early), default=0),
        drawn_first=sum(rank == 0 for rank in summary.ranks) / len(summary.ranks),
        awarded_ms=(percentile(summary.awaited_ms, 0.5), percentile(summary.awaited_ms, 0.95)),
    )


def rows(chosen: argparse.Namespace) -> Iterator[Scenario]:
    """Give the runs of the table."""
    for miners in chosen.miners:
        for span in chosen.latency:
            for percent in chosen.selfish:
                for load in chosen.load:
                    yield scenario(miners, load, span, percent, seed=chosen.seed, counted=chosen.tasks)


def main() -> None:
    """Print the table, a line as soon as its run is over."""
    parser = argparse.ArgumentParser(prog="make sim-claims", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--miners", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--load", type=float, nargs="+", default=[0.1, 0.5, 0.9], help="share of all GPU time")
    parser.add_argument("--latency", type=latency, nargs="+", default=[(10, 75), (100, 300)], help="one way (ms)")
    parser.add_argument("--selfish", type=float, nargs="+", default=[0, 10], help="per cent that claim early")
    parser.add_argument("--tasks", type=int, default=COUNTED, help="counted in each run")
    chosen = parser.parse_args()
    print(f"claims per task, budget {BUDGET}; award after (ms)")
    print("miners load latency early  tasks  honest  answered    all before most drawn first     p50     p95  CPU s")
    for described in rows(chosen):
        begun = time.process_time()
        costs = measure(described)
        low, high = described.latency_ms
        early = described.cheats[0].rpartition(":")[2] if described.cheats else "0"
        name = f"{described.miners:>6} {described.load:>4} {f'{low}-{high}':>7} {early:>5}"
        print(f"{name} {costs} {time.process_time() - begun:>6.0f}", flush=True)


if __name__ == "__main__":
    main()
