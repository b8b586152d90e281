"""The books of one connection: its streams by number, and how much of them nobody has read.

A peer may use the number of a stream again that is still being read here, so what a stream does is booked to it and not
to its number.
"""

from typing import final
from weakref import WeakSet

from node.adapters.libp2p.muxed_stream import MuxedStream


@final
class OpenStreams(dict[int, MuxedStream]):
    """Every stream of which one half is open."""

    def __init__(self) -> None:
        super().__init__()
        self.buffered = 0
        """Unread bytes of all of them."""
        self._over: WeakSet[MuxedStream] = WeakSet()
        """Streams that are over, with bytes that somebody may still read: they are in memory as long as he is there."""

    def forget(self, stream: MuxedStream) -> None:
        """Take a stream out: both its ends are closed."""
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
