"""A peer that says what it likes, over a real connection."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import trio
from libp2p.crypto.keys import KeyPair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX

from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.host import build_host, guard_dials
from node.adapters.libp2p.identity import from_libp2p, key_pair_of, to_libp2p
from node.adapters.libp2p.patches import apply_patches
from node.adapters.libp2p.settings import OverlaySettings, check, parse_endpoint
from protocol.units import PeerId
from tests.support.overlay import Running, secret_of, until


def varint(length: int) -> bytes:
    out = bytearray()
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length])


def gossip(message: rpc_pb2.Message) -> bytes:
    """One gossip frame that publishes a message."""
    body = rpc_pb2.RPC(publish=[message]).SerializeToString()
    return varint(len(body)) + body


class Peer(Protocol):
    """All that an adversary needs of its victim."""

    @property
    def id(self) -> PeerId: ...

    @property
    def address(self) -> str: ...


class Adversary:
    """A bare libp2p host connected to its victim."""

    def __init__(self, host: BasicHost, keys: KeyPair, victim: Peer) -> None:
        self.host = host
        self.keys = keys
        self.victim = victim
        self._sequence = 0

    @property
    def id(self) -> PeerId:
        return from_libp2p(self.host.get_id())

    async def connect(self) -> None:
        endpoint = parse_endpoint(self.victim.address)
        await self.host.connect(PeerInfo(to_libp2p(endpoint.peer), [endpoint.address]))

    async def follow(self, victim: Peer) -> None:
        """Go on with a victim that has restarted."""
        self.victim = victim
        await self.connect()

    def cannot_come_back(self) -> None:
        """Do not dial the victim again: opening a stream does so otherwise once it has hung up."""
        guard_dials(self.host, lambda _peer: True)

    async def open(self, protocol: str) -> NetStream:
        stream = await self.host.new_stream(to_libp2p(self.victim.id), [TProtocol(protocol)])
        assert isinstance(stream, NetStream)
        return stream

    async def say(self, protocol: str, data: bytes) -> NetStream:
        """Open a stream and say something on it; a victim that resets it at once does not hear the end."""
        stream = await self.open(protocol)
        with contextlib.suppress(*STREAM_ERRORS):
            await stream.write(data)
        return stream

    def message(self, topic: str, data: bytes) -> rpc_pb2.Message:
        """A gossip message that is signed as it should be."""
        self._sequence += 1
        message = rpc_pb2.Message(
            data=data,
            topicIDs=[topic],
            from_id=self.host.get_id().to_bytes(),
            seqno=self._sequence.to_bytes(8, "big"),
        )
        signed = PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString()
        message.signature = self.keys.private_key.sign(signed)
        return message

    def is_connected(self) -> bool:
        """Say whether the victim keeps a connection: others may have one as well."""
        connections = self.host.get_network().get_connections(to_libp2p(self.victim.id))
        return any(not connection.is_closed for connection in connections)


@asynccontextmanager
async def adversary(victim: Peer, number: int = 666) -> AsyncIterator[Adversary]:
    """An adversary with its own key, connected."""
    apply_patches()
    keys = key_pair_of(secret_of(number))
    settings = check(OverlaySettings(listen=("/ip4/127.0.0.1/tcp/0",), announce=(), bootstraps=(), max_connections=64))
    host = build_host(keys, settings)
    async with host.run(listen_addrs=settings.listen):
        enemy = Adversary(host, keys, victim)
        await enemy.connect()
        try:
            yield enemy
        finally:
            with trio.move_on_after(2, shield=True):
                with contextlib.suppress(*STREAM_ERRORS):
                    await host.close()


async def serves(victim: Running, honest: Running, topic: str) -> None:
    """Fail unless the victim still hears gossip and answers a work stream."""
    known = len(victim.gate.judged)
    honest.transport.publish(topic, b"still there? %d" % known)
    await until(lambda: any(signer == honest.id for _, _, signer in victim.gate.judged[known:]), "gossip of the honest")
    if not honest.has_stream(victim):
        await honest.work_with(victim)
    events = len(victim.sink.events)
    assert honest.send(victim, b"still there?")
    await until(lambda: len(victim.sink.events) > events, "a frame of the honest")
