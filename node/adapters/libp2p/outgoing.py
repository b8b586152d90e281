"""What waits for the socket of one connection, in order: all of it is sent at once.

So the frames that many tasks send a peer within one turn of the event loop cost one encryption and one system call
here, and one wake-up there; and whoever sends waits only while there is no room. A task of the connection sends them a
turn later, or whoever puts them does it before its own turn ends (``at_once``).
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, final

import trio
import trio.lowlevel

MAX_WAITING_BYTES: Final = 64 * 1024
"""From so many bytes on, the next frame waits: a priority frame finds little before it."""

_gathered: "dict[Outgoing, None] | None" = None
"""Who has something to send when the present ``at_once`` ends, in the order in which it was put."""


@contextmanager
def at_once() -> Generator[None]:
    """Send what is put meanwhile when this ends: connection by connection, in the order in which it was put.

    For code without a checkpoint: a turn of the event loop for each connection costs more than all else of a small
    frame, and trio says in no order who has the next one.
    """
    global _gathered  # one event loop, and nothing else has a turn in between
    if _gathered is not None:
        yield
        return
    _gathered = {}
    try:
        yield
        while _gathered:  # one that is a circuit puts what it sends to the connection under it
            outgoing = next(iter(_gathered))
            del _gathered[outgoing]
            outgoing.send_now()
    finally:
        for outgoing in _gathered:
            outgoing.wake()
        _gathered = None


@final
class Outgoing:
    """Frames of one connection on their way to its socket."""

    def __init__(
        self,
        write: Callable[[bytearray], Awaitable[None]],
        write_now: Callable[[bytearray], bytes],
        write_rest: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Send by ``write``; or what ``write_now`` takes at once, and what it gives back by ``write_rest``."""
        self._write = write
        self._write_now = write_now
        self._write_rest = write_rest
        self._waiting = bytearray()
        self._rest = b""
        """What ``write_now`` gave back: it comes before all that waits."""
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
        if _gathered is None:
            self._filled.unpark()
        else:
            _gathered[self] = None

    def wake(self) -> None:
        """Have the task of the connection send what waits."""
        self._filled.unpark()

    def send_now(self) -> None:
        """Send what waits, as far as the socket takes it now; the task sends the rest."""
        if self._is_writing or not self._waiting:
            return
        frames, self._waiting = self._waiting, bytearray()
        self._rest = self._write_now(frames)
        if self._rest:
            self._is_writing = True
            self._filled.unpark()
        else:
            self._taken.unpark_all()

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
        self._rest = b""
        self._is_writing = False
        self._taken.unpark_all()

    async def run(self) -> None:
        """Hand on what waits, until cancelled or until ``write`` raises."""
        while True:
            while not (self._waiting or self._rest):
                await self._filled.park()
            if self._rest:
                rest, self._rest = self._rest, b""
                await self._write_rest(rest)
            else:
                frames, self._waiting = self._waiting, bytearray()
                self._is_writing = True
                await self._write(frames)
            self._is_writing = False
            self._taken.unpark_all()
