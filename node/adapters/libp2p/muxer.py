"""Many streams over one encrypted connection. Spec: yamux 1.0.

Ours, because upstream's costs 0.3 ms of CPU for each frame (seven waits and a dozen log lines), lets a peer overrun
its window without end, sends half a frame when a writer is cancelled, and never notices a frozen peer.
"""

import logging
import struct
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, final
from weakref import WeakSet

import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.circuit_bytes import CircuitBytes, is_relayed
from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.muxed_stream import ACK, DATA, FIN, INITIAL_WINDOW, RST, SYN, WINDOW_UPDATE, MuxedStream
from node.adapters.libp2p.open_streams import OpenStreams
from node.adapters.libp2p.outgoing import Outgoing
from node.adapters.libp2p.pulse import Pulse
from node.adapters.libp2p.secure_bytes import SecureBytes

PING: Final = 2
GO_AWAY: Final = 3
HEADER: Final = struct.Struct("!BBHII")
"""Version, kind, flags, stream, length."""
MAX_BUFFERED_BYTES: Final = 4 * 1024 * 1024
"""Unread bytes of all streams of one connection (bytes): four full windows; more is a peer that nobody reads."""
MAX_UNACCEPTED: Final = 64
"""Streams that the peer opened and nobody has taken yet; the next is reset."""
FRAME_S: Final = 60.0
"""A frame that has begun must be complete within this (s)."""
GOODBYE_S: Final = 0.5
"""How long (s) a goodbye may take: a peer that reads nothing does not hold us up."""

_logger = logging.getLogger(__name__)


class YamuxError(EOFError):
    """The peer broke the rules of yamux: nothing that it sends has a meaning any more."""


@final
class OverlayMuxer(IMuxedConn):
    """One connection. ``watch`` makes its pulse quick."""

    def __init__(
        self,
        secured_conn: ISecureConn,
        peer_id: ID,
        is_initiator: bool | None = None,
        on_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.peer_id = peer_id
        self.event_started = trio.Event()
        self.event_closed = trio.Event()
        self.on_close = on_close
        self._secured = secured_conn
        self._bytes = CircuitBytes(secured_conn) if is_relayed(secured_conn) else SecureBytes(secured_conn)
        self._is_initiator = secured_conn.is_initiator if is_initiator is None else is_initiator
        self._next_stream = 1 if self._is_initiator else 2
        self._streams = OpenStreams()
        self._opened, self._to_accept = trio.open_memory_channel[MuxedStream](MAX_UNACCEPTED)
        self._outgoing = Outgoing(self._bytes.write, self._bytes.write_now, self._bytes.write_rest)
        self._received = bytearray()
        self._turned_away = 0
        self._circuits: WeakSet[MuxedStream] = WeakSet()
        self._is_over = False
        self._pulse = Pulse(self._ping)

    # The life of a connection.

    @property
    def is_initiator(self) -> bool:
        """Say whether we dialled."""
        return self._is_initiator

    @property
    def is_established(self) -> bool:
        """Say whether streams can be opened."""
        return self.event_started.is_set() and not self._is_over

    @property
    def is_closed(self) -> bool:
        """Say whether it has ended."""
        return self.event_closed.is_set()

    async def start(self) -> None:
        """Run the connection to its end; what a peer makes it raise ends this connection alone."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feel)
                nursery.start_soon(self._send_to_the_end)
                self.event_started.set()
                await self._receive_to_the_end()
                nursery.cancel_scope.cancel()
        finally:
            await self.abort()

    async def close(self) -> None:
        """Say goodbye and end the connection."""
        try:
            if self.is_established and self._outgoing.has_room:
                self._outgoing.put(HEADER.pack(0, GO_AWAY, 0, 0, 0))
                with trio.move_on_after(GOODBYE_S):
                    await self._outgoing.flush()
        finally:
            await self.abort()

    async def abort(self) -> None:
        """End the connection without a word to the peer, who would not read it."""
        if self._is_over:
            return
        self._is_over = True
        self._opened.close()
        self._outgoing.end()
        for stream in list(self._streams.values()):
            stream.ended()
        with trio.CancelScope(shield=True):
            try:
                await self._secured.close()
            except STREAM_ERRORS as error:
                _logger.debug("closing: %r", error)
            self.event_closed.set()
            if self.on_close is not None:
                await self.on_close()

    # Streams.

    async def open_stream(self) -> MuxedStream:
        """Open a stream; the peer learns of it at once.

        Raises:
            MuxedConnUnavailable: The connection is over.
        """
        self._check()
        self._streams.make_room()
        stream = MuxedStream(self._next_stream, self, self)
        self._next_stream += 2
        self._streams[stream.stream_id] = stream
        await self.send_frame(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        return stream

    async def accept_stream(self) -> MuxedStream:
        """Wait for a stream that the peer opens.

        Raises:
            MuxedConnUnavailable: The connection is over.
        """
        try:
            return await self._to_accept.receive()
        except trio.EndOfChannel:
            raise MuxedConnUnavailable("the connection is over") from None

    def forget(self, stream: MuxedStream) -> None:
        """Take a stream out of the books: both its ends are closed."""
        self._streams.forget(stream)

    def half_closed(self, stream: MuxedStream) -> None:
        """We send nothing more on a stream, and the peer may."""
        self._streams.half_closed(stream)

    def freed(self, stream: MuxedStream, size: int) -> None:
        """So many buffered bytes of a stream have been read."""
        self._streams.freed(stream, size)

    def carry(self, stream: MuxedStream) -> None:
        """Have room of its own for what nobody reads on a stream that is a circuit.

        Else a few that stand still would end the connection, and all others on it.
        """
        stream.keep_window()
        self._circuits.add(stream)

    def _check(self) -> None:
        if self._is_over:
            raise MuxedConnUnavailable("the connection is over")

    # Sending.

    async def send_frame(self, kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> None:
        """Send one frame; waits while there is no room for it. A cancelled writer has sent it whole or not at all.

        Raises:
            MuxedConnUnavailable: The connection is over.
        """
        await self._send(HEADER.pack(0, kind, flags, stream, length) + body)

    def send_frame_now(self, kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> bool:
        """Send one frame if there is room for it; say whether."""
        if self._is_over or not self._outgoing.has_room:
            return False
        self._outgoing.put(HEADER.pack(0, kind, flags, stream, length) + body)
        return True

    def send_reset(self, stream: int) -> None:
        """Tell the peer that a stream is over; it needs no room, since there is one of it for each stream."""
        if not self._is_over:
            self._outgoing.put(HEADER.pack(0, WINDOW_UPDATE, RST, stream, 0))

    async def _send(self, frames: bytes) -> None:
        """Send whole frames."""
        self._check()
        while not self._outgoing.has_room:
            await self._outgoing.taken()
            self._check()
        self._outgoing.put(frames)

    async def _send_to_the_end(self) -> None:
        try:
            await self._outgoing.run()
        except (*STREAM_ERRORS, trio.TooSlowError) as error:
            _logger.debug("connection ended: %r", error)
            await self.abort()

    # Receiving.

    async def _receive_to_the_end(self) -> None:
        try:
            await self._receive()
        except (*STREAM_ERRORS, trio.TooSlowError) as error:
            _logger.debug("connection ended: %r", error)
        except Exception:
            # Upstream runs this in the swarm's own nursery, where any exception is the end of the node.
            _logger.debug("connection failed", exc_info=True)

    async def _receive(self) -> None:
        """Read until the end.

        Raises:
            YamuxError: The peer broke the rules.
            trio.TooSlowError: It did not finish a frame in time.
            STREAM_ERRORS: The connection is gone.
        """
        due = inf
        while not self._is_over:
            if due == inf:
                data = await self._bytes.read()
            else:
                with trio.fail_at(due):
                    data = await self._bytes.read()
            if not data:
                return
            self._pulse.heard()
            self._received += data
            answers, took = self._take_frames()
            if not self._received:
                due = inf
            elif took or due == inf:
                due = trio.current_time() + FRAME_S
            if answers:
                await self._send(answers)

    def _take_frames(self) -> tuple[bytes, bool]:
        """Act on every whole frame; give what is to be answered, and whether there was any."""
        received, start, answers = self._received, 0, bytearray()
        while len(received) - start >= HEADER.size:
            version, kind, flags, number, length = HEADER.unpack_from(received, start)
            end = start + HEADER.size
            if version != 0 or kind > GO_AWAY:
                raise YamuxError(f"version {version}, kind {kind}")
            if kind == DATA:
                if length > MAX_BUFFERED_BYTES:
                    raise YamuxError(f"a frame of {length} bytes")
                end += length
                if len(received) < end:
                    break
                answers += self._on_stream_frame(flags, number, 0, bytes(received[start + HEADER.size : end]))
            elif kind == WINDOW_UPDATE:
                answers += self._on_stream_frame(flags, number, length, b"")
            elif kind == PING:
                answers += self._on_ping(flags, length)
            else:
                raise EOFError(f"the peer said goodbye ({length})")
            start = end
        del received[:start]
        return bytes(answers), start > 0

    def _on_ping(self, flags: int, nonce: int) -> bytes:
        if flags & SYN:
            return HEADER.pack(0, PING, ACK, 0, nonce)
        self._pulse.answered(nonce)
        return b""

    def _on_stream_frame(self, flags: int, number: int, granted: int, body: bytes) -> bytes:
        """Act on a frame of one stream; what comes for one that is over is dropped."""
        answer = b""
        if flags & SYN:
            answer = self._on_opened(number)
        stream = self._streams.get(number)
        if stream is None:
            return answer
        if granted:
            stream.granted(granted)
        if body:
            self._streams.buffered += len(body)
            if not stream.received(body) or self._is_overfull():
                raise YamuxError(f"{len(body)} bytes beyond the window of stream {number}")
        if flags & RST:
            stream.ended()
        elif flags & FIN:
            stream.finished()
        return answer

    def _is_overfull(self) -> bool:
        """Say whether more bytes wait than may; the window of each circuit besides."""
        surplus = self._streams.unread() - MAX_BUFFERED_BYTES
        return surplus > 0 and surplus > INITIAL_WINDOW * sum(1 for stream in self._circuits if stream.unread())

    def _on_opened(self, number: int) -> bytes:
        """The peer opens a stream: acknowledge it, or reset it when there are too many or the number is not its own."""
        theirs = number != 0 and number % 2 == (0 if self._is_initiator else 1)
        is_free = self._streams.make_room() and number not in self._streams
        flag = ACK if theirs and is_free and self._offer(number) else RST
        return HEADER.pack(0, WINDOW_UPDATE, flag, number, 0)

    def _offer(self, number: int) -> bool:
        """Put a new stream where ``accept_stream`` finds it; False when too many wait there."""
        stream = MuxedStream(number, self, self)
        try:
            self._opened.send_nowait(stream)
        except trio.WouldBlock:
            self._turned_away += 1
            return False
        self._streams[number] = stream
        return True

    def turned_away(self) -> int:
        """Give how many streams of the peer found no place since this was asked last."""
        count, self._turned_away = self._turned_away, 0
        return count

    # Liveness.

    def watch(self, on: bool) -> None:
        """Look for life every second, or only now and then."""
        self._pulse.watch(on)

    async def _feel(self) -> None:
        await self._pulse.until_dead()
        await self.abort()

    async def _ping(self, nonce: int) -> None:
        await self._send(HEADER.pack(0, PING, SYN, 0, nonce))

    # Where the peer is.

    def get_remote_address(self) -> tuple[str, int] | None:
        """Give host and port of the peer."""
        return self._bytes.remote_address()

    def get_transport_addresses(self) -> list[Multiaddr]:
        """Give the addresses of the transport under this connection."""
        return self._secured.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        """Say whether the connection is direct or relayed."""
        return self._secured.get_connection_type()
