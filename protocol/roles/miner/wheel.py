"""How miners that are freed at once take different offers. Spec: SPEC.md §7.4.

If each took the most urgent offer, or one by lot, many would claim what others have had already: that news is slower
than they are. So each offer falls to one of all active miners, by its name, which nobody can choose; and the wheel
turns, so that none waits for long for a miner that is slow or gone. With more miners than offers there is little that
falls to one: then ``open_offers.taken_of`` draws.
"""

from dataclasses import dataclass
from typing import Final

from protocol.roles.core import Core
from protocol.units import TaskId

TURN_MS: Final = 5000
"""How long (ms) the wheel stands still: long beside the way of an award's news, short beside what deadlines leave."""
TURNS: Final = 48
"""Turns after which it stands as it did at first."""


@dataclass(frozen=True, slots=True)
class WheelSeat:
    """Where a miner sits around the wheel."""

    index: int
    """Its index among all active miners."""
    miners: int
    """How many these are, at least 1."""
    turn: int
    """How often the wheel has turned."""

    def has(self, task: TaskId) -> bool:
        """Say whether a task falls to us now."""
        return (int.from_bytes(task[:8], "big") >> self.turn) % self.miners == self.index


def seat_of(core: Core) -> WheelSeat:
    """Give the seat of a miner at this moment; whoever is no active miner claims nothing, wherever he sits."""
    view, own, turn = core.book.current(core.now), core.own_id(), core.now // TURN_MS % TURNS
    if view is None or own is None:
        return WheelSeat(0, 1, turn)
    return WheelSeat(view.table.miner_index.get(own, 0), max(len(view.table.miners), 1), turn)
