"""Who calls behind a reverse proxy: its word counts only where the operator named it as trusted."""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOPS: Final = 16
"""Proxies that are looked behind; a longer chain is what a caller made up."""

MAX_ADDRESS: Final = 64
"""Characters of an address at most: those of IPv6 have 39, and what names an interface behind them a few more."""
REMEMBERED: Final = 1024
"""Addresses that need not be read again: the same few proxies and apps call all the time."""


def client_address(peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network]) -> str:
    """Give the address of the caller.

    Each proxy appends to ``X-Forwarded-For`` whom it heard from. So the list is read from its end, for as long as
    the one who spoke is trusted: what stands before that is what the caller himself wrote, and is not believed.
    """
    if not is_trusted(peer, trusted):
        return peer
    stated = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
    address = peer
    for part in reversed(stated.split(",")[-MAX_HOPS:]):
        hop = _without_port(part.strip())
        if parse_address(hop) is None:
            break
        address = hop
        if not is_trusted(hop, trusted):
            break
    return address


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Say whether an address is one of these proxies."""
    parsed = parse_address(address)
    return parsed is not None and any(parsed in network for network in trusted)


def parse_address(address: str) -> Address | None:
    """Read an address, None when it is none; an IPv4 address in the dress of IPv6 is an IPv4 address."""
    return _parsed(address) if len(address) <= MAX_ADDRESS else None


@lru_cache(maxsize=REMEMBERED)
def _parsed(address: str) -> Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return parsed if parsed.version == 4 else parsed.ipv4_mapped or parsed


def _without_port(hop: str) -> str:
    """Give the address of ``1.2.3.4:80`` and ``[2a00::1]:80``, as some proxies write them."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
