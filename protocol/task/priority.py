"""How urgent a task is to its app, and how that ages: the more urgent of two goes first, but only by so much.

The nearest deadline goes first, wherever tasks wait. A more urgent task has a shorter life, so whoever waits for long
enough goes before any that come later, however urgent. Spec: SPEC.md §9.1.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from protocol.units import UnixMillis


class Priority(StrEnum):
    """What an app may ask for."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


EIGHTHS: Final[Mapping[Priority, int]] = {Priority.LOW: 8, Priority.NORMAL: 7, Priority.HIGH: 6}
"""Life of a task in eighths of the network's longest: with that at 600 s each step is a head start of 75 s."""


def deadline(priority: Priority, accepted_at: UnixMillis, longest_ms: int) -> UnixMillis:
    """Give the moment at which a task accepted then fails; no task of the network lives beyond ``longest_ms``."""
    return UnixMillis(accepted_at + longest_ms * EIGHTHS[priority] // 8)
