"""Which coordinator a miner serves next, and which it does not hear for a while: its own policy. Spec: SPEC.md §7.4."""

from collections.abc import Collection
from typing import Final, final

from protocol.roles.core import Core
from protocol.units import Digest, StakingId, UnixMillis
from protocol.wire.messages import Offer

MAX_SERVED: Final = 1024
"""Coordinators whose service is remembered; the least served is forgotten first, and starts level again."""
FIRST_QUIET_MS: Final = 1000
"""How long (ms) a coordinator that left a claim unanswered is not heard; doubles each time until it answers one."""
LAST_QUIET_MS: Final = 300_000
HEARD: Final = (0, 0, "")
"""What is known of a coordinator that answers."""


@final
class Service:
    """Work taken from each coordinator by its stake, and who leaves claims unanswered."""

    __slots__ = ("_core", "_late", "_level", "_quiet_until", "_served")

    def __init__(self, core: Core) -> None:
        """Start with nobody served."""
        self._core = core
        self._served: dict[StakingId, float] = {}
        """Work taken from each coordinator (wei) per wei of its stake: the least is served next."""
        self._level = 0.0
        """The least served of those with work waiting when one was chosen last: whoever was quiet starts here."""
        self._quiet_until: dict[StakingId, tuple[int, int, str]] = {}
        """Coordinators that left a claim unanswered or paused us: (heard again from, last pause in ms, why)."""
        self._late: dict[StakingId, Digest] = {}
        """The last claim that each coordinator left unanswered."""

    def least_served(self, waiting: Collection[StakingId]) -> set[StakingId]:
        """Give those coordinators, of the ones with work waiting, for which least was done: one of them is next."""
        served = {coordinator: max(self._served.get(coordinator, 0.0), self._level) for coordinator in waiting}
        self._level = min(served.values())
        return {coordinator for coordinator in waiting if served[coordinator] == self._level}

    def charge(self, coordinator: StakingId, offer: Offer) -> None:
        """Count a place that was kept for a coordinator, in wei per wei of its stake.

        Work counts at the network's price at least: whoever offers it for nothing must not be served first for that.
        """
        price = max(offer.price, offer.pixel_steps * self._core.params.price_per_pixel_step_wei)
        view = self._core.book.current(self._core.now)
        row = view.table.by_id.get(coordinator) if view is not None else None
        share = float(price) / float(row.stake) if row is not None and row.stake > 0 else 1.0
        # Who was quiet has not saved up a claim on the future; whoever had work waiting is at the level or above.
        self._served[coordinator] = max(self._served.get(coordinator, 0.0), self._level) + share
        if len(self._served) > MAX_SERVED:
            del self._served[min(self._served, key=self._served.__getitem__)]

    def why_quiet(self, coordinator: StakingId) -> str | None:
        """Say why a coordinator is not heard now, ``unanswered`` or ``paused``; None when it is."""
        known = self._quiet_until.get(coordinator)
        if known is None:
            return None
        until, _, why = known
        return why if until > self._core.now else None

    def answered(self, coordinator: StakingId) -> None:
        """A coordinator answers claims: it is heard."""
        self._quiet_until.pop(coordinator, None)

    def answered_late(self, coordinator: StakingId, claim: Digest) -> None:
        """It does answer, if this was its last silence, only later than the claim lasted: a slow line is no silence."""
        if self._late.get(coordinator) == claim:
            self.answered(coordinator)

    def left_unanswered(self, coordinator: StakingId, claim: Digest, offer: Offer) -> None:
        """No answer in time: the claim kept a place, so it counts as service, and its coordinator is not heard."""
        self.charge(coordinator, offer)
        self.hear_later(coordinator, "unanswered")
        self._late.pop(coordinator, None)
        self._late[coordinator] = claim
        if len(self._late) > MAX_SERVED:
            del self._late[next(iter(self._late))]

    def hear_later(self, coordinator: StakingId, why: str) -> None:
        """Do not hear a coordinator for twice as long as the last time; while it is not heard, that is one silence."""
        if self.why_quiet(coordinator) is not None:
            return
        _, last, _ = self._quiet_until.pop(coordinator, HEARD)
        pause = min(max(2 * last, FIRST_QUIET_MS), LAST_QUIET_MS)
        self._quiet_until[coordinator] = (UnixMillis(self._core.now + pause), pause, why)
        if len(self._quiet_until) > MAX_SERVED:
            del self._quiet_until[next(iter(self._quiet_until))]
