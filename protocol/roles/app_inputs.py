"""The pictures that an app's order begins from, on their way to its coordinator: cut into parts, put together again.

Both ends are here. The coordinator has named sizes and digests from the order, so that it knows of each part whether it
may still come. Spec: SPEC.md §9.9.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import final

from protocol.errors import InvalidMessage
from protocol.units import Digest
from protocol.wire.app_messages import MAX_INPUT_PART, NamedInput, Order, OrderInput


def named(picture: bytes) -> NamedInput:
    """Name a picture to begin from.

    Raises:
        ValueError: pydantic's: it is empty, or larger than any may be.
    """
    return NamedInput(digest=Digest(hashlib.sha256(picture).digest()), size=len(picture))


def parts_of(order: Order, pictures: Mapping[Digest, bytes]) -> Iterator[tuple[OrderInput, bytes]]:
    """Cut the pictures that an order names into parts, each with the message that goes before it."""
    for one in order.inputs:
        picture = pictures[one.digest]
        for start in range(0, len(picture), MAX_INPUT_PART):
            part = picture[start : start + MAX_INPUT_PART]
            yield OrderInput(order=order.order, digest=one.digest, size=len(part)), part


@final
class ComingInputs:
    """The pictures of one order, as far as they are here."""

    def __init__(self, order: Order) -> None:
        """Wait for all that the order names."""
        self._sizes = {one.digest: one.size for one in order.inputs}
        self._here: dict[Digest, bytearray] = {digest: bytearray() for digest in self._sizes}
        # Each part as it comes: a whole picture takes tens of milliseconds, in which a coordinator answers nobody.
        self._hashes = {digest: hashlib.sha256() for digest in self._sizes}
        self.missing = sum(self._sizes.values())
        """What has not come (bytes)."""

    def take(self, digest: Digest, part: bytes) -> None:
        """Take the next bytes of a picture, which go behind those that are here.

        Raises:
            InvalidMessage: ``input.unexpected``: of a picture, or more bytes of one, than the order names;
                ``input.digest``: it is another picture.
        """
        here = self._here.get(digest)
        if here is None or len(here) + len(part) > self._sizes[digest]:
            raise InvalidMessage("input.unexpected", "bytes that the order does not name")
        here += part
        self._hashes[digest].update(part)
        self.missing -= len(part)
        if len(here) == self._sizes[digest] and self._hashes[digest].digest() != digest:
            raise InvalidMessage("input.digest", "not the picture that the order names")

    def pictures(self) -> dict[Digest, bytes]:
        """Give them, once nothing is missing."""
        return {digest: bytes(here) for digest, here in self._here.items()}
