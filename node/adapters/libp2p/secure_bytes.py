"""The bytes of one encrypted connection: all that has come at once, and all that is to go at once.

Upstream reads every Noise message in two reads of the socket, through seven layers that each wait, and writes through
four. Here one read takes what the socket holds, and every whole message in it is decrypted; a write waits only where
the socket does not take it.
"""

import os
from typing import Final, cast

import trio
from libp2p.abc import ISecureConn
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.noise.io import NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession

READ_BYTES: Final = 64 * 1024
LENGTH_BYTES: Final = 2
MAX_PLAINTEXT_BYTES: Final = 65535 - 16
"""What one Noise message holds besides its tag (bytes)."""
SEND_S: Final = 10.0
"""A socket that does not take one message within this (s) ends its connection."""


class SecureBytes:
    """A Noise session after its handshake, as two byte streams. One task reads at a time, and one writes."""

    def __init__(self, conn: ISecureConn) -> None:
        """Take over a session; nobody else may read or write it from now on."""
        session = cast("SecureSession", conn)
        noise = cast("NoiseTransportReadWriter", session.conn)
        self._noise = noise.noise_state
        self._early = session._drain(None)
        self._ciphertext = bytearray()
        self._attach(cast("RawConnection", noise.read_writer.read_write_closer))

    def _attach(self, raw: RawConnection) -> None:
        self._socket = cast("TrioTCPStream", raw.stream).stream.socket

    def remote_address(self) -> tuple[str, int] | None:
        """Say where the peer is; None where nobody knows. Upstream does not for IPv6, whose socket names four parts."""
        try:
            host, port = self._socket.getpeername()[:2]
        except OSError:
            return None
        return str(host), int(port)

    async def read(self) -> bytes:
        """Give what has come, at least one byte; empty once the peer has closed.

        Raises:
            STREAM_ERRORS: The connection is gone.
            cryptography.exceptions.InvalidTag: The peer sent what is no message of this session.
        """
        if self._early:
            early, self._early = self._early, b""
            return early
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                received = os.read(self._socket.fileno(), READ_BYTES)
            except BlockingIOError:
                continue
            if not received:
                return b""
            self._ciphertext += received
            if plaintext := self._decrypt():
                return plaintext

    def _decrypt(self) -> bytes:
        """Take every whole message out of what has come."""
        ciphertext, start, parts = self._ciphertext, 0, []
        while len(ciphertext) - start >= LENGTH_BYTES:
            body = start + LENGTH_BYTES
            end = body + int.from_bytes(ciphertext[start:body], "big")
            if len(ciphertext) < end:
                break
            parts.append(self._noise.decrypt(bytes(ciphertext[body:end])))
            start = end
        del ciphertext[:start]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def write(self, data: bytes | bytearray) -> None:
        """Send bytes, in as many messages as they need. No checkpoint unless the socket is full.

        Raises:
            STREAM_ERRORS: The connection is gone.
            trio.TooSlowError: The socket did not take a message within ``SEND_S``.
        """
        for start in range(0, len(data), MAX_PLAINTEXT_BYTES):
            rest = self._send(self._encrypt(data[start : start + MAX_PLAINTEXT_BYTES]))
            if rest:
                await self.write_rest(rest)

    def write_now(self, data: bytes | bytearray) -> bytes:
        """Send bytes as far as the socket takes them now; gives the rest of the messages, for ``write_rest``.

        A socket that is gone takes nothing, and ``write_rest`` raises.
        """
        messages = self._messages(data)
        try:
            return self._send(messages)
        except OSError:
            return messages

    async def write_rest(self, rest: bytes) -> None:
        """Send what the socket did not take before.

        Raises:
            STREAM_ERRORS: The connection is gone.
            trio.TooSlowError: The socket did not take it within ``SEND_S``.
        """
        with trio.fail_after(SEND_S):
            while rest:
                await trio.lowlevel.wait_writable(self._socket)
                rest = self._send(rest)

    def _messages(self, data: bytes | bytearray) -> bytes:
        """Give as many messages as the bytes need."""
        parts = range(0, len(data), MAX_PLAINTEXT_BYTES)
        return b"".join([self._encrypt(data[start : start + MAX_PLAINTEXT_BYTES]) for start in parts])

    def _encrypt(self, data: bytes | bytearray) -> bytes:
        """Give one message, with its length before it."""
        message: bytes = self._noise.encrypt(bytes(data))
        return len(message).to_bytes(LENGTH_BYTES, "big") + message

    def _send(self, data: bytes) -> bytes:
        """Hand the socket as much as it takes now; gives the rest."""
        try:
            return data[os.write(self._socket.fileno(), data) :]
        except BlockingIOError:
            return data
