"""One libp2p host as we want it: TCP, Noise and Yamux only, with limits, and no stream that can end the node."""

import logging
import math
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from libp2p import new_host
from libp2p.abc import INetConn, INetStream
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as new_noise_key
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm, _NegativePeerCache
from libp2p.peer.id import ID
from libp2p.rcmgr.manager import ResourceLimits, ResourceManager
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.transport.tcp.tcp import TCP
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.muxed_stream import muxed_of
from node.adapters.libp2p.muxer import OverlayMuxer
from node.adapters.libp2p.peerstore import BoundedPeerStore
from node.adapters.libp2p.settings import CheckedSettings

HANDSHAKE_S: Final = 5.0
"""Noise and Yamux must be agreed within this (s): five round trips around the world, on a loaded machine."""
DIAL_S: Final = 3.0
"""One TCP connect must succeed within this (s)."""
NEGOTIATE_S: Final = 5.0
"""A stream must say its protocol within this (s); half-open ones are gone after it."""
FAILED_PEER_S: Final = 2.0
"""Upstream refuses to dial a peer again for 60 s after one failure; we space our dials ourselves."""
MAX_STREAMS: Final = 10_000
MAX_STREAMS_PER_CONNECTION: Final = 96
"""Streams on one connection; ours uses ten at most, and DHT look-ups come in threes."""
ADDRESSES_S: Final = 5.0
"""Our addresses are looked up again after this (s)."""
CLOSE_S: Final = 1.0
"""Closing everything at the end takes at most this long (s)."""

_logger = logging.getLogger(__name__)


def build_host(key_pair: KeyPair, settings: CheckedSettings) -> BasicHost:
    """Make a host that does not listen yet."""
    host = new_host(
        key_pair=key_pair,
        listen_addrs=settings.listen,
        addrs_factory=lambda listened: list(settings.announce) or [_dialable(address) for address in listened],
        # Upstream's default offers secio and plaintext, too.
        sec_opt={NOISE: NoiseTransport(key_pair, noise_privkey=new_noise_key().private_key)},
        muxer_opt={TProtocol(YAMUX): OverlayMuxer},
        transports=[TCP()],
        peerstore_opt=BoundedPeerStore(),
        connection_config=ConnectionConfig(
            max_connections=settings.max_connections,
            min_connections=0,
            low_watermark=0,
            high_watermark=settings.max_connections,
            dial_timeout=DIAL_S,
            inbound_upgrade_timeout=HANDSHAKE_S,
            outbound_upgrade_timeout=HANDSHAKE_S,
            outbound_stream_protocol_negotiation_timeout=NEGOTIATE_S,
            inbound_stream_protocol_negotiation_timeout=NEGOTIATE_S,
        ),
        # Upstream's circuit breaker and memory guard let one bad peer stop everybody's connections.
        resource_manager=ResourceManager(
            limits=ResourceLimits(
                max_connections=4 * settings.max_connections, max_streams=max(MAX_STREAMS, 8 * settings.max_connections)
            ),
            enable_metrics=False,
            enable_connection_tracking=False,
            enable_memory_limits=False,
            enable_circuit_breaker=False,
            enable_graceful_degradation=False,
            enable_rate_limiting=False,
        ),
        disable_identify_address_discovery=True,
    )
    assert isinstance(host, BasicHost)
    swarm = swarm_of(host)
    swarm.auto_connector = _NoAutoConnector(swarm)
    swarm.retry_config = RetryConfig(max_retries=0)
    swarm._negative_peer_cache = _NegativePeerCache(ttl=FAILED_PEER_S)
    return host


def _dialable(address: Multiaddr) -> Multiaddr:
    """Give the address of this machine's outward interface in place of "all interfaces", which nobody can dial."""
    text = str(address)
    for wildcard, family, outside in (
        ("/ip4/0.0.0.0/", socket.AF_INET, "192.0.2.1"),
        ("/ip6/::/", socket.AF_INET6, "2001:db8::1"),
    ):
        if text.startswith(wildcard):
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                try:
                    probe.connect((outside, 9))  # sends nothing: it only asks the routing table
                except OSError:
                    return address
                return Multiaddr(f"{wildcard[:5]}{probe.getsockname()[0]}/{text[len(wildcard) :]}")
    return address


class _NoAutoConnector(AutoConnector):
    """Dials nobody. Upstream's dials whoever stands in the peerstore until half of all slots are full."""

    async def maybe_connect(self) -> None:
        """Do nothing."""

    async def run_background_task(self, nursery: trio.Nursery) -> None:
        """Start nothing."""


def remember_addresses(host: BasicHost, told: Callable[[list[Multiaddr]], list[Multiaddr]]) -> None:
    """Put our addresses together every few seconds at most, from now on; called when all listeners are there.

    ``told`` makes of them what others are told. Upstream puts them together eight times for each connection, of text
    and back, and that was a sixth of what one costs.
    """
    look_up = host.get_addrs
    known: tuple[float, list[Multiaddr]] = (-math.inf, [])

    def remembered() -> list[Multiaddr]:
        nonlocal known
        if trio.current_time() - known[0] >= ADDRESSES_S:
            known = trio.current_time(), look_up()
        return told(list(known[1]))

    host.get_addrs = remembered  # type: ignore[method-assign]  # a memory in front, as the guards below are


def swarm_of(host: BasicHost) -> Swarm:
    """Give the host's network with its real type."""
    network = host.get_network()
    assert isinstance(network, Swarm)
    return network


def peerstore_of(host: BasicHost) -> BoundedPeerStore:
    """Give the host's memory of peers with its real type."""
    store = host.get_peerstore()
    assert isinstance(store, BoundedPeerStore)
    return store


def guard_streams(host: BasicHost, is_refused: Callable[[INetStream], bool]) -> None:
    """Stand between the network and every protocol handler.

    Upstream lets an exception of any handler, ours or its own, end the host. ``is_refused`` says which streams are
    not served at all.
    """
    handle = host._swarm_stream_handler

    async def guarded(stream: INetStream) -> None:
        connection = stream.swarm_conn if isinstance(stream, NetStream) else None
        crowded = connection is not None and len(connection.streams) > MAX_STREAMS_PER_CONNECTION
        try:
            if not crowded and not is_refused(stream):
                await handle(stream)
                if not muxed_of(stream).is_closed:
                    await stream.close()  # a handler that forgets it would leave the stream there for ever
                return
        except STREAM_ERRORS as error:
            _logger.debug("stream ended: %r", error)
        except Exception:
            # What a remote party makes upstream's handlers raise has no bound; none of it may end the node.
            _logger.debug("stream handler failed", exc_info=True)
        with trio.move_on_after(0.5):
            try:
                await stream.reset()
            except STREAM_ERRORS as error:
                _logger.debug("stream was gone: %r", error)

    swarm_of(host).set_stream_handler(guarded)


def guard_dials(host: BasicHost, is_refused: Callable[[ID], bool]) -> None:
    """Dial nobody whom ``is_refused`` names: upstream dials whoever it wants to open a stream to, banned or not."""
    swarm = swarm_of(host)
    dial = swarm.dial_peer

    async def guarded(peer_id: ID) -> list[INetConn]:
        if is_refused(peer_id):
            raise SwarmException(f"{peer_id} is not to be dialled")
        return await dial(peer_id)

    swarm.dial_peer = guarded  # type: ignore[method-assign]  # a guard in front, as for streams


async def close_everything(host: BasicHost) -> None:
    """Close listeners and connections, all at once and within ``CLOSE_S``, also when already cancelled.

    Upstream closes them one by one with a pause for each, and leaves listeners open when it is cancelled meanwhile.
    """
    swarm = swarm_of(host)

    async def quietly(close: Callable[[], Awaitable[None]]) -> None:
        try:
            await close()
        except STREAM_ERRORS as error:
            _logger.debug("closing: %r", error)

    with trio.move_on_after(CLOSE_S, shield=True):
        async with trio.open_nursery() as nursery:
            for listener in list(swarm.listeners.values()):
                nursery.start_soon(quietly, listener.close)
            for connection in list(swarm.get_connections()):
                nursery.start_soon(quietly, connection.close)
    swarm.listeners.clear()
