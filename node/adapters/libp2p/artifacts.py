"""Artifacts: one stream each, a header frame and then exactly the bytes that it announces.

A body is read only when the core awaits it, and never slower than a floor; so what is not awaited costs a header, and
who brings nothing frees its place within two seconds. A body that may not fit the first window of its stream is sent
only when the receiver says that it has a place: else it would stand with a full window, which upstream gives up after
five seconds.
"""

import hashlib
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, cast, final

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.network.stream.net_stream import NetStream

from node.adapters.libp2p.budget import Budgets
from node.adapters.libp2p.dialling import Dialler
from node.adapters.libp2p.framing import STREAM_ERRORS, LengthFrames, frame
from node.adapters.libp2p.identity import from_libp2p, to_libp2p
from node.adapters.libp2p.peers import Peers
from node.adapters.libp2p.work import WORKERS
from node.ports import EventSink, Gatekeeper, Journal
from protocol.effects import Offence
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.events import ArtifactReceived
from protocol.notes import NoteName
from protocol.params import MAX_ARTIFACT_BYTES, MAX_MESSAGE_BYTES
from protocol.units import Digest, PeerId, TaskId
from protocol.wire.codec import ARTIFACT_PLACE, decode, encode
from protocol.wire.messages import ARTIFACT_PROTOCOL, ArtifactHeader

ARTIFACT: Final = TProtocol(ARTIFACT_PROTOCOL)
HEADER_S: Final = 5.0
"""The header must be here within this (s) after the stream is open; it comes in the same packet from the honest."""
STEP_BYTES: Final = 64 * 1024
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

_Key = tuple[TaskId, int]


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
        self._unexpected = Budgets(UNEXPECTED_PER_MINUTE / 60, UNEXPECTED_PER_MINUTE)
        host.set_stream_handler(ARTIFACT, self.accept)

    # Sending.

    def send(self, peer: PeerId, task: TaskId, attempt: int, digest: Digest, data: bytes) -> None:
        """Send once, in a task of its own; nothing happens while the same is on its way to the peer already."""
        if not 0 < len(data) <= MAX_ARTIFACT_BYTES:
            self._dropped(peer, task, "artifact_oversize" if data else "artifact_empty")
            return
        outgoing, key = self._to[peer], (task, attempt)
        if key in outgoing.keys:
            self._dropped(peer, task, "artifact_on_its_way")
        elif len(outgoing.keys) >= MAX_SENDING_PER_PEER + MAX_WAITING_PER_PEER or self._sending >= MAX_SENDING:
            self._dropped(peer, task, "artifact_queue_full")
        else:
            outgoing.keys.add(key)
            self._sending += 1
            header = ArtifactHeader(task=task, attempt=attempt, digest=digest, size=len(data))
            self._nursery.start_soon(self._send, peer, header, data)
        if not outgoing.keys:
            del self._to[peer]

    async def _send(self, peer: PeerId, header: ArtifactHeader, data: bytes) -> None:
        outgoing, key = self._to[peer], (header.task, header.attempt)
        try:
            async with AsyncExitStack() as lanes:
                if len(data) > LARGE_BYTES:
                    await lanes.enter_async_context(outgoing.large)
                await lanes.enter_async_context(outgoing.lane)
                with trio.fail_after(SEND_S):
                    with trio.fail_after(REACH_S):
                        await self._dialler.reach(peer)
                        stream = await self._host.new_stream(to_libp2p(peer), [ARTIFACT])
                    await self._write(stream, header, data)
        except (*STREAM_ERRORS, trio.TooSlowError) as error:
            self._dropped(peer, header.task, type(error).__name__)
        finally:
            self._sending -= 1
            outgoing.keys.discard(key)
            if not outgoing.keys:
                del self._to[peer]

    async def _write(self, stream: INetStream, header: ArtifactHeader, data: bytes) -> None:
        """Write it all and wait for the end: closed when it was taken, reset when it was not."""
        try:
            with trio.fail_after(WRITE_S):
                await stream.write(frame(encode(header)))
            if len(data) > LARGE_BYTES:
                await self._await_place(stream)
            for start in range(0, len(data), STEP_BYTES):
                with trio.fail_after(WRITE_S):
                    await stream.write(data[start : start + STEP_BYTES])
            await cast("NetStream", stream).close_write()
            await stream.read(1)
        except StreamEOF:
            return
        finally:
            with trio.move_on_after(0.5, shield=True):
                await stream.reset()

    async def _await_place(self, stream: INetStream) -> None:
        """Wait until the receiver has a place for a large body.

        Raises:
            EOFError: It closed the stream, or said something else: it does not want the body.
            trio.TooSlowError: It had none for ``PLACE_S``.
        """
        with trio.fail_after(PLACE_S):
            try:
                answer = await stream.read(1)
            except StreamEOF as error:
                raise EOFError("closed before the body") from error
        if answer != GO:
            raise EOFError("not wanted")

    def _dropped(self, peer: PeerId, task: TaskId, reason: str) -> None:
        self._journal.note(NoteName.MESSAGE_DROPPED, task, reason=reason, peer=peer)

    # Receiving.

    async def accept(self, stream: INetStream) -> None:
        """Take one artifact; returns when it is posted or refused."""
        peer = from_libp2p(stream.muxed_conn.peer_id)
        incoming = self._from[peer]
        incoming.streams += 1
        taken = False
        try:
            if self._peers.standing(peer) not in WORKERS:
                self._peers.judge(peer, Offence.MINOR, "artifact.unregistered")
            elif incoming.streams > MAX_STREAMS_PER_PEER:
                self._peers.judge(peer, Offence.MINOR, "artifact.too_many")
            else:
                taken = await self._take(stream, peer, incoming)
        finally:
            incoming.streams -= 1
            if not incoming.streams:
                del self._from[peer]
        with trio.move_on_after(0.5):
            await (stream.close() if taken else stream.reset())

    async def _take(self, stream: INetStream, peer: PeerId, incoming: _Incoming) -> bool:
        try:
            received = await self._read(stream, peer, incoming)
        except trio.TooSlowError:
            self._peers.judge(peer, Offence.MINOR, "artifact.slow")
        except InvalidMessage as error:
            self._peers.judge(peer, Offence.GRAVE, error.rule)
        except IgnoredMessage as error:
            self._journal.note(NoteName.MESSAGE_IGNORED, rule=error.rule, peer=peer)
        except STREAM_ERRORS:
            return False
        else:
            await self._sink.post(received)
            return True
        return False

    async def _read(self, stream: INetStream, peer: PeerId, incoming: _Incoming) -> ArtifactReceived:
        frames = LengthFrames(stream, MAX_MESSAGE_BYTES)
        with trio.fail_after(HEADER_S):
            header = decode(await frames.read(), ARTIFACT_PLACE)
        self._check_expected(peer, header)
        async with incoming.places, self._receiving:
            self._check_expected(peer, header)  # again: while it waited, another stream may have brought it
            if header.size > LARGE_BYTES:
                with trio.fail_after(STEP_S):
                    await stream.write(GO)
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
