"""Says why nothing is done about something, and says it again only now and then."""

from typing import Final, final

from protocol.notes import NoteName
from protocol.roles.core import Core
from protocol.units import DurationMs, UnixMillis

TELL_AGAIN_MS: Final = DurationMs(3_600_000)
"""How long (ms) a reason stands before it is told again."""


@final
class NowAndThen:
    """What was told of each reason, and when."""

    def __init__(self, core: Core) -> None:
        """Begin with nothing told."""
        self._core = core
        self._told: dict[str, UnixMillis] = {}

    def tell(self, name: NoteName, reason: str, **fields: str | int) -> None:
        """Note a reason, unless it was told lately."""
        now = self._core.now
        if now >= self._told.get(reason, -TELL_AGAIN_MS) + TELL_AGAIN_MS:
            self._told[reason] = now
            self._core.note(name, None, **fields, reason=reason)
