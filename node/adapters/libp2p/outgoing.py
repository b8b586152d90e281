"""What waits for the socket of one connection, in order. One task sends all of it at once.

So the frames that many tasks send a peer within one turn of the event loop cost one encryption and one system call
here, and one wake-up there; and whoever sends waits only while there is no room.
"""

from collections.abc import Awaitable, Callable
from typing import Final, final

import trio
import trio.lowlevel

MAX_WAITING_BYTES: Final = 64 * 1024
"""From so many bytes on, the next frame waits: a priority frame finds little before it."""


@final
class Outgoing:
    """Frames of one connection on their way to its socket."""

    def __init__(self, write: Callable[[bytearray], Awaitable[None]]) -> None:
        """Send by ``write``."""
        self._write = write
        self._waiting = bytearray()
        self._is_writing = False
        self._filled = trio.lowlevel.ParkingLot()
        self._taken = trio.lowlevel.ParkingLot()

    @property
    def has_room(self) -> bool:
        """Say whether a frame may be put."""
        return len(self._waiting) < MAX_WAITING_BYTES

    def put(self, frames: bytes) -> None:
        """Send whole frames after all that were put before."""
        self._waiting += frames
        self._filled.unpark()

    async def taken(self) -> None:
        """Wait until the socket has taken something, or the connection is over."""
        await self._taken.park()

    async def flush(self) -> None:
        """Wait until the socket has taken everything; the caller limits the time."""
        while self._waiting or self._is_writing:
            await self._taken.park()

    def end(self) -> None:
        """Drop what waits, and let everybody look who waits: the connection is over."""
        self._waiting = bytearray()
        self._is_writing = False
        self._taken.unpark_all()

    async def run(self) -> None:
        """Hand on what waits, until cancelled or until ``write`` raises."""
        while True:
            while not self._waiting:
                await self._filled.park()
            frames, self._waiting = self._waiting, bytearray()
            self._is_writing = True
            await self._write(frames)
            self._is_writing = False
            self._taken.unpark_all()
