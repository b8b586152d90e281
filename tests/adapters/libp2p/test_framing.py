"""Frames and outboxes, without a network."""

import itertools

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.utils.varint import encode_varint_prefixed

from node.adapters.libp2p import framing
from node.adapters.libp2p.framing import LengthFrames, Outbox, VarintFrames, frame, varint_frame
from node.adapters.libp2p.muxed_stream import INITIAL_WINDOW, MAX_BODY, MuxedStream
from protocol.effects import Lane
from protocol.errors import InvalidMessage


class Pieces:
    """A stream that gives what it is told to, then ends, or waits for ever."""

    def __init__(self, pieces: list[bytes], ends: bool = True) -> None:
        self._pieces = list(pieces)
        self._ends = ends

    async def read(self, _count: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._pieces:
            return self._pieces.pop(0)
        if not self._ends:
            await trio.sleep_forever()
        return b""


class Connection:
    """The connection of a stream; says what was sent on it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.has_room = True

    def send_frame_now(self, _kind: int, _flags: int, _stream: int, _length: int, body: bytes = b"") -> bool:
        if self.has_room:
            self.sent.append(body)
        return self.has_room


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places) if end > start]


async def _all(frames: LengthFrames | VarintFrames) -> list[bytes]:
    out = []
    try:
        while True:
            out.append(await frames.read())
    except EOFError:
        return out


@given(
    bodies=st.lists(st.binary(min_size=1, max_size=300), max_size=8), cuts=st.lists(st.integers(0, 4000), max_size=20)
)
def test_read__any_frames_in_any_pieces__come_out_as_they_went_in(bodies: list[bytes], cuts: list[int]) -> None:
    lengths = _cut(b"".join(map(frame, bodies)), cuts)
    varints = _cut(b"".join(map(varint_frame, bodies)), cuts)
    assert trio.run(_all, LengthFrames(Pieces(lengths), 300)) == bodies
    assert trio.run(_all, VarintFrames(Pieces(varints), 300)) == bodies
    assert list(map(varint_frame, bodies)) == list(map(encode_varint_prefixed, bodies))


@given(data=st.binary(max_size=200))
def test_read__any_bytes__frames_or_a_named_error(data: bytes) -> None:
    for kind in (LengthFrames, VarintFrames):
        rule = "none"
        try:
            trio.run(_all, kind(Pieces([data] if data else []), 100))
        except InvalidMessage as error:
            rule = error.rule
        assert rule in {"none", "stream.oversize", "stream.malformed"}


@pytest.mark.parametrize("head", [(301).to_bytes(4, "big"), b"\xff\xff\xff\xff"])
async def test_read__length_over_the_limit__refused_before_the_body(head: bytes) -> None:
    with pytest.raises(InvalidMessage, match=r"stream\.oversize"):
        await LengthFrames(Pieces([head], ends=False), 300).read()


async def test_read__varint_without_end__refused() -> None:
    with pytest.raises(InvalidMessage, match=r"stream\.oversize"):
        await VarintFrames(Pieces([b"\xff" * 12], ends=False), 300).read()


async def test_read__frame_never_completed__refused_in_time(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(InvalidMessage, match=r"stream\.slow"):
        await LengthFrames(Pieces([frame(b"hello")[:-1]], ends=False), 300).read()
    assert trio.current_time() - began == pytest.approx(framing.FRAME_S)


async def test_read__nothing_yet__waits_as_long_as_it_takes(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(10 * framing.FRAME_S) as patience:
        await LengthFrames(Pieces([], ends=False), 300).read()
    assert patience.cancelled_caught


async def test_take__both_lanes__priority_first_all_in_one() -> None:
    outbox = Outbox()
    for data, lane in ((b"a", Lane.NORMAL), (b"b", Lane.PRIORITY), (b"c", Lane.NORMAL)):
        assert outbox.put(frame(data), lane)
    assert await outbox.take() == frame(b"b") + frame(b"a") + frame(b"c")
    with trio.move_on_after(0) as patience:
        await outbox.take()
    assert patience.cancelled_caught


async def test_put__full__refused_until_something_is_taken() -> None:
    outbox = Outbox()
    while outbox.put(bytes(60_000), Lane.NORMAL):
        pass
    assert not outbox.put(bytes(60_000), Lane.PRIORITY)
    assert len(await outbox.take()) >= framing.MAX_BATCH_BYTES
    assert outbox.put(bytes(60_000), Lane.PRIORITY)
    frames = Outbox()
    assert [frames.put(b"x", Lane.NORMAL) for _ in range(framing.MAX_QUEUED_FRAMES + 1)].count(False) == 1


async def test_put__stream_with_room__sent_at_once_and_nothing_overtakes_what_waits() -> None:
    connection = Connection()
    stream = MuxedStream(1, connection, connection)  # type: ignore[arg-type]
    outbox = Outbox(stream)
    assert outbox.put(b"first", Lane.NORMAL)
    connection.has_room = False
    assert outbox.put(b"second", Lane.NORMAL)
    connection.has_room = True
    assert outbox.put(b"third", Lane.PRIORITY)
    assert await outbox.take() == b"thirdsecond"
    assert outbox.put(b"fourth", Lane.PRIORITY)  # while what was taken is being written
    assert connection.sent == [b"first"]
    assert await outbox.take() == b"fourth"


async def test_write_now__more_than_window_or_frame__nothing_is_sent() -> None:
    connection = Connection()
    stream = MuxedStream(1, connection, connection)  # type: ignore[arg-type]
    assert not stream.write_now(bytes(MAX_BODY + 1))
    while stream.write_now(bytes(MAX_BODY)):
        pass
    assert sum(map(len, connection.sent)) + stream.send_window == INITIAL_WINDOW
    assert not stream.write_now(bytes(stream.send_window + 1))
    assert stream.write_now(bytes(stream.send_window))
    assert stream.send_window == 0
