"""Room for bodies with pictures: as many bytes as may be in memory at once, whoever sends them."""

from typing import Final, final

from node.adapters.http.errors import ApiError

BUSY_RETRY_S: Final = 10
"""What an app is told to wait (s): such a body is read and kept within it, or given up."""


@final
class UploadRoom:
    """Counts the bytes that large bodies take, or may come to take."""

    def __init__(self, limit: int) -> None:
        """Give room for ``limit`` bytes."""
        self._free = limit

    def take(self, size: int) -> "Upload":
        """Take room for so many bytes.

        Raises:
            ApiError: ``busy``: there is none now.
        """
        if size > self._free:
            problem = "too many pictures are being sent here now"
            raise ApiError(429, "busy", problem, retry_after_s=BUSY_RETRY_S)
        self._free -= size
        return Upload(self, size)

    def give_back(self, size: int) -> None:
        """Have so many bytes of room again."""
        self._free += size


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
