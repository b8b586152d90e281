"""Token buckets: how many messages a signer may send, more of them the more it stakes. Spec: SPEC.md §4.3.

::

    full ──● a burst empties the bucket          ┌── refilled: full again
           │╲                              ╱─────┘
           │ ╲      next message waits    ╱ rate × weight
    empty  │  ●──────────────────────────╱
"""

from typing import Final, final

from protocol.units import StakingId, UnixMillis

_TOKEN: Final = 1000
"""One message, in the bucket's smallest unit: a rate of n messages/s refills n units a millisecond."""


@final
class Quota:
    """One bucket per signer; the number of signers is bounded, the one that was silent longest is forgotten."""

    def __init__(self, rate_per_s: int, burst_s: int, signers: int) -> None:
        """Begin with full buckets.

        Args:
            rate_per_s: Messages/s of a signer with weight 1.
            burst_s: Seconds' worth of messages that may come at once.
            signers: Most buckets kept.
        """
        if min(rate_per_s, burst_s, signers) < 1:
            raise ValueError("rate, burst and number of signers are at least 1")
        self._rate = rate_per_s
        self._burst_s = burst_s
        self._signers = signers
        self._buckets: dict[StakingId, tuple[int, UnixMillis]] = {}  # (units left, at); the last used stands last

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, signer: StakingId, weight: int, now: UnixMillis) -> bool:
        """Take one message from the signer's bucket; False when it is empty, and then nothing is taken.

        Args:
            signer: Who sends.
            weight: Multiple of the base rate that its stake earns, ≥ 1.
            now: The present moment; an earlier one than before counts as the same moment.
        """
        rate = self._rate * weight
        full = rate * self._burst_s * _TOKEN
        units, at = self._buckets.pop(signer, (full, now))
        if now > at:
            units, at = units + (now - at) * rate, now
        units = min(full, units)
        allowed = units >= _TOKEN
        self._buckets[signer] = (units - _TOKEN if allowed else units, at)
        if len(self._buckets) > self._signers:
            del self._buckets[next(iter(self._buckets))]
        return allowed
