"""Questions to real nodes: over how few streams, and over how few connections."""

import pytest
import trio
from libp2p.kad_dht.pb.kademlia_pb2 import Message

from node.adapters.libp2p import dht_queries
from node.adapters.libp2p.dht import OverlayDht
from node.adapters.libp2p.identity import to_libp2p
from protocol.events import ProvidersFound
from protocol.stake.standing import Standing
from tests.support.overlay import Running, overlay, until
from tests.support.patience import PATIENCE_S

KEY = "/cuckoo/1/devnet/model/pocket-emoji"
NODES = 12


def _dht(node: Running) -> OverlayDht:
    parts = node.transport._parts
    assert parts is not None
    return parts.discovery._dht


def _served(node: Running) -> list[int]:
    """Count the DHT streams that a node serves from now on."""
    queries, counted = _dht(node)._queries, [0]
    begin = queries.begin

    def counting(peer: object) -> bool:
        counted[0] += 1
        return begin(peer)  # type: ignore[arg-type]  # handed on as it came

    queries.begin = counting  # type: ignore[method-assign]  # a counter in front
    return counted


async def _ask(asker: Running, asked: Running) -> Message | None:
    return await _dht(asker)._ask(to_libp2p(asked.id), Message(type=Message.MessageType.FIND_NODE, key=b"key"))


async def test_ask__many_questions__one_stream() -> None:
    async with overlay() as place:
        asked = await place.start(1, Standing.MINER)
        asker = await place.start(2, Standing.MINER, [asked])
        await until(lambda: to_libp2p(asked.id) in _dht(asker).table, "the other")
        streams = _served(asked)
        for _ in range(20):
            assert await _ask(asker, asked) is not None
            assert await _dht(asker).tell(to_libp2p(asked.id), b"key", [b"\x04\x7f\x00\x00\x01\x06\x0f\xa1"])
        assert streams == [1]
        assert to_libp2p(asker.id) in _dht(asked).records.of(b"key")


async def test_ask__the_other_end_has_closed_the_stream__answered_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dht_queries, "QUERY_S", 0.1)
    async with overlay() as place:
        asked = await place.start(1, Standing.MINER)
        asker = await place.start(2, Standing.MINER, [asked])
        await until(lambda: to_libp2p(asked.id) in _dht(asker).table, "the other")
        streams = _served(asked)
        for _ in range(3):
            assert await _ask(asker, asked) is not None
            await trio.sleep(0.3)
        assert streams == [3]


async def test_ask__peer_is_gone__no_answer_and_out_of_the_table() -> None:
    async with overlay() as place:
        asked = await place.start(1, Standing.MINER)
        asker = await place.start(2, Standing.MINER, [asked])
        await until(lambda: to_libp2p(asked.id) in _dht(asker).table, "the other")
        await asked.close()
        await until(lambda: not asker.connected_to(asked), "the end")
        assert await _ask(asker, asked) is None
        assert to_libp2p(asked.id) not in _dht(asker).table


async def test_join__a_dozen_at_once__all_are_found_without_everybody_dialling_everybody() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP)
        nodes: list[Running] = []
        found: set[int] = set()

        async def join(number: int) -> None:
            node = await place.start(number, Standing.MINER, [boot])
            nodes.append(node)
            node.transport.provide(KEY)
            while number not in found:
                node.sink.events.clear()
                node.transport.find_providers(KEY)
                await until(lambda: node.sink.of(ProvidersFound), "an answer")
                if len(node.sink.of(ProvidersFound)[0].peers) == NODES - 1:
                    found.add(number)
                await trio.sleep(0.2)

        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                for number in range(2, NODES + 2):
                    nursery.start_soon(join, number)
        ends = sum(_dht(node)._is_connected(to_libp2p(other.id)) for node in nodes for other in nodes)
        assert ends < NODES * (NODES - 1)
