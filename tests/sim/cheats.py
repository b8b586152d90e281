"""``make sim-cheats``: what each way to cheat is expected to bring, by formula and by simulation.

The tables of tests/bench/AUDITS.md. One miner works for one coordinator at an even pace, honestly until it is well
known, and cheats from then on, in each task or in one of ten; its tasks are sampled, drawn again and judged by the code
that coordinators run (``sampling``, ``reputation``, ``recheck``). Whoever draws again is a friend of it with the chance
that friends have of all stake, and then delivers the same. Where pictures agree, steps are opened, made up as well as
is known. Gains and losses are in prices of a task.
"""

import argparse
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from math import exp2
from statistics import fmean
from typing import Final

from protocol.roles.coordinator.reputation import GRAVE, LEFT_OUT_AT, SLIGHT, Reputation
from protocol.roles.coordinator.sampling import LATE_QUESTIONS, QUESTIONS, RecheckPolicy
from protocol.roles.opinions import HALF_LIFE_MS
from protocol.task.distance import ANOTHER_PICTURE, OTHER_NUMERICS, RE_ENCODED, SAME_NUMERICS
from protocol.task.recheck import judge_drawings
from protocol.units import DAY_MS, StakingId, UnixMillis

MINER: Final = StakingId(1)
COST: Final = 0.5
"""Share of a price that a miner's electricity and wear take; the rest is what it loses while it is left out."""
WELL_KNOWN_DAYS: Final = 21
"""For so long it works honestly: three half-lives."""
PATIENCE_DAYS: Final = 120
"""After so long a simulated cheat that is not found out is let go."""
LIMITS: Final = {
    "same": SAME_NUMERICS,
    "same, lossy": RE_ENCODED,
    "16 bits": OTHER_NUMERICS,
    "16 bits, lossy": RE_ENCODED,
}
"""Limits by what numbers and files are; see SPEC.md §12.6."""
PLACE_OF: Final = {SAME_NUMERICS: 0, OTHER_NUMERICS: 1, RE_ENCODED: 2}
"""Of each limit among those of SPEC.md §12.6."""


@dataclass(frozen=True, slots=True)
class Cheat:
    """One way to save work."""

    name: str
    saving: float
    """Share of a task's work that is not done."""
    beyond: tuple[float, float, float, float]
    """Shares of its pictures beyond the four limits of SPEC.md §12.6, as tests/bench/DISTANCE.md measured them."""
    steps: tuple[float, float] = field(default=(1.0, 1.0), repr=False)  # not in what seeds are made of
    """Shares of its pictures whose steps lie beyond the limits of SPEC.md §12.7, same numerics and others, likewise."""
    shows_steps: bool = field(default=True, repr=False)
    """Whether it shows steps when it is asked to; else it says that it kept none, which counts as slightly off."""
    friends: float = 0.0
    """Share of stake of friends who deliver the same."""
    one_in: int = 1
    """One task in so many is a cheated one."""
    alone: bool = field(default=False, repr=False)
    """Whether nobody else draws in the class of arithmetic that it names: nothing is more than slightly off then."""

    @property
    def gravest(self) -> float:
        """What weighs against it where its picture shows something else."""
        return SLIGHT if self.alone else GRAVE

    def by_picture(self, kind: str) -> float:
        """Give the chance that two honest drawings tell its picture from theirs."""
        return self.beyond[PLACE_OF[LIMITS[kind]]]

    def detected(self, kind: str) -> float:
        """Give the chance that they tell its picture or its steps.

        Of who shows steps, what a picture is slightly off by counts no more: steps tell whether arithmetic did it.
        """
        if not self.shows_steps:
            return 1.0
        return max(self.beyond[3], self.steps[0 if kind.startswith("same") else 1])

    def apart(self, kind: str, drawn: random.Random) -> int:
        """Draw how far its picture lies from an honest one."""
        place = drawn.random()
        if place < self.beyond[3]:
            return ANOTHER_PICTURE + 1
        return LIMITS[kind] + 1 if place < self.detected(kind) else 0


SURE: Final = (1.0, 1.0, 1.0, 1.0)
CHEATS: Final = (
    Cheat("returns noise", 1.0, SURE),
    Cheat("one cached picture", 1.0, SURE),
    Cheat("wrong model, a quarter of the work", 0.75, SURE),
    Cheat("19 of 20 steps", 0.05, (1.0, 0.0, 0.0, 0.0), (1.0, 0.0)),
    Cheat("18 of 20 steps", 0.10, (1.0, 0.0, 0.0, 0.0), (1.0, 0.0)),
    Cheat("16 of 20 steps", 0.20, (1.0, 0.0, 0.0, 0.0), (1.0, 0.0)),
    Cheat("13 of 20 steps", 0.35, (1.0, 0.30, 0.15, 0.10), (1.0, 0.14)),
    Cheat("half the steps", 0.47, (1.0, 0.95, 0.55, 0.20), (1.0, 0.93)),
    Cheat("half the steps, shows none", 0.47, (1.0, 0.95, 0.55, 0.20), shows_steps=False),
    Cheat("DPM++ with 13 of 20 steps", 0.35, (1.0, 0.70, 0.70, 0.60), (1.0, 0.0)),
    Cheat("half the edge, scaled up", 0.75, (1.0, 1.0, 0.98, 0.0)),
    Cheat("3/4 of the edge, scaled up", 0.44, (1.0, 1.0, 0.07, 0.0)),
    Cheat("3/4 of the edge, shows no steps", 0.44, (1.0, 1.0, 0.07, 0.0), shows_steps=False),
    Cheat("noise, in one task of ten", 1.0, SURE, one_in=10),
    Cheat("noise, names a class of its own", 1.0, SURE, alone=True),
    Cheat("noise, friends have 10 %", 1.0, SURE, friends=0.10),
    Cheat("noise, friends have 30 %", 1.0, SURE, friends=0.30),
)
"""What is shown. Pictures of fewer steps were measured of 15, steps of 20: the nearest share of both is taken."""
TIPPED: Final = Cheat("honest, of other numbers, of much guidance", 0.0, (1.0, 0.5, 0.3, 0.03), (0.0, 0.0), alone=True)
"""What DISTANCE.md saw between bf16 and fp32 at a guidance of 7.5, of a miner whose arithmetic nobody shares."""
MUTE: Final = replace(TIPPED, name="the same, showing no steps", shows_steps=False)
HALF: Final = Cheat("half the steps", 0.47, (1.0, 0.95, 0.55, 0.0), (1.0, 0.93))
"""Of whom nothing is something else, so that it is asked for steps whenever it is drawn again."""
PACES: Final = (10, 200)
"""Tasks a day that a miner gets from one coordinator: a few, and as many as keep a small GPU busy for an hour."""
SHARES: Final = (0.005, 0.01, 0.02, 0.05, 0.1)
SHOWN_BY_SHARE: Final = (
    ("returns noise", "16 bits"),
    ("half the steps", "16 bits"),
    ("half the steps", "16 bits, lossy"),
    ("18 of 20 steps", "16 bits"),
    ("noise, in one task of ten", "16 bits"),
    ("noise, friends have 30 %", "16 bits"),
)


def steady_chance(policy: RecheckPolicy, pace: float) -> float:
    """Give the chance of a recheck that an honest miner of this pace (tasks a day) comes to in the long run.

    What it passes a day then is what fades a day.
    """
    low, high = 0.0, 8.0
    for _ in range(60):
        passed = (low + high) / 2
        gained, faded = pace * policy.chance(passed, 0), passed * (1 - exp2(-DAY_MS / HALF_LIFE_MS))
        low, high = (passed, high) if gained > faded else (low, passed)
    return policy.chance(low, 0)


def formula(cheat: Cheat, kind: str, policy: RecheckPolicy, pace: float) -> tuple[float, float, float]:
    """Give (cheated tasks until it is left out, gain, loss), the latter in prices for each cheated task.

    A recheck counts where its second drawing is no friend's; from then on as many count as for a newcomer. That three
    must agree, that friends may be among these, and that passed rechecks take doubt away, is left to the simulation.
    """
    found = cheat.detected(kind) * (1 - cheat.friends)
    if not found:
        return float("inf"), COST * cheat.saving, 0.0
    grave = cheat.beyond[3] / cheat.detected(kind)
    weight = grave * cheat.gravest + (1 - grave) * SLIGHT
    more = max(-(-LEFT_OUT_AT // weight) - 1, 0)
    cheated = 1 / (steady_chance(policy, pace) * found) + more / (policy.newcomer_share * found)
    lost = policy.pause / DAY_MS * pace * (1 - COST)
    return cheated, COST * cheat.saving, lost / cheated


def simulated(
    cheat: Cheat, kind: str, policy: RecheckPolicy, pace: float, trials: int, seed: int
) -> tuple[float, float, float, int]:
    """Give (cheated tasks until it is left out, gain, loss for each, honest ones left out), over so many trials."""
    drawn = random.Random(f"{seed} {cheat} {kind} {pace}")
    runs = [_run(cheat, kind, policy, pace, drawn) for _ in range(trials)]
    cheated = fmean(run[0] for run in runs)
    lost = fmean(run[1] for run in runs) * policy.pause / DAY_MS * pace * (1 - COST)
    return cheated, COST * cheat.saving, lost / cheated, sum(run[2] for run in runs)


def _run(cheat: Cheat, kind: str, policy: RecheckPolicy, pace: float, drawn: random.Random) -> tuple[int, bool, int]:
    """Play one miner: (tasks cheated, whether it was left out, how many honest ones were)."""
    known, cheated, honest_left_out = Reputation(), 0, 0
    others = iter(_others())
    for moment in _moments(pace):
        is_bad = moment >= WELL_KNOWN_DAYS * DAY_MS and drawn.random() * cheat.one_in < 1
        cheated += is_bad
        account = known.of(MINER, moment)
        if drawn.random() >= policy.chance(account.passed, account.doubt):
            continue
        odd, far = _judged(cheat, kind, drawn) if is_bad else (None, False)
        if odd is None:
            known.passed_recheck(MINER, moment)
        elif odd:
            honest_left_out += known.was_odd(next(others), moment, GRAVE if far else SLIGHT)
        elif known.was_odd(MINER, moment, cheat.gravest if far else SLIGHT):
            return cheated, True, honest_left_out
    return cheated, False, honest_left_out


def careful(rest: int, questions: float, pace: float, trials: int) -> tuple[int, float]:
    """Play miners that take half the steps until others seem to have contradicted it, and all of them for a while then.

    Args:
        rest: For how many tasks.
        questions: Share of tasks that nobody draws again and of whose steps some are asked for as where others did.
        pace: Tasks a day.
        trials: How many.

    Returns:
        How many were left out, and the share of tasks in which they cheated.
    """
    cheat, policy, left_out, tasks, cheated = HALF, RecheckPolicy(), 0, 0, 0
    for trial in range(trials):
        drawn, known, pause = random.Random(f"{trial} {rest} {questions} {pace}"), Reputation(), 0
        for moment in _moments(pace):
            is_bad = moment >= WELL_KNOWN_DAYS * DAY_MS and not pause
            tasks, cheated, pause = tasks + (is_bad or pause > 0), cheated + is_bad, max(pause - 1, 0)
            account, lot = known.of(MINER, moment), drawn.random()
            chance = policy.chance(account.passed, account.doubt)
            odd, _ = _judged(cheat, "16 bits", drawn) if is_bad and lot < chance else (None, False)
            if lot < chance and odd is None:
                known.passed_recheck(MINER, moment)
            elif lot < chance and not odd and known.was_odd(MINER, moment, SLIGHT):
                left_out += 1
                break
            pause = rest if is_bad and lot < chance + questions else pause
    return left_out, cheated / tasks


def _moments(pace: float) -> Iterator[UnixMillis]:
    """Give when it delivers."""
    for task in range(int(pace * (WELL_KNOWN_DAYS + PATIENCE_DAYS))):
        yield UnixMillis(int(task * DAY_MS / pace))


def _others() -> Iterator[StakingId]:
    """Give honest miners: one of a hundred in turn."""
    while True:
        yield from map(StakingId, range(2, 102))


def _judged(cheat: Cheat, kind: str, drawn: random.Random) -> tuple[bool | None, bool]:
    """Draw a cheated task again until it is judged.

    Returns:
        Whether the odd one is an honest one, None where nobody is, and whether it is far off.
    """
    apart = cheat.apart(kind, drawn)
    is_honest, verdict = [False], None
    while verdict is None or not verdict.is_over:
        is_honest.append(drawn.random() >= cheat.friends)
        pairs = list(combinations(range(len(is_honest)), 2))
        distances = {pair: apart if is_honest[pair[0]] != is_honest[pair[1]] else 0 for pair in pairs}
        verdict = judge_drawings(len(is_honest), distances, dict.fromkeys(pairs, LIMITS[kind]), is_last=False)
    odd = verdict.far_off | verdict.slightly_off
    if not odd:
        return None, False
    return is_honest[min(odd)], bool(verdict.far_off)


def kinds(cheat: Cheat) -> tuple[str, ...]:
    """Give the kinds of files among which a cheat's detection differs."""
    every = tuple(LIMITS)
    alike = {(cheat.by_picture(kind), cheat.detected(kind)) for kind in every}
    return every if len(alike) > 1 else ("16 bits",)


def balance(cheat: Cheat, kind: str, policy: RecheckPolicy, pace: float, trials: int, seed: int) -> tuple[str, str]:
    """Give (cheated tasks until it is left out, gain less loss for each), by formula and, in brackets, as simulated."""
    expected, gain, loss = formula(cheat, kind, policy, pace)
    if not cheat.detected(kind):
        return "never", f"**{gain:+.2f}**"
    seen, _, lost, _ = simulated(cheat, kind, policy, pace, trials, seed)
    mark = "**" if gain > min(loss, lost) else ""
    return f"{expected:.0f} ({seen:.0f})", f"{mark}{gain - loss:+.2f} ({gain - lost:+.2f}){mark}"


def by_cheat(policy: RecheckPolicy, trials: int, seed: int) -> Iterator[str]:
    """Give the table of all cheats, as Markdown."""
    head = "".join(f" {pace} a day: cheated until left out | balance |" for pace in PACES)
    yield f"| cheat | saves | files | seen by pictures | or steps |{head}"
    yield "|---|---:|---|---:|---:|" + "---:|---:|" * len(PACES)
    for cheat in CHEATS:
        for kind in kinds(cheat):
            told = [cell for pace in PACES for cell in balance(cheat, kind, policy, pace, trials, seed)]
            named = kind if len(kinds(cheat)) > 1 else "any"
            seen = (f"{cheat.by_picture(kind):.0%}", f"{cheat.detected(kind):.0%}")
            cells = (cheat.name, f"{cheat.saving:.0%}", named, *seen, *told)
            yield f"| {' | '.join(cells)} |"


def by_share(trials: int, seed: int) -> Iterator[str]:
    """Give the balance of some cheats at other shares of rechecks, as Markdown."""
    yield "| cheat | files |" + "".join(f" {share:.1%} of tasks |" for share in SHARES)
    yield "|---|---|" + "---:|" * len(SHARES)
    for name, kind in SHOWN_BY_SHARE:
        cheat = next(one for one in CHEATS if one.name == name)
        told = [balance(cheat, kind, RecheckPolicy(share=share), PACES[-1], trials, seed)[1] for share in SHARES]
        yield f"| {name} | {kind} | {' | '.join(told)} |"


def honest_lines(policy: RecheckPolicy, trials: int, seed: int) -> Iterator[str]:
    """Say how often honest miners are left out."""
    for honest, pace in product((TIPPED, MUTE), PACES):
        runs = [_run(honest, "16 bits", policy, pace, random.Random(f"{seed} {pace} {run}")) for run in range(trials)]
        out = sum(run[1] for run in runs)
        yield f"- {honest.name}, {pace} tasks a day: {out} of {trials} were left out within {PATIENCE_DAYS} days."
    for cheat in (one for one in CHEATS if one.friends):
        framed = simulated(cheat, "16 bits", policy, PACES[-1], trials, seed)[3]
        yield f'- Beside {trials} of "{cheat.name}", {framed} honest ones were left out.'


def careful_lines(trials: int) -> Iterator[str]:
    """Give what it brings to work honestly for a while once one is asked for steps late, as Markdown."""
    yield (
        "| asks so of other tasks | rests for | "
        + " | ".join(f"{pace} a day: left out | cheats in" for pace in PACES)
        + " |"
    )
    yield "|---:|---:|" + "---:|---:|" * len(PACES)
    for questions, rest in product((0.0, QUESTIONS * LATE_QUESTIONS), (0, 10, 30)):
        told = [careful(rest, questions, pace, trials) for pace in PACES]
        cells = " | ".join(f"{out} of {trials} | {share:.0%}" for out, share in told)
        yield f"| {questions:.0%} | {rest} tasks | {cells} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="make sim-cheats", description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    policy = RecheckPolicy()
    for table in (by_cheat, honest_lines):
        sys.stdout.writelines(f"{line}\n" for line in table(policy, asked.trials, asked.seed))
        sys.stdout.write("\n")
    sys.stdout.writelines(f"{line}\n" for line in by_share(asked.trials, asked.seed))
    sys.stdout.write("\n")
    sys.stdout.writelines(f"{line}\n" for line in careful_lines(max(asked.trials // 5, 1)))


if __name__ == "__main__":
    main()
