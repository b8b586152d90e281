"""What a person may set about the overlay, checked before anything is opened."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import base58
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.identity import is_node_id
from protocol.errors import ConfigError
from protocol.units import PeerId, UnixMillis

HOST_PROTOCOLS: Final = frozenset({"ip4", "ip6", "dns4", "dns6"})
MIN_CONNECTIONS: Final = 8
"""Fewer leave no room for a mesh of gossip beside the strangers' half."""
MAX_CONNECTIONS: Final = 10_000
"""Each costs about 1 MB of memory; the settings of a node have the same bounds."""
EXAMPLE: Final = "/ip4/192.0.2.1/tcp/4001"
CIRCUIT: Final = "/p2p-circuit"
"""End of the address of whoever is reached through a relay, behind the relay's own full address."""
MAX_RELAYS: Final = 4
"""Relays at which a node holds reservations: each is an address to tell, and one is enough while it is alive."""


class AddressBook(Protocol):
    """Where addresses that worked survive a restart. ``node.ports.Store`` is one."""

    async def addresses(self) -> tuple[str, ...]:
        """Give the multiaddresses that worked before, latest first."""
        ...

    async def remember_address(self, address: str, at: UnixMillis) -> None:
        """Keep an address that worked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlaySettings:
    """Settings of one overlay node. What a person leaves out is filled in before it comes here."""

    listen: tuple[str, ...]
    """Multiaddresses to listen on; port 0 takes a free one."""
    announce: tuple[str, ...]
    """Multiaddresses told to others in place of those listened on, for a node behind a port mapping."""
    bootstraps: tuple[str, ...]
    """Multiaddresses with ``/p2p/<peer id>`` of nodes to join by; they are dialled for ever."""
    max_connections: int
    """Connections at once; strangers get at most half of them."""
    relays: tuple[str, ...] = ()
    """Multiaddresses with ``/p2p/<peer id>`` of relays through which others reach this node."""
    service: "RelayLimits | None" = None
    """What this node carries as a relay; None for no relay."""
    asks_reach: bool = False
    """Whether it asks peers if they can dial it, and is reached through its bootstraps if not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    """What a relay carries for others."""

    circuits: int = 256
    """Circuits at once."""
    circuit_s: int = 3600
    """A circuit ends after this (s); its ends make another."""
    circuit_bytes: int = 1024 * 1024 * 1024
    """A circuit ends after so many bytes of both directions."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A peer and one transport address of it (without the ``/p2p`` part)."""

    peer: PeerId
    address: Multiaddr

    def __str__(self) -> str:
        return f"{self.address}/p2p/{self.peer}"


def parse_endpoint(text: str, *, may_be_relayed: bool = True) -> Endpoint:
    """Read a full address of a node: ``/<host>/tcp/<port>/p2p/<peer id>``, perhaps behind a relay's.

    Raises:
        ValueError: It is no such address, or a peer id is of another kind of key.
    """
    head, separator, peer = text.rpartition("/p2p/")
    if not separator or not head:
        raise ValueError(f"it must end in /p2p/<peer id>, as {EXAMPLE}/p2p/16Uiu2HA…")
    try:
        raw = base58.b58decode(peer)
    except ValueError as error:
        raise ValueError(f"{peer!r} is not a peer id; copy it from the node's log line") from error
    if not is_node_id(raw):
        raise ValueError(f"{peer!r} is not the peer id of a secp256k1 key (those begin with 16Uiu2HA)")
    if head.endswith(CIRCUIT) and may_be_relayed:
        relay = parse_endpoint(head.removesuffix(CIRCUIT), may_be_relayed=False)
        return Endpoint(PeerId(peer), Multiaddr(f"{relay}{CIRCUIT}"))
    return Endpoint(PeerId(peer), _transport_address(head))


def _transport_address(text: str) -> Multiaddr:
    try:
        address = Multiaddr(text)
        names = [protocol.name for protocol in address.protocols()]
    except ValueError as error:
        raise ValueError(f"it is not a multiaddress; write it as {EXAMPLE}") from error
    if len(names) != 2 or names[0] not in HOST_PROTOCOLS or names[1] != "tcp":
        raise ValueError(f"only TCP is spoken here; write it as {EXAMPLE}")
    return address


def _each(field: str, texts: Sequence[str]) -> tuple[Multiaddr, ...]:
    parsed: list[Multiaddr] = []
    for text in texts:
        try:
            parsed.append(_transport_address(text))
        except ValueError as error:
            raise ConfigError(f"{field}: {text!r}: {error}") from error
    return tuple(parsed)


def parse_endpoints(field: str, texts: Sequence[str], *, may_be_relayed: bool = True) -> tuple[Endpoint, ...]:
    """Read full addresses of nodes.

    Raises:
        ConfigError: One is none; the text names the field and the fix.
    """
    endpoints: list[Endpoint] = []
    for text in texts:
        try:
            endpoints.append(parse_endpoint(text, may_be_relayed=may_be_relayed))
        except ValueError as error:
            raise ConfigError(f"{field}: {text!r}: {error}") from error
    return tuple(endpoints)


@dataclass(frozen=True, slots=True)
class CheckedSettings:
    """The same, parsed."""

    listen: tuple[Multiaddr, ...]
    announce: tuple[Multiaddr, ...]
    bootstraps: tuple[Endpoint, ...]
    max_connections: int
    relays: tuple[Endpoint, ...] = ()
    service: RelayLimits | None = None
    asks_reach: bool = False


def check(settings: OverlaySettings) -> CheckedSettings:
    """Parse every address.

    Raises:
        ConfigError: One of them is wrong; the text names the field, the address and the fix.
    """
    if not settings.listen:
        raise ConfigError(f"listen: at least one address is needed, as {EXAMPLE}")
    if not MIN_CONNECTIONS <= settings.max_connections <= MAX_CONNECTIONS:
        raise ConfigError(
            f"max_connections: {settings.max_connections} is not between {MIN_CONNECTIONS} and {MAX_CONNECTIONS}"
        )
    if len(settings.relays) > MAX_RELAYS:
        raise ConfigError(f"relays: {len(settings.relays)} are more than {MAX_RELAYS}")
    listen = _each("listen", settings.listen)
    for address in listen:
        if next(iter(address.protocols())).name not in {"ip4", "ip6"}:
            raise ConfigError(f"listen: {str(address)!r}: write an address of this machine, as /ip4/0.0.0.0/tcp/4001")
    return CheckedSettings(
        listen,
        _each("announce", settings.announce),
        parse_endpoints("bootstraps", settings.bootstraps),
        settings.max_connections,
        parse_endpoints("relays", settings.relays, may_be_relayed=False),
        settings.service,
        settings.asks_reach,
    )


def check_ports_free(listen: Sequence[Multiaddr]) -> None:
    """Try every fixed port once.

    py-libp2p listens with SO_REUSEPORT, so a second node on the same port would silently get half of the first
    one's connections; a plain bind finds the other listener.

    Raises:
        ConfigError: A port is taken or an address is not of this machine.
    """
    for address in listen:
        kind, host = next(iter(address.items()))
        port = int(address.value_for_protocol("tcp") or 0)
        family = socket.AF_INET6 if kind.name == "ip6" else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                if port:
                    probe.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise ConfigError(
                        f"listen: {address} is in use by another program; choose another port, or 0 for a free one"
                    ) from error
                if error.errno == errno.EADDRNOTAVAIL:
                    raise ConfigError(
                        f"listen: {address} is no address of this machine: listen on 0.0.0.0 or ::, and announce it"
                    ) from error
                if error.errno == errno.EACCES:
                    raise ConfigError(f"listen: {address} needs privileges: choose a port from 1024 on") from error
                raise ConfigError(f"listen: cannot listen on {address}: {error.strerror}") from error
