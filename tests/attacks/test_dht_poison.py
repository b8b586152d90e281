"""The DHT: lies about who serves and where, and peers that want it for themselves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.network.stream.net_stream import NetStream
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p import dht_queries as limits
from node.adapters.libp2p.discovery import record_key
from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames
from node.adapters.libp2p.identity import to_libp2p
from protocol.events import ProvidersFound
from protocol.stake.standing import Standing
from tests.support.adversary import Adversary, varint
from tests.support.overlay import Running, peer_of, until
from tests.support.patience import PATIENCE_S
from tests.support.siege import KAD, Siege, siege

KEY = "/cuckoo/1/devnet/model/pocket-emoji"
NOWHERE = [Multiaddr(f"/ip4/127.0.0.1/tcp/{port}") for port in range(1, 9)]
Kind = Message.MessageType


def _query(**fields: object) -> bytes:
    body = Message(**fields).SerializeToString()
    return varint(len(body)) + body


def _announces(peer: bytes, addresses: list[bytes], key: bytes = b"") -> bytes:
    provider = Message.Peer(id=peer, addrs=addresses)
    return _query(type=Kind.ADD_PROVIDER, key=key or record_key(KEY), providerPeers=[provider])


def _records(node: Running):
    parts = node.transport._parts
    assert parts is not None
    return parts.discovery._dht.records._records


async def _found(node: Running) -> tuple[str, ...]:
    node.sink.events.clear()
    node.transport.find_providers(KEY)
    await until(lambda: node.sink.of(ProvidersFound), "an answer")
    return node.sink.of(ProvidersFound)[0].peers


@asynccontextmanager
async def _with_provider() -> AsyncIterator[Siege]:
    """The honest miner serves the model, and a third node can find it."""
    async with siege() as place:
        place.honest.transport.provide(KEY)
        await until(lambda: record_key(KEY) in _records(place.victim), "the record")
        yield place


WRONG: dict[str, tuple[bytes, str]] = {
    "garbage": (varint(64) + b"\xff" * 64, "dht.malformed"),
    "no_key_so_long": (_query(type=Kind.FIND_NODE, key=bytes(200)), "dht.malformed"),
    "huge": (varint(2**31), "stream.oversize"),
    "endless_length": (b"\xff" * 12, "stream.oversize"),
    "somebody_else": (_announces(to_libp2p(peer_of(77)).to_bytes(), [NOWHERE[0].to_bytes()]), "dht.provider"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_query__wrong_in_every_view__judged_and_banned(name: str) -> None:
    data, rule = WRONG[name]
    async with _with_provider() as place:
        async with place.enemy(standing=Standing.MINER) as enemy:
            for _ in range(5):
                await enemy.say(KAD, data)
            await place.banned(enemy, rule)
        assert await _found(place.victim) == (place.honest.id,)
        await place.holds()


async def test_add_provider__stranger__in_no_record() -> None:
    async with _with_provider() as place, place.enemy() as enemy:
        identity = enemy.host.get_id().to_bytes()
        await (await enemy.say(KAD, _announces(identity, [NOWHERE[0].to_bytes()]))).read(1)
        assert await _found(place.victim) == (place.honest.id,)
        await place.holds()


async def test_add_provider__thousands_of_addresses__few_are_kept() -> None:
    async with _with_provider() as place, place.enemy(standing=Standing.MINER) as enemy:
        identity = enemy.host.get_id()
        many = [Multiaddr(f"/ip4/10.{high}.{low}.1/tcp/1").to_bytes() for high in range(20) for low in range(200)]
        huge = [Multiaddr("/dns4/" + ".".join(["x" * 60] * 4) + "/tcp/1").to_bytes()]
        await (await enemy.say(KAD, _announces(identity.to_bytes(), huge + many))).read(1)
        kept = _records(place.victim)[record_key(KEY)][identity]
        assert 0 < len(kept.addresses) <= 4
        await place.holds()


async def test_add_provider__without_end_and_ever_new_keys__slowed_banned_and_few_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "QUERIES_BURST", 60)
    monkeypatch.setattr(limits, "SATURATED_S", 0.05)
    async with _with_provider() as place:
        async with place.enemy(standing=Standing.MINER) as enemy, trio.open_nursery() as nursery:
            enemy.cannot_come_back()
            identity = enemy.host.get_id().to_bytes()
            frames = [_announces(identity, [NOWHERE[0].to_bytes()], record_key(f"{number}")) for number in range(1000)]
            for start in range(0, 1000, 50):
                nursery.start_soon(_say_all, enemy, frames[start : start + 50])
            await place.banned(enemy, "dht.flood")
            nursery.cancel_scope.cancel()
        assert await _found(place.victim) == (place.honest.id,)
        assert len(_records(place.victim)) < 200
        await place.holds()


async def _say_all(enemy: Adversary, frames: list[bytes]) -> None:
    while enemy.is_connected():
        try:
            stream = await enemy.open(KAD)
            for frame in frames:
                await stream.write(frame)
                await stream.read(4096)
        except STREAM_ERRORS:
            await trio.sleep(0.01)


async def test_queries__a_hundred_streams_that_ask_nothing__others_are_answered_and_they_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "QUERY_S", 1.0)
    async with _with_provider() as place, place.enemy(1000) as first, place.enemy(1001) as second:
        streams = [await enemy.open(KAD) for _ in range(50) for enemy in (first, second)]
        asker = await place.place.start(3, Standing.MINER, [place.victim])
        assert await _found(asker) == (place.honest.id,)
        await place.holds()
        with trio.fail_after(PATIENCE_S):
            for stream in streams:
                with pytest.raises(STREAM_ERRORS):
                    while await stream.read(4096):
                        pass


async def test_put_value__any__not_kept() -> None:
    async with _with_provider() as place, place.enemy(standing=Standing.MINER) as enemy:
        for key in (b"/gpu/x", b"plain", record_key(KEY)):
            record = {"key": key, "value": b"poison"}
            refused = await enemy.say(KAD, _query(type=Kind.PUT_VALUE, key=key, record=record))
            with pytest.raises(STREAM_ERRORS):
                await refused.read(4096)
            asked = await enemy.say(KAD, _query(type=Kind.GET_VALUE, key=key))
            answer = Message()
            answer.ParseFromString(await VarintFrames(asked, 65536).read())
            assert answer.type == Kind.GET_VALUE
            assert not answer.HasField("record")
        await place.holds()


async def test_get_providers__registered_liar_moves_everybody_to_nowhere__honest_is_reached_all_the_same() -> None:
    async with _with_provider() as place, place.enemy(standing=Standing.MINER) as liar:
        honest = place.honest.transport
        asked: list[int] = []

        async def lie(stream: NetStream) -> None:
            query = Message()
            query.ParseFromString(await VarintFrames(stream, 65536).read())
            asked.append(query.type)
            await trio.sleep(0.2)  # the last word is its own
            peer = Message.Peer(id=to_libp2p(honest.peer_id).to_bytes(), addrs=[each.to_bytes() for each in NOWHERE])
            answer = Message(type=query.type, key=query.key, closerPeers=[peer], providerPeers=[peer])
            body = answer.SerializeToString()
            await stream.write(varint(len(body)) + body)

        liar.host.set_stream_handler(TProtocol(KAD), lie)
        asker = await place.place.start(3, Standing.COORDINATOR, [place.victim])
        endpoint = liar.host.get_addrs()[0]
        parts = asker.transport._parts
        assert parts is not None
        parts.dialler.learn(liar.id, [Multiaddr(str(endpoint).partition("/p2p/")[0])])
        asker.transport.connect(liar.id)
        await until(lambda: parts.peers.is_connected(liar.id), "the liar")
        both = {liar.id, place.victim.id}
        await until(lambda: both <= set(map(str, parts.discovery._dht.table.peers())), "a place for both")
        found = await parts.discovery._find_once(record_key(KEY))
        assert Kind.GET_PROVIDERS in asked, "the liar was asked"
        # The last that is learned is the first that is tried.
        assert str(found[to_libp2p(place.honest.id)][-1]) == place.honest.address.partition("/p2p/")[0]
        await asker.work_with(place.honest)
        await place.holds()


async def test_learn__eight_lies_about_a_peer_that_was_reached_before__reached_again() -> None:
    async with siege() as place:
        friend = await place.place.start(3, Standing.COORDINATOR)
        node = await place.place.start(4, Standing.MINER, book=[friend.address])
        await until(lambda: node.connected_to(friend), "the first time")
        parts = node.transport._parts
        assert parts is not None
        # A connection stands some milliseconds before the dialler knows that its address has led to it.
        await until(lambda: friend.id in parts.dialler._proven, "the proof")
        parts.peers.disconnect(friend.id, "test")
        await until(lambda: not node.connected_to(friend), "the end")
        parts.dialler.learn(friend.id, NOWHERE)
        node.transport.connect(friend.id)
        await until(lambda: node.connected_to(friend), "the second time")
        await place.holds()


async def test_ban__of_a_registered_peer_that_serves_the_dht__it_is_never_dialled_again() -> None:
    async with _with_provider() as place, place.enemy(standing=Standing.MINER) as enemy:
        knocks = 0

        async def hear(stream: NetStream) -> None:
            await stream.reset()

        enemy.host.set_stream_handler(TProtocol(KAD), hear)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        identity = enemy.host.get_id()
        for _ in range(5):
            await enemy.say(KAD, b"\xff" * 12)
        await place.banned(enemy, "stream.oversize")
        parts = place.victim.transport._parts
        assert parts is not None
        host = parts.artifacts._host
        host.get_peerstore().add_addrs(identity, [Multiaddr(f"/ip4/127.0.0.1/tcp/{port}")], 100)
        with pytest.raises(STREAM_ERRORS):
            await host.new_stream(identity, [TProtocol(KAD)])
        with trio.move_on_after(0.3):
            await listeners[0].accept()
            knocks += 1
        assert knocks == 0
        for each in listeners:
            await each.aclose()
