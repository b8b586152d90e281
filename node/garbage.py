"""When Python looks for garbage in cycles: not while a node starts, and never in what was there when it had started.

A look over everything costs 0.15 s once the libraries are loaded (270,000 objects), in which nothing else happens.
Three of them were a third of a start, and a busy coordinator went through one every 700 tasks.
"""

import gc
from typing import Final

YOUNG: Final = 10_000
"""New objects after which the new ones are looked over; Python's own 700 costs a busy coordinator a tenth of its time.
So much garbage is a few MB."""
MIDDLE: Final = 20
"""Such looks after which those that survived them are looked over again."""
OLD: Final = 10
"""Looks at survivors after which everything is looked over, if a quarter of it is new: Python's own."""


def let_pile_up() -> None:
    """Look for no garbage until ``collect_from_here_on``: a process that starts makes little."""
    gc.disable()


def collect_from_here_on() -> None:
    """Look for garbage in what is made from now on. What is there stays, and is no more looked at."""
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    gc.enable()
