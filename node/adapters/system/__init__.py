"""The clock and the entropy of this machine."""

from node.adapters.system.clock import SystemClock
from node.adapters.system.entropy import system_entropy

__all__ = ["SystemClock", "system_entropy"]
