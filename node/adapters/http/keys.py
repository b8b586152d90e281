"""The API keys that the gateway knows now. They may be changed while it runs."""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import final

from node.apps.app_keys import ApiKey
from protocol.units import UnixMillis


def hash_of_key(key: str) -> str:
    """Give the form in which API keys are kept: the hexadecimal SHA-256 of the key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _now() -> UnixMillis:
    return UnixMillis(time.time_ns() // 1_000_000)


@final
class KeyRing:
    """Hash of a key -> what it is allowed."""

    def __init__(self, keys: Mapping[str, ApiKey] | None = None, now: Callable[[], UnixMillis] = _now) -> None:
        """Begin with these keys, by ``hash_of_key``; ``now`` tells when one expires, and which day it is."""
        self._keys = dict(keys or {})
        self.now = now

    def replace(self, keys: Mapping[str, ApiKey]) -> None:
        """Know these from now on, and no others."""
        self._keys = dict(keys)

    def find(self, digest: str) -> ApiKey | None:
        """Give what the key of this hash is allowed, also when it has expired.

        How long this takes tells nothing: nobody can choose keys by the beginning of their hashes.
        """
        return self._keys.get(digest)

    def has_expired(self, key: ApiKey) -> bool:
        """Say whether a key is over by now."""
        return key.expires_at is not None and key.expires_at <= self.now()
