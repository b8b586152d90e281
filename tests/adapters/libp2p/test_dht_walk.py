"""Searches in networks that exist in memory alone: who is found, and how many are asked for it."""

import random
from collections.abc import Iterable

import pytest
import trio
from libp2p.peer.id import ID

from node.adapters.libp2p.dht_table import CLOSEST, Table, place_of
from node.adapters.libp2p.dht_walk import SURE, walk
from node.adapters.libp2p.identity import to_libp2p
from tests.support.overlay import peer_of

ADDRESS = [b"\x04\x7f\x00\x00\x01\x06\x0f\xa1"]
KEYS = [b"key %d" % number for number in range(20)]


class _Network:
    """Peers with tables, some of which are dead."""

    def __init__(self, size: int, dead: int = 0) -> None:
        dice = random.Random(size)
        self.peers = [to_libp2p(peer_of(number)) for number in range(1, size + 1)]
        self.dead = set(dice.sample(self.peers, dead))
        self.asked: list[ID] = []
        self.tables = {peer: Table(peer, lambda _peer: True) for peer in self.peers}
        for table in self.tables.values():
            for other in dice.sample(self.peers, size):
                table.meet(other, ADDRESS)

    async def ask(self, key: bytes, peer: ID) -> Iterable[ID] | None:
        await trio.lowlevel.checkpoint()
        self.asked.append(peer)
        return None if peer in self.dead else self.tables[peer].closest(key)

    def truth(self, key: bytes, but: ID) -> list[ID]:
        living = set(self.peers) - self.dead - {but}
        return sorted(living, key=lambda peer: place_of(peer.to_bytes()) ^ place_of(key))

    async def search(self, key: bytes, start: ID) -> list[ID]:
        async def ask(peer: ID) -> Iterable[ID] | None:
            found = await self.ask(key, peer)
            return None if found is None else [other for other in found if other != start]

        async with trio.open_nursery() as nursery:
            return await walk(nursery, key, self.tables[start].closest(key, 10), ask)


async def test_walk__five_hundred_peers__the_closest_are_found_and_few_are_asked() -> None:
    network = _Network(500)
    for key, start in zip(KEYS, network.peers, strict=False):
        network.asked.clear()
        assert (await network.search(key, start))[:SURE] == network.truth(key, start)[:SURE]
        assert len(network.asked) <= 15
        assert len(set(network.asked)) == len(network.asked)


async def test_walk__a_third_is_dead__the_closest_that_live_are_found() -> None:
    network = _Network(200, dead=66)
    for key, start in zip(KEYS, (peer for peer in network.peers if peer not in network.dead), strict=False):
        assert (await network.search(key, start))[:SURE] == network.truth(key, start)[:SURE]


async def test_walk__nobody_answers__nobody_is_found() -> None:
    network = _Network(30, dead=30)
    assert await network.search(KEYS[0], network.peers[0]) == []


async def test_walk__never_enough__all_of_the_closest_are_asked() -> None:
    network = _Network(100)
    start = network.peers[0]
    async with trio.open_nursery() as nursery:
        found = await walk(
            nursery,
            KEYS[0],
            network.tables[start].closest(KEYS[0]),
            lambda peer: network.ask(KEYS[0], peer),
            lambda: False,
        )
    assert len(found) == CLOSEST
    assert set(found) <= set(network.asked)


async def test_walk__enough__one_that_does_not_answer_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    network = _Network(40)
    start = network.peers[0]
    known = network.tables[start].closest(KEYS[0])
    slow = network.truth(KEYS[0], start)[SURE + 1]

    async def ask(peer: ID) -> Iterable[ID] | None:
        if peer == slow:
            await trio.sleep(1000)
        return await network.ask(KEYS[0], peer)

    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        assert (await walk(nursery, KEYS[0], [slow, *known], ask))[:SURE] == network.truth(KEYS[0], start)[:SURE]
        assert trio.current_time() - began < 1
        nursery.cancel_scope.cancel()


async def test_walk__one_hangs_for_ever__ends_with_what_was_found(autojump_clock: trio.testing.MockClock) -> None:
    async def ask(_peer: ID) -> Iterable[ID] | None:
        await trio.sleep_forever()
        pytest.fail("nothing wakes it")

    async with trio.open_nursery() as nursery:
        peer = to_libp2p(peer_of(1))
        with trio.fail_after(100):
            assert await walk(nursery, KEYS[0], [peer], ask) == [peer]
        nursery.cancel_scope.cancel()
