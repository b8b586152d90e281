"""What a slash by jurors adds to what a cheat loses, where its apps agree: part of ``make sim-cheats``.

A report needs a picture that shows something else than three honest ones (``protocol.task.recheck``); then five jurors
judge, and eleven after an appeal, of whom two thirds must call it wrong (contracts/SPEC.md §8). Friends of the accused
are drawn by their share of stake, and always call it right. Amounts are in CAI, at the contracts' first parameters.
"""

import sys
from collections.abc import Iterator
from math import comb
from typing import Final

from protocol.roles.coordinator.reputation import GRAVE, LEFT_OUT_AT, SLIGHT
from protocol.roles.coordinator.sampling import RecheckPolicy
from tests.sim.cheats import CHEATS, COST, PACES, Cheat, formula

SEATS: Final = (5, 11)
"""Of the first round, and of the appeal."""
BOND: Final = 1000
SLASH: Final = 0.02
"""Share of all stake on the miner."""
BOUNTY: Final = 0.1
"""Share of the slash that the reporter gets, where nobody but the owner has stake on the miner."""
LEAST_STAKE: Final = 20_000
PRICE: Final = 2.1
"""Of a picture of 1024x1024 pixels in 20 steps."""
FRIENDS: Final = (0.0, 0.1, 0.2, 0.3, 0.4)


def upheld(seats: int, friends: float) -> float:
    """Give the chance that two thirds of a jury call it wrong, where all but friends of the accused do."""
    needed = -(-2 * seats // 3)
    return sum(
        comb(seats, wrong) * (1 - friends) ** wrong * friends ** (seats - wrong) for wrong in range(needed, seats + 1)
    )


def executed(friends: float) -> float:
    """Give the chance that a miner is slashed which appeals against each verdict."""
    first, appeal = (upheld(seats, friends) for seats in SEATS)
    return first * appeal


def reporters_gain(stake: float, friends: float) -> float:
    """Give what a report brings whoever makes it, where all stake on the miner is its owner's.

    A third of the bond goes to the jurors, and comes back from who appealed in vain; the rest is gone too if either
    jury calls it right.
    """
    first, slashed = upheld(SEATS[0], friends), executed(friends)
    dismissed = upheld(SEATS[0], 1 - friends) + first * upheld(SEATS[1], 1 - friends)
    return slashed * SLASH * BOUNTY * stake - dismissed * BOND - (1 - slashed - dismissed) * BOND / 3


def reports_needed(cheat: Cheat, kind: str, policy: RecheckPolicy, pace: float) -> float:
    """Give the share of cheats that must be reported so that the slash alone takes what a spell of cheating brings.

    A spell lasts until the miner is left out, and is reported once or not at all; infinite where no spell ends, or no
    picture of it shows something else.
    """
    if not cheat.beyond[3]:
        return float("inf")
    cheated, gain, _ = formula(cheat, kind, policy, pace)
    grave = cheat.beyond[3] / cheat.detected(kind)
    found = -(-LEFT_OUT_AT // (grave * GRAVE + (1 - grave) * SLIGHT))  # odd pictures of a spell
    some = 1 - (1 - grave) ** found
    return cheated * gain * PRICE / (some * executed(cheat.friends) * SLASH * LEAST_STAKE)


def by_friends() -> Iterator[str]:
    """Give the table of juries by the share of friends, as Markdown."""
    yield "| friends' share | first round | appeal | slashed | a report brings (20,000 staked) | (500,000 staked) |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for friends in FRIENDS:
        rounds = " | ".join(f"{upheld(seats, friends):.0%}" for seats in SEATS)
        gains = " | ".join(f"{reporters_gain(stake, friends):+.0f}" for stake in (LEAST_STAKE, 25 * LEAST_STAKE))
        yield f"| {friends:.0%} | {rounds} | {executed(friends):.0%} | {gains} |"


def by_cheat(policy: RecheckPolicy) -> Iterator[str]:
    """Give for each cheat what jurors see of it, and how often it must be reported, as Markdown."""
    head = "".join(f" spells to be reported, {pace} a day |" for pace in PACES)
    yield f"| cheat | gains | pictures that jurors call wrong |{head}"
    yield "|---|---:|---:|" + "---:|" * len(PACES)
    for cheat in CHEATS:
        if cheat.one_in > 1:
            continue
        shares = [reports_needed(cheat, "16 bits", policy, pace) for pace in PACES]
        told = " | ".join("never" if share > 1 else f"{share:.0%}" for share in shares)
        yield f"| {cheat.name} | {COST * cheat.saving:.2f} | {cheat.beyond[3]:.0%} | {told} |"


def main() -> None:
    """Print the tables."""
    for table in (by_friends(), by_cheat(RecheckPolicy())):
        sys.stdout.writelines(f"{line}\n" for line in table)
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
