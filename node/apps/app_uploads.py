"""Pictures on their way from one app to its coordinator, of all orders on its stream. Spec: SPEC.md §9.9."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final, final

import trio

from protocol.errors import InvalidMessage
from protocol.roles.app_inputs import ComingInputs
from protocol.units import Digest
from protocol.wire.app_messages import Order, OrderInput

UPLOAD_S: Final = 60.0
"""How long (s) the pictures of an order may take, as over HTTP. They come one after another: those that wait for others
have as long from when these are here."""


@final
class Upload:
    """The pictures of one order that was asked for them."""

    def __init__(self, order: Order) -> None:
        """Give them ``UPLOAD_S`` from now."""
        self.coming = ComingInputs(order)
        self._scope = trio.CancelScope(deadline=trio.current_time() + UPLOAD_S)
        self._is_here = trio.Event()

    async def wait(self) -> Mapping[Digest, bytes] | None:
        """Wait for all of them; None where they do not come, or are not wanted any more."""
        with self._scope:
            await self._is_here.wait()
        return self.coming.pictures() if self._is_here.is_set() else None

    def take(self, digest: Digest, part: bytes) -> bool:
        """Take the next bytes; say whether they were the last.

        Raises:
            InvalidMessage: As ``ComingInputs.take``.
        """
        self.coming.take(digest, part)
        if not self.coming.missing:
            self._is_here.set()
        return not self.coming.missing

    def prolong(self) -> None:
        """Give them ``UPLOAD_S`` from now."""
        self._scope.deadline = trio.current_time() + UPLOAD_S

    def end(self) -> None:
        """Wait for them no longer."""
        self._scope.cancel()


@final
class Uploads:
    """All that one app is sending."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._of: dict[bytes, Upload] = {}
        self._late = 0
        """Bytes that were asked for, and of which some may still come though nobody waits for them."""

    @contextmanager
    def expected(self, order: Order) -> Generator[Upload]:
        """Take the pictures of an order in, from before its app is asked for them."""
        upload = self._of[order.order] = Upload(order)
        try:
            yield upload
        finally:
            del self._of[order.order]
            self._late += upload.coming.missing

    def take(self, message: OrderInput, part: bytes) -> None:
        """Take the bytes that followed a message.

        Raises:
            InvalidMessage: ``submit.stray_input``: more than this app was ever asked for; or as ``ComingInputs.take``.
        """
        upload = self._of.get(message.order)
        if upload is None:
            self._late -= len(part)
            if self._late < 0:
                raise InvalidMessage("submit.stray_input", "of no order that waits for pictures")
        elif upload.take(message.digest, part):
            for other in self._of.values():
                other.prolong()

    def end(self, order: bytes) -> None:
        """Wait no longer for those of an order that its app takes back; nothing happens where none are awaited."""
        upload = self._of.get(order)
        if upload is not None:
            upload.end()
