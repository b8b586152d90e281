"""A clock that a test sets by hand."""

from protocol.units import UnixMillis
from tests.support.records import NOW


class HandClock:
    """Stands still until the test moves it."""

    def __init__(self, start: UnixMillis = NOW) -> None:
        self.moment = start

    def now(self) -> UnixMillis:
        return self.moment

    def advance(self, milliseconds: int) -> None:
        self.moment = UnixMillis(self.moment + milliseconds)
