"""``python -m tests.bench.fingerprints``: how far apart the fingerprints of steps are, honest and not.

Whoever takes fewer steps than ordered has to make up the latents of the others. The best that is known costs nothing:
from each step of its own it goes on along the straight line that the model gave it, to where each ordered step ends.
Prints the table of ``DISTANCE.md``. Drawing takes half an hour of one core; what lies in the folder is not drawn again.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from protocol.task.fingerprint import steps_to_open
from protocol.task.steps import OTHER_STEPS, SAME_STEPS, steps_apart
from protocol.units import Digest
from protocol.wire.messages import MAX_OPENED_STEPS
from tests.bench.fingerprint_runs import ORDERED_STEPS, draw_all, read, tasks_of

FULL, HALF = "float32", "bfloat16"
HONEST = (
    (FULL, "float32, in company"), (FULL, "float32, two threads"), (FULL, "float32, other processor"),
    (FULL, HALF), (HALF, "bfloat16, in company"), (HALF, "bfloat16, two threads"),
    (HALF, "bfloat16, other processor"), ("float32, Euler", "bfloat16, Euler"),
)  # fmt: skip
OTHERS = (
    "another seed", "19 steps", "18 steps", "18 steps, nearest", "18 steps in bfloat16", "16 steps", "13 steps",
    "10 steps", "DPM++ with 13 steps", "the picture and the seed",
)  # fmt: skip
LIMITS = (SAME_STEPS, OTHER_STEPS)


def apart(folder: Path, one: str, other: str) -> list[int]:
    """Compare the steps that a beacon would open, of each picture of which both are there."""
    found = []
    for task in tasks_of(one):
        pair = [read(folder, variant, task) for variant in (one, other)]
        if pair[0] is None or pair[1] is None:
            continue
        secret = Digest(task.number.to_bytes(32, "big"))
        steps = steps_to_open(Digest(bytes(32)), secret, ORDERED_STEPS, MAX_OPENED_STEPS)
        found.append(steps_apart([pair[0][step] for step in steps], [pair[1][step] for step in steps]))
    return sorted(found)


def rows(folder: Path, title: str, pairs: Iterator[tuple[str, str]]) -> Iterator[str]:
    """Give a table, as Markdown."""
    yield f"| {title} | against | pictures | least | half | most |" + "".join(f" > {limit:,} |" for limit in LIMITS)
    yield "|---|---|---:|---:|---:|---:|" + "---:|" * len(LIMITS)
    for one, other in pairs:
        found = apart(folder, one, other)
        if not found:
            continue
        shares = "".join(f" {sum(value > limit for value in found) / len(found):.0%} |" for limit in LIMITS)
        middle = found[len(found) // 2]
        yield f"| {other} | {one} | {len(found)} | {found[0]:,} | {middle:,} | {found[-1]:,} |{shares}"


def main() -> None:
    """Draw what is missing, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fingerprints", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".distance/steps"))
    parser.add_argument("--no-drawing", action="store_true", help="compare what is there")
    asked = parser.parse_args()
    for variant in () if asked.no_drawing else draw_all(asked.folder):
        print(variant, file=sys.stderr)
    for line in rows(asked.folder, "honest", iter(HONEST)):
        print(line)
    print()
    pairs = ((honest, other) for other in OTHERS for honest in (FULL, HALF))
    for line in rows(asked.folder, f"not {ORDERED_STEPS} steps", pairs):
        print(line)


if __name__ == "__main__":
    main()
