"""Many streams over one connection, between real nodes and against one that breaks the rules."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.stream_muxer.exceptions import MuxedStreamError

from node.adapters.libp2p import muxed_stream, muxer
from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.muxed_stream import ACK, DATA, INITIAL_WINDOW, SYN, WINDOW_UPDATE, MuxedStream
from node.adapters.libp2p.muxer import GO_AWAY, HEADER, MAX_UNACCEPTED, PING, OverlayMuxer
from tests.support.adversary import Adversary, adversary
from tests.support.overlay import Running, overlay, until

ECHO = TProtocol("/test/echo")
REFUSED = TProtocol("/test/refused")


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Running, Adversary]]:
    """A node that echoes on a protocol, and a host connected to it."""
    async with overlay() as place:
        node = await place.start(1)
        parts = node.transport._parts
        assert parts is not None

        async def echo(stream: INetStream) -> None:
            while True:
                try:
                    data = await stream.read(100_000)
                except StreamEOF:
                    await stream.close()
                    return
                await stream.write(data)

        parts.artifacts._host.set_stream_handler(ECHO, echo)
        async with adversary(node) as other:
            yield node, other


def muxer_of(other: Adversary) -> OverlayMuxer:
    (connection,) = other.host.get_network().get_connections()
    assert isinstance(connection.muxed_conn, OverlayMuxer)
    return connection.muxed_conn


async def echoes(stream: INetStream, data: bytes) -> bytes:
    """Write all, and read as much back at the same time."""
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.write, data)
        while len(received) < len(data):
            received += await stream.read(100_000)
    return bytes(received)


async def test_streams__several_at_once_with_many_windows__each_gets_its_own_bytes_in_order() -> None:
    async with pair() as (_, other):
        sent = [os.urandom(12 * INITIAL_WINDOW + number) for number in range(3)]
        received: dict[int, bytes] = {}

        async def one(number: int) -> None:
            received[number] = await echoes(await other.open(ECHO), sent[number])

        async with trio.open_nursery() as nursery:
            for number in range(len(sent)):
                nursery.start_soon(one, number)
        assert [received[number] for number in range(len(sent))] == sent


async def test_close__our_end__what_the_peer_sends_is_read_and_then_its_end() -> None:
    async with pair() as (_, other):
        stream = await other.open(ECHO)
        await stream.write(b"last words")
        await stream.close_write()
        assert await stream.read(100) == b"last words"
        with pytest.raises(StreamEOF):
            await stream.read(100)
        assert stream.muxed_stream.stream_id not in muxer_of(other)._streams  # type: ignore[attr-defined]


async def test_write__cancelled_in_its_midst__other_streams_go_on() -> None:
    async with pair() as (_, other):
        hasty, steady = await other.open(ECHO), await other.open(ECHO)
        for _ in range(20):
            with trio.move_on_after(0.001):
                await hasty.write(os.urandom(8 * INITIAL_WINDOW))
        assert await echoes(steady, b"still here") == b"still here"
        assert other.is_connected()


async def test_write__peer_that_reads_nothing__fails_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muxed_stream, "WINDOW_S", 0.3)
    async with pair() as (_, other):
        muxed = (await other.open(ECHO)).muxed_stream
        assert isinstance(muxed, MuxedStream)
        with pytest.raises(MuxedStreamError, match="no window"):
            await muxed.write(bytes(40 * INITIAL_WINDOW))


async def test_write__after_a_reset_by_the_peer__fails() -> None:
    async with pair() as (node, other):
        parts = node.transport._parts
        assert parts is not None

        async def refuse(stream: INetStream) -> None:
            await stream.reset()

        parts.artifacts._host.set_stream_handler(REFUSED, refuse)
        stream = await other.open(REFUSED)
        with trio.fail_after(3), pytest.raises(STREAM_ERRORS):
            await stream.read(1)
        with pytest.raises(STREAM_ERRORS):
            await stream.write(b"too late")


@pytest.mark.parametrize(
    "frame",
    [
        HEADER.pack(1, DATA, 0, 1, 0),
        HEADER.pack(0, 9, 0, 1, 0),
        HEADER.pack(0, DATA, 0, 1, 2**31),
        HEADER.pack(0, GO_AWAY, 0, 0, 0),
    ],
    ids=["version", "kind", "length", "goodbye"],
)
async def test_receive__frame_that_breaks_the_rules__ends_this_connection_alone(frame: bytes) -> None:
    async with pair() as (node, other), adversary(node, 667) as honest:
        await muxer_of(other)._send(frame)
        await until(lambda: not other.is_connected(), "the end")
        assert await echoes(await honest.open(ECHO), b"still here") == b"still here"


async def test_receive__frame_begun_and_never_ended__ends_the_connection_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(muxer, "FRAME_S", 0.3)
    async with pair() as (_, other):
        await muxer_of(other)._send(HEADER.pack(0, DATA, SYN, 101, 1000) + b"drip")
        await until(lambda: not other.is_connected(), "the end of patience", 3)


async def test_receive__unknown_stream_and_stray_pong__are_let_be() -> None:
    async with pair() as (_, other):
        await muxer_of(other)._send(HEADER.pack(0, DATA, 0, 999, 3) + b"abc" + HEADER.pack(0, PING, ACK, 0, 77))
        assert await echoes(await other.open(ECHO), b"still here") == b"still here"


async def test_opened__number_that_is_not_the_peers_own__is_reset() -> None:
    async with pair() as (_, other):
        ours = muxer_of(other)
        theirs = MuxedStream(2002, ours, ours)
        ours._streams[2002] = theirs
        await ours.send_frame(WINDOW_UPDATE, SYN, 2002, 0)
        with trio.fail_after(3), pytest.raises(MuxedStreamError):
            await theirs.read()
        assert await echoes(await other.open(ECHO), b"still here") == b"still here"


async def test_opened__more_than_anybody_takes__the_rest_is_reset() -> None:
    async with pair() as (_, other):
        ours = muxer_of(other)
        frames = b"".join(HEADER.pack(0, WINDOW_UPDATE, SYN, 1001 + 2 * number, 0) for number in range(400))
        last = MuxedStream(1001 + 2 * 399, ours, ours)
        ours._streams[last.stream_id] = last
        await ours._send(frames)
        with trio.fail_after(3), pytest.raises(MuxedStreamError):
            await last.read()
        assert MAX_UNACCEPTED < 400
        assert await echoes(await other.open(ECHO), b"still here") == b"still here"


async def test_close__socket_full__does_not_wait_for_a_peer_that_reads_nothing() -> None:
    async with pair() as (_, other):
        ours = muxer_of(other)

        async def stuck(task_status: trio.TaskStatus[None]) -> None:
            async with ours._sending:  # as a writer does whose socket takes nothing
                task_status.started()
                await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            await nursery.start(stuck)
            began = trio.current_time()
            with trio.fail_after(3):
                await ours.close()
            assert trio.current_time() - began < 2
            nursery.cancel_scope.cancel()
