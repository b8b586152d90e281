"""The public header of one task. Spec: SPEC.md §7, §8.3."""

from typing import Annotated

from pydantic import Field

from protocol.wire.fields import (
    AttemptField,
    EpochField,
    Frozen,
    MillisField,
    SequenceField,
    TaskIdField,
    WeiField,
)
from protocol.wire.specification import Work


class Offer(Frozen):
    """The public header of one task. Nothing here tells what the picture will show."""

    task: TaskIdField
    accepted_epoch: EpochField
    """Epoch in which the task was accepted; part of its name. Another than the bulletin's: it was drawn again."""
    boot: SequenceField
    number: SequenceField
    """Place among the tasks accepted in this boot and epoch, from 0."""
    attempt: AttemptField
    work: Work = "text_to_image"
    pixels: Annotated[int, Field(ge=256, le=2**24)]
    """Width × height of one picture."""
    pixel_steps: Annotated[int, Field(ge=1, le=2**48)]
    price: WeiField
    deadline: MillisField
    slot_step_ms: Annotated[int, Field(ge=1, le=10_000)]
    allowance_ms: Annotated[int, Field(ge=1, le=10_000)]
