"""What a miner may claim, and what it has claimed and waits for. Spec: SPEC.md §7.4."""

from dataclasses import dataclass

from protocol.units import Digest, PeerId, StakingId, UnixMillis
from protocol.wire.messages import Claim, Offer


@dataclass(slots=True)
class OpenOffer:
    """An offer that we could serve and nobody has, as far as we heard."""

    offer: Offer
    model: str
    coordinator: StakingId
    peer: PeerId
    slot_at: UnixMillis
    """When our slot comes."""
    backlog_at: UnixMillis
    """When every slot has passed and an answer was due: from then on the look-ahead may take it too."""
    rank: int | None
    clock: float
    """What our own clock reads in its draw: the smaller, the rather it is ours."""
    digest: Digest
    """What a claim of it names."""


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
