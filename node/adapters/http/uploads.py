"""Room for bodies with pictures: as many bytes as may be in memory at once, whoever sends them."""

from collections import Counter, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, final

from node.adapters.http.errors import ApiError
from protocol.task.account import holders

BUSY_RETRY_S: Final = 10
"""What an app is told to wait (s): such a body is read and kept within it, or given up."""
WASTED_S: Final = 60.0
"""How long (s) room that was taken in vain still counts as its account's: as long as pictures may take to arrive."""
MOST_WASTED: Final = 4096
"""Times of these that are remembered; the oldest goes first."""


@final
class UploadRoom:
    """Counts the bytes that large bodies take, or may come to take."""

    def __init__(self, limit: int) -> None:
        """Give room for ``limit`` bytes."""
        self.free = limit
        """Bytes that nobody takes now."""

    def take(self, size: int) -> "Upload":
        """Take room for so many bytes.

        Raises:
            ApiError: ``busy``: there is none now.
        """
        if size > self.free:
            raise _busy()
        self.free -= size
        return Upload(self, size)

    def give_back(self, size: int) -> None:
        """Have so many bytes of room again."""
        self.free += size


@final
class Upload:
    """The room that one request takes."""

    def __init__(self, room: UploadRoom | None = None, size: int = 0) -> None:
        """Hold ``size`` bytes of ``room``; by default none."""
        self._room = room
        self._size = size

    def release(self) -> None:
        """Give the room back, once: the body is in memory no longer."""
        if self._room is not None:
            self._room.give_back(self._size)
            self._room = None


@final
class SharedRoom:
    """The same room for orders over the overlay, of which no account takes more than is left for all others."""

    def __init__(self, room: UploadRoom, timer: Callable[[], float]) -> None:
        """Share ``room``; ``timer`` gives seconds that never go back."""
        self._room = room
        self._timer = timer
        self._of: Counter[str] = Counter()
        self._wasted: deque[tuple[float, str, int]] = deque()
        """Until when what was taken in vain counts, whose it is, and how much (bytes)."""

    @contextmanager
    def held(self, size: int, account: str) -> Generator[None]:
        """Hold room for so many bytes of an account; where it is left by an error, they were sent in vain.

        Raises:
            ApiError: ``busy``: there is none now, or too much of it is this account's, or was taken in vain.
        """
        self._forget()
        free = self._room.free - size
        if any(self._of[holder] + size > times * free for holder, times in holders(account)):
            raise _busy()
        upload = self._room.take(size)
        self._count(account, size)
        try:
            yield
        except BaseException:
            self._wasted.append((self._timer() + WASTED_S, account, size))
            raise
        else:
            self._count(account, -size)
        finally:
            upload.release()

    def _count(self, account: str, size: int) -> None:
        for holder, _ in holders(account):
            self._of[holder] += size
            if not self._of[holder]:
                del self._of[holder]

    def _forget(self) -> None:
        while self._wasted and (self._wasted[0][0] <= self._timer() or len(self._wasted) >= MOST_WASTED):
            _, account, size = self._wasted.popleft()
            self._count(account, -size)


def _busy() -> ApiError:
    return ApiError(429, "busy", "too many pictures are being sent here now", retry_after_s=BUSY_RETRY_S)
