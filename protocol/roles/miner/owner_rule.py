"""What a miner's owner does not let be drawn here, and which tasks were refused by that rule. Spec: SPEC.md §9.3."""

from collections.abc import Callable
from typing import Final, final

from protocol.units import TaskId
from protocol.wire.specification import TaskSpecification

MAX_REFUSED: Final = 1024
"""Tasks remembered as refused by the owner's rule; the oldest is forgotten first."""
Refuses = Callable[[TaskSpecification], bool]
"""Says whether a miner's owner does not let this be drawn. It is quick, whatever an app wrote."""


def refuses_nothing(specification: TaskSpecification) -> bool:
    """The rule of an owner who has none."""
    del specification
    return False


@final
class OwnerRule:
    """Asks the rule, and remembers what it refused: such a task is not claimed again."""

    def __init__(self, refuses: Refuses) -> None:
        """Go by this rule."""
        self._refuses = refuses
        self._refused: dict[TaskId, None] = {}

    def refuses(self, task: TaskId, specification: TaskSpecification) -> bool:
        """Say whether this is not drawn here, and remember it if so."""
        if not self._refuses(specification):
            return False
        self._refused[task] = None
        if len(self._refused) > MAX_REFUSED:
            del self._refused[next(iter(self._refused))]
        return True

    def has_refused(self, task: TaskId) -> bool:
        """Say whether a task was refused, of those that are remembered."""
        return task in self._refused
