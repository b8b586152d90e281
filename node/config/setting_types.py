"""Texts in settings that have a form of their own: addresses, networks, origins, hours. Each says how it is written."""

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from node.hours import parse_hours


def _web_address(value: str) -> str:
    """Accept an address that an HTTP client can use."""
    if not value.startswith(("http://", "https://")) or not value.partition("://")[2].strip("/"):
        raise ValueError(f"{value!r} is no HTTP address: write it as http://host:port or https://host/path")
    return value


def _origin(value: str) -> str:
    """Accept what browsers send as ``Origin``, or ``*``."""
    scheme, separator, rest = value.partition("://")
    if value != "*" and (scheme not in {"http", "https"} or not separator or not rest or "/" in rest or "*" in rest):
        raise ValueError(f"{value!r} is no origin: write it as https://app.example.org, without a path, or *")
    return value.lower()


def _network(value: str) -> str:
    """Accept an IP address, or a network of them."""
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no IP address or network: write 127.0.0.1 or 10.0.0.0/8") from error
    return value


def is_loopback(host: str) -> bool:
    """Say whether only programs of this machine reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hook(value: str) -> str:
    """Accept an address to which prompts and pictures may be sent."""
    parts = urlsplit(_web_address(value))
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{value!r} would send prompts over the network in clear: use https, or 127.0.0.1")
    return value


def _ethereum_address(value: str) -> str:
    """Accept an address in lower case, or in mixed case with its checksum right (EIP-55)."""
    digits = value[2:]
    if not value.startswith("0x") or len(digits) != 40 or not set(digits.lower()) <= set("0123456789abcdef"):
        raise ValueError(f"{value!r} is no Ethereum address: write 0x and 40 hexadecimal digits")
    if digits not in {digits.lower(), digits.upper()}:
        from node.addresses import has_its_checksum  # imported here: costs 0.1 s, rarely needed

        if not has_its_checksum(value):
            raise ValueError(f"{value!r} has a wrong checksum: copy the address again, a character is off")
    return value


def _listening_multiaddress(value: str) -> str:
    """Accept a multiaddress, as ``/ip4/0.0.0.0/tcp/4001``."""
    from multiaddr.multiaddr import Multiaddr  # imported here: costs 0.1 s, so that --help does without

    try:
        Multiaddr(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no multiaddress: write it as /ip4/0.0.0.0/tcp/4001") from error
    return value


def _bootstrap_multiaddress(value: str) -> str:
    """Accept a multiaddress that names its peer, as ``/ip4/…/tcp/…/p2p/16Uiu2HA…``."""
    from multiaddr.multiaddr import Multiaddr  # imported here: costs 0.1 s, so that --help does without

    advice = "write it as the bootstrap prints it: /ip4/HOST/tcp/PORT/p2p/PEER_ID"
    try:
        names = [protocol.name for protocol in Multiaddr(value).protocols()]
    except ValueError as error:
        raise ValueError(f"{value!r} is no multiaddress: {advice}") from error
    if "p2p" not in names:
        raise ValueError(f"{value!r} does not end in /p2p/PEER_ID: {advice}")
    return value


def _hours(value: str) -> str:
    """Accept days and times as ``node.hours`` reads them."""
    parse_hours(value)
    return value


Hours = Annotated[str, Field(max_length=64), AfterValidator(_hours)]
RefusedWord = Annotated[str, Field(min_length=1, max_length=100)]
HookAddress = Annotated[str, Field(max_length=2048), AfterValidator(_hook)]
WebAddress = Annotated[str, Field(max_length=2048), AfterValidator(_web_address)]
Origin = Annotated[str, Field(max_length=256), AfterValidator(_origin)]
IpNetwork = Annotated[str, Field(max_length=64), AfterValidator(_network)]
EthereumAddress = Annotated[str, AfterValidator(_ethereum_address)]
ListenAddress = Annotated[str, Field(max_length=256), AfterValidator(_listening_multiaddress)]
BootstrapAddress = Annotated[str, Field(max_length=256), AfterValidator(_bootstrap_multiaddress)]
