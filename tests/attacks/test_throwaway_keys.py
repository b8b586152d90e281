"""Keys cost nothing: a flood of messages by ever new ones must not cost the victim a signature each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX

from node.adapters.libp2p import gossip as limits
from node.adapters.libp2p.identity import key_pair_of
from protocol.gossip.verdict import Verdict
from protocol.stake.standing import Standing
from tests.support.adversary import Adversary, adversary, gossip, serves
from tests.support.overlay import Overlay, Running, overlay, peer_of, secret_of, until

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
MESH = "/meshsub/1.1.0"


@asynccontextmanager
async def _scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Overlay, Running, Adversary, list[bytes]]]:
    """A coordinator, an unregistered forwarder, and the publishers whose signatures the coordinator verified."""
    verified: list[bytes] = []
    verify = limits.is_signed

    def counted(message: rpc_pb2.Message) -> bool:
        verified.append(message.from_id)
        return verify(message)

    monkeypatch.setattr(limits, "is_signed", counted)
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR)
        victim.transport.subscribe(TOPIC)
        async with adversary(victim) as enemy:
            await until(lambda: enemy.id in _connected(victim), "the connection")
            yield place, victim, enemy, verified


def _connected(node: Running) -> tuple[str, ...]:
    parts = node.transport._parts
    assert parts is not None
    return parts.peers.connected()


def _by(number: int, data: bytes = b"x", sequence: int = 0) -> rpc_pb2.Message:
    """A well signed message by the key of this number."""
    keys = key_pair_of(secret_of(number))
    identity = bytes((0x00, 0x25)) + keys.public_key.serialize()
    message = rpc_pb2.Message(data=data, topicIDs=[TOPIC], from_id=identity, seqno=sequence.to_bytes(8, "big"))
    message.signature = keys.private_key.sign(PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString())
    return message


async def test_gossip__strangers_by_certain_tables__never_verified_and_the_forwarder_pays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "REFUSED_BURST", 10)
    monkeypatch.setattr(limits, "REFUSED_PER_S", 1)
    async with _scene(monkeypatch) as (place, victim, enemy, verified):
        victim.gate.certain = True
        await enemy.say(MESH, b"".join(gossip(_by(number)) for number in range(1000, 1012)))
        await until(lambda: victim.rules_against(enemy.id), "the judgement")
        assert set(victim.rules_against(enemy.id)) == {"gossip.refused"}
        assert verified == []
        assert victim.gate.judged == []
        honest = await place.start(2, Standing.MINER, [victim])
        honest.transport.subscribe(TOPIC)
        parts = honest.transport._parts
        assert parts is not None
        await until(lambda: TOPIC in parts.pubsub.peer_topics, "the victim's subscription")
        await serves(victim, honest, TOPIC)


async def test_gossip__strangers_without_end__the_forwarder_is_banned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REFUSED_BURST", 10)
    monkeypatch.setattr(limits, "REFUSED_PER_S", 1)
    async with _scene(monkeypatch) as (_, victim, enemy, verified):
        victim.gate.certain = True
        await enemy.say(MESH, b"".join(gossip(_by(number)) for number in range(1000, 1080)))
        await until(lambda: not enemy.is_connected(), "the cut")
        assert verified == []


async def test_gossip__perhaps_strangers__verified_within_a_budget_and_nobody_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "REFUSED_BURST", 10)
    monkeypatch.setattr(limits, "REFUSED_PER_S", 1)
    async with _scene(monkeypatch) as (place, victim, enemy, verified):
        victim.gate.verdict = Verdict.IGNORE
        registered = _by(999, b"last")
        place.standings[peer_of(999)] = Standing.COORDINATOR
        frames = [gossip(_by(number)) for number in range(1000, 1040)]
        await enemy.say(MESH, b"".join([*frames, gossip(registered)]))
        await until(lambda: any(data == b"last" for _, data, _ in victim.gate.judged), "the registered signer's")
        assert 10 <= len(verified) - 1 <= 13
        assert victim.rules_against(enemy.id) == []


async def test_gossip__ignored_bulletins_of_a_registered_signer__never_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REFUSED_BURST", 3)
    monkeypatch.setattr(limits, "REFUSED_PER_S", 1)
    async with _scene(monkeypatch) as (place, victim, enemy, _):
        victim.gate.verdict = Verdict.IGNORE
        place.standings[enemy.id] = Standing.COORDINATOR
        await enemy.say(MESH, b"".join(gossip(enemy.message(TOPIC, b"%d" % number)) for number in range(30)))
        await until(lambda: len(victim.gate.judged) == 30, "all thirty")
        assert victim.rules_against(enemy.id) == []


async def test_gossip__rejected_messages__count_against_the_forwarder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REFUSED_BURST", 3)
    monkeypatch.setattr(limits, "REFUSED_PER_S", 1)
    async with _scene(monkeypatch) as (place, victim, enemy, _):
        victim.gate.verdict = Verdict.REJECT
        place.standings[peer_of(999)] = Standing.COORDINATOR
        messages = [_by(999, b"x", sequence) for sequence in range(5)]
        await enemy.say(MESH, b"".join(map(gossip, messages)))
        await until(lambda: victim.rules_against(enemy.id), "the judgement")
        assert set(victim.rules_against(enemy.id)) == {"gossip.refused"}
