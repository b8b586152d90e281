"""What is known of other peers, within limits: keys cost nothing, and neither do addresses that somebody says to have.

Upstream bounds the number of peers alone, and beyond it forgets first whoever has no address: that is ourselves, with
the private key that every record is signed with. So a thousand throwaway keys ended a node.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, final

from libp2p.peer.id import ID
from libp2p.peer.peerdata import PeerData
from libp2p.peer.peerstore import PeerStore
from multiaddr.multiaddr import Multiaddr

MAX_PEERS: Final = 1024
"""Peers that are remembered besides those that must be; each of them takes 3 to 4 KiB."""
MAX_ADDRESSES: Final = 16
"""Addresses of one peer; a machine with four networks in both families has eight."""
MAX_ADDRESS_BYTES: Final = 128
"""Longest address: a domain name of the longest usual length, a port and a relay."""
MAX_PROTOCOLS: Final = 64
"""Protocols that a peer may say to speak; ours names nine, js-libp2p about twelve."""
MAX_PROTOCOL_CHARACTERS: Final = 128


def usable(addresses: Sequence[Multiaddr], most: int = MAX_ADDRESSES) -> list[Multiaddr]:
    """Give the first addresses that are short enough to be real."""
    return list(islice((address for address in addresses if len(address.to_bytes()) <= MAX_ADDRESS_BYTES), most))


@final
class BoundedPeerStore(PeerStore):
    """A peer store that no stranger can fill."""

    def __init__(self) -> None:
        super().__init__(max_records=MAX_PEERS, max_peers=MAX_PEERS)
        self.keeps: Callable[[ID], bool] = lambda _peer: False
        """Says whom never to forget: those that are registered or connected. Whose private key is here never is."""

        self.on_protocols: Callable[[ID], None] = lambda _peer: None
        """Called when a peer has told what it speaks, after it has told its addresses."""

    def add_addrs(self, peer_id: ID, addrs: Sequence[Multiaddr], ttl: int = 0) -> None:
        """Keep addresses, as long as there is place for them."""
        data = self.peer_data_map.get(peer_id)
        known = [] if data is None else data.get_addrs()
        new = [address for address in usable(addrs) if address not in known]
        super().add_addrs(peer_id, new[: max(0, MAX_ADDRESSES - len(known))], ttl)

    def add_protocols(self, peer_id: ID, protocols: Sequence[str]) -> None:
        """Keep what a peer says to speak besides."""
        known = self.peer_data_map.setdefault(peer_id, PeerData()).get_protocols()
        self.set_protocols(peer_id, [*known, *protocols])

    def set_protocols(self, peer_id: ID, protocols: Sequence[str]) -> None:
        """Keep what a peer says to speak."""
        short = (name for name in protocols if len(name) <= MAX_PROTOCOL_CHARACTERS)
        super().set_protocols(peer_id, list(islice(short, MAX_PROTOCOLS)))
        self.on_protocols(peer_id)

    def _enforce_peer_limit(self) -> None:
        """Forget those that were met first, but nobody who matters."""
        surplus = len(self.peer_data_map) - self.max_peers
        if surplus > 0:
            strangers = (peer for peer, data in self.peer_data_map.items() if self._is_forgettable(peer, data))
            for peer in list(islice(strangers, surplus)):
                self.peer_record_map.pop(peer, None)
                del self.peer_data_map[peer]

    def _is_forgettable(self, peer: ID, data: PeerData) -> bool:
        return data.privkey is None and not self.keeps(peer)
