"""Who is connected: limits, bans, and telling the core."""

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final, final
from weakref import WeakSet

import trio
from libp2p.abc import INetConn
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID

from node.adapters.libp2p.circuit_bytes import is_relayed
from node.adapters.libp2p.host import peerstore_of, swarm_of
from node.adapters.libp2p.identity import from_libp2p, is_node_id, to_libp2p
from node.adapters.libp2p.muxer import OverlayMuxer
from node.adapters.libp2p.notifee import ConnectionWatch
from node.adapters.libp2p.settings import CheckedSettings
from node.ports import Clock, EventSink, Gatekeeper, Journal
from protocol.effects import Offence
from protocol.events import PeerDown, PeerUp
from protocol.gossip.reputation import Ledger
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import PeerId

MAX_CONNECTIONS_PER_PEER: Final = 3
"""Connections of one peer: two that dial each other at once have two, and one may be dead and not yet found so."""
MAX_STRANGERS: Final = 256
"""Connections of strangers at most, and half of all: each may hold some MiB of our memory, and has no stake to lose."""
CLOSE_S: Final = 1.0
DOWN_S: Final = 1.0
"""How long PeerDown waits (s) for the end of the peer's work stream to be told first."""


async def _nothing(_peer: PeerId) -> None:
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
    ) -> None:
        self.own_id = own_id
        self.before_down: Callable[[PeerId], Awaitable[None]] = _nothing
        """Called and awaited before ``PeerDown`` is posted."""
        self.on_up: Callable[[PeerId], None] = lambda _peer: None
        self.on_down: Callable[[PeerId], None] = lambda _peer: None
        self._swarm = swarm_of(host)
        self._settings = settings
        self._gatekeeper = gatekeeper
        self._sink = sink
        self._journal = journal
        self._clock = clock
        self._ledger = Ledger()
        self._up: set[PeerId] = set()
        self._dirty: OrderedDict[PeerId, None] = OrderedDict()
        self._changed = trio.Event()
        self._told: dict[PeerId, trio.Event] = {}
        self._watched: dict[PeerId, set[str]] = {}
        self._reasons: dict[PeerId, str] = {}
        self._to_close: deque[PeerId] = deque()
        self._refused: WeakSet[INetConn] = WeakSet()
        self._swarm.register_notifee(ConnectionWatch(self.on_connected, self.on_disconnected))
        peerstore_of(host).keeps = lambda peer: bool(self._swarm.connections.get(peer)) or self.is_registered(peer)

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

    def may_serve(self, peer: ID) -> bool:
        """Say whether we ask a peer for anything: registered, and not banned."""
        return self.is_registered(peer) and not self.is_banned(peer)

    def is_banned(self, peer: ID) -> bool:
        """Say whether we serve this peer nothing."""
        return self._ledger.banned(from_libp2p(peer), self._clock.now())

    def is_connected(self, peer: PeerId) -> bool:
        """Say whether there is a connection now."""
        return any(map(self._counts, self._swarm.get_connections(to_libp2p(peer))))

    def is_connected_directly(self, peer: PeerId) -> bool:
        """Say whether there is a connection now that runs through no relay."""
        connections = self._swarm.get_connections(to_libp2p(peer))
        return any(self._counts(each) and not is_relayed(each.muxed_conn) for each in connections)

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
        """Close every connection to the peer soon; ``PEER_DOWN`` is noted with the reason."""
        self._reasons.setdefault(peer, reason)
        self._refused.update(self._swarm.get_connections(to_libp2p(peer)))
        self._to_close.append(peer)
        self._touch(peer)

    def watch(self, peer: PeerId, on: bool, reason: str = "work") -> None:
        """Look for life quickly as long as something depends on it."""
        reasons = self._watched.setdefault(peer, set())
        (reasons.add if on else reasons.discard)(reason)
        if not reasons:
            del self._watched[peer]
        for connection in self._swarm.get_connections(to_libp2p(peer)):
            if isinstance(connection.muxed_conn, OverlayMuxer):
                connection.muxed_conn.watch(bool(reasons))

    async def changed(self) -> None:
        """Wait until some connection came or went."""
        await self._changed.wait()

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
        if name in self._watched and isinstance(connection.muxed_conn, OverlayMuxer):
            connection.muxed_conn.watch(True)
        # The oldest go: a peer that comes back has lost them.
        others = [other for other in self._swarm.get_connections(peer) if other is not connection]
        counted = [other for other in others if self._counts(other)]
        if len(counted) >= MAX_CONNECTIONS_PER_PEER:
            self._refused.update(counted[: len(counted) + 1 - MAX_CONNECTIONS_PER_PEER])
            self._to_close.append(name)
        self._touch(name)

    def on_disconnected(self, connection: INetConn) -> None:
        """Take note of a lost connection."""
        self._touch(from_libp2p(connection.muxed_conn.peer_id))

    def _is_one_too_many(self, peer: PeerId) -> bool:
        """Say whether this stranger is one more than there may be."""
        if self.standing(peer) is not Standing.STRANGER:
            return False
        strangers = sum(
            sum(map(self._counts, open_))
            for other, open_ in list(self._swarm.connections.items())
            if self.standing(from_libp2p(other)) is Standing.STRANGER
        )
        return strangers > min(self._settings.max_connections // 2, MAX_STRANGERS)

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

    async def _tell(self) -> None:
        while True:
            while self._dirty:
                peer, _ = self._dirty.popitem(last=False)
                await self._tell_one(peer)
            await self._changed.wait()

    async def _tell_one(self, peer: PeerId) -> None:
        is_up = self.is_connected(peer)
        reason = self._reasons.pop(peer, "lost")
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
            self._journal.note(NoteName.PEER_DOWN, peer=peer, reason=reason)
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
                if patience.cancelled_caught and isinstance(connection.muxed_conn, OverlayMuxer):
                    await connection.muxed_conn.abort()
        self._touch(from_libp2p(peer))
