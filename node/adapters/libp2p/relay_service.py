"""A relay: it carries the connections of nodes that nobody can dial. Circuit relay v2, its hop half.

A registered node holds a reservation over its own direct connection; whoever asks is connected to it, within limits.
The two run Noise over the circuit, so the relay moves bytes that it cannot read. Spec:
https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md
"""

from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar, cast, final

import trio
from libp2p.abc import INetStream
from libp2p.host.basic_host import BasicHost
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID

from node.adapters.libp2p.budget import Budgets
from node.adapters.libp2p.circuit import Circuit, is_direct, open_on
from node.adapters.libp2p.circuit_bytes import reset
from node.adapters.libp2p.circuit_messages import (
    HOP,
    MAX_RELAY_MESSAGE_BYTES,
    STOP,
    Answer,
    Connect,
    Limit,
    Reserve,
    Status,
    read_hop,
    read_stop,
    write_hop,
    write_stop,
)
from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames, varint_frame
from node.adapters.libp2p.handshakes import site_of
from node.adapters.libp2p.identity import from_libp2p
from node.adapters.libp2p.muxed_stream import MuxedStream, muxed_of
from node.adapters.libp2p.peers import Peers
from node.adapters.libp2p.settings import RelayLimits
from node.ports import Clock, Journal
from protocol.effects import Offence
from protocol.errors import InvalidMessage
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import PeerId

RESERVATION_S: Final = 3600
"""A reservation ends after this (s) if it is not renewed, or with the connection over which it was asked for."""
MAX_RESERVATIONS: Final = 128
"""Nodes that may be reached through us at once."""
MAX_CIRCUITS_TO: Final = 64
"""Circuits to one node: each is a stream of its connection, which has 96."""
MAX_CIRCUITS_FROM: Final = 8
"""Circuits of one peer that dials: it needs one to each node that it works with, and another while one is dying."""
SITE_SHARE: Final = 4
"""Strangers of one network address have a quarter of what all strangers may: keys cost nothing."""
REQUEST_S: Final = 5.0
"""A request must be there within this (s) of its stream."""
STOP_S: Final = 5.0
"""Whoever is to be reached must say yes within this (s)."""
MAX_WAITING: Final = 8
"""Hop streams of one peer on which nothing was asked yet."""
REQUESTS_PER_S: Final = 1
BURST_REQUESTS: Final = 20
"""Requests of one peer: a node that restarts asks once for each node that it works with."""
REFUSALS_PER_S: Final = 5
"""Requests beyond those that are refused and held against nobody (1/s)."""
BURST_REFUSALS: Final = 50


Counted = TypeVar("Counted")


@dataclass(frozen=True, slots=True)
class _Reservation:
    until_s: int
    """Unix seconds."""
    connection: SwarmConn
    """Over which it was asked for: it ends with that one."""


@final
class RelayService:
    """What one node carries for others."""

    def __init__(self, host: BasicHost, peers: Peers, limits: RelayLimits, journal: Journal, clock: Clock) -> None:
        """Serve from now on."""
        self._host = host
        self._peers = peers
        self._limits = limits
        self._journal = journal
        self._clock = clock
        self._reserved: dict[PeerId, _Reservation] = {}
        """Who may be reached through us."""
        self._waiting: Counter[PeerId] = Counter()
        self._to: Counter[PeerId] = Counter()
        self._from: Counter[PeerId] = Counter()
        self._strangers: Counter[str] = Counter()
        """Circuits of strangers by network address."""
        self._strangers_to: Counter[tuple[str, PeerId]] = Counter()
        self._requests = Budgets(REQUESTS_PER_S, BURST_REQUESTS)
        self._refusals = Budgets(REFUSALS_PER_S, BURST_REFUSALS)
        host.set_stream_handler(HOP, self.serve)

    @property
    def circuits(self) -> int:
        """Circuits that are open now, or being opened."""
        return self._to.total()

    async def serve(self, stream: INetStream) -> None:
        """Answer one request; a circuit lasts as long as this does."""
        assert isinstance(stream, NetStream)
        peer = from_libp2p(stream.muxed_conn.peer_id)
        muxed = muxed_of(stream)
        if self._waiting[peer] >= MAX_WAITING:
            self._peers.judge(peer, Offence.MINOR, "relay.waiting")
            muxed.abandon()
            return
        frames = VarintFrames(muxed, MAX_RELAY_MESSAGE_BYTES)
        self._waiting[peer] += 1
        try:
            with trio.fail_after(REQUEST_S):
                request = read_hop(await frames.read())
        except trio.TooSlowError:
            muxed.abandon()
            return
        except InvalidMessage as error:
            self._peers.judge(peer, Offence.GRAVE, error.rule)
            await _answer(muxed, Answer(Status.MALFORMED_MESSAGE))
            return
        finally:
            self._waiting[peer] -= 1
            if not self._waiting[peer]:
                del self._waiting[peer]
        await self._grant(stream, peer, request, frames)

    async def _grant(
        self, stream: NetStream, peer: PeerId, request: Reserve | Connect | Answer, frames: VarintFrames
    ) -> None:
        muxed = muxed_of(stream)
        if not self._requests.of(peer).take():
            if not self._refusals.of(peer).take():
                self._peers.judge(peer, Offence.MINOR, "relay.flood")
            await self._refuse(muxed, peer, Status.RESOURCE_LIMIT_EXCEEDED, "flood")
        elif not is_direct(stream.muxed_conn):
            # Circuits through circuits would let two relays carry each other's bytes without an end.
            self._peers.judge(peer, Offence.MINOR, "relay.nested")
            await self._refuse(muxed, peer, Status.PERMISSION_DENIED, "nested")
        elif isinstance(request, Reserve):
            await self._reserve(stream, peer)
        elif isinstance(request, Connect):
            await self._connect(muxed, peer, request.peer, frames)
        else:
            self._peers.judge(peer, Offence.MINOR, "relay.unexpected")
            await self._refuse(muxed, peer, Status.UNEXPECTED_MESSAGE, "unexpected")

    async def _refuse(self, stream: MuxedStream, peer: PeerId, status: Status, reason: str) -> None:
        self._journal.note(NoteName.RELAY_REFUSED, peer=peer, reason=reason)
        await _answer(stream, Answer(status))

    # Reservations.

    async def _reserve(self, stream: NetStream, peer: PeerId) -> None:
        muxed = muxed_of(stream)
        if self._peers.standing(peer) is Standing.STRANGER:
            await self._refuse(muxed, peer, Status.PERMISSION_DENIED, "unregistered")
            return
        if peer not in self._reserved and len(self._reserved) >= MAX_RESERVATIONS:
            self._forget()
        if peer not in self._reserved and len(self._reserved) >= MAX_RESERVATIONS:
            await self._refuse(muxed, peer, Status.RESERVATION_REFUSED, "full")
            return
        if self._reservation(peer) is None:
            self._journal.note(NoteName.RELAY_RESERVED, peer=peer)
        until_s = self._clock.now() // 1000 + RESERVATION_S
        self._reserved[peer] = _Reservation(until_s, cast("SwarmConn", stream.swarm_conn))
        self._peers.watch(peer, True, "reserved")
        await _answer(muxed, Answer(Status.OK, until_s, self._limit()))

    def _forget(self) -> None:
        for peer in list(self._reserved):
            if self._reservation(peer) is None:
                del self._reserved[peer]
                self._peers.watch(peer, False, "reserved")

    def _reservation(self, peer: PeerId) -> "_Reservation | None":
        """Give what a peer holds as long as it is registered, and connected as it was when it asked."""
        held = self._reserved.get(peer)
        is_good = (
            held is not None
            and held.until_s > self._clock.now() // 1000
            and not held.connection.is_closed
            and self._peers.standing(peer) is not Standing.STRANGER
        )
        return held if is_good else None

    def _limit(self) -> Limit:
        return Limit(self._limits.circuit_s, self._limits.circuit_bytes)

    # Circuits.

    async def _connect(self, stream: MuxedStream, source: PeerId, target: ID, frames: VarintFrames) -> None:
        name = from_libp2p(target)
        held = self._reservation(name)
        if name in (source, self._peers.own_id):
            self._peers.judge(source, Offence.MINOR, "relay.loop")
            await self._refuse(stream, source, Status.PERMISSION_DENIED, "loop")
        elif held is None or self._peers.is_banned(target):
            await self._refuse(stream, source, Status.NO_RESERVATION, "no_reservation")
        elif not self._has_room(source, name, site := _site_of(stream)):
            await self._refuse(stream, source, Status.RESOURCE_LIMIT_EXCEEDED, "full")
        else:
            with ExitStack() as counted:
                counted.enter_context(_counted(self._to, name))
                counted.enter_context(_counted(self._from, source))
                if self._peers.standing(source) is Standing.STRANGER:
                    counted.enter_context(_counted(self._strangers, site))
                    counted.enter_context(_counted(self._strangers_to, (site, name)))
                await self._carry(stream, source, held.connection, frames)

    def _has_room(self, source: PeerId, target: PeerId, site: str) -> bool:
        """Say whether one more circuit fits; strangers have half of everything, and those of one address a part."""
        is_stranger = self._peers.standing(source) is Standing.STRANGER
        share = 2 if is_stranger else 1
        most, most_to = self._limits.circuits // share, MAX_CIRCUITS_TO // share
        if is_stranger and (
            self._strangers[site] >= max(1, most // SITE_SHARE)
            or self._strangers_to[site, target] >= most_to // SITE_SHARE
        ):
            return False
        return self._from[source] < MAX_CIRCUITS_FROM // share and self._to[target] < most_to and self.circuits < most

    async def _carry(self, stream: MuxedStream, source: PeerId, target: SwarmConn, frames: VarintFrames) -> None:
        opened: NetStream | None = None
        try:
            try:
                with trio.fail_after(STOP_S):
                    opened = await open_on(self._host, target, STOP)
                    reply, early = await self._ask(muxed_of(opened), stream.muxed_conn.peer_id)
            except (*STREAM_ERRORS, trio.TooSlowError, InvalidMessage) as error:
                if isinstance(error, InvalidMessage):
                    self._peers.judge(from_libp2p(target.muxed_conn.peer_id), Offence.GRAVE, error.rule)
                await self._refuse(stream, source, Status.CONNECTION_FAILED, "no_answer")
                return
            if not isinstance(reply, Answer) or reply.status != Status.OK:
                await self._refuse(stream, source, Status.CONNECTION_FAILED, "declined")
                return
            await muxed_of(opened).write(frames.rest())
            await _answer(stream, Answer(Status.OK, limit=self._limit()), early)
            await self._join(stream, source, muxed_of(opened))
        finally:
            if opened is not None:
                await reset(opened)

    async def _ask(self, stream: MuxedStream, source: ID) -> tuple[Connect | Answer, bytes]:
        """Ask whoever is to be reached; gives what it says, and what comes after it."""
        await stream.write(varint_frame(write_stop(Connect(source, self._limit()))))
        replies = VarintFrames(stream, MAX_RELAY_MESSAGE_BYTES)
        return read_stop(await replies.read()), replies.rest()

    async def _join(self, stream: MuxedStream, source: PeerId, other: MuxedStream) -> None:
        target = from_libp2p(other.muxed_conn.peer_id)
        self._journal.note(NoteName.RELAY_CARRIES, peer=target, source=source)
        circuit = Circuit(stream, other, self._limits.circuit_bytes)
        reason = "stopped"
        try:
            reason = await circuit.run(self._limits.circuit_s)
        finally:
            circuit.end()
            carried = circuit.carried
            self._journal.note(NoteName.RELAY_CARRIED, peer=target, source=source, reason=reason, bytes=carried)


def _site_of(stream: MuxedStream) -> str:
    remote = stream.get_remote_address()
    return site_of(remote[0]) if remote is not None else ""


@contextmanager
def _counted(counter: Counter[Counted], name: Counted) -> Generator[None]:
    """Count one more of a name, as long as the block runs."""
    counter[name] += 1
    try:
        yield
    finally:
        counter[name] -= 1
        if not counter[name]:
            del counter[name]


async def _answer(stream: MuxedStream, answer: Answer, rest: bytes = b"") -> None:
    with trio.move_on_after(REQUEST_S):
        await stream.write(varint_frame(write_hop(answer)) + rest)
