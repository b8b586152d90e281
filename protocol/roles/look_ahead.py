"""How many tasks a miner holds at once: a rule that it and its coordinators work out alike. Spec: SPEC.md §7.4."""

from collections.abc import Iterable
from typing import Final

from protocol.events import ModelState
from protocol.wire.messages import ServedModel

LOOK_AHEAD: Final = 1
"""Least number of jobs that a miner takes beyond its device's places, so that it waits for no award round trip."""
MAX_PLACES: Final = 64
"""Tasks that one miner may hold of us at once, whatever it says: one device runs no more."""


def look_ahead(models: Iterable[ServedModel | ModelState]) -> int:
    """Give how many jobs a miner takes beyond its places: the next batch, which forms while it draws the present one.

    Both sides work it out from the same capability: a device whose places are no batch ends one job at a time.
    """
    return min(max((model.max_batch for model in models), default=LOOK_AHEAD), MAX_PLACES)
