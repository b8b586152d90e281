"""The bytes of one encrypted connection: all that has come at once, and all that is to go at once.

Upstream reads every Noise message in two reads of the socket, through seven layers that each wait. Here one read takes
what the socket holds, and every whole message in it is decrypted.
"""

from typing import Final, cast, final

from libp2p.abc import IRawConnection, ISecureConn
from libp2p.security.noise.io import NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession

READ_BYTES: Final = 64 * 1024
LENGTH_BYTES: Final = 2
MAX_PLAINTEXT_BYTES: Final = 65535 - 16
"""What one Noise message holds besides its tag (bytes)."""


@final
class SecureBytes:
    """A Noise session after its handshake, as two byte streams. One task reads at a time, and one writes."""

    def __init__(self, conn: ISecureConn) -> None:
        """Take over a session; nobody else may read or write it from now on."""
        session = cast("SecureSession", conn)
        noise = cast("NoiseTransportReadWriter", session.conn)
        self._noise = noise.noise_state
        self._raw = cast("IRawConnection", noise.read_writer.read_write_closer)
        self._early = session._drain(None)
        self._ciphertext = bytearray()

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
            received = await self._raw.read(READ_BYTES)
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
        return b"".join(parts)

    async def write(self, data: bytes) -> None:
        """Send bytes, in as many messages as they need.

        Raises:
            STREAM_ERRORS: The connection is gone.
        """
        messages = bytearray()
        for start in range(0, len(data), MAX_PLAINTEXT_BYTES):
            message = self._noise.encrypt(data[start : start + MAX_PLAINTEXT_BYTES])
            messages += len(message).to_bytes(LENGTH_BYTES, "big") + message
        await self._raw.write(bytes(messages))
