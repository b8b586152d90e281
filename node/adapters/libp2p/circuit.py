"""One circuit as its relay sees it: two streams, and bytes from each to the other until a limit ends it."""

from typing import Final, cast, final

import trio
from libp2p.abc import IMuxedConn
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from node.adapters.libp2p.circuit_bytes import is_relayed, reset
from node.adapters.libp2p.framing import READ_BYTES, STREAM_ERRORS
from node.adapters.libp2p.host import swarm_of
from node.adapters.libp2p.muxed_stream import MuxedStream
from node.adapters.libp2p.muxer import OverlayMuxer

WRITE_S: Final = 10.0
"""An end that does not take 64 KiB within this (s) ends the circuit: its bytes would wait here."""


def is_direct(connection: IMuxedConn) -> bool:
    """Say whether a connection runs over a socket of its own."""
    return not is_relayed(connection)


def direct_connection(host: BasicHost, peer: ID) -> SwarmConn:
    """Give the newest connection with a peer that runs over a socket of its own: older ones may be dead.

    Raises:
        SwarmException: There is none.
    """
    for connection in reversed(swarm_of(host).get_connections(peer)):
        if is_direct(connection.muxed_conn) and not connection.is_closed:
            return cast("SwarmConn", connection)
    raise SwarmException(f"no direct connection with {peer}")


async def open_on(host: BasicHost, connection: SwarmConn, protocol: TProtocol) -> NetStream:
    """Open a stream on this very connection, where upstream takes one that it likes. The caller limits the time.

    Raises:
        STREAM_ERRORS: The peer does not speak the protocol, or is gone.
    """
    stream = await connection.new_stream()
    is_agreed = False
    try:
        await host.multiselect_client.select_one_of([protocol], MultiselectCommunicator(stream))
        is_agreed = True
    finally:
        if not is_agreed:
            await reset(stream)
    stream.set_protocol(protocol)
    return stream


@final
class Circuit:
    """Carries bytes both ways."""

    def __init__(self, one: MuxedStream, two: MuxedStream, most_bytes: int) -> None:
        """Join two streams; ``end`` is to follow."""
        self.carried = 0
        """Bytes of both directions so far."""
        self._ends = one, two
        self._most = most_bytes
        self._reason = "closed"
        for stream in self._ends:
            cast("OverlayMuxer", stream.muxed_conn).carry(stream)

    async def run(self, limit_s: float) -> str:
        """Carry until both ends have closed, one is gone, or a limit is reached; says which."""
        one, two = self._ends
        with trio.move_on_after(limit_s) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, one, two, nursery)
                nursery.start_soon(self._pump, two, one, nursery)
        return "time" if scope.cancelled_caught else self._reason

    def end(self) -> None:
        """Reset what is still open."""
        for stream in self._ends:
            stream.abandon()

    async def _pump(self, source: MuxedStream, target: MuxedStream, both: trio.Nursery) -> None:
        try:
            while self.carried < self._most:
                data = await source.read(min(READ_BYTES, self._most - self.carried))
                self.carried += len(data)
                await target.write_within(WRITE_S, data)
            self._reason = "bytes"
        except MuxedStreamEOF:
            if await self._close(target):
                return
        except (*STREAM_ERRORS, trio.TooSlowError):
            self._reason = "lost"
        both.cancel_scope.cancel()

    async def _close(self, target: MuxedStream) -> bool:
        """Pass on that one end says nothing more; say whether the other could be told."""
        try:
            with trio.fail_after(WRITE_S):
                await target.close()
        except (*STREAM_ERRORS, trio.TooSlowError):
            self._reason = "lost"
            return False
        return True
