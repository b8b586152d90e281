"""What a miner may claim, and what it has claimed and waits for. Spec: SPEC.md §7.4."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from protocol.roles.miner.news import Slots
from protocol.roles.miner.wheel import WheelSeat
from protocol.units import Digest, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.messages import Claim, Offer

CHOICE: Final = 64
"""Due offers of a coordinator with the nearest deadlines, among which a miner takes one."""


@dataclass(slots=True)
class OpenOffer:
    """An offer that we could serve and nobody has, as far as we heard."""

    offer: Offer
    model: str
    coordinator: StakingId
    peer: PeerId
    heard_at: UnixMillis
    slot_at: int
    """When our slot comes (unix ms)."""
    rank: int | None
    clock: float
    """What our own clock reads in its draw."""
    slots: Slots
    second_slot_at: int = 0
    """When our slot of the second round comes (unix ms), once that was asked for, else 0: most offers are over before
    that, and only a miner without a free place wants to know."""

    def due_at(self, seat: WheelSeat, open_offers: int, *, is_free: bool) -> int:
        """Give from when on (unix ms) we may claim it while so many offers are open.

        With a free place that is our slot. To look ahead it is, too, for what falls to us on the wheel where more is
        open than miners were free for this offer, as all of them have work then. Else it is our slot of a second round,
        after every slot has passed and an answer was due: an idle miner is better placed than our queue.
        """
        if is_free or (self.slots.ranked < open_offers and not seat.distance(self.offer.task)):
            return self.slot_at
        if not self.second_slot_at:
            answered_at = self.heard_at + self.slots.answered_ms + self.slots.behind_ms(self.clock)
            self.second_slot_at = max(self.slot_at, answered_at)
        return self.second_slot_at


@final
class OpenOffers(dict[TaskId, OpenOffer]):
    """Open offers by task, in the order in which their tasks were heard first."""

    def __init__(self) -> None:
        """Start without any."""
        super().__init__()
        self._by_deadline: list[OpenOffer] | None = None
        """Sorted when it is asked for after one was heard; some may be gone."""

    def __setitem__(self, task: TaskId, one: OpenOffer) -> None:
        """Open an offer, or another one of the same task."""
        super().__setitem__(task, one)
        self._by_deadline = None

    def by_deadline(self) -> Iterator[OpenOffer]:
        """Give all of them, those with the nearest deadlines first."""
        if self._by_deadline is None:  # they come nearly in that order, which sorting makes use of
            self._by_deadline = sorted(self.values(), key=lambda one: one.offer.deadline)
        return (one for one in self._by_deadline if self.get(one.offer.task) is one)


@dataclass(slots=True)
class OutstandingClaim:
    """A signed claim that has no answer yet. It binds us until ``expires_at``."""

    claim: Claim
    digest: Digest
    peer: PeerId
    offer: Offer
    """What was offered: an award for anything else is no award."""
    model: str
    expires_at: UnixMillis
    rank: int | None
    """Ours in its draw."""
    in_slot: bool
    """It left when our slot came: who is beaten by a worse rank then may object."""


@dataclass(slots=True)
class Choice:
    """Takes one of a coordinator's due offers, which it is shown in the order of their deadlines.

    Of the first ``CHOICE`` that is what falls to us, else to whoever is the least far before us, the most urgent of it.
    """

    best: OpenOffer | None = None
    is_made: bool = False
    """Whether nothing that comes can be better."""
    _distance: int = 0
    _weighed: int = 0

    def weigh(self, one: OpenOffer, distance: int) -> None:
        """Look at the next, so far from what falls to us (``WheelSeat.distance``)."""
        if self.best is None or distance < self._distance:
            self.best, self._distance = one, distance
        self._weighed += 1
        self.is_made = distance == 0 or self._weighed == CHOICE
