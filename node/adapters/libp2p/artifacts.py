"""Artifacts: one stream each, a header frame and then exactly the bytes that it announces."""

import hashlib
from collections import Counter
from typing import Final, cast, final
from weakref import WeakValueDictionary

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.network.stream.net_stream import NetStream

from node.adapters.libp2p.framing import STREAM_ERRORS, LengthFrames, frame
from node.adapters.libp2p.identity import from_libp2p, to_libp2p
from node.adapters.libp2p.peers import Peers
from node.adapters.libp2p.work import WORKERS
from node.ports import EventSink, Journal
from protocol.effects import Offence
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.events import ArtifactReceived
from protocol.notes import NoteName
from protocol.params import MAX_ARTIFACT_BYTES, MAX_MESSAGE_BYTES
from protocol.units import Digest, PeerId, TaskId
from protocol.wire.codec import ARTIFACT_KINDS, decode, encode
from protocol.wire.messages import ARTIFACT_PROTOCOL, ArtifactHeader

ARTIFACT: Final = TProtocol(ARTIFACT_PROTOCOL)
TRANSFER_S: Final = 60.0
"""A whole artifact must be over within this (s): 24 MiB at 3.4 Mbit/s."""
MAX_PER_PEER: Final = 8
"""Streams that one peer may have towards us at once: a batch of results of one GPU."""
MAX_RECEIVING: Final = 16
"""Artifacts received at once from all peers: 384 MiB at most; the rest wait, unread, within their time limit."""
MAX_SENDING_PER_PEER: Final = 4
"""Artifacts that we send one peer at once; half of what it takes, so that an honest sender is never refused."""
MAX_SENDING: Final = 64
"""Artifacts being sent or waiting; the next is dropped and counted."""
CHUNK_BYTES: Final = 256 * 1024


@final
class Artifacts:
    """Sends and receives artifacts."""

    def __init__(self, host: BasicHost, peers: Peers, sink: EventSink, journal: Journal, nursery: trio.Nursery) -> None:
        self._host = host
        self._peers = peers
        self._sink = sink
        self._journal = journal
        self._nursery = nursery
        self._receiving = trio.CapacityLimiter(MAX_RECEIVING)
        self._from: Counter[PeerId] = Counter()
        self._lanes: WeakValueDictionary[PeerId, trio.CapacityLimiter] = WeakValueDictionary()
        self._sending = 0
        host.set_stream_handler(ARTIFACT, self.accept)

    def send(self, peer: PeerId, task: TaskId, attempt: int, digest: Digest, data: bytes) -> None:
        """Send once, in a task of its own."""
        if self._sending >= MAX_SENDING or not 0 < len(data) <= MAX_ARTIFACT_BYTES:
            self._dropped(peer, task, "artifact_queue_full" if data else "artifact_empty")
            return
        self._sending += 1
        header = ArtifactHeader(task=task, attempt=attempt, digest=digest, size=len(data))
        self._nursery.start_soon(self._send, peer, header, data)

    async def _send(self, peer: PeerId, header: ArtifactHeader, data: bytes) -> None:
        lane = self._lanes.setdefault(peer, trio.CapacityLimiter(MAX_SENDING_PER_PEER))
        try:
            async with lane:
                with trio.fail_after(TRANSFER_S):
                    await self._peers.reach(peer)
                    await self._write(await self._host.new_stream(to_libp2p(peer), [ARTIFACT]), header, data)
        except (*STREAM_ERRORS, trio.TooSlowError) as error:
            self._dropped(peer, header.task, type(error).__name__)
        finally:
            self._sending -= 1

    async def _write(self, stream: INetStream, header: ArtifactHeader, data: bytes) -> None:
        """Write it all and wait for the end: closed when it was taken, reset when it was not."""
        try:
            await stream.write(frame(encode(header)))
            for start in range(0, len(data), CHUNK_BYTES):
                await stream.write(data[start : start + CHUNK_BYTES])
            await cast("NetStream", stream).close_write()
            await stream.read(1)
        except StreamEOF:
            return
        finally:
            with trio.move_on_after(0.5, shield=True):
                await stream.reset()

    def _dropped(self, peer: PeerId, task: TaskId, reason: str) -> None:
        self._journal.note(NoteName.MESSAGE_DROPPED, task, reason=reason, peer=peer)

    async def accept(self, stream: INetStream) -> None:
        """Take one artifact; returns when it is posted or refused."""
        peer = from_libp2p(stream.muxed_conn.peer_id)
        taken = False
        if self._peers.standing(peer) not in WORKERS:
            self._refuse(peer, Offence.MINOR, "artifact.unregistered")
        elif self._from[peer] >= MAX_PER_PEER:
            self._refuse(peer, Offence.MINOR, "artifact.too_many")
        else:
            self._from[peer] += 1
            try:
                taken = await self._take(stream, peer)
            finally:
                self._from[peer] -= 1
                if not self._from[peer]:
                    del self._from[peer]
        with trio.move_on_after(0.5):
            await (stream.close() if taken else stream.reset())

    async def _take(self, stream: INetStream, peer: PeerId) -> bool:
        try:
            with trio.fail_after(TRANSFER_S):
                received = await self._read(stream, peer)
        except trio.TooSlowError:
            self._refuse(peer, Offence.MINOR, "artifact.slow")
        except InvalidMessage as error:
            self._refuse(peer, Offence.GRAVE, error.rule)
        except IgnoredMessage as error:
            self._journal.note(NoteName.MESSAGE_IGNORED, rule=error.rule, peer=peer)
        except STREAM_ERRORS:
            return False
        else:
            await self._sink.post(received)
            return True
        return False

    async def _read(self, stream: INetStream, peer: PeerId) -> ArtifactReceived:
        frames = LengthFrames(stream, MAX_MESSAGE_BYTES)
        header = cast("ArtifactHeader", decode(await frames.read(), ARTIFACT_KINDS))
        async with self._receiving:
            data = await frames.read_exactly(header.size)
        if hashlib.sha256(data).digest() != header.digest:
            raise InvalidMessage("artifact.digest", "the bytes are not those of the header")
        return ArtifactReceived(peer, header.task, header.attempt, header.digest, data)

    def _refuse(self, peer: PeerId, offence: Offence, rule: str) -> None:
        self._peers.judge(peer, offence, rule)
