"""How much of the portal one visitor may ask for. He needs no key, so he is told apart by his address alone."""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from fastapi import Request

from node.adapters.http.accounts import site_of
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
"""Pages that follow the network at once; the others may still look at it."""
MAX_LISTENERS_PER_SITE: Final = 16
"""Of these, pages of one address."""


@final
class Visitors:
    """Counts what visitors ask for."""

    def __init__(self, proxies: tuple[Network, ...], timer: Callable[[], float]) -> None:
        """Believe these proxies; ``timer`` gives seconds that never go back."""
        self._proxies = proxies
        self._timer = timer
        self._left: OrderedDict[str, _Left] = OrderedDict()
        self._listening: Counter[str] = Counter()
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

    def take_place(self, request: Request) -> Callable[[], None]:
        """Let a visitor listen; gives what is to be called when he leaves.

        Raises:
            ApiError: 429, when too many do.
        """
        site = self._site(request)
        if self._listening.total() >= MAX_LISTENERS or self._listening[site] >= MAX_LISTENERS_PER_SITE:
            raise ApiError(429, "busy", "too many pages follow the network now", retry_after_s=RETRY_AFTER_S)
        self._listening[site] += 1

        def leave() -> None:
            self._listening[site] -= 1
            if not self._listening[site]:
                del self._listening[site]

        return leave

    def _site(self, request: Request) -> str:
        peer = request.client.host if request.client else ""
        return site_of(client_address(peer, request.scope["headers"], self._proxies))


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
