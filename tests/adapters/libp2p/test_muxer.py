"""Many streams over one connection, between real nodes and against one that breaks the rules."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from libp2p.abc import INetStream, ISecureConn
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as new_noise_key
from libp2p.custom_types import TProtocol
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.stream.exceptions import StreamEOF, StreamReset
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamError, MuxedStreamReset
from trio.socket import socketpair

from node.adapters.libp2p import muxed_stream, muxer, secure_bytes
from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.muxed_stream import ACK, DATA, FIN, INITIAL_WINDOW, SYN, WINDOW_UPDATE, MuxedStream, muxed_of
from node.adapters.libp2p.muxer import GO_AWAY, HEADER, MAX_BUFFERED_BYTES, MAX_UNACCEPTED, PING, OverlayMuxer
from tests.support.adversary import Adversary, adversary
from tests.support.overlay import Running, overlay, until
from tests.support.patience import PATIENCE_S, stopwatch

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
    async with pair() as (node, other):
        parts = node.transport._parts
        assert parts is not None
        done = trio.Event()

        async def deaf(stream: INetStream) -> None:
            await done.wait()
            await stream.reset()

        parts.artifacts._host.set_stream_handler(REFUSED, deaf)
        muxed = (await other.open(REFUSED)).muxed_stream
        assert isinstance(muxed, MuxedStream)
        with pytest.raises(MuxedStreamError, match="no window"):
            await muxed.write(bytes(40 * INITIAL_WINDOW))
        done.set()


async def test_write__given_up_or_cancelled_after_a_part__the_peer_does_not_wait_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(muxed_stream, "WINDOW_S", 0.3)
    async with pair() as (node, other):
        parts = node.transport._parts
        assert parts is not None
        ends: list[BaseException] = []

        async def late(stream: INetStream) -> None:
            await trio.sleep(0.6)
            with pytest.raises(STREAM_ERRORS) as end:
                while True:
                    await stream.read(100_000)
            ends.append(end.value)

        parts.artifacts._host.set_stream_handler(REFUSED, late)
        patient, hasty = await other.open(REFUSED), await other.open(REFUSED)
        with pytest.raises(STREAM_ERRORS):
            await patient.write(bytes(2 * INITIAL_WINDOW))
        with trio.move_on_after(0.1):
            await hasty.write(bytes(2 * INITIAL_WINDOW))
        await until(lambda: len(ends) == 2, "both ends", 3)
        assert {type(end) for end in ends} == {StreamReset}
        with pytest.raises(STREAM_ERRORS):
            await hasty.write(b"and now?")


async def test_reset__our_own__a_reader_does_not_take_it_for_the_end() -> None:
    async with pair() as (_, other):
        muxed = (await other.open(ECHO)).muxed_stream
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                with pytest.raises(MuxedStreamReset):
                    await muxed.read()

            nursery.start_soon(read)
            await trio.sleep(0.05)
            await muxed.reset()


async def test_write__after_a_reset_by_the_peer__fails() -> None:
    async with pair() as (node, other):
        parts = node.transport._parts
        assert parts is not None

        async def refuse(stream: INetStream) -> None:
            await stream.reset()

        parts.artifacts._host.set_stream_handler(REFUSED, refuse)
        stream = await other.open(REFUSED)
        with trio.fail_after(PATIENCE_S), pytest.raises(STREAM_ERRORS):
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
        with trio.fail_after(PATIENCE_S), pytest.raises(MuxedStreamError):
            await theirs.read()
        assert await echoes(await other.open(ECHO), b"still here") == b"still here"


async def test_opened__more_than_anybody_takes__the_rest_is_reset() -> None:
    async with pair() as (_, other):
        ours = muxer_of(other)
        frames = b"".join(HEADER.pack(0, WINDOW_UPDATE, SYN, 1001 + 2 * number, 0) for number in range(400))
        last = MuxedStream(1001 + 2 * 399, ours, ours)
        ours._streams[last.stream_id] = last
        await ours._send(frames)
        with trio.fail_after(PATIENCE_S), pytest.raises(MuxedStreamError):
            await last.read()
        assert MAX_UNACCEPTED < 400
        assert await echoes(await other.open(ECHO), b"still here") == b"still here"


@asynccontextmanager
async def deaf_peer() -> AsyncIterator[OverlayMuxer]:
    """A connection to a peer that reads nothing after the handshake."""
    keys = [create_new_key_pair(bytes(31) + bytes([number])) for number in (1, 2)]
    ends = [RawConnection(TrioTCPStream(trio.SocketStream(end)), bool(own)) for own, end in enumerate(socketpair())]
    sessions: dict[int, ISecureConn] = {}

    async def shake(own: int) -> None:
        noise = NoiseTransport(keys[own], noise_privkey=new_noise_key().private_key)
        if own:
            sessions[own] = await noise.secure_outbound(ends[own], ID.from_pubkey(keys[0].public_key))
        else:
            sessions[own] = await noise.secure_inbound(ends[own])

    async with trio.open_nursery() as nursery:
        for own in range(2):
            nursery.start_soon(shake, own)
    connection = OverlayMuxer(sessions[1], ID.from_pubkey(keys[0].public_key))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.start)
        await connection.event_started.wait()
        yield connection
        await connection.abort()
        await ends[0].close()


async def fill(connection: OverlayMuxer) -> None:
    """Send until neither the socket nor we have room for more."""
    with trio.move_on_after(0.3):
        while True:
            await connection.send_frame(DATA, 0, 1, 60_000, bytes(60_000))


async def test_close__socket_full__does_not_wait_for_a_peer_that_reads_nothing() -> None:
    async with deaf_peer() as ours:
        await fill(ours)
        with stopwatch() as watch, trio.fail_after(PATIENCE_S):
            await ours.close()
            assert watch.seconds < 2


async def test_send_frame__socket_full_for_too_long__is_the_end_of_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secure_bytes, "SEND_S", 0.5)
    async with deaf_peer() as ours:
        await fill(ours)
        with trio.fail_after(PATIENCE_S), pytest.raises(MuxedConnUnavailable):
            while True:
                await ours.send_frame(DATA, 0, 1, 60_000, bytes(60_000))


async def test_send_frame__many_at_once__go_out_together_in_order() -> None:
    async with pair() as (_, other):
        streams = [await other.open(ECHO) for _ in range(5)]
        ours = muxer_of(other)
        sent: list[int] = []

        async def counted(frames: bytearray) -> None:
            sent.append(len(frames))
            await write(frames)

        write, ours._outgoing._write = ours._outgoing._write, counted
        async with trio.open_nursery() as nursery:
            for number, stream in enumerate(streams):
                nursery.start_soon(stream.muxed_stream.write, bytes([number]))  # type: ignore[attr-defined]
        await until(lambda: bool(sent), "the frames")
        assert sent == [5 * (HEADER.size + 1)]
        assert [await stream.read(1) for stream in streams] == [bytes([number]) for number in range(5)]


async def test_reset__by_the_peer_with_bytes_unread__they_count_as_long_as_somebody_holds_them() -> None:
    async with pair() as (node, other):
        parts = node.transport._parts
        assert parts is not None
        (connection,) = parts.peers._swarm.get_connections(other.host.get_id())
        books = connection.muxed_conn._streams  # type: ignore[attr-defined]
        done, size = trio.Event(), INITIAL_WINDOW - 1000  # some of the window went for the protocol's name

        async def busy(stream: INetStream) -> None:
            del stream
            await done.wait()

        parts.artifacts._host.set_stream_handler(REFUSED, busy)
        for number in range(MAX_BUFFERED_BYTES // size + 1):
            with suppress(*STREAM_ERRORS):
                stream = await other.open(REFUSED)
                await stream.write(bytes(size))
                await stream.reset()
            await trio.sleep(0.02)
            if number == 2:
                await until(lambda: books.unread() == 3 * size, "three windows")
                assert books.buffered == 0
        await until(lambda: not other.is_connected(), "the cut", 3)
        done.set()


async def test_freed__number_used_again_while_the_first_stream_is_read__bytes_are_counted_once() -> None:
    async with pair() as (node, other):
        parts = node.transport._parts
        assert parts is not None
        (connection,) = parts.peers._swarm.get_connections(other.host.get_id())
        books = connection.muxed_conn._streams  # type: ignore[attr-defined]
        read = trio.Event()

        async def late(stream: INetStream) -> None:
            muxed = muxed_of(stream)
            await muxed.close()
            await until(lambda: books.get(muxed.stream_id) is not muxed, "the number used again", 3)
            while not muxed._receive_closed or muxed.unread():
                await muxed.read()
            await muxed.reset()
            read.set()

        parts.artifacts._host.set_stream_handler(REFUSED, late)
        stream = muxed_of(await other.open(REFUSED))
        number, body = stream.stream_id, bytes(60_000)
        await muxer_of(other)._send(
            HEADER.pack(0, DATA, 0, number, len(body)) + body
            + HEADER.pack(0, WINDOW_UPDATE, FIN, number, 0)
            + HEADER.pack(0, WINDOW_UPDATE, SYN, number, 0)
        )  # fmt: skip
        with trio.fail_after(PATIENCE_S):
            await read.wait()
        assert books.buffered == sum(each.unread() for each in books.values()) == 0
        assert number in books, "it is the second stream's"
