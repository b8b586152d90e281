"""What a relay can do to those that it carries: nothing but see how much they say, and stop."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from libp2p.abc import INetStream
from libp2p.host.basic_host import BasicHost

from node.adapters.libp2p.circuit_messages import (
    HOP,
    MAX_RELAY_MESSAGE_BYTES,
    STOP,
    Answer,
    Connect,
    Status,
    read_hop,
    read_stop,
    write_hop,
    write_stop,
)
from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames, varint_frame
from node.adapters.libp2p.host import build_host
from node.adapters.libp2p.identity import key_pair_of, to_libp2p
from node.adapters.libp2p.muxed_stream import MuxedStream, muxed_of
from node.adapters.libp2p.patches import apply_patches
from node.adapters.libp2p.settings import OverlaySettings, check
from protocol.errors import InvalidMessage
from protocol.events import PeerUp, StreamReceived
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import PeerId
from tests.support.overlay import Overlay, Running, overlay, peer_of, secret_of, until

RELAY, COORDINATOR, MINER = 5, 2, 3
SECRET = b"a prompt that is nobody else's business"


@dataclass
class EvilRelay:
    """Lets everybody reserve, and does as it likes with what it carries."""

    host: BasicHost
    seen: bytearray = field(default_factory=bytearray)
    change: Callable[[bytes], bytes] = lambda data: data
    """What it makes of the bytes that it carries."""
    lies: PeerId | None = None
    """Whom it names as the source of a circuit, in place of the real one."""

    @property
    def address(self) -> str:
        return str(self.host.get_addrs()[0])

    async def serve(self, stream: INetStream) -> None:
        """Answer a request; the bare host beneath ends with an exception of a handler."""
        try:
            await self._serve(muxed_of(stream))
        except (*STREAM_ERRORS, InvalidMessage):
            muxed_of(stream).abandon()

    async def _serve(self, muxed: MuxedStream) -> None:
        request = read_hop(await VarintFrames(muxed, MAX_RELAY_MESSAGE_BYTES).read())
        if not isinstance(request, Connect):
            await muxed.write(varint_frame(write_hop(Answer(Status.OK, 2**40))))
            return
        other = muxed_of(await self.host.new_stream(request.peer, [STOP]))
        source = to_libp2p(self.lies) if self.lies else muxed.muxed_conn.peer_id
        await other.write(varint_frame(write_stop(Connect(source))))
        frames = VarintFrames(other, MAX_RELAY_MESSAGE_BYTES)
        assert read_stop(await frames.read()) == Answer(Status.OK)
        await muxed.write(varint_frame(write_hop(Answer(Status.OK))) + frames.rest())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, muxed, other)
            await self._pump(other, muxed)

    async def _pump(self, source: MuxedStream, target: MuxedStream) -> None:
        try:
            while True:
                data = await source.read(65536)
                self.seen += data
                await target.write(self.change(data))
        except STREAM_ERRORS:
            target.abandon()


@asynccontextmanager
async def evil() -> AsyncIterator[tuple[Overlay, EvilRelay, Running, Running]]:
    """An evil relay, and two that know each other through it alone."""
    apply_patches()
    settings = check(OverlaySettings(listen=("/ip4/127.0.0.1/tcp/0",), announce=(), bootstraps=(), max_connections=64))
    host = build_host(key_pair_of(secret_of(RELAY)), settings)
    relay = EvilRelay(host)
    host.set_stream_handler(HOP, relay.serve)
    async with host.run(listen_addrs=settings.listen), overlay() as place:
        place.standings[peer_of(RELAY)] = Standing.BOOTSTRAP
        coordinator = await place.start(COORDINATOR, Standing.COORDINATOR, relays=[relay.address])
        await until(lambda: coordinator.journal.of(NoteName.RELAY_HELD), "a reservation")
        miner = await place.start(MINER, Standing.MINER, book=coordinator.transport.addresses(), relays=[relay.address])
        yield place, relay, coordinator, miner


async def test_relay__reads_what_it_carries__sees_no_word_of_it() -> None:
    async with evil() as (_, relay, coordinator, miner):
        await miner.work_with(coordinator)
        assert miner.send(coordinator, SECRET)
        await until(lambda: coordinator.sink.of(StreamReceived), "the frame")
        assert coordinator.sink.of(StreamReceived)[0].data == SECRET
        assert len(relay.seen) > 500
        assert SECRET not in relay.seen
        assert b"/cuckoo/" not in relay.seen


async def test_relay__changes_what_it_carries__the_connection_ends_and_nothing_of_it_is_taken() -> None:
    async with evil() as (_, relay, coordinator, miner):
        await miner.work_with(coordinator)
        relay.change = lambda data: data[:-1] + bytes([data[-1] ^ 1])
        miner.send(coordinator, SECRET)
        await until(lambda: not miner.has_stream(coordinator), "the end of the stream")
        assert coordinator.sink.of(StreamReceived) == []


async def test_relay__says_that_a_circuit_is_from_somebody_else__whoever_shows_his_key_is_meant() -> None:
    async with evil() as (place, relay, coordinator, miner):
        relay.lies = peer_of(9)
        place.standings[peer_of(9)] = Standing.COORDINATOR
        await miner.work_with(coordinator)
        assert {event.peer for event in coordinator.sink.of(PeerUp)} == {miner.id, peer_of(RELAY)}


async def test_relay__goes_away__what_it_carried_ends_and_is_told_no_more() -> None:
    async with evil() as (_, relay, coordinator, miner):
        await miner.work_with(coordinator)
        for node in (miner, coordinator):
            await relay.host.get_network().close_peer(to_libp2p(node.id))
        await until(lambda: not miner.has_stream(coordinator), "the end of the stream")
        await until(lambda: coordinator.journal.of(NoteName.RELAY_LOST), "its notice")
        await until(lambda: len(coordinator.journal.of(NoteName.RELAY_HELD)) == 2, "another reservation")
        await miner.work_with(coordinator)
