"""Which of several chain nodes is asked next: who failed rests, who is slow is left for a faster one.

The order of the settings is the order of preference among those that are well. No two nodes are compared before an
answer is believed: what is trusted of the one that is asked stands in SPEC.md §6.2.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import trio

FIRST_REST_S: Final = 0.1
"""How long (s) a node rests after its first failure; it doubles with each further one in a row."""
MAX_REST_S: Final = 30.0
"""Longest rest (s) of a node that fails while another is well."""
MAX_LONE_REST_S: Final = 1.0
"""Longest rest (s) while no other is well: then the caller's own pauses hold the rate down."""
LIMITED_REST_S: Final = 1.0
"""How long (s) a node rests that calls our rate too high and does not say for how long; it doubles, too."""
MAX_ASKED_REST_S: Final = 300.0
"""Longest rest (s) that a node can ask for: one that asks for a year is a faulty one."""
WRONG_CHAIN_REST_S: Final = 600.0
"""How long (s) until a node of another chain is looked at again."""
LEFT_REST_S: Final = 60.0
"""How long (s) a node rests whose answers do not fit together."""
SLOW_S: Final = 2.0
"""Average time of an answer (s) beyond which a faster node is preferred; a chunk of events takes less than 1 s."""
SLOW_MEMORY_S: Final = 60.0
"""How long (s) a node that was not asked counts as slow."""
_WEIGHT: Final = 0.3
"""Share of the newest answer in the average: two slow ones in a row make a node slow, one does not."""

Report = Callable[[str, str], None]
"""Told once for each spell of trouble: which URL, and a stable name of what is wrong with it."""


@dataclass(slots=True)
class Endpoint:
    """One chain node as we know it."""

    url: str
    verified: bool = False
    """It serves our chain, as far as it was asked since its last failure."""
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    """On trio's clock (s)."""
    seconds: float = 0.0
    """Average time of its answers."""
    asked_at: float = 0.0
    trouble: str = ""
    """What was reported last and has not passed."""


@final
class Endpoints:
    """All chain nodes of the settings."""

    def __init__(self, urls: Sequence[str], report: Report | None = None) -> None:
        """Take the URLs in order of preference."""
        self._all: Final = tuple(Endpoint(url) for url in urls)
        self._report = report or (lambda _url, _trouble: None)

    def __iter__(self) -> Iterator[Endpoint]:
        """Go through all of them in the order of preference."""
        return iter(self._all)

    def __len__(self) -> int:
        """Count them."""
        return len(self._all)

    def find(self, url: str) -> Endpoint:
        """Give the endpoint of a URL of the settings."""
        return next(endpoint for endpoint in self._all if endpoint.url == url)

    def best(self) -> Endpoint | None:
        """Give the node to ask now: of those that do not rest the first that is fast, else the fastest."""
        now = trio.current_time()
        awake = [endpoint for endpoint in self._all if endpoint.rests_until <= now]
        return min(awake, key=lambda endpoint: self._slowness(endpoint, now), default=None)

    def wait_s(self) -> float:
        """Give how long (s) it is until one has rested."""
        return max(0.0, min(endpoint.rests_until for endpoint in self._all) - trio.current_time())

    def answered(self, endpoint: Endpoint, seconds: float) -> None:
        """Take an answer into account that came after so many seconds."""
        endpoint.failures = 0
        endpoint.asked_at = trio.current_time()
        endpoint.seconds += _WEIGHT * (seconds - endpoint.seconds)
        if endpoint.seconds >= SLOW_S:
            self._tell(endpoint, "slow")
        else:
            endpoint.trouble = ""

    def failed(self, endpoint: Endpoint) -> None:
        """Let a node rest that gave no usable answer; whether it serves our chain is asked anew."""
        endpoint.failures += 1
        endpoint.verified = False
        longest = MAX_REST_S if self._another_is_well(endpoint) else MAX_LONE_REST_S
        self._rest(endpoint, min(longest, FIRST_REST_S * 2 ** min(endpoint.failures - 1, 16)))
        self._tell(endpoint, "failing")

    def limited(self, endpoint: Endpoint, asked_s: float | None) -> None:
        """Let a node rest that calls our rate too high, for as long as it asks if it says so."""
        endpoint.failures += 1
        longest = MAX_REST_S if asked_s is None else MAX_ASKED_REST_S
        rest = LIMITED_REST_S * 2 ** min(endpoint.failures - 1, 16) if asked_s is None else asked_s
        self._rest(endpoint, min(longest, max(rest, 0.0)))
        self._tell(endpoint, "rate_limited")

    def wrong_chain(self, endpoint: Endpoint) -> None:
        """Leave a node out that serves another chain."""
        endpoint.verified = False
        self._rest(endpoint, WRONG_CHAIN_REST_S)
        self._tell(endpoint, "wrong_chain")

    def leave(self, endpoint: Endpoint, trouble: str) -> bool:
        """Ask others for a while instead of this one; False, and nothing changes, when there is no other to ask."""
        if not self._another_is_awake(endpoint):
            return False
        endpoint.verified = False
        self._rest(endpoint, LEFT_REST_S)
        self._tell(endpoint, trouble)
        return True

    def _slowness(self, endpoint: Endpoint, now: float) -> float:
        """Give 0 for a node that is fast or was not asked for a while, else its average time (s)."""
        if endpoint.seconds < SLOW_S:
            return 0.0
        if now - endpoint.asked_at > SLOW_MEMORY_S:
            endpoint.seconds = 0.0
        return endpoint.seconds

    def _another_is_well(self, endpoint: Endpoint) -> bool:
        return any(other is not endpoint and not other.failures for other in self._all)

    def _another_is_awake(self, endpoint: Endpoint) -> bool:
        now = trio.current_time()
        return any(other is not endpoint and other.rests_until <= now for other in self._all)

    def _rest(self, endpoint: Endpoint, seconds: float) -> None:
        endpoint.rests_until = max(endpoint.rests_until, trio.current_time() + seconds)

    def _tell(self, endpoint: Endpoint, trouble: str) -> None:
        """Report a spell of trouble when it begins."""
        if endpoint.trouble != trouble:
            endpoint.trouble = trouble
            self._report(endpoint.url, trouble)
