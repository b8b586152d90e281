"""The books of one connection: its streams by number, and how much of them nobody has read.

A peer may use the number of a stream again that is still being read here, so what a stream does is booked to it and not
to its number.
"""

from typing import Final, final
from weakref import WeakSet

import trio

from node.adapters.libp2p.muxed_stream import MuxedStream

MAX_STREAMS: Final = 256
"""Streams of one connection: more than twice as many as are served at once (``host``), for those on which everything is
said and the peer's end is awaited."""
HALF_CLOSED_S: Final = 30.0
"""A peer that has not ended its half of a stream within this (s) of our end will not do it: nobody here half-closes a
stream to hear more."""


@final
class OpenStreams(dict[int, MuxedStream]):
    """Every stream of which one half is open."""

    def __init__(self) -> None:
        super().__init__()
        self._half_closed: dict[MuxedStream, float] = {}
        self.buffered = 0
        """Unread bytes of all of them."""
        self._over: WeakSet[MuxedStream] = WeakSet()
        """Streams that are over, with bytes that somebody may still read: they are in memory as long as he is there."""

    def forget(self, stream: MuxedStream) -> None:
        """Take a stream out: both its ends are closed."""
        self._half_closed.pop(stream, None)
        if self.get(stream.stream_id) is stream:
            del self[stream.stream_id]
            if size := stream.unread():
                self.buffered -= size
                self._over.add(stream)

    def unread(self) -> int:
        """Count the bytes that nobody has read, also those of streams that are over."""
        return self.buffered + (sum(stream.unread() for stream in self._over) if self._over else 0)

    def freed(self, stream: MuxedStream, size: int) -> None:
        """So many buffered bytes of a stream have been read."""
        if self.get(stream.stream_id) is stream:
            self.buffered -= size
        elif not stream.unread():
            self._over.discard(stream)

    def half_closed(self, stream: MuxedStream) -> None:
        """We send nothing more on a stream, and the peer may."""
        self._half_closed[stream] = trio.current_time() + HALF_CLOSED_S

    def make_room(self) -> bool:
        """Reset the streams whose other half is long overdue; say whether there is room for one more."""
        while self._half_closed:
            stream, due = next(iter(self._half_closed.items()))
            if due > trio.current_time():
                break
            stream.abandon()
        return len(self) < MAX_STREAMS
