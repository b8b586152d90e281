"""A node's settings as people may see them: every one, with whence it came, and nothing that is secret.

No password or key is a setting, only the files that hold them. Addresses of services may carry one, so they are shown
without user, query and, for chain nodes, path.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel

from node.config.configuration import ONLY_FOR, Loaded

DEFAULT: Final = "default"
HIDDEN: Final = "…"


class Shown(NamedTuple):
    """One setting."""

    key: str
    value: Any  # Any: what JSON holds
    origin: str
    """File, flag, variable or credential that gave it, or ``default``."""


def shown_settings(loaded: Loaded) -> Iterator[Shown]:
    """Go through all that counts for the role, in the order of the example files."""
    settings, origins = loaded.settings, loaded.origins
    for name, value in settings.model_dump(mode="json").items():
        if ONLY_FOR.get(name, settings.role) is not settings.role:
            continue
        if not isinstance(getattr(settings, name), BaseModel):
            yield Shown(name, value, origins.get(name, DEFAULT))
            continue
        for leaf, inner in value.items():
            key = f"{name}.{leaf}"
            origin = origins.get("params" if name == "params" else key, DEFAULT)
            yield Shown(key, _public(key, inner), origin)


def _public(key: str, value: Any) -> Any:  # noqa: ANN401  what JSON holds
    """Leave out what may be secret."""
    if key == "chain.rpc_urls":
        return [without_secrets(url, keep_path=False) for url in value]
    if key == "tracing.endpoint" and value is not None:
        return without_secrets(value, keep_path=True)
    return value


def without_secrets(url: str, *, keep_path: bool) -> str:
    """Give an address without user and query, and without the path, in which some services want their key."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = parts.path if keep_path else ""
    is_cut = host != parts.netloc or parts.query or path != parts.path.rstrip("/")
    return f"{parts.scheme}://{host}{path}" + (f"/{HIDDEN}" if is_cut else "")
