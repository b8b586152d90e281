"""What a miner may claim, and what it has claimed and waits for. Spec: SPEC.md §7.4."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from protocol.roles.news import Slots
from protocol.units import Digest, PeerId, StakingId, UnixMillis
from protocol.wire.messages import Claim, Offer

CHOICE: Final = 64
"""Due offers of a coordinator with the nearest deadlines, among which a miner takes the one whose draw it is nearest to
winning: in backlog freed miners would otherwise all claim the same one, and all but one in vain. With 16, eight quick
miners claimed every task three times before they had heard what the others got."""
_clock: Final = attrgetter("clock")


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
    """What our own clock reads in its draw: the smaller, the rather it is ours."""
    slots: Slots
    backlog_at: int = 0
    """From when on the look-ahead may take it too (unix ms), once that was asked for, else 0: most offers are over
    before that, and only a miner without a free place wants to know."""

    def due_as_backlog(self) -> int:
        """Give from when on (unix ms) the look-ahead may take it too: every slot has passed, and an answer was due."""
        if not self.backlog_at:
            answered_at = self.heard_at + self.slots.answered_ms + self.slots.behind_ms(self.clock)
            self.backlog_at = max(self.slot_at, answered_at)
        return self.backlog_at


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


def rather_ours(due: Iterable[list[OpenOffer]]) -> OpenOffer:
    """Pick one of what is due of some coordinators, a list of each."""
    urgent = [one for of_one in due for one in _most_urgent(of_one)]
    return min(urgent, key=_clock)


def _most_urgent(of_one: list[OpenOffer]) -> list[OpenOffer]:
    """Give the ``CHOICE`` with the nearest deadlines. They come nearly in that order, which sorting makes use of."""
    return of_one if len(of_one) <= CHOICE else sorted(of_one, key=lambda one: one.offer.deadline)[:CHOICE]
