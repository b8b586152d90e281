"""Getting connected: dialling whom we want, keeping to the bootstraps, and finding company without them."""

import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, final

import trio
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import PeerStoreError
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.addresses import bare
from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.host import swarm_of
from node.adapters.libp2p.identity import to_libp2p
from node.adapters.libp2p.peers import Peers
from node.adapters.libp2p.settings import CIRCUIT, AddressBook, CheckedSettings, Endpoint, parse_endpoint
from node.ports import Clock, Journal
from protocol.errors import DiskFull
from protocol.notes import NoteName
from protocol.units import PeerId

ADDRESS_LIFE_S: Final = 3600
"""How long an address that we were told is tried (s)."""
ATTEMPT_S: Final = 5.0
"""One address gets this long (s) for connect, Noise and Yamux."""
CIRCUIT_S: Final = 15.0
"""An address through a relay gets this long (s): its relay is dialled first, and asks the peer."""
MAX_ADDRESSES: Final = 8
"""Addresses tried or kept per peer."""
MAX_KNOWN_PEERS: Final = 4096
DIAL_WORKERS: Final = 8
MAX_DIALS: Final = 256
"""Wishes for a connection that wait; the oldest is dropped and counted beyond it."""
FIRST_RETRY_S: Final = 0.2
LAST_RETRY_S: Final = 30.0
"""Bootstraps are dialled again after 0.2 s, doubling to 30 s, each ± 25 % so that a restart is no stampede."""
NOT_ALONE_RETRY_S: Final = 3.2
"""But no sooner than this (s) while another bootstrap is connected: a dial in vain costs as much as one that is not."""
COMPANY: Final = 4
"""Without a bootstrap, remembered addresses are dialled until this many peers are connected."""
WELCOME_S: Final = 5.0
"""A connection that lasted less than this (s) was no success."""


@final
class Dialler:
    """Dials on behalf of one host."""

    def __init__(
        self,
        host: BasicHost,
        settings: CheckedSettings,
        peers: Peers,
        journal: Journal,
        clock: Clock,
        book: AddressBook,
    ) -> None:
        self.look_up: Callable[[PeerId], Awaitable[None]] | None = None
        """Asks the DHT for the peer's addresses and calls ``learn``."""
        self.dial_circuit: Callable[[ID, Multiaddr], Awaitable[None]] | None = None
        """Connects to a peer under an address that leads through a relay."""
        self._host = host
        self._swarm = swarm_of(host)
        self._settings = settings
        self._peers = peers
        self._journal = journal
        self._clock = clock
        self._book = book
        self._known: OrderedDict[PeerId, OrderedDict[Multiaddr, None]] = OrderedDict()
        self._proven: OrderedDict[PeerId, Multiaddr] = OrderedDict()
        """Where each peer was last, as it showed by its key: no hearsay takes the place of that."""
        self._wishes: deque[PeerId] = deque()
        self._wished = trio.Event()
        self._dialling: dict[PeerId, trio.Event] = {}
        self._random = random.SystemRandom()
        for endpoint in settings.bootstraps:
            self.learn(endpoint.peer, (endpoint.address,))

    def learn(self, peer: PeerId, addresses: Iterable[Multiaddr]) -> None:
        """Keep addresses to dial a peer under, newest first."""
        known = self._known.setdefault(peer, OrderedDict())
        self._known.move_to_end(peer)
        for address in addresses:
            known[address] = None
            known.move_to_end(address, last=False)
            if len(known) > MAX_ADDRESSES:
                known.popitem()
        if len(self._known) > MAX_KNOWN_PEERS:
            self._known.popitem(last=False)

    def _prove(self, peer: PeerId, address: Multiaddr) -> None:
        """A peer was reached under an address."""
        self.learn(peer, (address,))
        self._proven[peer] = address
        self._proven.move_to_end(peer)
        if len(self._proven) > MAX_KNOWN_PEERS:
            self._proven.popitem(last=False)

    async def remember(self, peer: PeerId, address: Multiaddr) -> None:
        """Keep an address on the disk: where to begin after a restart, when no bootstrap answers."""
        with suppress(DiskFull):
            await self._book.remember_address(f"{address}/p2p/{peer}", self._clock.now())

    def connect(self, peer: PeerId) -> None:
        """Wish for a connection."""
        if peer == self._peers.own_id or self._peers.is_connected(peer) or peer in self._wishes:
            return
        if len(self._wishes) >= MAX_DIALS:
            self._journal.note(NoteName.PEER_UNREACHABLE, peer=self._wishes.popleft(), reason="too_many_dials")
        self._wishes.append(peer)
        self._wished.set()

    async def reach(self, peer: PeerId) -> bool:
        """Have a connection to the peer; False when none of its known addresses answers."""
        if self._peers.is_connected(peer):
            return True
        other = self._dialling.get(peer)
        if other is not None:
            await other.wait()
            return self._peers.is_connected(peer)
        self._dialling[peer] = trio.Event()
        try:
            if await self._dial(peer, self._addresses_of(peer)):
                return True
            if self.look_up is not None:
                await self.look_up(peer)
            return await self._dial(peer, self._addresses_of(peer))
        finally:
            self._dialling.pop(peer).set()

    async def reach_at(self, endpoint: Endpoint) -> bool:
        """Have a connection that runs through no relay to a peer under the address given."""
        if self._peers.is_connected_directly(endpoint.peer):
            return True
        await self._dial(endpoint.peer, [endpoint.address])
        return self._peers.is_connected_directly(endpoint.peer)

    async def run(self) -> None:
        """Dial until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_company)
            for _ in range(DIAL_WORKERS):
                nursery.start_soon(self._grant_wishes)
            for endpoint in self._settings.bootstraps:
                if endpoint.peer != self._peers.own_id:
                    nursery.start_soon(self._keep_to, endpoint)

    async def _grant_wishes(self) -> None:
        while True:
            while self._wishes:
                peer = self._wishes.popleft()
                if not await self.reach(peer):
                    self._journal.note(NoteName.PEER_UNREACHABLE, peer=peer, reason="no_address_answers")
            self._wished = trio.Event()
            await self._wished.wait()

    def _addresses_of(self, peer: PeerId) -> list[Multiaddr]:
        try:
            told = self._host.get_peerstore().addrs(to_libp2p(peer))
        except PeerStoreError:
            told = []
        proven = [self._proven[peer]] if peer in self._proven else []
        return list(dict.fromkeys([*proven, *self._known.get(peer, ()), *map(bare, told)]))[:MAX_ADDRESSES]

    async def _dial(self, peer: PeerId, addresses: list[Multiaddr]) -> bool:
        target = to_libp2p(peer)
        if self._peers.is_banned(target):
            return False
        for address in addresses:
            # Upstream dials one address per transport and then refuses the peer for a while: one at a time, afresh.
            self._host.get_peerstore().clear_addrs(target)
            self._swarm.unblock_peer(target)
            try:
                if CIRCUIT in str(address):
                    await self._dial_through(target, address)
                else:
                    with trio.move_on_after(ATTEMPT_S):
                        await self._host.connect(PeerInfo(target, [address]))
            except STREAM_ERRORS:
                continue
            if self._peers.is_connected(peer):
                self._prove(peer, address)
                await self.remember(peer, address)
                return True
        if addresses:
            self._host.get_peerstore().add_addrs(target, addresses, ADDRESS_LIFE_S)
        return False

    async def _dial_through(self, target: ID, address: Multiaddr) -> None:
        if self.dial_circuit is not None:
            with trio.move_on_after(CIRCUIT_S):
                await self.dial_circuit(target, address)

    def _pause(self, failures: int) -> float:
        return min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures, 10)) * self._random.uniform(0.75, 1.25)

    def _has_bootstrap(self) -> bool:
        return any(self._peers.is_connected(endpoint.peer) for endpoint in self._settings.bootstraps)

    async def _keep_to(self, endpoint: Endpoint) -> None:
        failures = 0
        while True:
            if self._peers.is_connected(endpoint.peer):
                since = trio.current_time()
                while self._peers.is_connected(endpoint.peer):
                    await self._peers.changed()
                # Whoever cuts us at once does not want us now: come back as slowly as to one that does not answer.
                failures = 0 if trio.current_time() - since > WELCOME_S else failures + 1
                await trio.sleep(self._pause(failures))
                continue
            self.learn(endpoint.peer, (endpoint.address,))
            if await self._dial(endpoint.peer, [endpoint.address]):
                continue
            if failures % 10 == 0:
                reason = "bootstrap_down" if self._has_bootstrap() else "all_bootstraps_down"
                self._journal.note(NoteName.PEER_UNREACHABLE, peer=endpoint.peer, reason=reason)
            failures += 1
            with trio.move_on_after(max(self._pause(failures), NOT_ALONE_RETRY_S if self._has_bootstrap() else 0)):
                while not self._peers.is_connected(endpoint.peer):
                    await self._peers.changed()

    async def _keep_company(self) -> None:
        remembered = deque(await self._remembered())
        failures = 0
        while remembered:
            await trio.sleep(self._pause(failures))
            if self._has_bootstrap():
                failures = 3
                continue
            if len(self._peers.connected()) >= COMPANY:
                continue
            peer = remembered[0]
            remembered.rotate(-1)
            failures = 1 if await self.reach(peer) else failures + 1

    async def _remembered(self) -> list[PeerId]:
        peers: dict[PeerId, None] = {}
        for text in reversed(await self._book.addresses()):
            try:
                endpoint = parse_endpoint(text)
            except ValueError:
                continue  # a book written by another version; what it held then cannot be dialled now
            if endpoint.peer != self._peers.own_id:
                self.learn(endpoint.peer, (endpoint.address,))
                peers[endpoint.peer] = None
        return list(reversed(peers))
