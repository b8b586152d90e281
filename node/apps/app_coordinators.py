"""Which coordinators an app may turn to, as the DHT names them and in an order of chance."""

import random
from collections.abc import Awaitable, Callable
from typing import Final, final

import trio

from node.apps.app_links import AppNetwork
from protocol.units import PeerId

BELIEVED_S: Final = 10.0
"""How long (s) a look-up serves the orders that begin: it asks up to eight peers, which costs them and the app more
than all else of an order. Records in the DHT are true for longer, and an order that found nobody looks again."""

MayBeAsked = Callable[[PeerId], Awaitable[bool]]


@final
class Coordinators:
    """Looks them up, once for all orders that begin within some seconds."""

    def __init__(
        self, overlay: AppNetwork, key: str, chance: random.Random, may_be_asked: MayBeAsked | None = None
    ) -> None:
        """Look up ``key``; ``may_be_asked`` may leave some out."""
        self._overlay = overlay
        self._key = key
        self._chance = chance
        self._may_be_asked = may_be_asked
        self._named: tuple[PeerId, ...] = ()
        self._believed_until = 0.0

    async def find(self, *, again: bool = False) -> tuple[PeerId, ...]:
        """Give them, each time in another order, so that they share the load.

        Args:
            again: Whether an order asks that has tried those which it was given: it gets no others from memory.
        """
        if again or not self._named or trio.current_time() >= self._believed_until:
            self._named = await self._overlay.find(self._key)
            self._believed_until = trio.current_time() + BELIEVED_S
        found = list(self._named)
        self._chance.shuffle(found)
        if self._may_be_asked is None:
            return tuple(found)
        return tuple([peer for peer in found if await self._may_be_asked(peer)])
