"""One circuit as its relay sees it: two streams, and bytes from each to the other until a limit ends it."""

from typing import Final, cast, final

import trio
from libp2p.abc import IMuxedConn, INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from node.adapters.libp2p.circuit_bytes import is_relayed
from node.adapters.libp2p.framing import READ_BYTES, STREAM_ERRORS
from node.adapters.libp2p.host import swarm_of
from node.adapters.libp2p.muxed_stream import MuxedStream
from node.adapters.libp2p.muxer import OverlayMuxer

WRITE_S: Final = 10.0
"""An end that does not take 64 KiB within this (s) ends the circuit: its bytes would wait here."""


def is_direct(connection: IMuxedConn) -> bool:
    """Say whether a connection runs over a socket of its own."""
    return not is_relayed(connection)


async def open_direct(host: BasicHost, peer: ID, protocol: TProtocol) -> INetStream:
    """Open a stream on a direct connection that is there already.

    Raises:
        SwarmException: There is none; nobody is dialled.
        STREAM_ERRORS: The peer does not speak the protocol, or is gone.
    """
    connections = swarm_of(host).get_connections(peer)
    if not any(is_direct(connection.muxed_conn) and not connection.is_closed for connection in connections):
        raise SwarmException(f"no direct connection with {peer}")
    stream = await host.new_stream(peer, [protocol])  # upstream prefers direct connections, as we need it
    if not is_direct(stream.muxed_conn):
        await stream.reset()
        raise SwarmException(f"no direct connection with {peer}")
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
