"""What a miner may claim, and what it has claimed and waits for. Spec: SPEC.md §7.4."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, final

from protocol.roles.miner.news import Slots
from protocol.units import Digest, PeerId, StakingId, TaskId, UnixMillis
from protocol.wire.messages import Claim, Offer

CHOICE: Final = 64
"""Due offers of a coordinator with the nearest deadlines, among which a miner takes one by lot: in backlog freed miners
would otherwise all claim the same one, and all but one in vain. By a lot of its own each time: were it by what their
draws say, those that are good for nobody would stay while others come and go, until they were nearly all of the 64; and
every miner would claim the same newcomers."""


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
    backlog_at: int = 0
    """From when on the look-ahead may take it too (unix ms), once that was asked for, else 0: most offers are over
    before that, and only a miner without a free place wants to know."""

    def due_as_backlog(self) -> int:
        """Give from when on (unix ms) the look-ahead may take it too: every slot has passed, and an answer was due."""
        if not self.backlog_at:
            answered_at = self.heard_at + self.slots.answered_ms + self.slots.behind_ms(self.clock)
            self.backlog_at = max(self.slot_at, answered_at)
        return self.backlog_at


@final
class OpenOffers(dict[TaskId, OpenOffer]):
    """Open offers by task, in the order in which they were heard last."""

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


def one_by_lot(due: Iterable[list[OpenOffer]], entropy: Callable[[int], bytes]) -> OpenOffer:
    """Take one of what is due of some coordinators, a list of each; ``entropy`` gives n unpredictable bytes."""
    urgent = [one for of_one in due for one in of_one]
    return urgent[int.from_bytes(entropy(8), "big") % len(urgent)]
