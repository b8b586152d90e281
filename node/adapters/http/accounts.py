"""Who calls: an API key, or an address without one, and how often it may submit.

An account owns the tasks that it hands in. Task ids are public (offers name them), so an id alone must not let
anybody read, follow or cancel a task: the store keeps with each task the scope of the account that it came from.

Whoever presents a key is told apart by it, wherever he calls from. Callers without one are told apart by their site:
all programs of this machine are one account, and so are all behind one home's router, or behind a proxy that the
operator did not name as trusted. An app that shares its address with others it does not trust sends a key; where none
is required, any secret text is one.
"""

import base64
import hashlib
import hmac
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from node.adapters.http.errors import ApiError
from node.adapters.http.forwarding import parse_address
from node.adapters.http.keys import KeyRing, hash_of_key
from node.adapters.http.settings import HttpSettings
from node.apps.app_keys import ApiKey
from node.ports import StoredTask
from protocol.task.account import account_within

MAX_BUCKETS: Final = 4096
"""Callers whose rate is remembered; the longest silent one is forgotten first."""
NO_KEY: Final = (
    "this coordinator serves known API keys only: send yours as Authorization: Bearer <key> (its operator makes one "
    "with cuckoo apikey create, or serves everybody with require_key = false)"
)
UNKNOWN_KEY: Final = "this API key is not known here: it is mistyped, was revoked, or is another coordinator's"
_SCOPE_DIGITS: Final = 32
"""Hexadecimal digits of a hash that name an owner: 128 bits, never met by chance."""
_NAME_DIGITS: Final = 32
_SECONDS_PER_MINUTE: Final = 60
_IPV6_SITE_BITS: Final = 64
"""One site has at least this prefix, so its addresses count as one caller."""
_IPV6_NETWORK_BITS: Final = 48
"""Prefix that providers give to anybody who asks: 65,536 sites that may all be one caller, or neighbours."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who sent a request."""

    scope: str
    """Owner of tasks: derived from the presented key, or without one from the site."""
    bucket: str
    """Whose use is counted: a known key's name, else the site, since keys that nobody checks are free to invent."""
    network: str = ""
    """Of which network the site is one of many, where whoever has one may have all; empty where no such is known."""
    key: ApiKey | None = None
    """The known key that was presented."""

    @property
    def share(self) -> str:
        """Under which name its use is counted: a key's, or a hash, since addresses of callers belong on no disk."""
        if self.key is not None:
            return self.key.account
        own = hash_of_key(self.bucket)[:_SCOPE_DIGITS]
        return account_within(hash_of_key(self.network)[:_SCOPE_DIGITS], own) if self.network else own

    def storage_key(self, name: str, index: int) -> str:
        """Give the store's key of the task ``index`` of the request that the app calls ``name``."""
        return f"{self.scope}.{hashlib.sha256(name.encode()).hexdigest()[:_NAME_DIGITS]}.{index}"

    def owns(self, task: StoredTask) -> bool:
        """Say whether this account handed the task in."""
        key = task.accepted.idempotency_key
        return key is not None and hmac.compare_digest(key.partition(".")[0], self.scope)


@final
class Accounts:
    """Tells accounts apart and limits their rate."""

    def __init__(self, settings: HttpSettings, timer: Callable[[], float], ring: KeyRing) -> None:
        """Serve the keys of ``ring``; ``timer`` gives seconds that never go back."""
        self._settings = settings
        self._timer = timer
        self._ring = ring
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def identify(self, authorization: str | None, address: str, *, require_key: bool | None = None) -> Account:
        """Find the account of a request; ``require_key`` where it does not come over HTTP.

        Raises:
            ApiError: 401, when a known key is required and this is none, or has expired.
        """
        key = _presented(authorization)
        digest = hash_of_key(key)
        known = self._ring.find(digest) if key else None
        if known is not None and self._ring.has_expired(known):
            raise ApiError(401, "invalid_api_key", "this API key has expired: ask this coordinator's operator for one")
        if known is None and (self._settings.require_key if require_key is None else require_key):
            raise ApiError(401, "invalid_api_key", UNKNOWN_KEY if key else NO_KEY)
        site = f"from {site_of(address)}"
        # A prefix that no hash has: else a key that spells a site would own what that site handed in.
        owner = digest[:_SCOPE_DIGITS] if key else f"site-{hash_of_key(site)[:_SCOPE_DIGITS]}"
        if known is not None:
            return Account(owner, f"key {known.name}", key=known)
        return Account(owner, site, network_of(address))

    def charge(self, account: Account) -> None:
        """Count one submission.

        Raises:
            ApiError: 429, when the account submits too fast, with the time to wait.
        """
        now = self._timer()
        own = account.key.requests_per_minute if account.key is not None else None
        burst = self._settings.requests_per_minute_per_key if own is None else own
        rate = burst / _SECONDS_PER_MINUTE
        bucket = self._buckets.pop(account.bucket, None) or _Bucket(burst, now)
        self._buckets[account.bucket] = bucket
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1:
            wait = max(1, math.ceil((1 - bucket.tokens) / rate))
            raise ApiError(429, "rate_limited", f"at most {burst} submissions a minute", retry_after_s=wait)
        bucket.tokens -= 1


@dataclass(slots=True)
class _Bucket:
    """Submissions that a caller may make at once, and when that was so."""

    tokens: float
    at: float


def _presented(authorization: str | None) -> str:
    """Give the key of an Authorization header, empty when there is none.

    Clients of AUTOMATIC1111 send a user's name and password: the password is the key, and the name may be any.
    """
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value.strip(), validate=True).decode("utf-8", "surrogateescape").partition(":")[2]
    except ValueError:
        return ""


def site_of(address: str) -> str:
    """Give the part of an address that one caller does not change at will; all of loopback is one site."""
    parsed = parse_address(address)
    if parsed is None:
        return "unknown"
    if parsed.is_loopback:
        return "loopback"
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), _IPV6_SITE_BITS), strict=False))


def network_of(address: str) -> str:
    """Give the network of many sites that one caller may have, empty where an address alone is all that it has."""
    parsed = parse_address(address)
    if parsed is None or parsed.version == 4 or parsed.is_loopback:
        return ""
    return str(ipaddress.ip_network((int(parsed), _IPV6_NETWORK_BITS), strict=False))


def is_near(address: str) -> bool:
    """Say whether an address is of this machine or its own network, where a proxy speaks for many."""
    parsed = parse_address(address)
    return parsed is not None and parsed.is_private
