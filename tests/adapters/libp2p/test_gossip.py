"""Gossip between real nodes: who hears what, by whose verdict."""

import trio

from protocol.gossip.verdict import Verdict
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from tests.support.overlay import Overlay, Running, overlay, until

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"


async def _line(place: Overlay) -> tuple[Running, Running, Running]:
    """Alice - bob - carol: alice and carol are strangers, so no look-up ever brings them together."""
    bob = await place.start(1, Standing.BOOTSTRAP)
    alice = await place.start(2, Standing.STRANGER, [bob])
    carol = await place.start(3, Standing.STRANGER, [bob])
    for node in (alice, bob, carol):
        node.transport.subscribe(TOPIC)
    await until(lambda: _heard_of(bob, alice) and _heard_of(bob, carol), "subscriptions")
    await until(lambda: _heard_of(alice, bob) and _heard_of(carol, bob), "subscriptions")
    return alice, bob, carol


def _heard_of(node: Running, other: Running) -> bool:
    parts = node.transport._parts
    assert parts is not None
    return any(other.id == str(peer) for peer in parts.pubsub.peer_topics.get(TOPIC, ()))


def _data(node: Running) -> list[bytes]:
    return [data for _, data, _ in node.gate.judged]


async def test_publish__three_in_a_line__everyone_hears_it_once_with_its_signer() -> None:
    async with overlay() as place:
        alice, bob, carol = await _line(place)
        alice.transport.publish(TOPIC, b"hello")
        await until(lambda: carol.gate.judged, "the message at carol")
        await trio.sleep(0.1)
        assert bob.gate.judged == carol.gate.judged == [(TOPIC, b"hello", alice.id)]
        assert alice.gate.judged == []
        assert len(carol.journal.of(NoteName.GOSSIP_ACCEPTED)) == 1


async def test_judge__ignore__not_forwarded_and_nobody_judged() -> None:
    async with overlay() as place:
        alice, bob, carol = await _line(place)
        bob.gate.verdict = Verdict.IGNORE
        alice.transport.publish(TOPIC, b"first")
        await until(lambda: bob.journal.of(NoteName.GOSSIP_IGNORED), "bob's IGNORE")
        bob.gate.verdict = Verdict.ACCEPT
        alice.transport.publish(TOPIC, b"second")
        await until(lambda: b"second" in _data(carol), "the second message at carol")
        assert _data(carol) == [b"second"]
        assert bob.journal.of(NoteName.PEER_JUDGED) == []


async def test_judge__reject__not_forwarded_and_seen_once() -> None:
    async with overlay() as place:
        alice, bob, carol = await _line(place)
        bob.gate.verdict = Verdict.REJECT
        alice.transport.publish(TOPIC, b"first")
        await until(lambda: bob.journal.of(NoteName.GOSSIP_REJECTED), "bob's REJECT")
        bob.gate.verdict = Verdict.ACCEPT
        alice.transport.publish(TOPIC, b"second")
        await until(lambda: carol.gate.judged, "the second message at carol")
        assert _data(carol) == [b"second"]
        assert _data(bob) == [b"first", b"second"]


async def test_publish__burst_of_400__nothing_lost() -> None:
    async with overlay() as place:
        alice, _bob, carol = await _line(place)
        sent = [b"%d" % number for number in range(400)]
        for data in sent:
            alice.transport.publish(TOPIC, data)
        await until(lambda: len(carol.gate.judged) >= len(sent), "all of the burst")
        assert sorted(_data(carol)) == sorted(sent)


async def test_publish__restart_with_the_same_key__no_message_lost() -> None:
    async with overlay() as place:
        alice, bob, carol = await _line(place)
        for number in range(20):
            alice.transport.publish(TOPIC, b"a%d" % number)
        await until(lambda: len(carol.gate.judged) == 20, "the first twenty")
        await alice.close()
        again = await place.start(2, Standing.STRANGER, [bob])
        again.transport.subscribe(TOPIC)
        await until(lambda: _heard_of(bob, again) and _heard_of(again, bob), "the restarted node's subscription")
        for number in range(20):
            again.transport.publish(TOPIC, b"b%d" % number)
        await until(lambda: len(carol.gate.judged) == 40, "the twenty after the restart")


async def test_publish__over_the_limit__dropped_and_noted() -> None:
    async with overlay() as place:
        alice = await place.start(2)
        alice.transport.publish(TOPIC, bytes(64 * 1024 + 1))
        assert alice.journal.of(NoteName.MESSAGE_DROPPED)[0].fields["reason"] == "oversize"
