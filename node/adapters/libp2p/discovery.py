"""Joining the DHT, staying in it, announcing ourselves and finding others.

Nodes start at the same moment, know one bootstrap, and announce themselves before anybody else is there; so nothing
here happens only once: tables are refreshed soon and then ever more rarely, an announcement goes to every peer that
comes closer, and a look-up that finds nobody is tried again for some seconds.
"""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final, final

import trio
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import PeerStoreError
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.dht import ADDRESSES, KAD, OverlayDht
from node.adapters.libp2p.dialling import MAX_ADDRESSES, Dialler
from node.adapters.libp2p.identity import from_libp2p, is_node_id, to_libp2p
from node.adapters.libp2p.peers import Peers
from node.adapters.libp2p.peerstore import usable
from node.ports import EventSink
from protocol.events import ProvidersFound
from protocol.units import PeerId

MULTIHASH_SHA256: Final = b"\x12\x20"
"""Head of a sha2-256 multihash. DHT keys have this form so that js-libp2p finds them by CID."""
CLOSEST: Final = 20
"""k of Kademlia: how many peers hold a record."""
REFRESH_S: Final = (0.0, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0)
"""Pauses (s) before each look-up of ourselves; the last one repeats."""
RENEW_S: Final = 600.0
"""Records are told again after this (s), a third of their life."""
SETTLE_S: Final = 0.15
"""How long (s) news about the table gathers before it is acted on."""
FIND_PAUSES_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Pauses (s) before each try of a look-up that has found nobody yet: it gives up after about four seconds."""
ASK_AT_ONCE: Final = 8
MAX_LOOKUPS: Final = 8
"""Look-ups at once."""
MAX_WAITING_LOOKUPS: Final = 256
IDENTIFY_S: Final = 5.0
IDENTIFY_POLL_S: Final = 0.05
REMEMBERED: Final = 2
"""Addresses of one peer that are kept on the disk, however many it says to have."""
MAX_REMEMBERED: Final = 4096
"""Peers that are not written down again each time they come."""


def record_key(key: str) -> bytes:
    """Give the bytes under which a key stands in the DHT."""
    return MULTIHASH_SHA256 + hashlib.sha256(key.encode()).digest()


@final
class Discovery:
    """What the transport does with the DHT."""

    def __init__(
        self,
        host: BasicHost,
        dht: OverlayDht,
        peers: Peers,
        dialler: Dialler,
        sink: EventSink,
        nursery: trio.Nursery,
    ) -> None:
        self._host = host
        self._dht = dht
        self._peers = peers
        self._dialler = dialler
        self._sink = sink
        self._nursery = nursery
        self._provided: dict[str, dict[ID, float]] = {}
        self._limit = trio.CapacityLimiter(MAX_LOOKUPS)
        self._waiting = 0
        self._remembered: set[PeerId] = set()
        """Peers whose addresses are on the disk, as far as we remember."""
        self._random = random.SystemRandom()
        peers.on_up = self._on_up
        peers.on_down = self._on_down
        dialler.look_up = self._look_up

    async def run(self) -> None:
        """Keep our place in the network."""
        pauses = list(REFRESH_S)
        while True:
            if not self._dht.routing_table.get_peer_ids():
                await self._dht.routing_table.grown.wait()
                pauses = list(REFRESH_S)
            await trio.sleep((pauses.pop(0) if len(pauses) > 1 else pauses[0]) * self._random.uniform(0.8, 1.2))
            await self._dht.closest(self._host.get_id().to_bytes())

    def provide(self, key: str) -> None:
        """Announce ourselves under a key from now on."""
        if key not in self._provided:
            self._provided[key] = {}
            self._nursery.start_soon(self._keep_provided, key)

    def find(self, key: str) -> None:
        """Look a key up and post what was found."""
        self._nursery.start_soon(self._find, key)

    def recheck(self) -> None:
        """Apply a new stake table: let go of whom it does not name, take up whom it does."""
        self._dht.routing_table.forget_refused()
        for peer in self._peers.connected():
            self._on_up(peer)

    # Peers.

    def _on_up(self, peer: PeerId) -> None:
        known = peer in self._remembered and self._dht.routing_table.peer_in_table(to_libp2p(peer))
        if not known and self._peers.may_serve(to_libp2p(peer)):
            self._nursery.start_soon(self._take_up, to_libp2p(peer))

    async def _take_up(self, peer: ID) -> None:
        """Put a connected peer into the table once identify has told that it serves the DHT."""
        with trio.move_on_after(IDENTIFY_S):
            while not self._serves_dht(peer):  # noqa: ASYNC110  # upstream has no event for "identified"
                await trio.sleep(IDENTIFY_POLL_S)
            try:
                addresses = self._host.get_peerstore().addrs(peer)
            except PeerStoreError:
                addresses = []
            if addresses:
                self._dialler.learn(from_libp2p(peer), map(_bare, addresses))
                await self._dht.routing_table.add_peer(PeerInfo(peer, addresses))
                await self._remember(from_libp2p(peer), addresses)

    async def _remember(self, peer: PeerId, addresses: Sequence[Multiaddr]) -> None:
        """Keep where a peer can be dialled, also of who dialled us: else many a node knows its bootstraps alone."""
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered.add(peer)
        for address in addresses[:REMEMBERED]:
            await self._dialler.remember(peer, _bare(address))

    def _serves_dht(self, peer: ID) -> bool:
        try:
            return bool(self._host.get_peerstore().supports_protocols(peer, [str(KAD)]))
        except PeerStoreError:
            return False

    def _on_down(self, peer: PeerId) -> None:
        for told in self._provided.values():
            told.pop(to_libp2p(peer), None)  # it may come back with an empty store

    async def _look_up(self, peer: PeerId) -> None:
        target = to_libp2p(peer)
        if self._dht.routing_table.get_peer_ids():
            await self._dht.closest(target.to_bytes())
            try:
                self._dialler.learn(peer, map(_bare, self._host.get_peerstore().addrs(target)))
            except PeerStoreError:
                return

    # Providing.

    async def _keep_provided(self, key: str) -> None:
        record = record_key(key)
        table = self._dht.routing_table
        next_walk = 0.0
        while True:
            own = PeerInfo(self._host.get_id(), self._host.get_addrs())
            self._dht.provider_store.add_provider(record, own)
            grown = table.grown
            now = trio.current_time()
            if table.get_peer_ids():
                if now >= next_walk:
                    closest = await self._dht.closest(record)
                    next_walk = trio.current_time() + RENEW_S
                else:
                    closest = table.find_local_closest_peers(record, CLOSEST)
                await self._tell(key, record, closest[:CLOSEST])
            with trio.move_on_after(RENEW_S):
                await grown.wait()
            await trio.sleep(SETTLE_S * self._random.uniform(0.7, 1.3))

    async def _tell(self, key: str, record: bytes, closest: Sequence[ID]) -> None:
        told = self._provided[key]
        now = trio.current_time()
        slots = trio.CapacityLimiter(ASK_AT_ONCE)

        async def one(peer: ID) -> None:
            async with slots:
                if await self._dht.provider_store.tell(peer, record):
                    told[peer] = now

        async with trio.open_nursery() as nursery:
            for peer in closest:
                if now - told.get(peer, -RENEW_S) >= RENEW_S and self._peers.may_serve(peer):
                    nursery.start_soon(one, peer)

    # Finding.

    async def _find(self, key: str) -> None:
        found: dict[ID, list[Multiaddr]] = {}
        if self._waiting < MAX_WAITING_LOOKUPS:
            self._waiting += 1
            try:
                async with self._limit:
                    for pause in FIND_PAUSES_S:
                        with trio.move_on_after(pause):
                            await self._wait_for_news()
                        found = await self._find_once(record_key(key))
                        if found:
                            break
            finally:
                self._waiting -= 1
        for peer, addresses in found.items():
            self._dialler.learn(from_libp2p(peer), addresses)
        await self._sink.post(ProvidersFound(key, tuple(sorted(from_libp2p(peer) for peer in found))))

    async def _wait_for_news(self) -> None:
        """Wait for the first peer while there is none, else for ever: asking the same peers at once is no use."""
        table = self._dht.routing_table
        if table.get_peer_ids():
            await trio.sleep_forever()
        await table.grown.wait()

    async def _find_once(self, record: bytes) -> dict[ID, list[Multiaddr]]:
        """Ask the closest peers until some of them name nobody new, the addresses that most name last: tried first.

        Upstream stops at the first record that it holds itself, and so would know one miner for ever.
        """
        store = self._dht.provider_store
        named: defaultdict[ID, Counter[Multiaddr]] = defaultdict(Counter)

        def hear(provider: PeerInfo) -> None:
            named[provider.peer_id].update(set(map(_bare, usable(provider.addrs, ADDRESSES))))

        async def one(peer: ID) -> None:
            for provider in await store.ask(peer, record):
                if is_node_id(provider.peer_id.to_bytes()):
                    hear(provider)

        for provider in store.get_providers(record):
            hear(provider)

        closest = await self._dht.closest(record) if self._dht.routing_table.get_peer_ids() else []
        for start in range(0, min(len(closest), CLOSEST), ASK_AT_ONCE):
            known = len(named)
            async with trio.open_nursery() as nursery:
                for peer in closest[start : min(start + ASK_AT_ONCE, CLOSEST)]:
                    nursery.start_soon(one, peer)
            # Providers tell all of the closest. To ask the rest, and dial them for it, is what a young network cannot
            # afford: where dozens join at once their questions came too late for one another, and were asked again.
            if named and len(named) == known:
                break
        named.pop(self._host.get_id(), None)
        return {
            peer: [address for address, _ in reversed(votes.most_common(MAX_ADDRESSES))]
            for peer, votes in named.items()
        }


def _bare(address: Multiaddr) -> Multiaddr:
    """Take the ``/p2p`` part off."""
    text, separator, _ = str(address).partition("/p2p/")
    return Multiaddr(text) if separator else address
