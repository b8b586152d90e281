"""Credit of peers: every proven fault takes some, time gives it back, and who has none is banned for a while.

An offence says after how many of its kind a peer is banned; different ones add up. Only faults that no honest
peer commits come here, so an honest peer keeps its credit whatever its view of the network. Spec: SPEC.md §4.4.
"""

from dataclasses import dataclass
from typing import Final, final

from protocol.units import DurationMs, PeerId, UnixMillis

FULL: Final = 1_000_000
"""Credit of a peer without faults; its unit has no meaning of its own."""
RECOVERY: Final = DurationMs(600_000)
"""Time (ms) in which a wholly spent credit grows back: rare faults of a buggy peer never add up to a ban."""
BAN: Final = DurationMs(600_000)
"""Length of a ban (ms): makes a flood cost a fresh identity every time, and an upgrade ends it soon enough."""


@dataclass(slots=True)
class _Account:
    """What a peer has spent, when that was reckoned, and until when it is banned."""

    spent: int
    at: UnixMillis
    banned_until: UnixMillis


@final
class Ledger:
    """Accounts of the peers that ever did wrong; bounded: the one judged longest ago is forgotten, not banned first."""

    def __init__(self, capacity: int = 4096) -> None:
        """Keep at most ``capacity`` accounts."""
        if capacity < 1:
            raise ValueError("capacity is at least 1")
        self._capacity = capacity
        self._accounts: dict[PeerId, _Account] = {}  # the last judged stands last

    def __len__(self) -> int:
        return len(self._accounts)

    def judge(self, peer: PeerId, occurrences_to_ban: int, now: UnixMillis) -> bool:
        """Take credit for one fault and say whether the peer is banned now.

        Args:
            peer: Who did it.
            occurrences_to_ban: How many such faults within half a minute end in a ban, 1 … 20.
            now: The present moment.
        """
        account = self._accounts.pop(peer, None) or _Account(0, now, UnixMillis(0))
        account.spent = self._spent(account, now) + FULL * 21 // (20 * max(1, occurrences_to_ban))
        account.at = now
        if account.spent >= FULL:
            account.spent = 0
            account.banned_until = UnixMillis(now + BAN)
        self._accounts[peer] = account
        if len(self._accounts) > self._capacity:
            self._forget_one(now)
        return now < account.banned_until

    def banned(self, peer: PeerId, now: UnixMillis) -> bool:
        """Say whether the peer is banned now."""
        account = self._accounts.get(peer)
        return account is not None and now < account.banned_until

    def credit(self, peer: PeerId, now: UnixMillis) -> int:
        """Give the credit that is left, 0 … ``FULL``."""
        account = self._accounts.get(peer)
        return FULL if account is None else FULL - self._spent(account, now)

    @staticmethod
    def _spent(account: _Account, now: UnixMillis) -> int:
        """Give what is spent once time has given some back."""
        return max(0, account.spent - FULL * max(0, now - account.at) // RECOVERY)

    def _forget_one(self, now: UnixMillis) -> None:
        """Make room: the account judged longest ago, and a banned one only when all are banned."""
        free = (peer for peer, account in self._accounts.items() if now >= account.banned_until)
        del self._accounts[next(free, next(iter(self._accounts)))]
