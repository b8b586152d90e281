"""Peers that take what they are given and more: slots, streams, memory, patience."""

from collections.abc import Callable

import pytest
import trio

from node.adapters.libp2p import framing, work
from node.adapters.libp2p import host as host_limits
from node.adapters.libp2p.muxed_stream import MuxedStream
from node.adapters.libp2p.muxer import MAX_BUFFERED_BYTES
from protocol.events import StreamOpened
from protocol.stake.standing import Standing
from protocol.wire.messages import WORK_PROTOCOL
from tests.support.adversary import adversary, serves
from tests.support.overlay import overlay, until
from tests.support.patience import PATIENCE_S

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"


async def test_inbound__more_connections_in_a_life_than_slots__newcomers_still_served() -> None:
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR, max_connections=8)
        victim.transport.subscribe(TOPIC)
        port = int(victim.address.split("/")[4])
        for _ in range(12):
            raw = await trio.open_tcp_stream("127.0.0.1", port)
            await raw.send_all(b"nonsense")
            await raw.aclose()
        for number in range(700, 712):
            async with adversary(victim, number) as enemy:
                assert enemy.is_connected()
        honest = await place.start(2, Standing.MINER, [victim])
        await until(lambda: victim.connected_to(honest), "the newcomer")


async def test_streams__opened_by_the_hundred_and_left_half_open__connection_limited_others_served() -> None:
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR)
        honest = await place.start(2, Standing.MINER, [victim])
        for node in (victim, honest):
            node.transport.subscribe(TOPIC)
        async with adversary(victim) as enemy:
            (connection,) = enemy.host.get_network().get_connections()
            for _ in range(200):
                await connection.muxed_conn.open_stream()
            await trio.sleep(0.3)
            parts = victim.transport._parts
            assert parts is not None
            held = [len(each.get_streams()) for each in parts.peers._swarm.get_connections(enemy.host.get_id())]
            assert max(held) <= host_limits.MAX_STREAMS_PER_CONNECTION + 1
            await until(lambda: victim.connected_to(honest), "the honest connection")
            await trio.sleep(0.2)
            await serves(victim, honest, TOPIC)


async def test_yamux__data_beyond_every_window__connection_cut_before_memory_is_spent() -> None:
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR)
        async with adversary(victim) as enemy:
            place.standings[enemy.id] = Standing.MINER
            stream = await enemy.open(WORK_PROTOCOL)
            await until(lambda: len(victim.sink.events) >= 2, "the work stream")
            victim.sink.block()
            muxed = stream.muxed_stream
            assert isinstance(muxed, MuxedStream)
            muxed.send_window = 1 << 40
            frame = (60_000).to_bytes(4, "big") + bytes(60_000)
            sent = 0
            with trio.move_on_after(PATIENCE_S):
                while enemy.is_connected() and sent < 4 * MAX_BUFFERED_BYTES:
                    try:
                        await stream.write(frame)
                    except host_limits.STREAM_ERRORS:
                        break
                    sent += len(frame)
            await until(lambda: not enemy.is_connected(), "the cut")
            assert sent < 3 * MAX_BUFFERED_BYTES
            victim.sink.open.set()


async def test_work__frame_begun_and_never_ended__judged_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "FRAME_S", 0.5)
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR)
        async with adversary(victim) as enemy:
            place.standings[enemy.id] = Standing.MINER
            await enemy.say(WORK_PROTOCOL, (100).to_bytes(4, "big") + b"drip")
            await until(lambda: victim.rules_against(enemy.id), "the end of patience", 5)
            assert victim.rules_against(enemy.id) == ["stream.slow"]


async def test_work__second_stream_of_one_peer__replaces_the_first_in_pairs() -> None:
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR)
        async with adversary(victim) as enemy:
            place.standings[enemy.id] = Standing.MINER
            await enemy.open(WORK_PROTOCOL)
            await until(lambda: len(victim.sink.events) == 2, "the first stream")
            second = await enemy.open(WORK_PROTOCOL)
            await until(lambda: len(victim.sink.events) == 4, "the second stream")
            await second.write(b"\x00\x00\x00\x02hi")
            await until(lambda: len(victim.sink.events) == 5, "its frame")
            names = [type(event).__name__ for event in victim.sink.events]
            assert names == ["PeerUp", "StreamOpened", "StreamClosed", "StreamOpened", "StreamReceived"]


async def test_work__opened_again_and_again__reaches_the_core_at_a_pace_and_is_judged_beyond_honest_haste(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "BURST_REFUSALS", 20)
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR)
        async with adversary(victim) as enemy:
            place.standings[enemy.id] = Standing.MINER
            began = trio.current_time()

            async def open_until(enough: Callable[[], bool]) -> None:
                with trio.fail_after(PATIENCE_S):
                    while not enough():
                        await (await enemy.open(WORK_PROTOCOL)).reset()

            await open_until(lambda: len(victim.sink.of(StreamOpened)) >= work.BURST_OPENS)
            assert victim.rules_against(enemy.id) == []
            await open_until(lambda: bool(victim.rules_against(enemy.id)))
            assert set(victim.rules_against(enemy.id)) == {"work.opens"}
            allowed = work.BURST_OPENS + work.OPENS_PER_S * (trio.current_time() - began)
            assert len(victim.sink.of(StreamOpened)) <= allowed
