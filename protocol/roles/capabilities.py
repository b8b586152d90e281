"""What a miner says that it serves, of what its engine can do. Spec: SPEC.md §8.2."""

from collections.abc import Mapping

from protocol.crypto.envelope import seal
from protocol.events import ModelState
from protocol.roles.core import Identity
from protocol.units import StakingId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Capability, CapabilityUpdate, ServedModel


def served_models(models: Mapping[str, ModelState]) -> tuple[ServedModel, ...]:
    """Give each model of the engine as a capability names it, by name."""
    return tuple(
        ServedModel(
            model=model.model,
            digest=model.digest,
            warm=model.warm,
            works=model.works,
            pixel_steps_per_s=model.pixel_steps_per_s,
            max_batch=model.max_batch,
        )
        for _, model in sorted(models.items())
    )


def sealed_capability(
    identity: Identity,
    miner: StakingId,
    sequence: int,
    expires_at: UnixMillis,
    models: Mapping[str, ModelState],
    places: tuple[int, int],
    price_floor: Wei,
    addresses: tuple[str, ...],
) -> CapabilityUpdate:
    """Sign what a miner serves now; ``places`` are how many are free, and how many there are."""
    free_places, all_places = places
    capability = Capability(
        miner=miner,
        sequence=sequence,
        expires_at=expires_at,
        models=served_models(models),
        free_places=free_places,
        places=all_places,
        price_floor=price_floor,
        addresses=addresses[:8],
    )
    body = encode(capability)
    return CapabilityUpdate(body=body, signature=seal(identity.key, identity.network_id, body))
