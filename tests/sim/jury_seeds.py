"""What a jury's seed is worth to who makes some of its blocks: ``python -m tests.sim.jury_seeds``.

A seed is a bit of each of so many blocks (contracts/SPEC.md §8.2). Who makes a block chooses its bit, knows those
before it, and does not know those that come; the last one that is his decides between what is left.
"""

import random
import sys
from collections.abc import Sequence
from math import comb
from typing import Final

BITS: Final = 16
SEATS: Final = (5, 11)
"""Of the first jury, and of an appeal's."""
STAKES: Final = (0.2, 0.3)
"""Shares of what weighs in the draw that are his friends'."""
BLOCKS: Final = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Parts of all blocks that are his."""
NETWORKS: Final = 24
"""So many random networks are looked at for each figure."""


def own_jury(seats: int, stake: float) -> float:
    """Give the chance that two thirds of a jury are friends, where each seat is one with the chance ``stake``."""
    needed = -(-2 * seats // 3)
    return sum(comb(seats, own) * stake**own * (1 - stake) ** (seats - own) for own in range(needed, seats + 1))


def best(wins: Sequence[float], blocks: float) -> float:
    """Give the chance of a seed that wins, where each block is his with the chance ``blocks``.

    Args:
        wins: By seed, the bit of the first block the highest: 1 where it gives a jury of his own, else 0.
        blocks: The part of all blocks that he makes.
    """
    while len(wins) > 1:
        pairs = zip(wins[::2], wins[1::2], strict=True)
        wins = [blocks * max(low, high) + (1 - blocks) * (low + high) / 2 for low, high in pairs]
    return wins[0]


def gain(chance: float, blocks: float, draws: random.Random) -> float:
    """Give by what the chance of a jury of his own is multiplied, in the mean of some networks."""
    total = 0.0
    for _ in range(NETWORKS):
        total += best([float(draws.random() < chance) for _ in range(2**BITS)], blocks)
    return total / NETWORKS / chance


def main() -> None:
    """Print the table, as Markdown."""
    draws = random.Random(1)
    for blocks in BLOCKS:
        gains = [gain(own_jury(seats, stake), blocks, draws) for seats in SEATS for stake in STAKES]
        sys.stdout.write(f"  | {blocks:.0%} | " + " | ".join(f"{one:.1f}" for one in gains) + " |\n")


if __name__ == "__main__":
    main()
