"""A circuit as the wire of a connection: a stream of the connection with the relay, in place of a socket.

Noise and yamux run over it from end to end, so a relay sees nothing but how much is sent, and when.
"""

import logging
from typing import Final, cast, final

import trio
from libp2p.connection_types import ConnectionType
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.stream.net_stream import NetStream
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.muxed_stream import muxed_of
from node.adapters.libp2p.secure_bytes import MAX_PLAINTEXT_BYTES, READ_BYTES, SEND_S, SecureBytes

BATCH_BYTES: Final = 256 * 1024
"""Most bytes that are encrypted ahead of one write."""
RESET_S: Final = 0.5
"""How long (s) the end of a stream may take to be said."""

_logger = logging.getLogger(__name__)


async def reset(stream: NetStream) -> None:
    """End a stream that we opened, and let upstream take it out of its books."""
    with trio.move_on_after(RESET_S, shield=True):
        try:
            await stream.reset()
        except STREAM_ERRORS as error:
            _logger.debug("stream was gone: %r", error)


@final
class CircuitWire(ReadWriteCloser):
    """The stream as upstream wants the wire under a handshake."""

    def __init__(self, stream: NetStream, early: bytes = b"") -> None:
        """Take a stream over, and bytes that came on it with what set it up."""
        self.stream = muxed_of(stream)
        self._net_stream = stream
        self._early = early

    async def read(self, n: int | None = None) -> bytes:
        """Give what has come; empty once the other end has closed."""
        if self._early:
            size = len(self._early) if n is None else n
            data, self._early = self._early[:size], self._early[size:]
            return data
        try:
            return await self.stream.read(n)
        except MuxedStreamEOF:
            return b""
        except MuxedStreamError as error:
            raise ConnectionClosedError(str(error)) from error

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        try:
            await self.stream.write(data)
        except MuxedStreamError as error:
            raise ConnectionClosedError(str(error)) from error

    def early(self) -> bytes:
        """Give what came with the set-up and was not read, and forget it."""
        early, self._early = self._early, b""
        return early

    async def close(self) -> None:
        """End the circuit: what ends a connection has nothing more to say on it."""
        await reset(self._net_stream)

    def get_remote_address(self) -> tuple[str, int] | None:
        """Say nothing: the relay is not where the peer is."""
        return None


def circuit(stream: NetStream, early: bytes, address: Multiaddr, *, is_ours: bool) -> RawConnection:
    """Give a circuit as a connection before its handshake."""
    return RawConnection(CircuitWire(stream, early), is_ours, ConnectionType.RELAYED, [address])


def is_relayed(connection: object) -> bool:
    """Say whether a connection, before or after its handshake, runs over a circuit."""
    kind = getattr(connection, "get_connection_type", None)
    return kind is not None and kind() is ConnectionType.RELAYED


@final
class CircuitBytes(SecureBytes):
    """A Noise session over a circuit, as two byte streams."""

    def _attach(self, raw: RawConnection) -> None:
        wire = cast("CircuitWire", raw.stream)
        self._stream = wire.stream
        self._ciphertext += wire.early()

    def remote_address(self) -> tuple[str, int] | None:
        """Say nothing: the relay is not where the peer is."""
        return None

    async def read(self) -> bytes:
        """Give what has come, at least one byte; empty once the peer has closed.

        Raises:
            STREAM_ERRORS: The circuit is gone.
            cryptography.exceptions.InvalidTag: The peer sent what is no message of this session.
        """
        if self._early:
            early, self._early = self._early, b""
            return early
        while not (plaintext := self._decrypt()):
            try:
                self._ciphertext += await self._stream.read(READ_BYTES)
            except MuxedStreamEOF:
                return b""
        return plaintext

    async def write(self, data: bytes | bytearray) -> None:
        """Send bytes, in as many messages as they need. No checkpoint where the circuit takes them at once.

        Raises:
            STREAM_ERRORS: The circuit is gone.
            trio.TooSlowError: It did not take a batch of messages within ``SEND_S``.
        """
        batch = bytearray()
        for start in range(0, len(data), MAX_PLAINTEXT_BYTES):
            batch += self._encrypt(data[start : start + MAX_PLAINTEXT_BYTES])
            if len(batch) >= BATCH_BYTES:
                await self._stream.write_within(SEND_S, bytes(batch))
                batch.clear()
        if batch:
            await self._stream.write_within(SEND_S, bytes(batch))

    def write_now(self, data: bytes | bytearray) -> bytes:
        """Send bytes if the circuit takes all of them now; gives them encrypted where it does not."""
        messages = self._messages(data)
        return b"" if self._stream.write_now(messages) else messages

    async def write_rest(self, rest: bytes) -> None:
        """Send what the circuit did not take before.

        Raises:
            STREAM_ERRORS: The circuit is gone.
            trio.TooSlowError: It did not take it within ``SEND_S``.
        """
        await self._stream.write_within(SEND_S, rest)
