"""What a miner may claim, and what it has claimed and waits for. Spec: SPEC.md §7.4."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
        if is_free or (self.slots.ranked < open_offers and seat.has(self.offer.task)):
            return self.slot_at
        if not self.second_slot_at:
            # Outside the order, the slot of the first round is one behind it already.
            behind_ms = self.slot_at - self.heard_at if self.rank is None else self.slots.behind_ms(self.clock)
            self.second_slot_at = max(self.slot_at, self.heard_at + self.slots.answered_ms + behind_ms)
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
    """It left when our slot came and a place was free: who is beaten by a worse rank then may object."""


@dataclass(slots=True)
class Choice:
    """A coordinator's due offers of which we take one; shown in the order of their deadlines, until it is made."""

    ours: OpenOffer | None = None
    """The most urgent that falls to us, if there is one among the first ``CHOICE``."""
    others: list[OpenOffer] = field(default_factory=list)
    """What falls to others and is more urgent."""

    @property
    def is_made(self) -> bool:
        """Whether nothing that comes matters."""
        return self.ours is not None or len(self.others) == CHOICE

    def weigh(self, one: OpenOffer, *, is_ours: bool) -> None:
        """Look at the next."""
        if is_ours:
            self.ours = one
        else:
            self.others.append(one)


def taken_of(choices: Sequence[Choice], entropy: Callable[[int], bytes]) -> OpenOffer:
    """Take what falls to us of some coordinators' due offers, at least one, else one of the others.

    Of these the better one for us of two by lot. By the best of all, what is good for nobody would stay until nothing
    else is left; by one lot, miners of a large network would claim the same ones a fifth more often.

    Args:
        choices: What each coordinator has for us.
        entropy: Gives n unpredictable bytes.
    """
    ours = [choice.ours for choice in choices if choice.ours is not None]
    among = ours or [one for choice in choices for one in choice.others]
    drawn = [among[int.from_bytes(entropy(8), "big") % len(among)] for _ in range(2)]
    return min(drawn, key=lambda one: one.clock)
