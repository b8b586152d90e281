"""One stream of a multiplexed connection: its buffer, its two windows and its end. Spec: yamux 1.0."""

from types import TracebackType
from typing import Final, Protocol, Self, cast, final

import trio
import trio.lowlevel
from libp2p.abc import IMuxedConn, IMuxedStream, INetStream
from libp2p.network.stream.net_stream import NetStream
from libp2p.stream_muxer.exceptions import (
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)

INITIAL_WINDOW: Final = 256 * 1024
"""Bytes that either end may send ahead when a stream opens, as yamux says."""
MAX_WINDOW: Final = 1024 * 1024
"""Bytes that a peer may send ahead on one stream when it sends much: 10 MB/s over a line of 100 ms."""
GROW_S: Final = 1.0
"""A stream that gets through half its window within this (s) is given one of twice the size."""
MAX_BODY: Final = 64 * 1024 - 64
"""Bytes of one data frame: with its header it fits one message of Noise."""
WINDOW_S: Final = 5.0
"""A peer that grants no byte for this long (s) while we have some for it does not read."""

DATA: Final = 0
WINDOW_UPDATE: Final = 1
SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8


class Muxer(Protocol):
    """What a stream needs of its connection."""

    async def send_frame(self, kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> None:
        """Send one frame."""

    def send_frame_now(self, kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> bool:
        """Send one frame if there is room for it; say whether."""
        ...

    def send_reset(self, stream: int) -> None:
        """Tell the peer that a stream is over, at once."""

    def forget(self, stream: "MuxedStream") -> None:
        """Take a stream out of the books: both its ends are closed."""

    def half_closed(self, stream: "MuxedStream") -> None:
        """We send nothing more on a stream, and the peer may."""

    def freed(self, stream: "MuxedStream", size: int) -> None:
        """So many buffered bytes of a stream have been read."""

    def get_remote_address(self) -> tuple[str, int] | None:
        """Say where the peer is."""


@final
class MuxedStream(IMuxedStream):
    """Reads and writes bytes in order. One task reads, and one writes."""

    def __init__(self, stream_id: int, connection: IMuxedConn, muxer: Muxer) -> None:
        self.stream_id = stream_id
        self.muxed_conn = connection
        self._muxer = muxer
        self._buffer = bytearray()
        self._arrivals = trio.lowlevel.ParkingLot()
        self._grants = trio.lowlevel.ParkingLot()
        self.send_window = INITIAL_WINDOW
        """Bytes that the peer still lets us send."""
        self._receive_window = INITIAL_WINDOW
        """Bytes that we still let the peer send."""
        self._target_window = INITIAL_WINDOW
        self._most_window = MAX_WINDOW
        self._granted_at = trio.current_time()
        self._send_closed = False
        self._receive_closed = False
        self._is_reset = False

    # What the connection tells.

    def received(self, body: bytes | bytearray | memoryview) -> bool:
        """Take a body; False when the peer had no right to send as much."""
        self._receive_window -= len(body)
        self._buffer += body
        self._arrivals.unpark_all()
        return self._receive_window >= 0

    def granted(self, size: int) -> None:
        """The peer lets us send so many bytes more."""
        self.send_window += size
        self._grants.unpark_all()

    def finished(self) -> None:
        """The peer sends nothing any more."""
        self._receive_closed = True
        self._wake()
        if self._send_closed:
            self._muxer.forget(self)

    def ended(self) -> None:
        """The peer reset the stream, or the connection is gone. What has come can still be read."""
        self._is_reset = self._send_closed = True
        self._wake()
        self._muxer.forget(self)

    def _wake(self) -> None:
        self._arrivals.unpark_all()
        self._grants.unpark_all()

    def keep_window(self) -> None:
        """Let the window grow no more."""
        self._most_window = self._target_window

    def unread(self) -> int:
        """Count the bytes that wait for a reader."""
        return len(self._buffer)

    # What the program asks.

    async def read(self, n: int | None = None) -> bytes:
        """Give what has come, at least one byte and at most ``n``.

        Raises:
            MuxedStreamEOF: The peer has closed, and all that it sent was read.
            MuxedStreamReset: One of us reset the stream, or the connection is gone.
        """
        while not self._buffer:
            if self._receive_closed:
                raise MuxedStreamEOF("closed by the peer")
            if self._is_reset:
                raise MuxedStreamReset("reset")
            await self._arrivals.park()
        size = len(self._buffer) if n is None or n < 0 else min(n, len(self._buffer))
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._muxer.freed(self, size)
        if not (self._receive_closed or self._is_reset):
            await self._grant()
        return data

    async def _grant(self) -> None:
        """Let the peer send more once half of its window is used, as go-yamux does: not a frame for every read."""
        if self._target_window - self._receive_window - len(self._buffer) < self._target_window // 2:
            return
        now = trio.current_time()
        if now - self._granted_at < GROW_S:
            self._target_window = min(2 * self._target_window, self._most_window)
        self._granted_at = now
        size = self._target_window - self._receive_window - len(self._buffer)
        self._receive_window += size
        await self._muxer.send_frame(WINDOW_UPDATE, 0, self.stream_id, size)

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the peer's window is full.

        Whoever fails or is cancelled after a part of them has reset the stream: what came next would be taken for the
        rest.

        Raises:
            MuxedStreamClosed: We have closed the stream.
            MuxedStreamReset: One of us reset the stream, or the connection is gone.
            MuxedStreamError: The peer has granted no byte for ``WINDOW_S``.
        """
        sent = 0
        try:
            while sent < len(data):
                self._check_open()
                if self.send_window <= 0:
                    await self._await_window()
                    continue
                size = min(self.send_window, MAX_BODY, len(data) - sent)
                self.send_window -= size
                await self._muxer.send_frame(DATA, 0, self.stream_id, size, data[sent : sent + size])
                sent += size
        finally:
            if 0 < sent < len(data):
                self.abandon()

    def write_now(self, data: bytes) -> bool:
        """Send bytes if all of them fit the peer's window and our connection now; say whether."""
        size = len(data)
        if self._send_closed or size > min(self.send_window, MAX_BODY):
            return False
        if not self._muxer.send_frame_now(DATA, 0, self.stream_id, size, data):
            return False
        self.send_window -= size
        return True

    async def write_within(self, limit_s: float, data: bytes) -> None:
        """Send bytes as ``write`` does, within a time (s).

        Raises:
            trio.TooSlowError: It took longer.
        """
        if not self.write_now(data):
            with trio.fail_after(limit_s):
                await self.write(data)

    def _check_open(self) -> None:
        if self._is_reset:
            raise MuxedStreamReset("reset")
        if self._send_closed:
            raise MuxedStreamClosed("closed for sending")

    async def _await_window(self) -> None:
        with trio.move_on_after(WINDOW_S):
            while self.send_window <= 0 and not self._send_closed:
                await self._grants.park()
            return
        raise MuxedStreamError(f"no window for {WINDOW_S:.0f} s")

    @property
    def is_closed(self) -> bool:
        """Say whether we send nothing any more."""
        return self._send_closed

    async def close(self) -> None:
        """Say that we send nothing any more; what the peer sends can still be read."""
        if self._send_closed:
            return
        self._send_closed = True
        if self._receive_closed:
            self._muxer.forget(self)
        else:
            self._muxer.half_closed(self)
        await self._muxer.send_frame(WINDOW_UPDATE, FIN, self.stream_id, 0)

    async def reset(self) -> None:
        """End both directions at once; what was not read is dropped."""
        self.abandon()

    def abandon(self) -> None:
        """Do as ``reset`` does, without a checkpoint."""
        was_over = self._is_reset or (self._send_closed and self._receive_closed)
        self._is_reset = self._send_closed = True
        self._receive_closed = False  # a reader must not take what was dropped for the end
        self._muxer.forget(self)
        self._buffer.clear()
        self._wake()
        if not was_over:
            self._muxer.send_reset(self.stream_id)

    def set_deadline(self, ttl: int) -> None:
        """Refuse: callers bound their waits themselves."""
        raise NotImplementedError("use trio's timeouts")

    def get_remote_address(self) -> tuple[str, int] | None:
        """Say where the peer is."""
        return self._muxer.get_remote_address()

    async def __aenter__(self) -> Self:
        """Enter."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Close the stream."""
        await self.close()


def muxed_of(stream: INetStream) -> MuxedStream:
    """Give our own stream under py-libp2p's, whose lock costs a turn of the event loop for each read and write."""
    muxed = cast("NetStream", stream).muxed_stream
    assert isinstance(muxed, MuxedStream)
    return muxed
