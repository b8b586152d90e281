"""What a miner says of each model that its engine has. Spec: SPEC.md §8.2."""

from collections.abc import Mapping

from protocol.events import ModelState
from protocol.wire.messages import ServedModel


def served_models(models: Mapping[str, ModelState]) -> tuple[ServedModel, ...]:
    """Give the models as they stand in a capability, by name."""
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
