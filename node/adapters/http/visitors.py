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
        left.points = min(POINTS, left.points + (now - left.at) * POINTS_PER_S)
        left.at = now
        if left.points < points:
            wait = max(1, math.ceil((points - left.points) / POINTS_PER_S))
            raise ApiError(429, "rate_limited", "you ask for more than one visitor may: wait", retry_after_s=wait)
        left.points -= points

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
    """What a visitor has left, and when that was so."""

    points: float
    at: float
