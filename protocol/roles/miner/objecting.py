"""When a miner objects in public: its claim came in its slot, and the coordinator signed that a worse rank won.

A claim that came late looks the same to us, so one objection proves nothing; many, against one coordinator and not
against others, say something. Spec: SPEC.md §7.4.
"""

from typing import Final, final

from protocol.effects import Publish
from protocol.gossip.objections import BEATEN, PACE
from protocol.roles.core import Core
from protocol.units import UnixMillis
from protocol.wire.messages import Claim, Decline, Objection
from protocol.wire.topics import objections_topic

OWN_PACE_MS: Final = 2 * PACE
"""Least time (ms) between two objections of ours: whatever the network delays, everybody hears each."""


@final
class Objecting:
    """The objections of one miner."""

    def __init__(self, core: Core) -> None:
        """Object to nothing yet."""
        self._core = core
        self._due_at = UnixMillis(0)

    def on_decline(self, claim: Claim, rank: int | None, message: Decline, *, in_slot: bool) -> None:
        """Publish a decline that names a worse rank as the winner.

        Args:
            claim: Ours.
            rank: Ours in the draw; None when we were not in it.
            message: What the coordinator answered; its signature is checked.
            in_slot: Whether the claim left when our slot came and a place was free, not later or to look ahead: whoever
                has no place is not waited for.
        """
        core, decline = self._core, message.statement
        if rank is None or not in_slot or decline.reason != BEATEN or decline.rank <= rank:
            return
        if decline.winner in {0, claim.statement.miner} or core.now < self._due_at:
            return
        self._due_at = UnixMillis(core.now + OWN_PACE_MS)
        objection = Objection(
            sent_at=core.now,
            claim=claim.statement,
            claim_signature=claim.signature,
            decline=decline,
            decline_signature=message.signature,
        )
        core.emit(Publish(objections_topic(core.identity.network), objection))
