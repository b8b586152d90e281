"""How much of the portal one visitor may ask for. He needs no key, so he is told apart by his address alone."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import trio
from fastapi import Request

from node.adapters.http.accounts import network_of, site_of
from node.adapters.http.errors import RETRY_AFTER_S, ApiError
from node.adapters.http.forwarding import Network, client_address

POINTS: Final = 300.0
"""What a visitor may use up at once; a page that is opened costs about 20."""
POINTS_PER_S: Final = 5.0
"""What he gets back: an open page, which asks for news of the chain every few seconds, costs less than 2 a second."""
CHAIN_POINTS: Final = 600.0
"""What all visitors together may ask of the chain at once. This coordinator lives by the same chain nodes, which may
count its questions: visitors from many addresses must not use them up."""
CHAIN_POINTS_PER_S: Final = 15.0
"""What all together get back; a point is about one request to a chain node."""
MAX_SITES: Final = 4096
"""Visitors that are remembered; the longest silent one is forgotten first."""
MAX_LISTENERS: Final = 128
"""Pages that follow the network at once; the others may still look at it. Where all places are taken, who has more than
his part gives one up to somebody who has less."""
MAX_LISTENERS_PER_SITE: Final = 16
"""Of these, pages of one address, in IPv6 of one network (/48): who has one has 65,536 sites."""


@final
class ListeningPlace:
    """One page that follows the network."""

    def __init__(self, leave: "Callable[[ListeningPlace], None]") -> None:
        """Begin; ``leave`` is told once when it ends."""
        self._leave = leave
        self.taken_away = trio.Event()
        """Set when another is to have the place: the page is to be let go."""

    def leave(self) -> None:
        """Give the place back."""
        self._leave(self)


@final
class Visitors:
    """Counts what visitors ask for."""

    def __init__(self, proxies: tuple[Network, ...], timer: Callable[[], float]) -> None:
        """Believe these proxies; ``timer`` gives seconds that never go back."""
        self._proxies = proxies
        self._timer = timer
        self._left: OrderedDict[str, _Left] = OrderedDict()
        self._listening: dict[str, dict[ListeningPlace, None]] = {}
        self._chain = _Left(CHAIN_POINTS, timer())

    def charge(self, request: Request, points: float) -> None:
        """Count one request.

        Raises:
            ApiError: 429, when the visitor asks for too much, with the time to wait.
        """
        site, now = self._site(request), self._timer()
        left = self._left.pop(site, None) or _Left(POINTS, now)
        self._left[site] = left
        if len(self._left) > MAX_SITES:
            self._left.popitem(last=False)
        wait_s = left.take(points, POINTS, POINTS_PER_S, now)
        if wait_s:
            raise ApiError(429, "rate_limited", "you ask for more than one visitor may: wait", retry_after_s=wait_s)

    def charge_chain(self, request: Request, points: float) -> None:
        """Count one request for which the chain is asked: for its visitor, and for all of them.

        Raises:
            ApiError: 429, as ``charge``; 503, when all together ask for too much.
        """
        self.charge(request, points)
        wait_s = self._chain.take(points, CHAIN_POINTS, CHAIN_POINTS_PER_S, self._timer())
        if wait_s:
            raise ApiError(503, "busy", "too many visitors ask about the chain now", retry_after_s=wait_s)

    def take_place(self, request: Request) -> ListeningPlace:
        """Let a visitor listen.

        Raises:
            ApiError: 429, when too many do, and nobody has so many places that one of them is his.
        """
        address = self._address(request)
        holder = network_of(address) or site_of(address)
        own = self._listening.get(holder, {})
        if len(own) >= MAX_LISTENERS_PER_SITE or not (self._has_room() or self._make_room(len(own))):
            raise ApiError(429, "busy", "too many pages follow the network now", retry_after_s=RETRY_AFTER_S)

        def leave(place: ListeningPlace) -> None:
            held = self._listening.get(holder, {})
            held.pop(place, None)
            if not held:
                self._listening.pop(holder, None)

        place = ListeningPlace(leave)
        self._listening.setdefault(holder, {})[place] = None
        return place

    def _has_room(self) -> bool:
        return sum(map(len, self._listening.values())) < MAX_LISTENERS

    def _make_room(self, own: int) -> bool:
        """Take the place that was held longest from whoever holds most, unless a newcomer would then hold as many."""
        most = max(self._listening.values(), key=len)
        if len(most) <= own + 1:
            return False
        oldest = next(iter(most))
        oldest.leave()
        oldest.taken_away.set()
        return True

    def _site(self, request: Request) -> str:
        return site_of(self._address(request))

    def _address(self, request: Request) -> str:
        peer = request.client.host if request.client else ""
        return client_address(peer, request.scope["headers"], self._proxies)


@dataclass(slots=True)
class _Left:
    """What is left of a measure, and when that was so."""

    points: float
    at: float

    def take(self, points: float, most: float, per_s: float, now: float) -> int:
        """Use points up, or give how long (s) to wait for them."""
        self.points = min(most, self.points + (now - self.at) * per_s)
        self.at = now
        if self.points < points:
            return max(1, math.ceil((points - self.points) / per_s))
        self.points -= points
        return 0
