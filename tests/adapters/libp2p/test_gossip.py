"""Gossip between real nodes: who hears what, by whose verdict."""

import time

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2

from node.adapters.libp2p import eager_links
from node.adapters.libp2p.identity import from_libp2p
from protocol.crypto.publication import check_publication
from protocol.gossip.verdict import Verdict
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from tests.support.networks import DAVE
from tests.support.overlay import Overlay, Running, overlay, until

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
QUICK_S = 2.0
"""More than sixteen messages with pauses of 50 ms take on a machine that does nothing else."""


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


async def test_publish__with_a_head_start__others_hear_it_later_and_in_order() -> None:
    async with overlay() as place:
        alice = await place.start(1, Standing.COORDINATOR)
        bob = await place.start(2, Standing.MINER, [alice])
        carol = await place.start(3, Standing.MINER, [alice])
        for node in (alice, bob, carol):
            node.transport.subscribe(TOPIC)
        await until(lambda: _heard_of(alice, bob) and _heard_of(alice, carol), "subscriptions")
        for number in range(3 * eager_links.WINDOW):  # until bob and carol send each other no copies
            alice.transport.publish(TOPIC, b"%d" % number)
            await until(lambda: len(_data(carol)) == len(_data(bob)) == number + 1, "a message")  # noqa: B023
        alice.transport.publish(TOPIC, b"for a stranger", [DAVE.peer_id], 60_000)
        await until(lambda: _data(carol)[-1] == b"for a stranger", "what is held for nobody")
        alice.transport.publish(TOPIC, b"held", [bob.id], 60_000)
        await until(lambda: _data(bob)[-1] == b"held", "the message at bob")
        assert _data(carol)[-1] == b"for a stranger"
        alice.transport.publish(TOPIC, b"next")
        await until(lambda: _data(carol)[-1] == b"next", "what takes it along")
        assert _data(carol)[-2:] == _data(bob)[-2:] == [b"held", b"next"]
        begun = trio.current_time()
        alice.transport.publish(TOPIC, b"soon", [bob.id], 200)
        await until(lambda: _data(carol)[-1] == b"soon", "the message in its time")
        assert trio.current_time() - begun >= 0.2


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


def _copies(node: Running) -> list[str]:
    """Count, from now on, the copies of gossip messages that a node is sent."""
    parts = node.transport._parts
    assert parts is not None
    copies: list[str] = []
    push = parts.pubsub.push_msg

    async def counted(forwarder: ID, message: rpc_pb2.Message) -> None:
        if forwarder != parts.pubsub.my_id:
            copies.append(from_libp2p(forwarder))
        await push(forwarder, message)

    parts.pubsub.push_msg = counted  # type: ignore[method-assign]
    return copies


async def test_publish__two_ways_to_a_neighbour__one_stops_and_comes_back_when_the_other_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eager_links, "WINDOW", 4)
    async with overlay() as place:
        bob = await place.start(1, Standing.BOOTSTRAP)
        ben = await place.start(2, Standing.BOOTSTRAP, [bob])
        alice = await place.start(3, Standing.STRANGER, [bob, ben])
        carol = await place.start(4, Standing.STRANGER, [bob, ben])
        for node in (alice, bob, ben, carol):
            node.transport.subscribe(TOPIC)
        for near in (bob, ben):
            await until(lambda near=near: _heard_of(near, alice) and _heard_of(near, carol), "subscriptions")
            await until(lambda near=near: _heard_of(alice, near) and _heard_of(carol, near), "subscriptions")
        await trio.sleep(1.5)  # a heartbeat, with which the meshes form
        copies, begin = _copies(carol), trio.current_time()
        for number in range(16):
            alice.transport.publish(TOPIC, b"%d" % number)
            await until(lambda: len(_data(carol)) == number + 1, "a message at carol")  # noqa: B023
            await trio.sleep(0.05)
        slowness = (trio.current_time() - begin) / QUICK_S
        assert len(copies) > 16, "each came twice at first"
        del copies[:]
        for number in range(16, 24):
            alice.transport.publish(TOPIC, b"%d" % number)
            await trio.sleep(0.05)
        await until(lambda: len(_data(carol)) == 24, "the messages at carol")
        assert len(copies) <= 10
        supplier = max((bob, ben), key=lambda node: copies.count(node.id))
        await supplier.close()
        for number in range(24, 30):
            alice.transport.publish(TOPIC, b"%d" % number)
            await trio.sleep(0.3)
        # In proportion where others use this machine, too.
        await until(lambda: len(_data(carol)) == 30, "what the other way brings", 30 * max(1.0, slowness))


async def test_publish__eight_join_at_once__all_hear_everything_and_soon_just_once() -> None:
    async with overlay() as place:
        bob = await place.start(1, Standing.BOOTSTRAP)
        alice = await place.start(2, Standing.COORDINATOR, [bob])
        miners = [await place.start(3 + number, Standing.MINER, [bob]) for number in range(6)]
        everybody = [bob, alice, *miners]
        for node in everybody:
            node.transport.subscribe(TOPIC)
        for node in everybody[1:]:
            await until(lambda node=node: _heard_of(bob, node), "a subscription")
        await trio.sleep(2.5)  # two heartbeats
        for number in range(3 * eager_links.WINDOW):
            alice.transport.publish(TOPIC, b"%d" % number)
            await trio.sleep(0.03)
        listeners = [bob, *miners]
        for node in listeners:
            await until(lambda node=node: len(_data(node)) == 3 * eager_links.WINDOW, "everything")
        for tens in range(1, 11):  # soon, where a crowded machine's heartbeats come late
            copies = [_copies(node) for node in listeners]
            for number in range(10):
                alice.transport.publish(TOPIC, b"more %d %d" % (tens, number))
                await trio.sleep(0.03)
            for node in listeners:
                heard = 3 * eager_links.WINDOW + 10 * tens
                await until(lambda node=node, heard=heard: len(_data(node)) == heard, "everything")
            if sum(map(len, copies)) <= 2 * 10 * len(listeners):
                return
        raise AssertionError("a full mesh would send seven of each")


async def test_record__of_what_is_accepted_and_published__holds_signatures_and_every_number() -> None:
    async with overlay() as place:
        alice, bob, carol = await _line(place)
        for number in range(5):
            alice.transport.publish(TOPIC, b"message %d" % number)
        await until(lambda: len(carol.record.publications) == 5, "five messages in carol's record")
        heard = carol.record.publications
        for publication in heard:
            check_publication(publication)
        assert {(one.publisher, one.topic) for one in heard} == {(alice.id, TOPIC)}
        sequences = sorted(one.sequence for one in heard)
        assert [number - sequences[0] for number in sequences] == [0, 1, 2, 3, 4], "none of one run is left out"
        assert 0 < time.time_ns() - sequences[0] < 600 * 10**9, "a run begins at its clock: a restart is a jump"
        assert sorted(alice.record.publications, key=lambda one: one.sequence) == sorted(
            heard, key=lambda one: one.sequence
        ), "its own messages stand in a publisher's record as others hear them"

        bob.gate.verdict = Verdict.IGNORE
        alice.transport.publish(TOPIC, b"ignored")
        await until(lambda: bob.journal.of(NoteName.GOSSIP_IGNORED), "bob's IGNORE")
        assert b"ignored" not in [one.data for one in bob.record.publications]
