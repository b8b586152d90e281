"""Being reached through relays, and reaching others through theirs. Circuit relay v2, its client and its stop half.

A node without a public address holds a reservation at each of its relays and tells others the addresses that lead
through them. A circuit is a stream of the connection with the relay; the connection over it is the usual one.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Final, cast, final

import trio
from libp2p.abc import INetStream
from libp2p.host.basic_host import BasicHost
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.circuit import direct_connection, is_direct, open_on
from node.adapters.libp2p.circuit_bytes import circuit, reset
from node.adapters.libp2p.circuit_messages import (
    HOP,
    MAX_RELAY_MESSAGE_BYTES,
    STOP,
    Answer,
    Connect,
    Reserve,
    Status,
    circuit_address,
    read_hop,
    read_stop,
    relay_of,
    write_hop,
    write_stop,
)
from node.adapters.libp2p.dialling import Dialler
from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames, varint_frame
from node.adapters.libp2p.handshakes import Handshakes
from node.adapters.libp2p.host import HANDSHAKE_S, swarm_of
from node.adapters.libp2p.identity import from_libp2p, to_libp2p
from node.adapters.libp2p.muxed_stream import MuxedStream, muxed_of
from node.adapters.libp2p.muxer import OverlayMuxer
from node.adapters.libp2p.peers import Peers
from node.adapters.libp2p.settings import CIRCUIT, MAX_RELAYS, CheckedSettings, Endpoint
from node.ports import Clock, Journal
from protocol.effects import Offence
from protocol.errors import InvalidMessage
from protocol.notes import NoteName
from protocol.units import PeerId

ANSWER_S: Final = 8.0
"""A relay must answer within this (s): it asks the other end for up to five."""
REQUEST_S: Final = 5.0
"""A relay must say whose circuit it is within this (s) of its stream."""
FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 60.0
"""A relay that refuses or does not answer is asked again after half a second, doubling to a minute, each ± 25 %."""
MIN_RENEW_S: Final = 30.0
MAX_RENEW_S: Final = 1800.0
"""A reservation is renewed at half of its time, but neither sooner nor later than this (s)."""
MAX_CIRCUITS_BY_RELAY: Final = 64
"""Circuits to us through one relay: each is a stream of its connection, which has 96."""


def _nothing() -> None:
    return None


@final
class Circuits:
    """The circuits that end at this node."""

    def __init__(
        self,
        host: BasicHost,
        settings: CheckedSettings,
        peers: Peers,
        dialler: Dialler,
        journal: Journal,
        clock: Clock,
    ) -> None:
        """Take circuits from now on; ``run`` asks for reservations."""
        self.on_changed: Callable[[], None] = _nothing
        """Called when the addresses that lead to us have changed."""
        self._host = host
        self._swarm = swarm_of(host)
        self._settings = settings
        self._peers = peers
        self._dialler = dialler
        self._journal = journal
        self._clock = clock
        self._relays = {relay.peer: relay for relay in settings.relays if relay.peer != peers.own_id}
        """Those that may bring us circuits."""
        self._held: dict[PeerId, Multiaddr] = {}
        """The relays that let us be reached, and the addresses that lead to us through them."""
        self._open: Counter[PeerId] = Counter()
        self._handshakes = Handshakes(settings.max_connections)
        self._random = random.SystemRandom()
        dialler.dial_circuit = self.dial
        host.set_stream_handler(STOP, self.accept)

    def told(self, addresses: list[Multiaddr]) -> list[Multiaddr]:
        """Give what to tell others: who needs a relay cannot be dialled where it listens, only where a person says."""
        if not self._settings.relays and not self._held:
            return addresses
        own = f"/p2p/{self._peers.own_id}"
        announced = addresses if self._settings.announce else []
        return [*announced, *(Multiaddr(f"{address}{own}") for address in self._held.values())]

    # Being reached.

    async def run(self) -> None:
        """Hold a reservation at every relay until cancelled."""
        async with trio.open_nursery() as nursery:
            for relay in self._relays.values():
                nursery.start_soon(self._keep, relay)

    async def run_at_bootstraps(self) -> None:
        """Hold reservations at the entry points until cancelled, where no person has named relays or addresses."""
        if self._settings.relays or self._settings.announce:
            return
        direct = [each for each in self._settings.bootstraps if relay_of(each.address) is None]
        self._relays = {each.peer: each for each in direct[:MAX_RELAYS] if each.peer != self._peers.own_id}
        try:
            await self.run()
        finally:
            for relay in self._relays.values():
                if relay.peer in self._held:
                    self._hold(relay, False)
            self._relays = {}

    async def _keep(self, relay: Endpoint) -> None:
        failures = 0
        while True:
            reason = "unreachable"
            if await self._dialler.reach_at(relay):
                reason = await self._reserve(relay)
            if not reason:
                failures = 0
                continue
            if relay.peer in self._held or not failures:
                self._journal.note(NoteName.RELAY_LOST, peer=relay.peer, reason=reason)
            if relay.peer in self._held:
                self._hold(relay, False)
            pause = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures, 10))
            failures += 1
            await trio.sleep(pause * self._random.uniform(0.75, 1.25))

    def _hold(self, relay: Endpoint, on: bool) -> None:
        self._peers.watch(relay.peer, on, "relay")
        if on:
            self._held[relay.peer] = circuit_address(relay)
        else:
            del self._held[relay.peer]
        self.on_changed()

    async def _reserve(self, relay: Endpoint) -> str:
        """Hold a reservation until it is to be renewed; says why it is not held any more where it is not."""
        try:
            with trio.fail_after(ANSWER_S):
                connection = direct_connection(self._host, to_libp2p(relay.peer))
                stream = await open_on(self._host, connection, HOP)
                try:
                    answer, _ = await _ask(muxed_of(stream), Reserve())
                finally:
                    await reset(stream)
        except InvalidMessage as error:
            self._peers.judge(relay.peer, Offence.MINOR, error.rule)
            return "malformed"
        except (*STREAM_ERRORS, trio.TooSlowError):
            return "no_answer"
        if answer.status != Status.OK:
            return _word(answer.status)
        if relay.peer not in self._held:
            self._journal.note(NoteName.RELAY_HELD, peer=relay.peer)
            self._hold(relay, True)
        left_s = answer.expires_at_s - self._clock.now() / 1000
        with trio.move_on_after(min(MAX_RENEW_S, max(MIN_RENEW_S, left_s / 2))):
            while not connection.is_closed:
                await self._peers.changed()
            return "disconnected"
        return ""

    async def accept(self, stream: INetStream) -> None:
        """Take a circuit that a relay of ours brings; returns when it is over."""
        assert isinstance(stream, NetStream)
        relay = from_libp2p(stream.muxed_conn.peer_id)
        muxed = muxed_of(stream)
        # What is answered to a reservation may come after the first circuit over it.
        if relay not in self._relays or not is_direct(stream.muxed_conn):
            self._peers.judge(relay, Offence.MINOR, "relay.unasked")
            await _say(stream, Status.PERMISSION_DENIED)
            return
        frames = VarintFrames(muxed, MAX_RELAY_MESSAGE_BYTES)
        try:
            with trio.fail_after(REQUEST_S):
                request = read_stop(await frames.read())
        except trio.TooSlowError:
            muxed.abandon()
            return
        except InvalidMessage as error:
            self._peers.judge(relay, Offence.GRAVE, error.rule)
            await _say(stream, Status.MALFORMED_MESSAGE)
            return
        if not isinstance(request, Connect):
            await _say(stream, Status.UNEXPECTED_MESSAGE)
        elif self._peers.is_banned(request.peer) or from_libp2p(request.peer) == self._peers.own_id:
            await _say(stream, Status.PERMISSION_DENIED)
        elif self._open[relay] >= MAX_CIRCUITS_BY_RELAY or not self._handshakes.begin(from_libp2p(request.peer)):
            await _say(stream, Status.RESOURCE_LIMIT_EXCEEDED)
        else:
            self._open[relay] += 1
            try:
                await self._take(stream, request.peer, frames)
            finally:
                self._open[relay] -= 1

    async def _take(self, stream: NetStream, source: ID, frames: VarintFrames) -> None:
        """Be the server of a handshake over a circuit, and of the connection until its end.

        Whoever is at the other end shows it by its key: whom the relay named counts for its limits alone.
        """
        muxed = muxed_of(stream)
        cast("OverlayMuxer", stream.muxed_conn).carry(muxed)
        address = Multiaddr(f"/p2p/{from_libp2p(stream.muxed_conn.peer_id)}{CIRCUIT}")
        try:
            try:
                await _say(stream, Status.OK)
                raw = circuit(stream, frames.rest(), address, is_ours=False)
                connection = await self._swarm.upgrade_inbound_raw_conn(raw, address)
            finally:
                self._handshakes.end(from_libp2p(source))
            if isinstance(connection, OverlayMuxer):
                await connection.event_closed.wait()
        finally:
            muxed.abandon()

    # Reaching others.

    async def dial(self, target: ID, address: Multiaddr) -> None:
        """Connect to a peer under an address that leads through a relay.

        Raises:
            SwarmException: There is no such relay, it refuses, or the other end is not who it should be.
            STREAM_ERRORS: One of the connections is gone.
        """
        relay = relay_of(address)
        if relay is None or relay.peer in (self._peers.own_id, from_libp2p(target)):
            raise SwarmException(f"{address} leads through no relay that can be used")
        if not await self._dialler.reach_at(relay):
            raise SwarmException(f"the relay {relay.peer} cannot be reached")
        connection = direct_connection(self._host, to_libp2p(relay.peer))
        try:
            with trio.fail_after(ANSWER_S):
                stream = await open_on(self._host, connection, HOP)
        except trio.TooSlowError as error:
            raise SwarmException(f"the relay {relay.peer} takes no stream") from error
        cast("OverlayMuxer", stream.muxed_conn).carry(muxed_of(stream))
        is_up = False
        try:
            try:
                with trio.fail_after(ANSWER_S):
                    answer, early = await _ask(muxed_of(stream), Connect(target))
            except (InvalidMessage, trio.TooSlowError) as error:
                raise SwarmException(f"the relay {relay.peer} does not answer: {error}") from error
            if answer.status != Status.OK:
                raise SwarmException(f"the relay {relay.peer} answers {_word(answer.status)}")
            raw = circuit(stream, early, address, is_ours=True)
            await self._upgrade(raw, target)
            is_up = True
        finally:
            if not is_up:
                await reset(stream)

    async def _upgrade(self, raw: RawConnection, target: ID) -> None:
        if len(self._swarm.get_connections()) >= self._settings.max_connections:
            raise SwarmException("no place for one more connection")
        try:
            with trio.fail_after(HANDSHAKE_S):
                await self._swarm.upgrade_outbound_raw_conn(raw, target)
        except trio.TooSlowError as error:
            raise SwarmException("the handshake over a circuit took too long") from error


async def _ask(stream: MuxedStream, request: Reserve | Connect) -> tuple[Answer, bytes]:
    """Give a relay's answer, and what came after it.

    Raises:
        InvalidMessage: It is none.
        STREAM_ERRORS: The stream is gone.
    """
    await stream.write(varint_frame(write_hop(request)))
    frames = VarintFrames(stream, MAX_RELAY_MESSAGE_BYTES)
    answer = read_hop(await frames.read())
    if not isinstance(answer, Answer):
        raise InvalidMessage("relay.malformed", "a request in place of an answer")
    return answer, frames.rest()


async def _say(stream: INetStream, status: Status) -> None:
    with trio.move_on_after(REQUEST_S):
        await muxed_of(stream).write(varint_frame(write_stop(Answer(status))))


def _word(status: int) -> str:
    """Give the name of a status."""
    try:
        return Status(status).name.lower()
    except ValueError:
        return str(status)
