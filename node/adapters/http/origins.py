"""Keeps web pages of other sites from acting through a visitor's browser.

A caller without an API key is known by his address alone, which any page that he opens shares: a plain form could stop
his tasks or hand in new ones. Browsers say from where a page comes in headers that no page can change; other programs
send none of them, and are no concern here. Who presents a key has shown that he may call.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from node.adapters.http.errors import ApiError
from node.adapters.http.forwarding import parse_address
from node.adapters.http.settings import HttpSettings

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})
"""``none``: the person himself, by the address bar."""
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


def refuse_foreign_page(method: str, headers: Mapping[bytes, bytes], settings: HttpSettings) -> None:
    """Refuse what comes without a key from a page that may not call.

    That is what changes something; and what reads, where the name that is called shows that it is none of ours.

    Args:
        method: Of HTTP.
        headers: Names in lower case.
        settings: Which origins may call, and under which address apps know this gateway.

    Raises:
        ApiError: 403, ``foreign_origin``.
    """
    if headers.get(b"authorization") or "*" in settings.cors_origins:
        return
    called = _place(f"http://{headers.get(b'host', b'').decode('latin-1')}")
    if called is not None and _is_for_this_machine(settings) and _is_somebodys(called[1]):
        # A name that was made to mean 127.0.0.1. When its page reads something, browsers say nothing but that name.
        problem = f"this gateway is not known as {called[1]}: see http.public_url, or call it as 127.0.0.1"
        raise ApiError(403, "foreign_origin", problem)
    if method in SAFE_METHODS:
        return
    origin = headers.get(b"origin", b"").decode("latin-1").lower()
    site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
    if not origin and not site:
        return
    if origin in settings.cors_origins:
        return
    if not _is_own(origin, site, headers.get(b"host", b"").decode("latin-1"), settings):
        problem = "a page of this origin may not call without an API key: see http.cors_origins and http.public_url"
        raise ApiError(403, "foreign_origin", problem)


def _is_own(origin: str, site: str, host: str, settings: HttpSettings) -> bool:
    """Say whether a page is this gateway's."""
    place = _place(origin)
    if place is not None and _is_for_this_machine(settings) and not _is_loopback(place[1]):
        # A name of somebody's that was made to mean 127.0.0.1: to the browser the page is of this gateway's origin.
        return False
    if site:
        return site in _OWN_SITES
    own = _place(f"{origin.partition(':')[0]}://{host}"), _place(settings.public_url or "")
    return place is not None and place in own


def _is_for_this_machine(settings: HttpSettings) -> bool:
    """Say whether nobody else is meant to reach this gateway, under whatever name."""
    return _is_loopback(settings.host) and settings.public_url is None and not settings.trusted_proxies


def _is_loopback(host: str) -> bool:
    address = parse_address(host)
    return address.is_loopback if address is not None else host == "localhost" or host.endswith(".localhost")


def _is_somebodys(host: str) -> bool:
    """Say whether a host is a name of the Internet's: names without a dot, and addresses, nobody can have mean us."""
    return "." in host and parse_address(host) is None and not host.endswith(".localhost")


def _place(address: str) -> tuple[str, str, int] | None:
    """Give scheme, host and port of an address; None where it has none, as for ``null``."""
    try:
        parts = urlsplit(address)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
