"""Peers that lie about themselves, or about others, in what libp2p takes for granted."""

import pytest
from libp2p.custom_types import TProtocol
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p import transport as limits
from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.host import peerstore_of
from node.adapters.libp2p.identity import key_pair_of, to_libp2p
from node.adapters.libp2p.peerstore import MAX_ADDRESSES, MAX_PROTOCOLS, BoundedPeerStore
from tests.support.adversary import varint
from tests.support.overlay import Running, secret_of, until
from tests.support.siege import siege

PUSH = "/ipfs/id/push/1.0.0"
IDENTIFY = TProtocol("/ipfs/id/1.0.0")


def _store(node: Running) -> BoundedPeerStore:
    parts = node.transport._parts
    assert parts is not None
    return peerstore_of(parts.artifacts._host)


def _protocols(store: BoundedPeerStore, peer: ID) -> list[str]:
    return store.get_protocols(peer) if store.has_peer(peer) else []


def _identity(**fields: object) -> bytes:
    body = Identify(**fields).SerializeToString()
    return varint(len(body)) + body


def _vain() -> bytes:
    """A peer of a thousand places and languages."""
    addresses = [Multiaddr(f"/ip4/10.0.{number // 250}.{number % 250}/tcp/1").to_bytes() for number in range(900)]
    huge = [Multiaddr("/dns4/" + ".".join(["x" * 60] * 4) + "/tcp/1").to_bytes() for _ in range(20)]
    names = [f"/nonsense/{number}" for number in range(5000)] + ["/" + "x" * 20_000]
    return _identity(listen_addrs=huge + addresses, protocols=names, agent_version="x" * 100_000)


async def test_identify__thousands_of_addresses_and_protocols__few_are_kept() -> None:
    async with siege() as place, place.enemy() as enemy:
        store, identity = _store(place.victim), enemy.host.get_id()
        for _ in range(3):
            await (await enemy.say(PUSH, _vain())).close()
        await until(lambda: "/nonsense/1" in _protocols(store, identity), "the lie")
        assert str(store.addrs(identity)[0]) == "/ip4/10.0.0.0/tcp/1"
        assert len(store.addrs(identity)) <= MAX_ADDRESSES
        assert len(store.get_protocols(identity)) <= MAX_PROTOCOLS
        await place.holds()


async def test_identify__vain_answer_when_asked__few_are_kept() -> None:
    async with siege() as place, place.enemy(667) as enemy:

        async def answer(stream: NetStream) -> None:
            await stream.write(_vain())
            await stream.close()

        enemy.host.set_stream_handler(IDENTIFY, answer)
        (connection,) = enemy.host.get_network().get_connections()
        await connection.close()
        await until(lambda: not enemy.is_connected(), "the end of the first connection")
        await enemy.connect()
        store, identity = _store(place.victim), enemy.host.get_id()
        await until(lambda: "/nonsense/1" in _protocols(store, identity), "the lie")
        assert len(store.addrs(identity)) <= MAX_ADDRESSES
        await place.holds()


async def test_identify__says_to_be_somebody_else__that_one_stays_where_it_is() -> None:
    async with siege() as place, place.enemy() as enemy:
        store, honest = _store(place.victim), to_libp2p(place.honest.id)
        before, key = list(store.addrs(honest)), key_pair_of(secret_of(place.honest.number)).public_key.serialize()
        lie = _identity(public_key=key, listen_addrs=[Multiaddr("/ip4/10.9.9.9/tcp/1").to_bytes()])
        await (await enemy.say(PUSH, lie)).close()
        liar = enemy.host.get_id()
        await until(lambda: store.has_peer(liar) and "10.9.9.9" in str(store.addrs(liar)), "the lie")
        assert store.addrs(honest) == before
        assert "10.9.9.9" not in str(store.addrs(honest))
        await place.holds()


async def test_identify__pushed_without_end__banned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS_BURST", 60)
    monkeypatch.setattr(limits, "STREAMS_PER_S", 5)
    async with siege() as place:
        async with place.enemy() as enemy:
            for _ in range(400):
                try:
                    await (await enemy.say(PUSH, _identity(agent_version="again"))).close()
                except STREAM_ERRORS:
                    if not enemy.is_connected():
                        break
            await place.banned(enemy, "stream.flood")
        await place.holds()


async def test_connections__ever_new_keys__own_key_and_the_registered_are_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with siege() as place:
        store = _store(place.victim)
        monkeypatch.setattr(store, "max_peers", 6)
        for number in range(700, 716):
            async with place.enemy(number) as enemy:
                identity = enemy.host.get_id()
                await until(lambda identity=identity: store.has_peer(identity), "the newcomer")
        assert store.privkey(to_libp2p(place.victim.id)) is not None
        assert store.addrs(to_libp2p(place.honest.id))
        assert len(store.peer_ids()) <= 6 + 3
        await place.holds()
