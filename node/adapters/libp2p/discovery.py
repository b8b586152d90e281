"""Joining the DHT, staying in it, announcing ourselves and finding others.

Nodes start at the same moment, know one bootstrap, and announce themselves before anybody else is there; so nothing
here happens only once: tables are refreshed soon and then ever more rarely, an announcement goes to every peer that
comes closer, and a look-up that finds nobody is tried again for some seconds.
"""

import hashlib
import math
import random
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from typing import Final, final

import trio
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.addresses import bare, read_address
from node.adapters.libp2p.dht import KAD, OverlayDht
from node.adapters.libp2p.dht_table import CLOSEST
from node.adapters.libp2p.dht_walk import SURE
from node.adapters.libp2p.dialling import MAX_ADDRESSES, Dialler
from node.adapters.libp2p.host import peerstore_of
from node.adapters.libp2p.identity import from_libp2p, to_libp2p
from node.adapters.libp2p.patches import forget_own_record
from node.adapters.libp2p.peers import Peers
from node.ports import EventSink
from protocol.events import ProvidersFound
from protocol.units import PeerId

MULTIHASH_SHA256: Final = b"\x12\x20"
"""Head of a sha2-256 multihash. DHT keys have this form so that js-libp2p finds them by CID."""
RENEW_S: Final = 600.0
"""Records are told again after this (s), a third of their life."""
REFRESH_S: Final = (5.0, 10.0, 30.0, 60.0, 300.0)
"""Pauses (s) before each look-up of ourselves; the last one repeats. What a node joins for comes first."""
WALKS_S: Final = (2.0, 8.0, 30.0, 60.0, RENEW_S)
"""Pauses (s) after each look-up of a key that we provide; the last one repeats. In between the table alone tells who
is closest."""
WALK_PAUSE_S: Final = 2.0
"""But one follows this soon (s) on another where one of the closest, as far as we have heard, is not told yet."""
TOLD_FIRST: Final = SURE
"""Peers closest to a key that are told at once that we provide it: those that answered, and that a look-up asks."""
SPREAD_S: Final = 20.0
"""The rest of the ``CLOSEST`` are told this long (s) after news, and one after the other: not while everybody joins,
and each is closest to something for a moment."""
SETTLE_S: Final = 0.15
"""How long (s) news about the table gathers before it is acted on."""
FIND_PAUSES_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Pauses (s) before each try of a look-up that has found nobody yet: it gives up after about four seconds."""
QUIET_ALONE: Final = (SURE, SURE, SURE, 8, CLOSEST)
"""Answers that name nobody after which each of these tries ends."""
QUIET: Final = 8
"""So many answers in a row that name no new provider end a look-up: who is to be hidden, or made up, takes so many
registered keys that are closest to its key."""
YOUNG_S: Final = 30.0
"""But for so long (s) after our start the ``SURE`` closest do: providers have told no more than those, and to ask the
rest, and dial them for it, is what a young network cannot afford."""
MAX_LOOKUPS: Final = 8
"""Look-ups at once."""
MAX_WAITING_LOOKUPS: Final = 256
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
        self._began = trio.current_time()
        self._random = random.SystemRandom()
        peers.on_up = self._on_up
        peers.on_down = self._on_down
        dialler.look_up = self._look_up
        peerstore_of(host).on_protocols = self._take_up

    async def run(self) -> None:
        """Keep our place in the network."""
        pauses = list(REFRESH_S)
        while True:
            if not len(self._dht.table):
                await self._dht.table.grown.wait()
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

    def readdress(self) -> None:
        """Tell everybody anew where we are: our addresses have changed."""
        forget_own_record(self._host)
        for told in self._provided.values():
            told.clear()
        self._dht.table.changed()
        self._nursery.start_soon(self._host._push_identify_to_all_peers)

    def recheck(self) -> None:
        """Apply a new stake table: let go of whom it does not name, take up whom it does."""
        self._dht.table.forget_refused()
        for peer in self._peers.connected():
            self._on_up(peer)

    # Peers.

    def _on_up(self, peer: PeerId) -> None:
        self._take_up(to_libp2p(peer))

    def _take_up(self, peer: ID) -> None:
        """Put a connected peer into the table once it has told that it serves the DHT."""
        name = from_libp2p(peer)
        if not (self._peers.may_serve(peer) and self._peers.is_connected(name) and self._serves_dht(peer)):
            return
        try:
            addresses = [bare(address) for address in self._host.get_peerstore().addrs(peer)]
        except PeerStoreError:
            return
        self._dialler.learn(name, addresses)
        self._dht.table.meet(peer, [address.to_bytes() for address in addresses])
        if name not in self._remembered and addresses:
            self._nursery.start_soon(self._remember, name, addresses[:REMEMBERED])

    async def _remember(self, peer: PeerId, addresses: Sequence[Multiaddr]) -> None:
        """Keep where a peer can be dialled, also of who dialled us: else many a node knows its bootstraps alone."""
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered.add(peer)
        for address in addresses:
            await self._dialler.remember(peer, address)

    def _serves_dht(self, peer: ID) -> bool:
        try:
            return bool(self._host.get_peerstore().supports_protocols(peer, [str(KAD)]))
        except PeerStoreError:
            return False

    def _on_down(self, peer: PeerId) -> None:
        self._dht.table.part(to_libp2p(peer))
        for told in self._provided.values():
            told.pop(to_libp2p(peer), None)  # it may come back with an empty store

    async def _look_up(self, peer: PeerId) -> None:
        target = to_libp2p(peer)
        if len(self._dht.table):
            await self._dht.closest(target.to_bytes())
            try:
                self._dialler.learn(peer, map(bare, self._host.get_peerstore().addrs(target)))
            except PeerStoreError:
                return

    # Providing.

    async def _keep_provided(self, key: str) -> None:
        record = record_key(key)
        table = self._dht.table
        pauses = deque(WALKS_S)
        last_walk, next_walk, spread_at, is_news = -math.inf, 0.0, math.inf, False
        while True:
            addresses = [bare(address).to_bytes() for address in self._host.get_addrs()]
            self._dht.records.add(record, self._host.get_id(), addresses)
            grown = table.grown
            if len(table):
                if trio.current_time() >= next_walk:
                    closest = await self._dht.closest(record)
                    pause = (pauses.popleft() if len(pauses) > 1 else pauses[0]) * self._random.uniform(0.8, 1.2)
                    last_walk = trio.current_time()
                    next_walk = last_walk + pause
                else:
                    closest = table.closest(record, met=True)
                await self._tell(key, addresses, closest[:TOLD_FIRST])
                if is_news and not self._provided[key].keys() >= set(table.closest(record, TOLD_FIRST)):
                    next_walk = min(next_walk, last_walk + WALK_PAUSE_S * self._random.uniform(0.8, 1.2))
                if trio.current_time() >= spread_at:
                    for peer in table.closest(record):
                        await self._tell(key, addresses, [peer])
                    spread_at = math.inf
            is_news = False
            with trio.move_on_at(min(next_walk, spread_at) if len(table) else math.inf):
                await grown.wait()
                is_news = True
                spread_at = min(spread_at, trio.current_time() + SPREAD_S * self._random.uniform(0.5, 1.5))
            await trio.sleep(SETTLE_S * self._random.uniform(0.7, 1.3))

    async def _tell(self, key: str, addresses: Sequence[bytes], closest: Sequence[ID]) -> None:
        told = self._provided[key]
        now = trio.current_time()

        async def one(peer: ID) -> None:
            if await self._dht.tell(peer, record_key(key), addresses):
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
                    for number, pause in enumerate(FIND_PAUSES_S, 1):
                        with trio.move_on_after(pause):
                            await self._wait_for_news()
                        found = await self._find_once(record_key(key), number)
                        if found:
                            break
            finally:
                self._waiting -= 1
        for peer, addresses in found.items():
            self._dialler.learn(from_libp2p(peer), addresses)
        await self._sink.post(ProvidersFound(key, tuple(sorted(from_libp2p(peer) for peer in found))))

    async def _wait_for_news(self) -> None:
        """Wait for the first peer while there is none, else for ever: asking the same peers at once is no use."""
        if len(self._dht.table):
            await trio.sleep_forever()
        await self._dht.table.grown.wait()

    async def _find_once(self, record: bytes, number: int = 1) -> dict[ID, list[Multiaddr]]:
        """Ask the closest peers until some in a row name nobody new; the addresses that most name last: tried first.

        Upstream stops at the first record that it holds itself, and so would know one miner for ever. While nobody is
        found, each try asks more of the closest, and the last one all.
        """
        named: defaultdict[ID, Counter[bytes]] = defaultdict(Counter)
        own = self._host.get_id()
        quiet = known = 0

        def hear(peer: ID, addresses: tuple[bytes, ...]) -> None:
            if peer != own:
                named[peer].update(set(addresses))

        def has_answered() -> None:
            nonlocal quiet, known
            quiet = quiet + 1 if len(named) == known else 0
            known = len(named)

        def is_enough() -> bool:
            if named:
                return quiet >= QUIET or trio.current_time() - self._began < YOUNG_S
            return quiet >= QUIET_ALONE[number - 1]

        for peer, kept in self._dht.records.of(record).items():
            hear(peer, kept.addresses)
        known = len(named)
        await self._dht.find_providers(record, hear, has_answered, is_enough)
        return {
            peer: [
                address
                for data, _ in reversed(votes.most_common(MAX_ADDRESSES))
                if (address := read_address(data)) is not None
            ]
            for peer, votes in named.items()
        }
