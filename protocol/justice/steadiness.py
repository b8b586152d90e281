"""Whether a picture is what arithmetic alone decides: the same task, ordered ever so slightly otherwise, tells.

Guidance is a number on which a picture depends steadily, but for places where it goes over into another one. Who finds
prompt and seed for which such a place lies at a hundredth has a task of which one honest miner draws this and another
that, though both draw in the same class of arithmetic: what they round differently decides. Around it some pictures are
the one and some the other, or change far more than elsewhere. So before a juror says "wrong" it draws there as well.
Spec: SPEC.md §12.10.
"""

from typing import Final

from protocol.task.distance import OTHER_NUMERICS, RE_ENCODED
from protocol.wire.specification import TaskSpecification

PARTS: Final = (64, 256)
"""The guidance is changed by one in so many, both ways: 16-bit numbers round a value by one in 256, and were seen to
decide within one in a hundred; 32-bit ones, within a billionth."""
NO_GUIDANCE: Final = 1.0
"""Up to this, pipelines draw without guidance, so that to change it changes nothing: what lies beside is above it."""


def beside(specification: TaskSpecification, most: float) -> tuple[TaskSpecification, ...]:
    """Give the orders beside this one, a little less guided and a little more.

    Args:
        specification: What is disputed. Where the negative prompt is the prompt, it is an order without guidance and
            without a negative prompt, to the last digit.
        most: The most guidance that its model takes; where one side lies beyond a bound, all are on the other.

    Returns:
        Nothing where the model takes no guidance.
    """
    if most <= NO_GUIDANCE:
        return ()
    guidance, found = (NO_GUIDANCE if is_moot(specification) else max(specification.guidance, NO_GUIDANCE)), []
    for part in PARTS:
        change = guidance / part
        changes = (change, 2 * change) if guidance - change < NO_GUIDANCE else (-change, change)
        if guidance + change > most:
            changes = (-change, -2 * change)
        found += [min(max(guidance + one, NO_GUIDANCE), most) for one in changes]
    away_from = "" if is_moot(specification) else specification.negative_prompt
    changed = ({"guidance": one, "negative_prompt": away_from} for one in found)
    return tuple(specification.model_copy(update=change) for change in changed)


def is_moot(specification: TaskSpecification) -> bool:
    """Say whether guidance leads away from the very words that it leads to, as models read them: it changes nothing."""
    led_to, led_away = (text.lower().split() for text in (specification.prompt, specification.negative_prompt))
    return led_to == led_away


def most_change(specification: TaskSpecification) -> int:
    """Give by how much (ppm) a steady task's picture may change with that: as by other numbers, or a re-encoding."""
    return OTHER_NUMERICS if specification.quality is None else RE_ENCODED
