"""Who compares pictures, as a small Protocol; see ``node.ports`` for the rules of editing."""

from typing import Protocol


class PictureComparer(Protocol):
    """Who looks at finished pictures."""

    async def apart(self, one: bytes, other: bytes) -> int | None:
        """Give how far apart two files look (parts per million), ``UNREADABLE`` where one shows no picture.

        None where that could not be found out. Never raises for what a remote party sent.
        """
        ...
