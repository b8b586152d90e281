"""Peers that say what gossip lets them say, and more of it than anybody could mean."""

import time

import pytest
import trio
from libp2p.custom_types import TProtocol
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.envelope import seal_record
from libp2p.peer.id import ID
from libp2p.peer.peer_record import PeerRecord
from libp2p.pubsub.pb import rpc_pb2
from multiaddr.multiaddr import Multiaddr

from node.adapters.libp2p import gossip_limits as limits
from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames
from node.adapters.libp2p.identity import key_pair_of
from protocol.stake.standing import Standing
from tests.support.adversary import Adversary, gossip, varint
from tests.support.overlay import Running, secret_of, until
from tests.support.siege import MESH, TOPIC, Siege, siege


def _frame(**fields: object) -> bytes:
    body = rpc_pb2.RPC(**fields).SerializeToString()
    return varint(len(body)) + body


def _control(**fields: object) -> bytes:
    return _frame(control=rpc_pb2.ControlMessage(**fields))


def _router(node: Running):
    parts = node.transport._parts
    assert parts is not None
    return parts.pubsub.router


async def _say_for_long(enemy: Adversary, frame: bytes, times: int) -> None:
    """Say the same again and again, until one has had enough."""
    stream = await enemy.open(MESH)
    for _ in range(times):
        try:
            await stream.write(frame)
        except STREAM_ERRORS:
            return


MANY: dict[str, bytes] = {
    "graft": _control(graft=[rpc_pb2.ControlGraft(topicID=f"{number}") for number in range(50_000)]),
    "prune": _control(prune=[rpc_pb2.ControlPrune(topicID=f"{number}", backoff=2**60) for number in range(50_000)]),
    "ihave": _control(ihave=[rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=[b"\x01"] * 200_000)]),
    "ihave_entries": _control(ihave=[rpc_pb2.ControlIHave(topicID=f"{number}") for number in range(50_000)]),
    "iwant": _control(iwant=[rpc_pb2.ControlIWant(messageIDs=[b"\x01"] * 200_000)]),
}


@pytest.mark.parametrize("kind", MANY)
async def test_control__a_frame_full_of_entries__banned_and_nothing_kept(kind: str) -> None:
    async with siege() as place:
        async with place.enemy() as enemy:
            for _ in range(5):
                await enemy.say(MESH, MANY[kind])
            await place.banned(enemy, "gossip.control")
        await place.holds()
        assert set(_router(place.victim).back_off) <= {TOPIC}


async def test_control__prune_and_graft_of_ever_new_topics__nothing_kept() -> None:
    async with siege() as place, place.enemy() as enemy:
        stream = await enemy.open(MESH)
        for start in range(0, 20_000, 200):
            names = [f"topic {number}" for number in range(start, start + 200)]
            await stream.write(
                _control(
                    prune=[rpc_pb2.ControlPrune(topicID=name, backoff=2**60) for name in names],
                    graft=[rpc_pb2.ControlGraft(topicID=name) for name in names],
                    ihave=[rpc_pb2.ControlIHave(topicID=name) for name in names],
                )
            )
        await stream.write(_control(prune=[rpc_pb2.ControlPrune(topicID=TOPIC, backoff=2**60)]))
        router = _router(place.victim)
        await until(lambda: TOPIC in router.graft_flood_tracking.get(enemy.host.get_id(), {}), "the last frame")
        assert set(router.graft_flood_tracking[enemy.host.get_id()]) == {TOPIC}
        assert set(router.back_off) <= {TOPIC}
        assert set(router.ihave_message_limits[enemy.host.get_id()]) <= {TOPIC}
        assert router.back_off[TOPIC][enemy.host.get_id()] <= time.time() + limits.MAX_BACK_OFF_S
        await place.holds()


@pytest.mark.parametrize(
    "frame",
    [
        _control(graft=[rpc_pb2.ControlGraft(topicID=TOPIC)], prune=[rpc_pb2.ControlPrune(topicID=TOPIC)]),
        _control(ihave=[rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=[b"6162"])]),
        _control(iwant=[rpc_pb2.ControlIWant(messageIDs=[b"6162"])]),
    ],
    ids=["graft_prune", "ihave", "iwant"],
)
async def test_control__frame_after_frame_without_end__read_slowly_and_banned(
    frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FRAMES_BURST", 500)
    monkeypatch.setattr(limits, "FRAMES_PER_S", 100)
    monkeypatch.setattr(limits, "SATURATED_S", 0.05)
    async with siege() as place:
        async with place.enemy() as enemy, trio.open_nursery() as nursery:
            nursery.start_soon(_say_for_long, enemy, frame * 20, 5000)
            await place.banned(enemy, "gossip.flood")
            nursery.cancel_scope.cancel()
        await place.holds()


async def test_subscriptions__on_and_off_again__banned_and_recent_messages_not_sent_each_time() -> None:
    async with siege() as place:
        async with place.enemy() as enemy:
            on_and_off = [rpc_pb2.RPC.SubOpts(subscribe=turn % 2 == 0, topicid=TOPIC) for turn in range(250)]
            for _ in range(5):
                await _say_for_long(enemy, _frame(subscriptions=on_and_off), 6)
            await place.banned(enemy, "gossip.subscriptions")
        await place.holds()


async def test_subscriptions__names_without_an_end__banned_and_forgotten() -> None:
    async with siege() as place:
        async with place.enemy() as enemy:
            for number in range(5):
                name = f"{number}" * 900_000
                await enemy.say(MESH, _frame(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=name)]))
            await place.banned(enemy, "gossip.subscriptions")
        await place.holds()
        parts = place.victim.transport._parts
        assert parts is not None
        assert set(parts.pubsub.peer_topics) == {TOPIC}


async def _hear(enemy: Adversary, heard: list[rpc_pb2.RPC]) -> None:
    """Let the victim tell an adversary what it tells everybody."""

    async def hear(stream: NetStream) -> None:
        frames = VarintFrames(stream.muxed_stream, 1 << 20)
        while True:
            heard.append(rpc_pb2.RPC.FromString(await frames.read()))

    enemy.host.set_stream_handler(TProtocol(MESH), hear)
    parts = enemy.victim.transport._parts
    assert parts is not None
    parts.pubsub._schedule_peer_stream_retry(enemy.host.get_id())
    await until(lambda: enemy.host.get_id() in parts.pubsub.peers, "a gossip stream to the enemy")


async def _large(place: Siege) -> bytes:
    """Give the id of a message of 32 KiB that the victim remembers."""
    place.honest.transport.publish(TOPIC, bytes(32 * 1024))
    router = _router(place.victim)
    await until(lambda: any(len(each.data) > 1000 for each in _cached(router)), "the message")
    (large,) = (each for each in _cached(router) if len(each.data) > 1000)
    return large.from_id + large.seqno


async def test_iwant__the_same_message_again_and_again__sent_as_often_as_the_budget_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ANSWERS_BURST_KIB", 128)
    monkeypatch.setattr(limits, "ANSWERS_KIB_PER_S", 1)
    async with siege() as place, place.enemy() as enemy:
        heard: list[rpc_pb2.RPC] = []
        await _hear(enemy, heard)
        wanted = await _large(place)
        stream = await enemy.open(MESH)
        for _ in range(8):
            await stream.write(_control(iwant=[rpc_pb2.ControlIWant(messageIDs=[wanted])]))
        await trio.sleep(0.5)
        assert 3 <= sum(len(rpc.publish) for rpc in heard) <= 4
        await place.holds()


async def test_iwant__one_message_thousands_of_times_in_a_frame__sent_once() -> None:
    async with siege() as place, place.enemy() as enemy:
        heard: list[rpc_pb2.RPC] = []
        await _hear(enemy, heard)
        wanted = await _large(place)
        await enemy.say(MESH, _control(iwant=[rpc_pb2.ControlIWant(messageIDs=[wanted] * 5000)]))
        await until(lambda: any(rpc.publish for rpc in heard), "the message")
        await trio.sleep(0.2)
        assert sum(len(rpc.publish) for rpc in heard) == 1
        await place.holds()


async def test_ihave__more_ids_than_a_peer_may_name__not_asked_for_and_nobody_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_MESSAGE_IDS", 100)
    monkeypatch.setattr(limits, "IDS_PER_S", 1)
    async with siege() as place, place.enemy() as enemy:
        heard: list[rpc_pb2.RPC] = []
        await _hear(enemy, heard)
        stream = await enemy.open(MESH)
        for start in (0, 70):
            ids = [b"\xff%d" % number for number in range(start, start + 70)]
            await stream.write(_control(ihave=[rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=ids)]))
        await until(lambda: any(rpc.control.iwant for rpc in heard), "the question")
        await trio.sleep(0.2)
        asked = [each for rpc in heard for want in rpc.control.iwant for each in want.messageIDs]
        assert len(asked) == 70
        assert place.victim.rules_against(enemy.id) == []
        await place.holds()


async def test_ihave__a_message_withheld_until_it_is_asked_for__noticed_as_a_break() -> None:
    async with siege() as place, place.enemy(standing=Standing.COORDINATOR) as enemy:
        heard: list[rpc_pb2.RPC] = []
        await _hear(enemy, heard)
        pushed, withheld = enemy.message(TOPIC, b"pushed"), enemy.message(TOPIC, b"withheld")
        identity = withheld.from_id + withheld.seqno
        stream = await enemy.say(MESH, gossip(pushed))
        await stream.write(_control(ihave=[rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=[identity])]))
        await until(lambda: any(identity in want.messageIDs for rpc in heard for want in rpc.control.iwant), "IWANT")
        await stream.write(gossip(withheld))
        known = _router(place.victim).links._publishers
        await until(lambda: any(data == b"withheld" for _, data, _ in place.victim.gate.judged), "the message")
        assert list(known[withheld.from_id].by_asking) == [int.from_bytes(withheld.seqno, "big")]
        assert enemy.host.get_id() in known[withheld.from_id].supplied
        await place.holds()


def _cached(router) -> list[rpc_pb2.Message]:
    return list(router.mcache.msgs.values())


async def test_prune__names_peers_to_dial__nobody_is_dialled() -> None:
    async with siege() as place, place.enemy() as enemy:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        keys = key_pair_of(secret_of(4242))
        identity = ID.from_pubkey(keys.public_key)
        record = seal_record(PeerRecord(identity, [Multiaddr(f"/ip4/127.0.0.1/tcp/{port}")]), keys.private_key)
        bait = rpc_pb2.PeerInfo(peerID=identity.to_bytes(), signedPeerRecord=record.marshal_envelope())
        await enemy.say(MESH, _control(prune=[rpc_pb2.ControlPrune(topicID=TOPIC, peers=[bait])]))
        with trio.move_on_after(1) as patience:
            await listeners[0].accept()
        assert patience.cancelled_caught, "somebody came"
        for each in listeners:
            await each.aclose()
        await place.holds()
