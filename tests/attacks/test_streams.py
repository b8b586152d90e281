"""Peers that open streams and never end them, and that send what nobody reads."""

import pytest
import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol

from node.adapters.libp2p import muxer, open_streams
from node.adapters.libp2p.muxed_stream import DATA, INITIAL_WINDOW, SYN, WINDOW_UPDATE, MuxedStream, muxed_of
from node.adapters.libp2p.muxer import HEADER, MAX_BUFFERED_BYTES, OverlayMuxer
from node.adapters.libp2p.open_streams import OpenStreams
from tests.support.adversary import Adversary, varint
from tests.support.overlay import Running, until
from tests.support.siege import siege

IDENTIFY = "/ipfs/id/1.0.0"
DEAF = TProtocol("/test/deaf")
FIRST_NUMBER = 100_001


def _muxer_of(enemy: Adversary) -> OverlayMuxer:
    (connection,) = enemy.host.get_network().get_connections()
    assert isinstance(connection.muxed_conn, OverlayMuxer)
    return connection.muxed_conn


def _books(victim: Running, enemy: Adversary) -> OpenStreams:
    """The streams of the victim's end of their connection."""
    parts = victim.transport._parts
    assert parts is not None
    (connection,) = parts.peers._swarm.get_connections(enemy.host.get_id())
    assert isinstance(connection.muxed_conn, OverlayMuxer)
    return connection.muxed_conn._streams


def _asks(number: int, protocol: str) -> bytes:
    """Frames that open a stream and name its protocol."""
    names = b"".join(varint(len(text) + 1) + text.encode() + b"\n" for text in ("/multistream/1.0.0", protocol))
    return HEADER.pack(0, WINDOW_UPDATE, SYN, number, 0) + HEADER.pack(0, DATA, 0, number, len(names)) + names


async def _ask(enemy: Adversary, first: int, count: int) -> None:
    """Ask who the victim is, again and again, and never end a stream."""
    for number in range(first, first + 2 * count, 2):
        await _muxer_of(enemy)._send(_asks(number, IDENTIFY))
        await trio.sleep(0.002)


async def test_streams__answered_and_never_ended__few_are_kept_and_only_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_streams, "MAX_STREAMS", 40)
    monkeypatch.setattr(open_streams, "HALF_CLOSED_S", 0.5)
    async with siege() as place:
        async with place.enemy() as enemy:
            books = _books(place.victim, enemy)
            await _ask(enemy, FIRST_NUMBER, 80)
            await until(lambda: len(books) >= 40, "as many as there may be", 3)
            await trio.sleep(0.1)
            assert len(books) <= 40
            await trio.sleep(0.5)
            await _ask(enemy, FIRST_NUMBER + 1000, 1)
            await until(lambda: len(books) < 10, "the end of the first", 3)
            assert enemy.is_connected()
        await place.holds()


async def test_streams__handler_that_forgets_to_close__closed_for_it() -> None:
    async with siege() as place, place.enemy() as enemy:
        parts = place.victim.transport._parts
        assert parts is not None
        served: list[MuxedStream] = []

        async def forgets(stream: INetStream) -> None:
            served.append(muxed_of(stream))

        parts.artifacts._host.set_stream_handler(DEAF, forgets)
        stream = await enemy.open(DEAF)
        await until(lambda: served and served[0].is_closed, "our end", 3)
        await stream.close()
        await until(lambda: served[0].stream_id not in _books(place.victim, enemy), "both ends", 3)


async def _deaf_streams(victim: Running, enemy: Adversary, count: int, done: trio.Event) -> list[MuxedStream]:
    """Streams to a handler that reads nothing."""
    parts = victim.transport._parts
    assert parts is not None

    async def deaf(_stream: INetStream) -> None:
        await done.wait()

    parts.artifacts._host.set_stream_handler(DEAF, deaf)
    return [muxed_of(await enemy.open(DEAF)) for _ in range(count)]


async def test_yamux__one_stream_beyond_its_window__connection_cut_at_the_first_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(muxer, "MAX_BUFFERED_BYTES", 1 << 40)  # the window alone holds it
    async with siege() as place:
        done = trio.Event()
        async with place.enemy() as enemy:
            (stream,) = await _deaf_streams(place.victim, enemy, 1, done)
            room = stream.send_window
            await stream.write(bytes(room))
            books = _books(place.victim, enemy)
            await until(lambda: books.unread() == room, "a full window")
            assert enemy.is_connected()
            stream.send_window = 1
            await stream.write(b"x")
            await until(lambda: not enemy.is_connected(), "the cut", 3)
        done.set()
        await place.holds()


async def test_yamux__many_streams_within_their_windows__connection_cut_beyond_four_mebibytes() -> None:
    async with siege() as place:
        done = trio.Event()
        async with place.enemy() as enemy:
            count = MAX_BUFFERED_BYTES // INITIAL_WINDOW
            *full, spare = await _deaf_streams(place.victim, enemy, count + 1, done)
            books = _books(place.victim, enemy)
            for stream in full:
                await stream.write(bytes(stream.send_window))
            left = MAX_BUFFERED_BYTES - count * spare.send_window  # names of protocols took a little of each window
            assert 0 < left < spare.send_window
            await spare.write(bytes(left))
            await until(lambda: books.unread() == MAX_BUFFERED_BYTES, "all that may wait")
            assert enemy.is_connected()
            await spare.write(b"x")
            await until(lambda: not enemy.is_connected(), "the cut", 3)
        done.set()
        await place.holds()


async def test_yamux__circuits_that_stand_still__have_room_of_their_own_and_no_more_than_their_windows() -> None:
    async with siege() as place:
        done = trio.Event()
        async with place.enemy() as enemy:
            count = MAX_BUFFERED_BYTES // INITIAL_WINDOW + 4
            streams = await _deaf_streams(place.victim, enemy, count, done)
            books = _books(place.victim, enemy)
            for stream in list(books.values()):
                assert isinstance(stream.muxed_conn, OverlayMuxer)
                stream.muxed_conn.carry(stream)
            for stream in streams:
                await stream.write(bytes(stream.send_window))
            await until(lambda: books.unread() > MAX_BUFFERED_BYTES + 2 * INITIAL_WINDOW, "more than without circuits")
            assert enemy.is_connected()
            await place.holds()
            for stream in streams[:-1]:
                await stream.reset()
            await trio.sleep(0.1)
            assert enemy.is_connected()  # they are over, but somebody may still read them
            streams[-1].send_window = 1
            await streams[-1].write(b"x")
            await until(lambda: not enemy.is_connected(), "the cut beyond a window", 3)
        done.set()
        await place.holds()
