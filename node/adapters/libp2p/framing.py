"""Bytes of a stream cut into frames, and frames queued for a stream; both with limits.

A frame is a length and that many bytes. Waiting for a frame to begin may take for ever; once it has begun it must
end soon, so that a peer cannot hold memory by sending a byte now and then.
"""

from collections import deque
from typing import Final, Protocol, final

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.tools.anyio_service.exceptions import ServiceException

from node.adapters.libp2p.muxed_stream import MuxedStream
from protocol.effects import Lane
from protocol.errors import InvalidMessage

STREAM_ERRORS: Final = (
    BaseLibp2pError,
    ServiceException,
    OSError,
    EOFError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)
"""All that py-libp2p raises from a stream whose other end or connection is gone."""
FRAME_S: Final = 10.0
"""A frame that has begun must be complete within this (s)."""
LENGTH_BYTES: Final = 4
READ_BYTES: Final = 64 * 1024
MAX_QUEUED_FRAMES: Final = 1024
MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
"""What waits for one peer: some seconds of a busy coordinator."""
MAX_BATCH_BYTES: Final = 256 * 1024
"""Most bytes handed to one write: a window of yamux, so that a late priority frame waits for one window at most."""
VARINT_BYTES: Final = 5


class Readable(Protocol):
    """What frames are cut from."""

    async def read(self, n: int | None = None) -> bytes:
        """Give what has come, at most ``n`` bytes."""
        ...


class _Frames:
    """A buffer in front of a stream."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._buffer = bytearray()

    def _head(self) -> tuple[int, int] | None:
        """Give (bytes of the length, length of the body), or None while the length is not here yet."""
        raise AssertionError("subclasses say how a length is written")

    async def read(self) -> bytes:
        """Give the next frame.

        Raises:
            InvalidMessage: ``stream.oversize``, ``stream.malformed`` or ``stream.slow``.
            EOFError: The peer closed; other ``STREAM_ERRORS`` when the stream is gone.
        """
        if not self._buffer:
            await self._fill()
        frame = self._cut()
        if frame is not None:
            return frame
        with trio.move_on_after(FRAME_S):
            while frame is None:
                await self._fill()
                frame = self._cut()
            return frame
        raise InvalidMessage("stream.slow", f"a frame was not complete after {FRAME_S:.0f} s")

    async def read_exactly(self, size: int) -> bytes:
        """Give this many bytes that follow without a length. The caller limits the time."""
        while len(self._buffer) < size:
            await self._fill()
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return data

    def rest(self) -> bytes:
        """Give what has come after the last frame, and forget it: no frames follow."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def _cut(self) -> bytes | None:
        head = self._head()
        if head is None:
            return None
        start, length = head
        if length > self._limit or length == 0:
            raise InvalidMessage("stream.oversize" if length else "stream.malformed", f"a frame of {length} bytes")
        if len(self._buffer) < start + length:
            return None
        frame = bytes(memoryview(self._buffer)[start : start + length])
        del self._buffer[: start + length]
        return frame

    async def _fill(self) -> None:
        data = await self._stream.read(READ_BYTES)
        if not data:
            raise EOFError("the stream ended")
        self._buffer += data


class LengthFrames(_Frames):
    """Frames of the work and artifact streams: four big-endian bytes of length, then the body."""

    def _head(self) -> tuple[int, int] | None:
        if len(self._buffer) < LENGTH_BYTES:
            return None
        return LENGTH_BYTES, int.from_bytes(self._buffer[:LENGTH_BYTES], "big")


class VarintFrames(_Frames):
    """Frames of libp2p's own protocols: a varint of length, then the body.

    Reads whole buffers, where upstream reads the length a byte at a time, each with its own locks.
    """

    def _head(self) -> tuple[int, int] | None:
        value = 0
        for index, byte in enumerate(self._buffer[:VARINT_BYTES]):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return index + 1, value
        if len(self._buffer) >= VARINT_BYTES:
            raise InvalidMessage("stream.oversize", "a length of more than five bytes")
        return None


def frame(data: bytes) -> bytes:
    """Put the length before the bytes."""
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def varint_frame(data: bytes) -> bytes:
    """Put the length as a varint before the bytes."""
    length, head = len(data), bytearray()
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + data


@final
class Outbox:
    """Frames for one stream: sent at once while none waits and there is room, else queued in two lanes."""

    def __init__(self, stream: MuxedStream | None = None) -> None:
        """Send to ``stream``; as long as there is none, everything waits."""
        self.stream = stream
        self._lanes: dict[Lane, deque[bytes]] = {lane: deque() for lane in Lane}
        self._bytes = 0
        self._is_taken = False
        """Whether somebody still writes what he took last: nothing may overtake it."""
        self._filled = trio.Event()

    def put(self, data: bytes, lane: Lane) -> bool:
        """Send or queue a whole frame; False when the outbox is full."""
        waiting = sum(map(len, self._lanes.values()))
        if not waiting and not self._is_taken and self.stream is not None and self.stream.write_now(data):
            return True
        if waiting >= MAX_QUEUED_FRAMES or self._bytes + len(data) > MAX_QUEUED_BYTES:
            return False
        self._lanes[lane].append(data)
        self._bytes += len(data)
        self._filled.set()
        return True

    async def take(self) -> bytes:
        """Wait for queued frames and give as many as fit one write, the priority lane first.

        Whoever takes writes them before he takes again.
        """
        self._is_taken = False
        await self._filled.wait()
        batch: list[bytes] = []
        size = 0
        for lane in (Lane.PRIORITY, Lane.NORMAL):
            queue = self._lanes[lane]
            while queue and size < MAX_BATCH_BYTES:
                batch.append(queue.popleft())
                size += len(batch[-1])
        self._bytes -= size
        self._is_taken = True
        if not any(self._lanes.values()):
            self._filled = trio.Event()
        return b"".join(batch)
