"""What an app is shown of an award, so that it knows whom it gives the key of a sealed order. Spec: SPEC.md §9.10."""

from typing import Final

from protocol.roles.coordinator.roster import Roster
from protocol.roles.core import Core
from protocol.task.states import OpenAttempt, PendingClaim
from protocol.units import DurationMs
from protocol.wire.messages import Award
from protocol.wire.sealed_messages import ShownAward

KEY_MS: Final = DurationMs(10_000)
"""How long (ms) an app may take to give the key for an award; its miner holds a place for it."""


def show_award(core: Core, roster: Roster, attempt: OpenAttempt, won: PendingClaim, award: Award) -> ShownAward | None:
    """Give all that was signed for an award of a sealed task; None for any other, and where nobody could open it."""
    known, drawn = roster.id(award.statement.miner), attempt.drawn_from
    if drawn is None or known is None or known.update is None:
        return None
    identity = core.identity
    return ShownAward(
        network=identity.network_id,
        chain_id=identity.domain.chain_id,
        contract=identity.domain.contract,
        claim=won.claim.statement,
        claim_signature=won.claim.signature,
        award=award.statement,
        award_signature=award.signature,
        specification=award.specification,
        salt=award.salt,
        capability=known.update.body,
        capability_signature=known.update.signature,
        epoch=drawn.epoch,
        root=drawn.root,
        field=drawn.field,
        offer=drawn.offer,
    )
