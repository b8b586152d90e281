"""Whom a node knows in the DHT: registered peers only, and a few at each distance from itself, as Kademlia says.

Without that gate, cheap keys ground close to the one hash of a model would eclipse it. Upstream's table dials an old
peer to find a place for a new one, hashes every peer anew for each question, and names peers to others that it has
never met.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from heapq import nsmallest
from typing import Final, final

import trio
from libp2p.peer.id import ID

from node.adapters.libp2p.peerstore import MAX_ADDRESS_BYTES

CLOSEST: Final = 20
"""k of Kademlia: peers kept of each distance, told of a record, and named in an answer."""
ADDRESSES: Final = 4
"""Addresses kept of one peer."""

Gate = Callable[[ID], bool]


@lru_cache(maxsize=8192)
def place_of(key: bytes) -> int:
    """Give the place of a peer id or a record's key among all 2^256; two of them are as far apart as their XOR."""
    return int.from_bytes(hashlib.sha256(key).digest(), "big")


@dataclass(slots=True)
class _Known:
    place: int
    addresses: tuple[bytes, ...]
    is_met: bool


@final
class Table:
    """Peers and where they can be dialled, without the ``/p2p`` part."""

    def __init__(self, own: ID, gate: Gate) -> None:
        self.grown = trio.Event()
        """Set, and replaced, each time that a peer comes that was not there."""
        self._own = own
        self._gate = gate
        self._known: dict[ID, _Known] = {}
        self._buckets: defaultdict[int, set[ID]] = defaultdict(set)

    def __len__(self) -> int:
        """Count the peers."""
        return len(self._known)

    def __contains__(self, peer: ID) -> bool:
        """Say whether a peer is there."""
        return peer in self._known

    def peers(self) -> list[ID]:
        """Give all peers."""
        return list(self._known)

    def addresses(self, peer: ID) -> tuple[bytes, ...]:
        """Give where a peer can be dialled; nothing when it is not there."""
        known = self._known.get(peer)
        return () if known is None else known.addresses

    def meet(self, peer: ID, addresses: Iterable[bytes]) -> None:
        """Take a peer that is connected and has told its addresses itself."""
        self._take(peer, addresses, True)

    def hear(self, peer: ID, addresses: Iterable[bytes]) -> None:
        """Take a peer of which another one told, while there is a place; whom we know, we know better."""
        if peer not in self._known:
            self._take(peer, addresses, False)

    def part(self, peer: ID) -> None:
        """A peer is connected no more: it may come back, but others are not told of it."""
        if peer in self._known:
            self._known[peer].is_met = False

    def drop(self, peer: ID) -> None:
        """Forget a peer that does not answer."""
        known = self._known.pop(peer, None)
        if known is not None:
            self._buckets[self._distance(known.place)].discard(peer)

    def closest(self, key: bytes, count: int = CLOSEST, *, met: bool = False) -> list[ID]:
        """Give the peers closest to a key, the closest first; ``met`` leaves out those known by hearsay alone."""
        target = place_of(key)
        pool = [(known.place ^ target, peer) for peer, known in self._known.items() if known.is_met or not met]
        return [peer for _, peer in nsmallest(count, pool, key=lambda each: each[0])]

    def forget_refused(self) -> None:
        """Take out whom the gate would not let in any more."""
        for peer in self.peers():
            if not self._gate(peer):
                self.drop(peer)

    def _distance(self, place: int) -> int:
        return (place ^ place_of(self._own.to_bytes())).bit_length()

    def _take(self, peer: ID, addresses: Iterable[bytes], is_met: bool) -> None:
        short = tuple(address for address in addresses if len(address) <= MAX_ADDRESS_BYTES)[:ADDRESSES]
        if not short or peer == self._own or not self._gate(peer):
            return
        known = self._known.get(peer)
        if known is not None:
            known.addresses, known.is_met = short, is_met
            return
        place = place_of(peer.to_bytes())
        bucket = self._buckets[self._distance(place)]
        if len(bucket) >= CLOSEST:
            gone = next((other for other in bucket if not self._known[other].is_met), None)
            if gone is None or not is_met:
                return
            self.drop(gone)
        bucket.add(peer)
        self._known[peer] = _Known(place, short, is_met)
        self.changed()

    def changed(self) -> None:
        """Wake whoever waits for news."""
        self.grown.set()
        self.grown = trio.Event()
