"""What both sides hold of an offer: how far its slots may stretch, and the digest that claims and awards bind to.

By that, nobody can say later that it was another offer, or of another draw. Spec: SPEC.md §7.4.
"""

import hashlib
from typing import Final

from protocol.units import Digest, Epoch, StakingId
from protocol.wire.messages import Offer

MAX_STRETCH: Final = 8
"""How many times the network's δ and A an offer may ask for: they follow latency, but a claim binds its miner that
long."""


def offer_digest(
    coordinator: StakingId, drawn_epoch: Epoch, root: Digest, field: Digest, model: str, offer: Offer
) -> Digest:
    """Hash everything that a miner agrees to when it claims, and all that the order was drawn from.

    Args:
        coordinator: Who offers.
        drawn_epoch: The bulletin's epoch: whose table and beacon the order is drawn from.
        root: The bulletin's table root.
        field: Digest of the bulletin's field.
        model: The bulletin's model.
        offer: The offer; its epoch of acceptance is one of its own fields.
    """
    work, name = offer.work.encode(), model.encode()
    return Digest(
        hashlib.sha256(
            b"cuckoo/1/offer"
            + coordinator.to_bytes(8, "big")
            + offer.accepted_epoch.to_bytes(8, "big")
            + drawn_epoch.to_bytes(8, "big")
            + root
            + field
            + offer.task
            + offer.boot.to_bytes(8, "big")
            + offer.number.to_bytes(8, "big")
            + offer.attempt.to_bytes(4, "big")
            + hashlib.sha256(work).digest()
            + offer.pixels.to_bytes(8, "big")
            + offer.pixel_steps.to_bytes(8, "big")
            + offer.price.to_bytes(32, "big")
            + offer.deadline.to_bytes(8, "big")
            + offer.slot_step_ms.to_bytes(4, "big")
            + offer.allowance_ms.to_bytes(4, "big")
            + name
        ).digest()
    )
