"""One frame of garbage, from a stranger or a registered peer, on each stream: the node lives and serves the honest."""

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from libp2p.kad_dht.pb.kademlia_pb2 import Message as DhtMessage
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX

from protocol.crypto.publication import SIGNATURE_MAX_BYTES
from protocol.gossip.verdict import Verdict
from protocol.stake.standing import Standing
from protocol.wire.messages import ARTIFACT_PROTOCOL, WORK_PROTOCOL
from tests.support.adversary import Adversary, adversary, gossip, serves, varint
from tests.support.overlay import Overlay, Running, overlay, until

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
MESH = "/meshsub/1.1.0"
KAD = "/ipfs/kad/1.0.0"


@asynccontextmanager
async def _scene() -> AsyncIterator[tuple[Overlay, Running, Running]]:
    """A coordinator under attack and an honest miner that knows it."""
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR)
        honest = await place.start(2, Standing.MINER, [victim])
        for node in (victim, honest):
            node.transport.subscribe(TOPIC)
        await until(lambda: victim.connected_to(honest), "a connection")
        parts = honest.transport._parts
        assert parts is not None
        await until(lambda: TOPIC in parts.pubsub.peer_topics, "the victim's subscription")
        yield place, victim, honest


def _bad_key(enemy: Adversary) -> bytes:
    message = enemy.message(TOPIC, b"x")
    message.from_id = b"\x12\x20" + hashlib.sha256(b"rsa").digest()
    message.key = b"\xff\xff\xff"
    return gossip(message)


def _off_curve(enemy: Adversary) -> bytes:
    message = enemy.message(TOPIC, b"x")
    message.from_id = message.from_id[:7] + b"\xff" * 32
    return gossip(message)


def _other_key(enemy: Adversary) -> bytes:
    message = enemy.message(TOPIC, b"x")
    message.key = b"\x08\x02\x12\x21" + b"\x02" * 33
    return gossip(message)


def _bad_signature(enemy: Adversary) -> bytes:
    message = enemy.message(TOPIC, b"x")
    message.data = b"y"
    return gossip(message)


def _two_topics(enemy: Adversary) -> bytes:
    message = enemy.message(TOPIC, b"x")
    message.topicIDs.append("other")
    return gossip(message)


def _too_large(enemy: Adversary) -> bytes:
    return gossip(enemy.message(TOPIC, bytes(64 * 1024 + 1)))


def _number_of(size: int) -> Callable[[Adversary], bytes]:
    """A message that is signed as it should be, but for the size of its sequence number."""

    def make(enemy: Adversary) -> bytes:
        message = enemy.message(TOPIC, b"x")
        message.seqno = bytes(size)
        message.ClearField("signature")
        message.signature = enemy.keys.private_key.sign(PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString())
        return gossip(message)

    return make


def _signature_of(size: int) -> Callable[[Adversary], bytes]:
    def make(enemy: Adversary) -> bytes:
        message = enemy.message(TOPIC, b"x")
        message.signature = bytes(size)
        return gossip(message)

    return make


def _not_utf8(_enemy: Adversary) -> bytes:
    body = b"\x0a\x06\x08\x01\x12\x02\xff\xfe"
    return varint(len(body)) + body


def _subscriptions(_enemy: Adversary) -> bytes:
    rpc = rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=str(n)) for n in range(300)])
    body = rpc.SerializeToString()
    return varint(len(body)) + body


GOSSIP_ATTACKS: dict[str, tuple[Callable[[Adversary], bytes], str]] = {
    "garbage": (lambda _: varint(64) + b"\xff" * 64, "gossip.malformed"),
    "bad_key": (_bad_key, "gossip.signer"),
    "off_curve": (_off_curve, "identity.peer_id"),
    "other_key": (_other_key, "gossip.key"),
    "bad_signature": (_bad_signature, "gossip.signature"),
    "two_topics": (_two_topics, "gossip.shape"),
    "too_large": (_too_large, "gossip.shape"),
    "no_number": (_number_of(0), "gossip.shape"),
    "short_number": (_number_of(7), "gossip.shape"),
    "long_number": (_number_of(9), "gossip.shape"),
    "no_signature": (_signature_of(0), "gossip.signer"),
    "long_signature": (_signature_of(SIGNATURE_MAX_BYTES + 1), "gossip.signer"),
    "five_mebibytes": (lambda _: varint(5 * 1024 * 1024), "stream.oversize"),
    "endless_varint": (lambda _: b"\xff" * 12, "stream.oversize"),
    "zero_length": (lambda _: b"\x00", "stream.malformed"),
    "subscriptions": (_subscriptions, "gossip.subscriptions"),
}


@pytest.mark.parametrize("name", GOSSIP_ATTACKS)
async def test_gossip__one_bad_frame__judged_and_others_served(name: str) -> None:
    make, rule = GOSSIP_ATTACKS[name]
    async with _scene() as (_, victim, honest), adversary(victim) as enemy:
        await enemy.say(MESH, make(enemy))
        await until(lambda: victim.rules_against(enemy.id), "the judgement")
        assert victim.rules_against(enemy.id) == [rule]
        assert all(signer != enemy.id for _, _, signer in victim.gate.judged)
        await serves(victim, honest, TOPIC)


async def test_gossip__bad_frames_again_and_again__banned_and_cut() -> None:
    async with _scene() as (_, victim, honest), adversary(victim) as enemy:
        for _ in range(5):
            await enemy.say(MESH, varint(64) + b"\xff" * 64)
        await until(lambda: not enemy.is_connected(), "the cut")
        await serves(victim, honest, TOPIC)


async def test_gossip__bad_text_and_hostile_control__node_lives() -> None:
    async with _scene() as (_, victim, honest), adversary(victim) as enemy:
        await enemy.say(MESH, _not_utf8(enemy))
        control = rpc_pb2.ControlMessage(
            ihave=[rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=[os.urandom(16) for _ in range(500)])],
            iwant=[rpc_pb2.ControlIWant(messageIDs=[os.urandom(16) for _ in range(500)])],
            graft=[rpc_pb2.ControlGraft(topicID=str(number)) for number in range(500)],
            prune=[rpc_pb2.ControlPrune(topicID=TOPIC, backoff=2**63)],
        )
        body = rpc_pb2.RPC(control=control).SerializeToString()
        await enemy.say(MESH, varint(len(body)) + body)
        await serves(victim, honest, TOPIC)


async def test_gossip__control_that_the_router_trips_over__judged_and_others_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No such frame is known of this release of py-libp2p; its handlers trust what they parse, so one may come."""

    async def trip(_router: object, _message: object, _sender: object) -> None:
        raise KeyError("no such topic")

    monkeypatch.setattr(GossipSub, "handle_prune", trip)
    async with _scene() as (_, victim, honest), adversary(victim) as enemy:
        control = rpc_pb2.ControlMessage(prune=[rpc_pb2.ControlPrune(topicID=TOPIC)])
        body = rpc_pb2.RPC(control=control).SerializeToString()
        await enemy.say(MESH, varint(len(body)) + body)
        await until(lambda: victim.rules_against(enemy.id), "the judgement")
        assert victim.rules_against(enemy.id) == ["gossip.control"]
        await serves(victim, honest, TOPIC)


async def test_judge__ignored_message_comes_again__accepted_then() -> None:
    async with _scene() as (_, victim, _honest), adversary(victim) as enemy:
        frame = gossip(enemy.message(TOPIC, b"early"))
        victim.gate.verdict = Verdict.IGNORE
        stream = await enemy.say(MESH, frame + frame)
        await until(lambda: len(victim.gate.judged) == 1, "the first look")
        await trio.sleep(1.1)
        victim.gate.verdict = Verdict.ACCEPT
        await stream.write(frame + frame)
        await until(lambda: len(victim.gate.judged) == 2, "the second look")
        await stream.write(frame)
        await trio.sleep(0.2)
        assert len(victim.gate.judged) == 2
        assert victim.rules_against(enemy.id) == []


def _dht(kind: int, **fields: object) -> bytes:
    body = DhtMessage(type=kind, **fields).SerializeToString()
    return varint(len(body)) + body


FOREIGN_ATTACKS: dict[str, tuple[str, bytes]] = {
    "dht_garbage": (KAD, varint(64) + b"\xff" * 64),
    "dht_huge": (KAD, varint(2**31)),
    "dht_put": (KAD, _dht(DhtMessage.MessageType.PUT_VALUE, key=b"/none/x")),
    "dht_long_key": (KAD, _dht(DhtMessage.MessageType.ADD_PROVIDER, key=bytes(200))),
    "dht_empty_key": (KAD, _dht(DhtMessage.MessageType.FIND_NODE, key=b"")),
    "identify_push": ("/ipfs/id/push/1.0.0", varint(64) + b"\xff" * 64),
    "identify": ("/ipfs/id/1.0.0", os.urandom(64)),
    "ping_short": ("/ipfs/ping/1.0.0", b"short"),
}


@pytest.mark.parametrize("name", FOREIGN_ATTACKS)
async def test_foreign_streams__garbage__node_lives(name: str) -> None:
    protocol, data = FOREIGN_ATTACKS[name]
    async with _scene() as (_, victim, honest), adversary(victim) as enemy:
        stream = await enemy.say(protocol, data)
        await stream.close()
        await serves(victim, honest, TOPIC)


OWN_ATTACKS: dict[str, tuple[str, bytes, str]] = {
    "work_huge": (WORK_PROTOCOL, b"\xff\xff\xff\xff", "stream.oversize"),
    "work_empty": (WORK_PROTOCOL, bytes(4), "stream.malformed"),
    "artifact_garbage": (ARTIFACT_PROTOCOL, (64).to_bytes(4, "big") + b"\xff" * 64, "message.malformed"),
    "artifact_huge": (ARTIFACT_PROTOCOL, b"\x7f\xff\xff\xff", "stream.oversize"),
}


@pytest.mark.parametrize("name", OWN_ATTACKS)
async def test_own_streams__registered_peer_sends_garbage__judged(name: str) -> None:
    protocol, data, rule = OWN_ATTACKS[name]
    async with _scene() as (place, victim, honest), adversary(victim) as enemy:
        place.standings[enemy.id] = Standing.MINER
        await enemy.say(protocol, data)
        await until(lambda: victim.rules_against(enemy.id), "the judgement")
        assert victim.rules_against(enemy.id) == [rule]
        await serves(victim, honest, TOPIC)


@pytest.mark.parametrize("protocol", [WORK_PROTOCOL, ARTIFACT_PROTOCOL])
async def test_own_streams__stranger__judged_and_reset(protocol: str) -> None:
    async with _scene() as (_, victim, honest), adversary(victim) as enemy:
        await enemy.say(protocol, b"hello")
        await until(lambda: victim.rules_against(enemy.id), "the judgement")
        assert str(victim.rules_against(enemy.id)[0]).endswith(".unregistered")
        await serves(victim, honest, TOPIC)


@pytest.mark.parametrize(
    "data", [os.urandom(4096), b"GET / HTTP/1.1\r\n\r\n", b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff"]
)
async def test_socket__bytes_that_are_no_handshake__node_lives(data: bytes) -> None:
    async with _scene() as (_, victim, honest):
        port = int(victim.address.split("/")[4])
        sockets = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(5)]
        for each in sockets:
            await each.send_all(data)
        await serves(victim, honest, TOPIC)
        for each in sockets:
            await each.aclose()
