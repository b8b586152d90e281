"""Kademlia whose tables hold registered peers only.

Without that gate, cheap keys ground close to the one hash of a model would eclipse it. Strangers may ask.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, cast

import trio
from libp2p.abc import INetStream
from libp2p.host.basic_host import BasicHost
from libp2p.kad_dht.common import PROTOCOL_ID
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.kad_dht.peer_routing import PeerRouting
from libp2p.kad_dht.provider_store import ProviderStore
from libp2p.kad_dht.routing_table import RoutingTable
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.records.validator import NamespacedValidator

from node.adapters.libp2p.dht_queries import Queries, QueryStream
from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.gossip_limits import Judge
from node.adapters.libp2p.identity import from_libp2p, is_node_id
from node.adapters.libp2p.peerstore import usable
from protocol.effects import Offence

MAX_PROVIDERS_PER_KEY: Final = 256
"""Upstream keeps 20, so a coordinator would never hear of the 21st miner of a model. One answer stays below 128 KiB."""
MAX_KEYS: Final = 4096
RECORD_LIFE_S: Final = 1800.0
"""A provider record is forgotten after this (s); a living provider renews it three times in it."""
MAX_INBOUND_QUERIES: Final = 64
"""DHT streams served at once. Upstream resets all beyond 12, which a simultaneous start of 20 nodes exceeds."""
QUERY_S: Final = 3.0
"""One peer must answer one query within this (s)."""
SWEEP_S: Final = 60.0
ADDRESSES: Final = 4
"""Addresses kept of one provider."""

KAD: Final = PROTOCOL_ID
Gate = Callable[[ID], bool]


class GatedTable(RoutingTable):
    """A routing table that takes whom the gate lets in, and tells when it has grown."""

    def __init__(self, local_id: ID, host: BasicHost, gate: Gate) -> None:
        super().__init__(local_id, host, max_peers_per_subnet=0)  # registration stands in for subnet limits
        self._gate = gate
        self.grown = trio.Event()

    async def add_peer(self, peer_obj: PeerInfo | ID, *, skip_server_mode_check: bool = False) -> bool:
        """Take a peer, if the gate does."""
        peer = peer_obj.peer_id if isinstance(peer_obj, PeerInfo) else peer_obj
        if not self._gate(peer):
            return False
        is_new = not self.peer_in_table(peer)
        taken = await super().add_peer(peer_obj, skip_server_mode_check=skip_server_mode_check)
        if taken and is_new:
            self.grown.set()
            self.grown = trio.Event()
        return taken

    def forget_refused(self) -> None:
        """Take out whom the gate would not let in any more."""
        for peer in self.get_peer_ids():
            if not self._gate(peer):
                self.remove_peer(peer)


class GatedRouting(PeerRouting):
    """Look-ups that ask registered peers only and believe them about registered peers only."""

    def __init__(self, host: BasicHost, table: GatedTable, gate: Gate) -> None:
        super().__init__(host, table)
        self._gate = gate

    async def _query_peer_for_closest(self, peer: ID, target_key: bytes) -> list[ID]:
        if not self._gate(peer):
            return []
        found: list[ID] = []
        with trio.move_on_after(QUERY_S):
            found = await super()._query_peer_for_closest(peer, target_key)
        return [other for other in found if self._gate(other)]


class ProviderRecords(ProviderStore):
    """Provider records with our own gate, size and life."""

    def __init__(self, host: BasicHost, routing: GatedRouting, gate: Gate) -> None:
        super().__init__(host, routing)
        self._gate = gate
        self._records: OrderedDict[bytes, OrderedDict[ID, tuple[PeerInfo, float]]] = OrderedDict()

    def add_provider(self, key: bytes, provider: PeerInfo) -> None:
        """Keep a record of a registered peer; the oldest gives way when there are too many."""
        if not self._gate(provider.peer_id):
            return
        records = self._records.setdefault(key, OrderedDict())
        records.pop(provider.peer_id, None)
        kept = PeerInfo(provider.peer_id, usable(provider.addrs, ADDRESSES))
        records[provider.peer_id] = (kept, time.monotonic())
        if len(records) > MAX_PROVIDERS_PER_KEY:
            records.popitem(last=False)
        if len(self._records) > MAX_KEYS:
            self._records.popitem(last=False)

    def get_providers(self, key: bytes) -> list[PeerInfo]:
        """Give the living records of a key."""
        oldest = time.monotonic() - RECORD_LIFE_S
        return [
            provider
            for provider, at in self._records.get(key, OrderedDict()).values()
            if at > oldest and self._gate(provider.peer_id)
        ]

    def cleanup_expired(self) -> None:
        """Forget what is too old."""
        oldest = time.monotonic() - RECORD_LIFE_S
        for key, records in list(self._records.items()):
            for peer, (_, at) in list(records.items()):
                if at <= oldest:
                    del records[peer]
            if not records:
                del self._records[key]

    async def tell(self, peer: ID, key: bytes) -> bool:
        """Tell one peer that we provide the key."""
        with trio.move_on_after(QUERY_S):
            return await self._send_add_provider(peer, key)
        return False

    async def ask(self, peer: ID, key: bytes) -> list[PeerInfo]:
        """Ask one peer who provides the key."""
        with trio.move_on_after(QUERY_S):
            providers, _ = await self._get_providers_from_peer_with_closers(peer, key)
            return [provider for provider in providers if self._gate(provider.peer_id)]
        return []


class OverlayDht(KadDHT):
    """The DHT of one host."""

    routing_table: GatedTable
    peer_routing: GatedRouting
    provider_store: ProviderRecords

    def __init__(self, host: BasicHost, gate: Gate, judge: Judge) -> None:
        self._judge = judge
        self._queries = Queries()
        super().__init__(
            host,
            DHTMode.SERVER,
            validator=NamespacedValidator({}, strict_validation=True),
            validator_changed=True,
            strict_validation=True,
        )
        self.routing_table = GatedTable(host.get_id(), host, gate)
        self.peer_routing = GatedRouting(host, self.routing_table, gate)
        self.provider_store = ProviderRecords(host, self.peer_routing, gate)
        self._inbound_limiter = trio.CapacityLimiter(MAX_INBOUND_QUERIES)

    async def run(self) -> None:
        """Sweep, and nothing else.

        Look-ups are driven by ``discovery``: upstream's loop makes its first pass too early and its second after ten
        minutes.
        """
        while True:
            await trio.sleep(SWEEP_S)
            self.provider_store.cleanup_expired()

    async def handle_stream(self, stream: INetStream) -> None:
        """Answer what a peer asks on one stream, within limits."""
        peer = stream.muxed_conn.peer_id
        if not self._queries.begin(peer):
            await stream.reset()
            return
        checked = QueryStream(stream, self._queries)
        try:
            await super().handle_stream(cast("INetStream", checked))  # all that the handler uses is there
        finally:
            self._queries.end(peer)
        if checked.fault is not None:
            offence = Offence.MINOR if checked.fault.rule == "dht.flood" else Offence.GRAVE
            self._judge(from_libp2p(peer), offence, checked.fault.rule)
            await stream.reset()

    async def closest(self, key: bytes) -> list[ID]:
        """Find the registered peers closest to a key, in the whole network; ours is not among them."""
        try:
            found = await self.peer_routing.find_closest_peers_network(key)
        except STREAM_ERRORS:
            found = self.routing_table.find_local_closest_peers(key)
        own = self.host.get_id()
        return [peer for peer in found if peer != own and is_node_id(peer.to_bytes())]
