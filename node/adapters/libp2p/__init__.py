"""The overlay on py-libp2p 0.8.1: TCP, Noise, Yamux, GossipSub 1.1, Kademlia, identify, ping, circuit relay v2.

py-libp2p is a guest here. Out of the box one bad frame from anybody stops the node; this folder owns it so that
nothing else has to know: ``patches``, ``muxer``, ``host`` and ``gossip`` harden it, ``peers`` decides
who stays, ``work`` and ``artifacts`` carry bytes, ``dht`` and ``discovery`` find peers, ``relay_client`` and
``relay_service`` reach those that nobody can dial, and ``transport`` puts them together as ``node.ports.Transport``.
The rest of the program never sees a libp2p type.
"""

import node.adapters.libp2p.lean  # noqa: F401  before anything else imports libp2p
from node.adapters.libp2p.settings import AddressBook, OverlaySettings, RelayLimits
from node.adapters.libp2p.transport import OverlayTransport

__all__ = ["AddressBook", "OverlaySettings", "OverlayTransport", "RelayLimits"]
