"""Budgets: how much of something each peer, or each network address, may do, as token buckets.

A bucket holds ``burst`` tokens and gets ``rate_per_s`` back each second.
"""

from collections import OrderedDict
from typing import Final, final

import trio

from protocol.units import PeerId

MAX_BUDGETS: Final = 10_000
"""Peers with a bucket of their own, as many as there can be connections; beyond it the one unused longest is full
again."""


@final
class Budget:
    """One bucket, full at first."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._at = trio.current_time()
        self._dry_since: float | None = None

    def is_empty(self) -> bool:
        """Say whether there is no token now."""
        return self._now() < 1

    def take(self, tokens: int = 1) -> bool:
        """Take tokens; False, and none are taken, when there are fewer."""
        if self._now() < tokens:
            self._dry_since = self._at if self._dry_since is None else self._dry_since
            return False
        self._tokens -= tokens
        return True

    def dry_s(self) -> float:
        """Say for how long (s) more has been asked for than there was, without growing half full in between."""
        return 0.0 if self._dry_since is None else trio.current_time() - self._dry_since

    def forgive(self) -> None:
        """Count ``dry_s`` anew."""
        self._dry_since = None

    def refill(self, tokens: int) -> None:
        """Give tokens back."""
        self._tokens = min(self._burst, self._now() + tokens)

    def _now(self) -> float:
        now = trio.current_time()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= self._burst / 2:
            self._dry_since = None
        return self._tokens


@final
class Budgets:
    """A bucket for each peer. It outlives connections, so that coming back does not fill it."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._of: OrderedDict[str, Budget] = OrderedDict()

    def of(self, peer: PeerId | str) -> Budget:
        """Give the bucket of a peer, or of an address."""
        budget = self._of.get(peer)
        if budget is None:
            budget = self._of[peer] = Budget(self._rate, self._burst)
            if len(self._of) > MAX_BUDGETS:
                self._of.popitem(last=False)
        self._of.move_to_end(peer)
        return budget
