"""A message of our own that some peers have heard, and the others hear a moment later.

Where a small network shares one machine, those who have nothing to do with an offer would take its processor from the
one that has; anywhere, who hears an offer together with its award does not claim it in vain.
"""

from collections.abc import Callable, Collection
from math import inf
from typing import final

import trio
from libp2p.peer.id import ID

from node.adapters.libp2p.outgoing import at_once


@final
class HeadStarts:
    """Holds one message at most: whoever sends the next one ends the head start of the last."""

    def __init__(self, send: Callable[[bytes, Collection[ID]], None]) -> None:
        """Send by ``send``, which has no checkpoint."""
        self._send = send
        self._held: tuple[bytes, Collection[ID]] | None = None
        self._until = inf
        self._sleep = trio.CancelScope()

    def hold(self, data: bytes, others: Collection[ID], seconds: float) -> None:
        """Send bytes to the others after this time (s), or with what ``end`` comes before."""
        self.end()
        self._held = (data, others)
        self._until = self._sleep.deadline = trio.current_time() + seconds

    def end(self) -> None:
        """Send what is held: what comes next must not overtake it."""
        if self._held is not None:
            held, self._held = self._held, None
            self._until = self._sleep.deadline = inf
            self._send(*held)

    async def run(self) -> None:
        """End each head start in its time, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._until) as self._sleep:
                await trio.sleep_forever()
            if trio.current_time() >= self._until:
                with at_once():
                    self.end()
