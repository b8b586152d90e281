"""Which open offer goes when a coordinator has more of them than a miner remembers. Spec: SPEC.md §7.4."""

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from typing import Final, final

from protocol.roles.miner.open_offers import OpenOffer
from protocol.units import StakingId, TaskId, UnixMillis

MAX_HEARD_PER_COORDINATOR: Final = 1024
"""Open offers of one coordinator, so that none crowds out the others."""
SWEEP_MS: Final = 1000
"""Least time (ms) between two looks through all offers for those whose time is over."""
MOST_GONE: Final = 1024
"""Entries of offers that are gone, of one coordinator, before its heap is made anew."""


@final
class LeastUrgent:
    """A heap for each coordinator that was once asked about: most never have so many offers."""

    __slots__ = ("_heaps", "_swept_at")

    def __init__(self) -> None:
        """Start without any."""
        self._heaps: dict[StakingId, list[tuple[int, TaskId]]] = {}
        """(Deadline, negative, and task) of the open offers, and of some that are gone: the latest deadline first."""
        self._swept_at = UnixMillis(0)

    def over(self, offers: Mapping[TaskId, OpenOffer], now: UnixMillis) -> list[TaskId]:
        """List the offers whose deadline is over; none when that was asked for lately."""
        if now < self._swept_at + SWEEP_MS:
            return []
        self._swept_at = now
        return [task for task, one in offers.items() if one.offer.deadline <= now]

    def of(self, coordinator: StakingId, offers: Mapping[TaskId, OpenOffer], count: int) -> OpenOffer:
        """Find the one with the latest deadline among its ``count`` open offers, which are at least one."""
        heap = self._heaps.get(coordinator)
        if heap is None or len(heap) > count + MOST_GONE:
            own = (one for one in offers.values() if one.coordinator == coordinator)
            heap = self._heaps[coordinator] = [(-one.offer.deadline, one.offer.task) for one in own]
            heapify(heap)
        while True:
            deadline, task = heap[0]
            known = offers.get(task)
            if known is not None and (known.coordinator, -known.offer.deadline) == (coordinator, deadline):
                return known
            heappop(heap)

    def heard(self, one: OpenOffer) -> None:
        """An offer is open from now on."""
        heap = self._heaps.get(one.coordinator)
        if heap is not None:
            heappush(heap, (-one.offer.deadline, one.offer.task))

    def forget(self, coordinator: StakingId) -> None:
        """A coordinator has no open offer any more."""
        self._heaps.pop(coordinator, None)
