"""Connections that are not yet anybody's: how many unfinished ones, and how many new ones, a network address may have.

A slot is taken as soon as a socket is open. Without a limit one machine that opens sockets and says nothing holds all
of them, and one that runs handshakes as fast as it can takes all of our CPU: each costs some 10 ms.
"""

from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, final

from node.adapters.libp2p.budget import Budgets

UNFINISHED_SHARE: Final = 4
"""One address may hold a quarter of all slots with unfinished handshakes."""
MIN_UNFINISHED: Final = 8
MAX_SLOTS: Final = 300
"""Slots beyond these give one address no more: as many handshakes at once are seconds of CPU."""
PER_S: Final = 10
"""New connections (1/s) from one address for long: a tenth of a core."""
MIN_BURST: Final = 64
"""As many as a node has slots may come at once, but no fewer than this: a house or an office behind one address."""
SITE_BITS: Final = 64
"""Leading bits of an IPv6 address that tell one site from another: whoever has one address has all behind them."""


def site_of(address: str) -> str:
    """Give what a socket's address is counted by: itself, or for IPv6 its site. An IPv4 address in IPv6 is one."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((int(parsed), SITE_BITS), strict=False))
    return address


@final
class Handshakes:
    """Counts by network address."""

    def __init__(self, slots: int) -> None:
        """Limit the handshakes of a node that takes so many connections."""
        slots = min(slots, MAX_SLOTS)
        self._most = max(MIN_UNFINISHED, slots // UNFINISHED_SHARE)
        self._unfinished: Counter[str] = Counter()
        self._rate = Budgets(PER_S, max(MIN_BURST, slots))

    def begin(self, address: str) -> bool:
        """Say whether a handshake with this address may begin; ``end`` is to follow if so."""
        if self._unfinished[address] >= self._most or not self._rate.of(address).take():
            return False
        self._unfinished[address] += 1
        return True

    def end(self, address: str) -> None:
        """A handshake is over, one way or the other."""
        self._unfinished[address] -= 1
        if not self._unfinished[address]:
            del self._unfinished[address]
