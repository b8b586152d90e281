"""The streams of gossip between honest nodes: what is left of them when one ends, stalls or has much to say."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from libp2p.peer.id import ID

from node.adapters.libp2p import gossip, muxed_stream
from node.adapters.libp2p.gossip import OverlayPubsub
from node.adapters.libp2p.identity import to_libp2p
from node.adapters.libp2p.muxed_stream import INITIAL_WINDOW, MuxedStream, muxed_of
from protocol.stake.standing import Standing
from tests.support.overlay import Overlay, Running, overlay, until

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"


def _pubsub(node: Running) -> OverlayPubsub:
    parts = node.transport._parts
    assert parts is not None
    return parts.pubsub


def _knows(node: Running, other: Running) -> bool:
    return to_libp2p(other.id) in _pubsub(node).peer_topics.get(TOPIC, ())


def _stream(node: Running, other: Running) -> MuxedStream:
    """The stream on which a node tells another."""
    return muxed_of(_pubsub(node).peers[to_libp2p(other.id)])


@asynccontextmanager
async def _pair() -> AsyncIterator[tuple[Overlay, Running, Running]]:
    """A coordinator that has just told a miner something."""
    async with overlay() as place:
        alice = await place.start(1, Standing.COORDINATOR)
        bob = await place.start(2, Standing.MINER, [alice])
        for node in (alice, bob):
            node.transport.subscribe(TOPIC)
        await until(lambda: _knows(alice, bob) and _knows(bob, alice), "subscriptions")
        alice.transport.publish(TOPIC, b"before")
        await until(lambda: bob.gate.judged, "the first message")
        yield place, alice, bob


def _data(node: Running) -> set[bytes]:
    return {data for _, data, _ in node.gate.judged}


async def _hears(listener: Running, speaker: Running, word: bytes) -> None:
    speaker.transport.publish(TOPIC, word)
    await until(lambda: word in _data(listener), f"{word!r}", 3)


async def test_stream__one_ends_while_the_connection_lives__both_hear_each_other_again() -> None:
    async with _pair() as (_, alice, bob):
        await _stream(alice, bob).reset()
        await _hears(bob, alice, b"the first after it")
        await _hears(bob, alice, b"the second")
        await _hears(alice, bob, b"the other way")
        assert _knows(alice, bob)
        assert alice.rules_against(bob.id) == bob.rules_against(alice.id) == []


async def test_stream__ended_by_the_peer_again_and_again__opened_anew_at_a_pace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gossip, "REOPENED_BURST", 2)
    async with _pair() as (_, alice, bob):
        opened: list[ID] = []
        handler = _pubsub(bob).stream_handler

        async def ends(stream):
            opened.append(stream.muxed_conn.peer_id)
            await stream.reset()

        _pubsub(bob).host.set_stream_handler(_pubsub(bob).protocols[0], ends)
        await _stream(alice, bob).reset()
        for number in range(20):
            alice.transport.publish(TOPIC, b"%d" % number)
            await trio.sleep(0.05)
        assert 1 <= len(opened) <= 2
        _pubsub(bob).host.set_stream_handler(_pubsub(bob).protocols[0], handler)


async def test_stream__connection_ends__subscriptions_and_sending_end_with_it() -> None:
    async with _pair() as (_, alice, bob):
        queue = _pubsub(alice).peer_queues[to_libp2p(bob.id)]
        await bob.close()
        await until(lambda: not _knows(alice, bob), "the end")
        assert queue.closed
        assert queue._sending.cancel_called, "else a task waits for ever for what to send"  # type: ignore[attr-defined]


async def test_stream__peer_reads_nothing_for_longer_than_a_write_waits__nobody_judged_and_heard_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(muxed_stream, "WINDOW_S", 0.3)
    async with _pair() as (_, alice, bob):
        ready, read = trio.Event(), _pubsub(bob)._read_rpc

        async def stalled(data: bytes, peer: ID) -> None:
            await ready.wait()
            await read(data, peer)

        monkeypatch.setattr(_pubsub(bob), "_read_rpc", stalled)
        first = _stream(alice, bob)
        for _ in range(20):
            alice.transport.publish(TOPIC, os.urandom(INITIAL_WINDOW // 8))
        await until(lambda: first._is_reset, "the end of patience")
        ready.set()
        await _hears(bob, alice, b"after it")
        assert bob.rules_against(alice.id) == []


async def test_subscribe__to_a_busy_node_from_behind_a_slow_line__hears_recent_and_new_and_judges_nobody() -> None:
    async with overlay() as place, trio.open_nursery() as nursery:
        busy = await place.start(1, Standing.COORDINATOR)
        busy.transport.subscribe(TOPIC)

        async def publish() -> None:
            while True:
                busy.transport.publish(TOPIC, os.urandom(40_000))
                await trio.sleep(0.02)

        nursery.start_soon(publish)
        await trio.sleep(0.6)
        joiner = await place.start(2, Standing.MINER, [busy])
        read = _pubsub(joiner)._read_rpc

        async def slowly(data: bytes, peer: ID) -> None:
            await trio.sleep(0.01)
            await read(data, peer)

        _pubsub(joiner)._read_rpc = slowly  # type: ignore[method-assign]
        joiner.transport.subscribe(TOPIC)
        await until(lambda: len(joiner.gate.judged) >= 40, "recent messages and new ones", 10)
        assert joiner.rules_against(busy.id) == []
        nursery.cancel_scope.cancel()
