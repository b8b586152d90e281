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

    __slots__ = ("_buckets", "_burst_s", "_rate", "_signers")

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
        self._buckets: dict[StakingId, list[int]] = {}
        """Units left and when that was (unix ms), changed in place."""

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
        bucket = self._buckets.get(signer)
        if bucket is None:
            bucket = self._bucket_of(signer, full, now)
        units, at = bucket
        if now > at:
            units += (now - at) * rate
            bucket[1] = now
        if units > full:
            units = full
        allowed = units >= _TOKEN
        bucket[0] = units - _TOKEN if allowed else units
        return allowed

    def _bucket_of(self, signer: StakingId, full: int, now: UnixMillis) -> list[int]:
        """Give a new signer a bucket; whoever was silent longest has none then, if they are too many."""
        buckets = self._buckets
        if len(buckets) >= self._signers:
            del buckets[min(buckets, key=lambda known: buckets[known][1])]
        bucket = buckets[signer] = [full, now]
        return bucket
