"""Who is connected: dialling, being dialled, keeping to the bootstraps, limits, bans, and telling the core."""

import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, final
from weakref import WeakSet

import trio
from libp2p.abc import INetConn
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import PeerStoreError
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.host import swarm_of
from node.adapters.libp2p.identity import from_libp2p, is_node_id, to_libp2p
from node.adapters.libp2p.muxer import PulsedYamux
from node.adapters.libp2p.notifee import ConnectionWatch
from node.adapters.libp2p.settings import AddressBook, CheckedSettings, Endpoint, parse_endpoint
from node.ports import Clock, EventSink, Gatekeeper, Journal
from protocol.effects import Offence
from protocol.events import PeerDown, PeerUp
from protocol.gossip.reputation import Ledger
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import PeerId

ADDRESS_LIFE_S: Final = 3600
"""How long an address that we were told is tried (s)."""
ATTEMPT_S: Final = 5.0
"""One address gets this long (s) for connect, Noise and Yamux."""
MAX_ADDRESSES: Final = 8
"""Addresses tried or kept per peer."""
MAX_KNOWN_PEERS: Final = 4096
DIAL_WORKERS: Final = 8
MAX_DIALS: Final = 256
"""Wishes for a connection that wait; the oldest is dropped and counted beyond it."""
FIRST_RETRY_S: Final = 0.2
LAST_RETRY_S: Final = 30.0
"""Bootstraps are dialled again after 0.2 s, doubling to 30 s, each ± 25 % so that a restart is no stampede."""
COMPANY: Final = 4
"""Without a bootstrap, remembered addresses are dialled until this many peers are connected."""
WELCOME_S: Final = 5.0
"""A connection that lasted less than this (s) was no success."""
CLOSE_S: Final = 1.0
DOWN_S: Final = 1.0
"""How long PeerDown waits (s) for the end of the peer's work stream to be told first."""


async def _nothing(_peer: PeerId) -> None:
    return None


async def _nowhere(_peer: PeerId) -> None:
    return None


@final
class Peers:
    """All peers of one host."""

    def __init__(
        self,
        host: BasicHost,
        settings: CheckedSettings,
        own_id: PeerId,
        gatekeeper: Gatekeeper,
        sink: EventSink,
        journal: Journal,
        clock: Clock,
        book: AddressBook,
    ) -> None:
        self.own_id = own_id
        self.before_down: Callable[[PeerId], Awaitable[None]] = _nothing
        """Called and awaited before ``PeerDown`` is posted."""
        self.look_up: Callable[[PeerId], Awaitable[None]] = _nowhere
        """Asks the DHT for the peer's addresses and calls ``learn``."""
        self.on_up: Callable[[PeerId], None] = lambda _peer: None
        self.on_down: Callable[[PeerId], None] = lambda _peer: None
        self.closing = False
        self._host = host
        self._swarm = swarm_of(host)
        self._settings = settings
        self._gatekeeper = gatekeeper
        self._sink = sink
        self._journal = journal
        self._clock = clock
        self._book = book
        self._ledger = Ledger()
        self._up: set[PeerId] = set()
        self._dirty: OrderedDict[PeerId, None] = OrderedDict()
        self._changed = trio.Event()
        self._told: dict[PeerId, trio.Event] = {}
        self._watched: set[PeerId] = set()
        self._known: OrderedDict[PeerId, OrderedDict[Multiaddr, None]] = OrderedDict()
        self._wishes: deque[PeerId] = deque()
        self._wished = trio.Event()
        self._dialling: dict[PeerId, trio.Event] = {}
        self._to_close: deque[PeerId] = deque()
        self._refused: WeakSet[INetConn] = WeakSet()
        self._random = random.SystemRandom()
        self._swarm.register_notifee(ConnectionWatch(self.on_connected, self.on_disconnected))
        for endpoint in settings.bootstraps:
            self.learn(endpoint.peer, (endpoint.address,))

    # What others ask.

    def standing(self, peer: PeerId) -> Standing:
        """Say who a peer is; ids of other kinds of keys are always strangers."""
        try:
            is_node = is_node_id(to_libp2p(peer).to_bytes())
        except ValueError:
            return Standing.STRANGER
        return self._gatekeeper.standing(peer) if is_node else Standing.STRANGER

    def is_registered(self, peer: ID) -> bool:
        """Say whether a peer may stand in DHT tables: registered, or a pinned bootstrap."""
        return is_node_id(peer.to_bytes()) and self._gatekeeper.standing(from_libp2p(peer)) is not Standing.STRANGER

    def is_banned(self, peer: ID) -> bool:
        """Say whether we serve this peer nothing."""
        return self._ledger.banned(from_libp2p(peer), self._clock.now())

    def is_connected(self, peer: PeerId) -> bool:
        """Say whether there is a connection now."""
        return any(map(self._counts, self._swarm.get_connections(to_libp2p(peer))))

    def connected(self) -> tuple[PeerId, ...]:
        """Give all connected peers."""
        return tuple(
            from_libp2p(peer) for peer, open_ in list(self._swarm.connections.items()) if any(map(self._counts, open_))
        )

    def _counts(self, connection: INetConn) -> bool:
        return not connection.is_closed and connection not in self._refused

    def judge(self, peer: PeerId, offence: Offence, rule: str) -> None:
        """Take credit; ban and disconnect when it is spent."""
        if peer == self.own_id:
            return
        self._journal.note(NoteName.PEER_JUDGED, peer=peer, offence=offence.name.lower(), rule=rule)
        before = self._ledger.banned(peer, self._clock.now())
        if self._ledger.judge(peer, offence.value, self._clock.now()) and not before:
            self._journal.note(NoteName.PEER_BANNED, peer=peer, rule=rule)
            self.disconnect(peer, "banned")

    def disconnect(self, peer: PeerId, reason: str) -> None:
        """Close every connection to the peer soon."""
        del reason
        self._refused.update(self._swarm.get_connections(to_libp2p(peer)))
        self._to_close.append(peer)
        self._touch(peer)

    def watch(self, peer: PeerId, on: bool) -> None:
        """Look for life quickly, because work depends on it."""
        (self._watched.add if on else self._watched.discard)(peer)
        for connection in self._swarm.get_connections(to_libp2p(peer)):
            if isinstance(connection.muxed_conn, PulsedYamux):
                connection.muxed_conn.watch(on)

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

    def connect(self, peer: PeerId) -> None:
        """Wish for a connection."""
        if peer == self.own_id or self.is_connected(peer) or peer in self._wishes:
            return
        if len(self._wishes) >= MAX_DIALS:
            self._journal.note(NoteName.PEER_UNREACHABLE, peer=self._wishes.popleft(), reason="too_many_dials")
        self._wishes.append(peer)
        self._wished.set()

    async def announced(self, peer: PeerId) -> None:
        """Wait until ``PeerUp`` of a connected peer is posted."""
        if peer not in self._up and self.is_connected(peer):
            await self._told.setdefault(peer, trio.Event()).wait()

    def recheck(self) -> None:
        """Apply the limits again after the stake table changed."""
        for peer in self.connected():
            if self._is_one_too_many(peer):
                self.disconnect(peer, "crowded")

    # What the swarm tells.

    def on_connected(self, connection: INetConn) -> None:
        """Take note of a new connection, or end it."""
        peer = connection.muxed_conn.peer_id
        name = from_libp2p(peer)
        if self.is_banned(peer) or self._is_one_too_many(name):
            self._refused.add(connection)
            self._to_close.append(name)
            self._signal()
            return
        if name in self._watched and isinstance(connection.muxed_conn, PulsedYamux):
            connection.muxed_conn.watch(True)
        self._touch(name)

    def on_disconnected(self, connection: INetConn) -> None:
        """Take note of a lost connection."""
        self._touch(from_libp2p(connection.muxed_conn.peer_id))

    def _is_one_too_many(self, peer: PeerId) -> bool:
        """Say whether this stranger is over the half of all connections that strangers may have."""
        if self.standing(peer) is not Standing.STRANGER:
            return False
        strangers = sum(self.standing(other) is Standing.STRANGER for other in self.connected())
        return strangers > self._settings.max_connections // 2

    def _touch(self, peer: PeerId) -> None:
        self._dirty[peer] = None
        self._signal()

    def _signal(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # Tasks.

    async def run(self) -> None:
        """Do all that needs waiting."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell)
            nursery.start_soon(self._close_peers, nursery)
            nursery.start_soon(self._keep_company)
            for _ in range(DIAL_WORKERS):
                nursery.start_soon(self._grant_wishes)
            for endpoint in self._settings.bootstraps:
                if endpoint.peer != self.own_id:
                    nursery.start_soon(self._keep_to, endpoint)

    async def _tell(self) -> None:
        while True:
            while self._dirty:
                peer, _ = self._dirty.popitem(last=False)
                await self._tell_one(peer)
            await self._changed.wait()

    async def _tell_one(self, peer: PeerId) -> None:
        is_up = self.is_connected(peer)
        if is_up == (peer in self._up):
            self._release(peer)
            return
        is_node = is_node_id(to_libp2p(peer).to_bytes())
        if is_up:
            self._up.add(peer)
            self._journal.note(NoteName.PEER_UP, peer=peer, standing=self.standing(peer).value)
            if is_node:
                await self._sink.post(PeerUp(peer))
                self.on_up(peer)
        else:
            with trio.move_on_after(DOWN_S):
                await self.before_down(peer)
            self._up.discard(peer)
            self.on_down(peer)
            self._journal.note(NoteName.PEER_DOWN, peer=peer)
            if is_node:
                await self._sink.post(PeerDown(peer))
        self._release(peer)

    def _release(self, peer: PeerId) -> None:
        waiting = self._told.pop(peer, None)
        if waiting is not None:
            waiting.set()

    async def _close_peers(self, nursery: trio.Nursery) -> None:
        while True:
            while self._to_close:
                nursery.start_soon(self._close, to_libp2p(self._to_close.popleft()))
            await self._changed.wait()

    async def _close(self, peer: ID) -> None:
        for connection in list(self._swarm.get_connections(peer)):
            if connection in self._refused:
                with trio.move_on_after(CLOSE_S) as patience:
                    await connection.close()
                # Its socket is full: a polite goodbye would wait behind what it does not read.
                if patience.cancelled_caught and isinstance(connection.muxed_conn, PulsedYamux):
                    await connection.muxed_conn.abort()
        self._touch(from_libp2p(peer))

    async def _grant_wishes(self) -> None:
        while True:
            while self._wishes:
                peer = self._wishes.popleft()
                if not await self.reach(peer):
                    self._journal.note(NoteName.PEER_UNREACHABLE, peer=peer, reason="no_address_answers")
            self._wished = trio.Event()
            await self._wished.wait()

    async def reach(self, peer: PeerId) -> bool:
        """Have a connection to the peer; False when none of its known addresses answers."""
        if self.is_connected(peer):
            return True
        other = self._dialling.get(peer)
        if other is not None:
            await other.wait()
            return self.is_connected(peer)
        self._dialling[peer] = trio.Event()
        try:
            if await self._dial(peer, self._addresses_of(peer)):
                return True
            await self.look_up(peer)
            return await self._dial(peer, self._addresses_of(peer))
        finally:
            self._dialling.pop(peer).set()

    def _addresses_of(self, peer: PeerId) -> list[Multiaddr]:
        try:
            told = self._host.get_peerstore().addrs(to_libp2p(peer))
        except PeerStoreError:
            told = []
        bare = [address.decapsulate("/p2p/" + peer) if "/p2p/" in str(address) else address for address in told]
        return list(dict.fromkeys([*self._known.get(peer, ()), *bare]))[:MAX_ADDRESSES]

    async def _dial(self, peer: PeerId, addresses: list[Multiaddr]) -> bool:
        target = to_libp2p(peer)
        if self.is_banned(target):
            return False
        for address in addresses:
            # Upstream dials one address per transport and then refuses the peer for a while: one at a time, afresh.
            self._host.get_peerstore().clear_addrs(target)
            self._swarm.unblock_peer(target)
            try:
                with trio.move_on_after(ATTEMPT_S):
                    await self._host.connect(PeerInfo(target, [address]))
            except STREAM_ERRORS:
                continue
            if self.is_connected(peer):
                self.learn(peer, (address,))
                await self._book.remember_address(f"{address}/p2p/{peer}", self._clock.now())
                return True
        if addresses:
            self._host.get_peerstore().add_addrs(target, addresses, ADDRESS_LIFE_S)
        return False

    def _pause(self, failures: int) -> float:
        return min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures, 10)) * self._random.uniform(0.75, 1.25)

    async def _keep_to(self, endpoint: Endpoint) -> None:
        failures = 0
        while True:
            if self.is_connected(endpoint.peer):
                since = trio.current_time()
                while self.is_connected(endpoint.peer):
                    await self._changed.wait()
                # Whoever cuts us at once does not want us now: come back as slowly as to one that does not answer.
                failures = 0 if trio.current_time() - since > WELCOME_S else failures + 1
                await trio.sleep(self._pause(failures))
                continue
            self.learn(endpoint.peer, (endpoint.address,))
            if await self._dial(endpoint.peer, [endpoint.address]):
                continue
            if failures % 10 == 0:
                alone = not any(self.is_connected(other.peer) for other in self._settings.bootstraps)
                reason = "all_bootstraps_down" if alone else "bootstrap_down"
                self._journal.note(NoteName.PEER_UNREACHABLE, peer=endpoint.peer, reason=reason)
            failures += 1
            with trio.move_on_after(self._pause(failures)):
                while not self.is_connected(endpoint.peer):
                    await self._changed.wait()

    async def _keep_company(self) -> None:
        remembered = deque(await self._remembered())
        failures = 0
        while remembered:
            await trio.sleep(self._pause(failures))
            if any(self.is_connected(endpoint.peer) for endpoint in self._settings.bootstraps):
                failures = 3
                continue
            if len(self.connected()) >= COMPANY:
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
            if endpoint.peer != self.own_id:
                self.learn(endpoint.peer, (endpoint.address,))
                peers[endpoint.peer] = None
        return list(reversed(peers))
