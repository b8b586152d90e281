"""What is done to a network in one run, written down before it begins: so a run can be cut down and run again."""

import random
from dataclasses import dataclass
from typing import Final

FAULTS: Final = (
    "crash", "crash", "crash", "cut", "cut", "hang", "wrong", "cancel", "jail", "leave", "restore", "part", "slow",
    "lossy", "deaf", "fork", "reorganise", "clock", "loses_transactions",
)  # fmt: skip
"""Kinds of faults, the common ones more often."""
SUBMISSIONS: Final = ("submit", "submit_attached")
"""Steps that are no faults: with and without ``detached``."""
COORDINATOR_SHARE: Final = 0.3
"""Share of faults that strike coordinators, which are few."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done to a network."""

    at_ms: int
    """After the network has settled."""
    what: str
    who: str
    other: str = ""
    for_ms: int = 0
    amount: int = 0

    def __str__(self) -> str:
        """Tell it to a person."""
        rest = "".join(
            (f" {self.other}" if self.other else "", f" for {self.for_ms} ms" if self.for_ms else "",
             f" by {self.amount}" if self.amount else "")
        )  # fmt: skip
        return f"{self.at_ms:>7} ms  {self.what} {self.who}{rest}"


def submissions(tasks: int, coordinators: int, pause_ms: float, drawn: random.Random) -> tuple[Step, ...]:
    """Plan tasks at an even pace, each at a coordinator drawn; one in five without ``detached``."""
    return tuple(
        Step(
            round(number * pause_ms),
            SUBMISSIONS[drawn.random() >= 0.8],
            f"coordinator{drawn.randrange(coordinators)}",
            amount=number,
        )
        for number in range(tasks)
    )


def faults(number: int, *, miners: int, coordinators: int, span_ms: int, drawn: random.Random) -> tuple[Step, ...]:
    """Plan faults over a span of time, each ending by itself some seconds later."""
    return tuple(
        sorted((_fault(miners, coordinators, span_ms, drawn) for _ in range(number)), key=lambda one: one.at_ms)
    )


def _fault(miners: int, coordinators: int, span_ms: int, drawn: random.Random) -> Step:
    what, at_ms, for_ms = drawn.choice(FAULTS), drawn.randrange(span_ms), drawn.randrange(50, 8000)
    coordinator, miner = f"coordinator{drawn.randrange(coordinators)}", f"miner{drawn.randrange(miners)}"
    struck = coordinator if drawn.random() < COORDINATOR_SHARE else miner
    match what:
        case "cut":
            return Step(at_ms, what, coordinator, miner)
        case "hang" | "wrong" | "restore":
            return Step(at_ms, what, miner, for_ms=for_ms)
        case "part":
            return Step(at_ms, what, f"1 in {drawn.randrange(2, 5)}", for_ms=for_ms, amount=drawn.randrange(2**32))
        case "slow" | "lossy" | "loses_transactions":
            return Step(at_ms, what, "everybody", for_ms=for_ms, amount=drawn.randrange(2, 15))
        case "clock":
            return Step(at_ms, what, struck, amount=drawn.randrange(-1500, 1500))
        case "reorganise":
            return Step(at_ms, what, "everybody")
        case "cancel":
            return Step(at_ms, what, "any task", amount=drawn.randrange(2**32))
        case "leave" | "fork":
            return Step(at_ms, what, struck, for_ms=drawn.randrange(14_000, 30_000))
        case _:
            return Step(at_ms, what, struck, for_ms=for_ms)
