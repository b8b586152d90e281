"""Imports py-libp2p without the parts that this overlay never uses.

`import libp2p` alone loads QUIC, WebSocket, TLS with its clients of certificate authorities, mDNS, UPnP and a block
exchange, with the libraries of each: a fifth of a second and some 20 MB of every process that joins the overlay. Names
that stand for nothing are imported in their place. Names in addresses are used, now and then: what looks them up is
loaded when there is one.
"""

import sys
from typing import TYPE_CHECKING, Any, Final, final

from node.stand_ins import stand_ins

if TYPE_CHECKING:
    from multiaddr.multiaddr import Multiaddr


class Unused(Exception):
    """Stands for a class or function of py-libp2p that nobody here uses; an exception, since upstream catches some."""


@final
class LateResolver:
    """Looks up names in addresses as multiaddr does, whose own resolver is loaded for the first of them."""

    async def resolve(self, address: "Multiaddr", options: dict[str, Any] | None = None) -> "list[Multiaddr]":
        """Give the addresses that a name stands for."""
        from multiaddr.resolvers.dns import DNSResolver

        return await DNSResolver().resolve(address, options)


_STAND_INS: Final[dict[str, dict[str, object]]] = {
    "libp2p.bitswap": {},
    "libp2p.bitswap.cid": {"parse_cid": Unused},
    "libp2p.discovery.mdns": {},
    "libp2p.discovery.mdns.mdns": {"MDNSDiscovery": Unused, "create_mdns_discovery": Unused},
    "libp2p.discovery.upnp.upnp": {"UpnpManager": Unused},
    "libp2p.security.tls": {},
    "libp2p.security.tls.autotls.acme": {"ACMEClient": Unused, "compute_b36_peer_id": Unused},
    "libp2p.security.tls.autotls.broker": {"BrokerClient": Unused},
    "libp2p.security.tls.transport": {"PROTOCOL_ID": "/tls/1.0.0", "TLSTransport": Unused},
    "libp2p.transport.quic.config": {"QUICTransportConfig": Unused},
    "libp2p.transport.quic.exceptions": {"QUICStreamClosedError": Unused, "QUICStreamResetError": Unused},
    "libp2p.transport.quic.stream": {"QUICStream": Unused},
    "libp2p.transport.quic.transport": {"QUICTransport": Unused},
    "libp2p.transport.quic.utils": {"is_quic_multiaddr": Unused},
    "libp2p.transport.websocket.transport": {"WebsocketTransport": Unused},
    "multiaddr.resolvers.dns": {"DNSADDR_TXT_PREFIX": "dnsaddr=", "DNSResolver": LateResolver},
}
"""Modules, and what others of py-libp2p and multiaddr take from them."""


if "libp2p" not in sys.modules:
    with stand_ins(_STAND_INS):
        import libp2p.kad_dht.kad_dht
        import libp2p.pubsub.gossipsub
        import libp2p.relay.circuit_v2.protocol  # noqa: F401  all that import any of these
