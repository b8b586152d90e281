"""Artifacts: on streams of their own, for each a header frame and then exactly the bytes that it announces.

A stream is kept for the next artifact: opening one costs more than a small picture on it. A small one is not answered:
what comes of it the cores tell each other, and the next may follow at once. A body is read only when the core awaits
it, save a small one that others may stand behind, and never slower than a floor; so what is not awaited costs little,
and who brings nothing frees its place within two seconds. A body that may not fit the first window of its stream is
sent only when the receiver says that it has a place: else it would stand with a full window, which ends it after five
seconds.
"""

import hashlib
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, final

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from node.adapters.libp2p.budget import Budgets
from node.adapters.libp2p.dialling import Dialler
from node.adapters.libp2p.framing import STREAM_ERRORS, LengthFrames, frame
from node.adapters.libp2p.identity import from_libp2p, to_libp2p
from node.adapters.libp2p.muxed_stream import MuxedStream, muxed_of
from node.adapters.libp2p.peers import Peers
from node.ports import EventSink, Gatekeeper, Journal
from protocol.effects import Offence
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.events import ArtifactReceived
from protocol.notes import NoteName
from protocol.params import MAX_ARTIFACT_BYTES, MAX_MESSAGE_BYTES
from protocol.stake.standing import WORKERS
from protocol.units import Digest, PeerId, TaskId
from protocol.wire.codec import ARTIFACT_PLACE, decode, encode
from protocol.wire.messages import ARTIFACT_PROTOCOL, ArtifactHeader

ARTIFACT: Final = TProtocol(ARTIFACT_PROTOCOL)
HEADER_S: Final = 5.0
"""The header must be here within this (s) after the stream is open; it comes in the same packet from the honest."""
STEP_BYTES: Final = 64 * 1024
"""A body of at most so many bytes is small."""
STEP_S: Final = 2.0
"""Whoever holds a place must bring ``STEP_BYTES``, or the rest, within this (s): 256 kbit/s, which a video call needs
twice. So a place is never held for longer than this without bytes."""
MAX_STREAMS_PER_PEER: Final = 8
"""Streams that one peer may have towards us at once, twice what it sends."""
MAX_RECEIVING_PER_PEER: Final = 2
"""Bodies read from one peer at once: nobody takes all places."""
MAX_RECEIVING: Final = 16
"""Bodies read at once from all peers: 384 MiB at most; the rest wait, unread and with no clock running here."""
GO: Final = b"\x01"
"""What the receiver of a large body says when it has a place for it."""
TAKEN: Final = b"\x02"
"""What the receiver says when it has a body that is not small, whole and right."""
KEPT_S: Final = 20.0
"""How long (s) a sender keeps a stream that is idle."""
IDLE_S: Final = 30.0
"""How long (s) a receiver waits for the next header: longer than senders keep a stream, so that none finds it gone."""
UNEXPECTED_PER_MINUTE: Final = 32
"""Artifacts that nobody awaits any more: an honest sender may be late for each of a whole batch; more is noise."""
MAX_SENDING_PER_PEER: Final = 4
"""Artifacts that we send one peer at once; the round trips of some overlap with the bytes of others."""
MAX_LARGE_PER_PEER: Final = 2
"""Of these, so many may be larger than a window: as many as the peer reads, so that none stands with a full window."""
LARGE_BYTES: Final = 192 * 1024
"""What surely fits the first window of a stream (256 KiB), header and all; a larger body waits for ``GO``."""
MAX_WAITING_PER_PEER: Final = 8
"""Artifacts that wait behind these; the next is dropped and noted. Cores ask again for what they miss."""
MAX_SENDING: Final = 128
"""Artifacts in memory to be sent to all peers: 3 GiB of the largest, 200 MiB of usual ones; ten peers that never read
do not fill it."""
PLACE_S: Final = 60.0
"""A receiver that has no place for this long (s) is left; cores send again what is not acknowledged. A body that takes
as long as it may, at a usual size of 1.5 MB, has left its place by then."""
REACH_S: Final = 10.0
"""Dial and negotiate within this (s)."""
WRITE_S: Final = 10.0
"""A reader that takes no bytes for this long (s) is given up."""
SEND_S: Final = 120.0
"""The whole of an artifact, its end confirmed, must be over within this (s): 24 MiB at 1.7 Mbit/s."""

_Key = tuple[TaskId, int, Digest]
"""A task may begin from two pictures, which go out together."""


@asynccontextmanager
async def _place(limiter: trio.CapacityLimiter) -> AsyncGenerator[None]:
    """Hold one of the places; where one is free, that costs no turn of the event loop."""
    try:
        limiter.acquire_nowait()
    except trio.WouldBlock:
        await limiter.acquire()
    try:
        yield
    finally:
        limiter.release()


@dataclass(eq=False)
class _Outgoing:
    """What goes to one peer: bounded in number, and each artifact once at a time."""

    keys: set[_Key] = field(default_factory=set)
    lane: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(MAX_SENDING_PER_PEER))
    large: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(MAX_LARGE_PER_PEER))


@dataclass(eq=False)
class _Incoming:
    """What comes from one peer."""

    streams: int = 0
    places: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(MAX_RECEIVING_PER_PEER))


@final
class Artifacts:
    """Sends and receives artifacts."""

    def __init__(
        self,
        host: BasicHost,
        peers: Peers,
        dialler: Dialler,
        gatekeeper: Gatekeeper,
        sink: EventSink,
        journal: Journal,
        nursery: trio.Nursery,
    ) -> None:
        self._host = host
        self._peers = peers
        self._dialler = dialler
        self._gatekeeper = gatekeeper
        self._sink = sink
        self._journal = journal
        self._nursery = nursery
        self._receiving = trio.CapacityLimiter(MAX_RECEIVING)
        self._from: defaultdict[PeerId, _Incoming] = defaultdict(_Incoming)
        self._to: defaultdict[PeerId, _Outgoing] = defaultdict(_Outgoing)
        self._sending = 0
        self._kept: dict[PeerId, list[tuple[float, INetStream]]] = {}
        """Streams for the next artifact to a peer, and until when each is good."""
        self._unexpected = Budgets(UNEXPECTED_PER_MINUTE / 60, UNEXPECTED_PER_MINUTE)
        host.set_stream_handler(ARTIFACT, self.accept)

    # Sending.

    def send(self, peer: PeerId, task: TaskId, attempt: int, digest: Digest, data: bytes) -> None:
        """Send once; nothing happens while the same is on its way to the peer already.

        What is small goes at once where a stream is kept, with what else is said in the same turn.
        """
        if not 0 < len(data) <= MAX_ARTIFACT_BYTES:
            self._dropped(peer, task, "artifact_oversize" if data else "artifact_empty")
            return
        header = ArtifactHeader(task=task, attempt=attempt, digest=digest, size=len(data))
        if self._send_now(peer, header, data):
            return
        outgoing, key = self._to[peer], (task, attempt, digest)
        if key in outgoing.keys:
            self._dropped(peer, task, "artifact_on_its_way")
        elif len(outgoing.keys) >= MAX_SENDING_PER_PEER + MAX_WAITING_PER_PEER or self._sending >= MAX_SENDING:
            self._dropped(peer, task, "artifact_queue_full")
        else:
            outgoing.keys.add(key)
            self._sending += 1
            self._nursery.start_soon(self._send, peer, header, data)
        if not outgoing.keys:
            del self._to[peer]

    def _send_now(self, peer: PeerId, header: ArtifactHeader, data: bytes) -> bool:
        """Write a small artifact to a kept stream, if one has room for it; say whether."""
        if len(data) > STEP_BYTES or (stream := self._kept_to(peer)) is None:
            return False
        self._keep(peer, stream)
        return muxed_of(stream).write_now(frame(encode(header)) + data)

    async def _send(self, peer: PeerId, header: ArtifactHeader, data: bytes) -> None:
        """Send an artifact to its end."""
        outgoing, key = self._to[peer], (header.task, header.attempt, header.digest)
        try:
            async with AsyncExitStack() as lanes:
                if len(data) > LARGE_BYTES:
                    await lanes.enter_async_context(_place(outgoing.large))
                await lanes.enter_async_context(_place(outgoing.lane))
                with trio.fail_after(SEND_S):
                    await self._write(peer, await self._stream_to(peer), header, data)
        except (*STREAM_ERRORS, trio.TooSlowError) as error:
            self._dropped(peer, header.task, type(error).__name__)
        finally:
            self._sending -= 1
            outgoing.keys.discard(key)
            if not outgoing.keys:
                del self._to[peer]

    async def _stream_to(self, peer: PeerId) -> INetStream:
        """Give a kept stream to a peer if there is one, else a new one."""
        kept = self._kept_to(peer)
        if kept is not None:
            return kept
        with trio.fail_after(REACH_S):
            await self._dialler.reach(peer)
            return await self._host.new_stream(to_libp2p(peer), [ARTIFACT])

    def _keep(self, peer: PeerId, stream: INetStream) -> None:
        """Keep a stream for the next artifact to a peer."""
        self._kept.setdefault(peer, []).append((trio.current_time() + KEPT_S, stream))

    def _kept_to(self, peer: PeerId) -> INetStream | None:
        """Take a kept stream to a peer, if there is one; forget those that nobody has used for long."""
        now = trio.current_time()
        for other, streams in list(self._kept.items()):
            good = [(until, kept) for until, kept in streams if until > now and not muxed_of(kept).is_closed]
            for until, kept in streams:
                if until <= now:
                    self._nursery.start_soon(self._reset, kept)
            self._kept[other] = good
            if not good:
                del self._kept[other]
        return self._kept[peer].pop()[1] if self._kept.get(peer) else None

    async def _write(self, peer: PeerId, stream: INetStream, header: ArtifactHeader, data: bytes) -> None:
        """Write it all, and wait for the receiver's word that it has it unless it is small; then the stream is kept."""
        is_taken = False
        muxed = muxed_of(stream)
        try:
            head = frame(encode(header))
            await muxed.write_within(WRITE_S, head if len(data) > LARGE_BYTES else head + data[:STEP_BYTES])
            if len(data) > LARGE_BYTES:
                with trio.fail_after(PLACE_S):
                    await self._hear(muxed, GO)
            for start in range(0 if len(data) > LARGE_BYTES else STEP_BYTES, len(data), STEP_BYTES):
                await muxed.write_within(WRITE_S, data[start : start + STEP_BYTES])
            if len(data) > STEP_BYTES:
                await self._hear(muxed, TAKEN)
            is_taken = True
        finally:
            if is_taken:
                self._keep(peer, stream)
            else:
                await self._reset(stream)

    async def _reset(self, stream: INetStream) -> None:
        with trio.move_on_after(0.5, shield=True):
            await stream.reset()

    async def _hear(self, stream: MuxedStream, word: bytes) -> None:
        """Wait for a word of the receiver.

        Raises:
            EOFError: It closed the stream, or said something else: it does not want the body.
        """
        try:
            answer = await stream.read(1)
        except MuxedStreamEOF as error:
            raise EOFError("closed by the receiver") from error
        if answer != word:
            raise EOFError("not wanted")

    def _dropped(self, peer: PeerId, task: TaskId, reason: str) -> None:
        self._journal.note(NoteName.MESSAGE_DROPPED, task, reason=reason, peer=peer)

    # Receiving.

    async def accept(self, stream: INetStream) -> None:
        """Take artifacts one after another; returns when the sender has no more, or one is refused."""
        peer = from_libp2p(stream.muxed_conn.peer_id)
        incoming = self._from[peer]
        incoming.streams += 1
        try:
            if self._peers.standing(peer) not in WORKERS:
                self._peers.judge(peer, Offence.MINOR, "artifact.unregistered")
            elif incoming.streams > MAX_STREAMS_PER_PEER:
                self._peers.judge(peer, Offence.MINOR, "artifact.too_many")
            else:
                await self._take_all(muxed_of(stream), peer, incoming)
        finally:
            incoming.streams -= 1
            if not incoming.streams:
                del self._from[peer]
        await self._reset(stream)

    async def _take_all(self, stream: MuxedStream, peer: PeerId, incoming: _Incoming) -> None:
        frames = LengthFrames(stream, MAX_MESSAGE_BYTES)
        try:
            with trio.fail_after(HEADER_S):
                header = await frames.read()
            while True:
                if not await self._take(stream, frames, decode(header, ARTIFACT_PLACE), peer, incoming):
                    return
                with trio.move_on_after(IDLE_S) as idle:
                    header = await frames.read()
                if idle.cancelled_caught or self._peers.standing(peer) not in WORKERS:
                    return
        except trio.TooSlowError:
            self._peers.judge(peer, Offence.MINOR, "artifact.slow")
        except InvalidMessage as error:
            self._peers.judge(peer, Offence.GRAVE, error.rule)
        except IgnoredMessage as error:
            self._journal.note(NoteName.MESSAGE_IGNORED, rule=error.rule, peer=peer)
        except STREAM_ERRORS:
            return

    async def _take(
        self, stream: MuxedStream, frames: LengthFrames, header: ArtifactHeader, peer: PeerId, incoming: _Incoming
    ) -> bool:
        """Take one artifact, or pass over a small one that nobody awaits; say whether another may follow."""
        is_small = header.size <= STEP_BYTES
        try:
            received = await self._read(stream, frames, header, peer, incoming)
        except IgnoredMessage as error:
            self._journal.note(NoteName.MESSAGE_IGNORED, rule=error.rule, peer=peer)
            if is_small:  # others may stand behind it
                with trio.move_on_after(STEP_S):
                    await frames.read_exactly(header.size)
                    return True
            return False
        await self._sink.post(received)
        if not is_small:
            await stream.write(TAKEN)
        return True

    async def _read(
        self, stream: MuxedStream, frames: LengthFrames, header: ArtifactHeader, peer: PeerId, incoming: _Incoming
    ) -> ArtifactReceived:
        self._check_expected(peer, header)
        async with _place(incoming.places), _place(self._receiving):
            self._check_expected(peer, header)  # again: while it waited, another stream may have brought it
            if header.size > LARGE_BYTES:
                await stream.write_within(STEP_S, GO)
            body = bytearray()
            while len(body) < header.size:
                with trio.fail_after(STEP_S):
                    body += await frames.read_exactly(min(STEP_BYTES, header.size - len(body)))
        data = bytes(body)
        if hashlib.sha256(data).digest() != header.digest:
            raise InvalidMessage("artifact.digest", "the bytes are not those of the header")
        return ArtifactReceived(peer, header.task, header.attempt, header.digest, data)

    def _check_expected(self, peer: PeerId, header: ArtifactHeader) -> None:
        """Let pass what is awaited from this peer now.

        Raises:
            IgnoredMessage: ``artifact.unexpected``. It is held against the peer only when it goes on and on: an honest
                sender may be late, or not know that the task has ended.
        """
        if self._gatekeeper.expects_artifact(peer, header.task, header.attempt, header.size):
            return
        if not self._unexpected.of(peer).take():
            self._peers.judge(peer, Offence.MINOR, "artifact.unexpected")
        raise IgnoredMessage("artifact.unexpected")
