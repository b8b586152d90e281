"""What the gateway knows of an app's key, wherever it comes from."""

from dataclasses import dataclass
from typing import Final

from protocol.units import UnixMillis, Wei

KEY_ACCOUNTS: Final = "key:"
"""How accounts of API keys begin, and no others."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What an app's key is allowed; the key itself is kept nowhere."""

    name: str
    """The beginning of its hash: tells it apart from all others, also from those that are gone."""
    label: str
    """For people."""
    requests_per_minute: int | None = None
    """Submissions a minute; None is what the gateway allows everybody."""
    wei_per_day: Wei | None = None
    """Price (wei) of all that it may order within one day (UTC); None is no limit."""
    expires_at: UnixMillis | None = None
    """From when on it is refused."""

    @property
    def account(self) -> str:
        """As what its tasks are counted."""
        return f"{KEY_ACCOUNTS}{self.name}"
