"""How much each peer may still get wrong, and who is shut out."""

from collections import OrderedDict
from typing import Final

from protocol.effects import Offence
from protocol.units import PeerId

RECOVERY_S: Final = 600.0
"""Time (s) in which a peer that spent all its credit but a little has it all back."""
BAN_S: Final = 600.0
"""Length of a ban (s): longer than a burst of faults, shorter than a repair by a person."""
SPENT: Final = 0.99
"""Credit is gone from here on: what came back between the offences of one burst does not count."""
MAX_REMEMBERED: Final = 4096
"""Peers remembered in each of both tables; the least recent is forgotten first."""


class Reputation:
    """Credit per peer: 1 when new; an offence takes 1 / its value; it comes back with time."""

    def __init__(self) -> None:
        self._spent: OrderedDict[PeerId, tuple[float, float]] = OrderedDict()
        self._banned: OrderedDict[PeerId, float] = OrderedDict()

    def offend(self, peer: PeerId, offence: Offence, now: float) -> bool:
        """Take credit; True when that was the last of it and the peer is banned from ``now`` (s)."""
        spent, at = self._spent.pop(peer, (0.0, now))
        spent = max(0.0, spent - (now - at) / RECOVERY_S) + 1 / offence.value
        if spent < SPENT:
            self._spent[peer] = (spent, now)
            if len(self._spent) > MAX_REMEMBERED:
                self._spent.popitem(last=False)
            return False
        self._banned.pop(peer, None)
        self._banned[peer] = now + BAN_S
        if len(self._banned) > MAX_REMEMBERED:
            self._banned.popitem(last=False)
        return True

    def is_banned(self, peer: PeerId, now: float) -> bool:
        """Say whether the peer is shut out at ``now`` (s)."""
        until = self._banned.get(peer)
        if until is None:
            return False
        if until > now:
            return True
        del self._banned[peer]
        return False
