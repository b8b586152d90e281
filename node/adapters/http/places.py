"""How many connections may be open, in all and from each site, and who makes room for a newcomer."""

from collections.abc import Collection
from typing import Final, Protocol, final

from node.adapters.http.accounts import is_near, site_of
from node.adapters.http.forwarding import is_trusted
from node.adapters.http.settings import HttpSettings

ALL_TAKEN: Final = "http_connections"
SITE_FULL: Final = "http_connections_of_site"


class Occupant(Protocol):
    """A connection that has a place."""

    @property
    def is_busy(self) -> bool:
        """Say whether a request of it is being worked on."""
        ...

    @property
    def waiting_since(self) -> float:
        """Say since when (s) it waits for its client."""
        ...

    def end(self) -> None:
        """End it."""
        ...


@final
class Places:
    """The open connections.

    Where all places are taken, the connection that has waited longest for its client makes room: so neither half
    headers nor idle clients, however many, keep a newcomer out. A header that comes in one piece is read within
    milliseconds, and from then on a connection is busy and keeps its place.
    """

    def __init__(self, settings: HttpSettings) -> None:
        """Start with none."""
        self._settings = settings
        self._sites: dict[str, set[Occupant]] = {}
        self._site_of: dict[Occupant, str] = {}

    def __len__(self) -> int:
        """Count the open connections."""
        return len(self._site_of)

    def occupants(self) -> tuple[Occupant, ...]:
        """Give all open connections."""
        return tuple(self._site_of)

    def take(self, occupant: Occupant, address: str) -> tuple[bool, str | None]:
        """Take a place for a connection from ``address``: whether there is one, and what was full, if anything.

        Something full and a place all the same means that another connection was ended.
        """
        site = site_of(address)
        here = self._sites.get(site, set())
        full = None
        if len(here) >= self._limit_of(address):
            full = SITE_FULL
        elif len(self._site_of) >= self._settings.max_connections:
            full = ALL_TAKEN
        if full is not None and not self._make_room(here if full == SITE_FULL else self._site_of.keys()):
            return False, full
        self._sites.setdefault(site, set()).add(occupant)
        self._site_of[occupant] = site
        return True, full

    def release(self, occupant: Occupant) -> None:
        """Give the place back that ``take`` gave, unless a newcomer has it already."""
        site = self._site_of.pop(occupant, None)
        if site is not None:
            self._sites[site].discard(occupant)
            if not self._sites[site]:
                del self._sites[site]

    def _make_room(self, among: Collection[Occupant]) -> bool:
        longest = min((each for each in among if not each.is_busy), key=lambda each: each.waiting_since, default=None)
        if longest is None:
            return False
        longest.end()
        self.release(longest)
        return True

    def _limit_of(self, address: str) -> int:
        """Give the share of one site: all for a trusted proxy, half for what is near, where proxies are."""
        if is_trusted(address, self._settings.trusted_proxies):
            return self._settings.max_connections
        if is_near(address):
            return max(self._settings.max_connections_per_site, self._settings.max_connections // 2)
        return self._settings.max_connections_per_site
