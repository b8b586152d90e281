"""What is done to whom in a chaos run, and when: drawn from a seed before anything starts."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Blow(StrEnum):
    """What is done to a process."""

    KILL = "kill -9"
    FREEZE = "freeze"


@dataclass(frozen=True)
class Target:
    """Something that may be struck, and with what."""

    name: str
    blows: tuple[Blow, ...]
    longest_s: float
    """How long it may be gone or stand still."""
    weight: int = 1


@dataclass(frozen=True)
class Strike:
    """One blow: when (s since the begin), at whom, and for how long (s)."""

    at: float
    target: str
    blow: Blow
    for_s: float


REST_S = 1.5
"""Between two blows at one target, since when it is back: short enough that a process may die while it starts."""
FIRST_S = 2.0
"""Before the first blow: something is under way then."""


def plan(seed: int, seconds: float, targets: Sequence[Target], pause_s: tuple[float, float]) -> tuple[Strike, ...]:
    """Draw the blows of a run; every target has its first ones, each kind, before any is drawn by weight.

    Args:
        seed: The same one gives the same plan.
        seconds: How long the run is; everybody is back by then.
        targets: Who may be struck.
        pause_s: Least and longest time between two blows (s).
    """
    drawn = random.Random(seed)
    first = [(target, blow) for target in targets for blow in target.blows]
    drawn.shuffle(first)
    strikes: list[Strike] = []
    back: dict[str, float] = {}
    at = FIRST_S
    while at < seconds:
        free = [target for target in targets if back.get(target.name, 0.0) <= at]
        target, blow = _next(first, free, drawn)
        for_s = round(min(drawn.uniform(0.0, target.longest_s), seconds - at), 2) if target is not None else 0.0
        if target is not None and blow is not None:
            strikes.append(Strike(round(at, 2), target.name, blow, for_s))
            back[target.name] = at + for_s + REST_S
        at += drawn.uniform(*pause_s)
    return tuple(strikes)


def _next(
    first: list[tuple[Target, Blow]], free: Sequence[Target], drawn: random.Random
) -> tuple[Target | None, Blow | None]:
    """Give whom to strike next, and how; nobody where all are down."""
    for number, (target, blow) in enumerate(first):
        if target in free:
            del first[number]
            return target, blow
    if not free:
        return None, None
    (target,) = drawn.choices(free, [one.weight for one in free])
    return target, drawn.choice(target.blows)


def counted(strikes: Sequence[Strike]) -> Mapping[str, int]:
    """Count blows by kind of process: what its name begins with."""
    counts: dict[str, int] = {}
    for strike in strikes:
        kind = f"{strike.target.partition('-')[0]} {strike.blow}"
        counts[kind] = counts.get(kind, 0) + 1
    return counts
