"""Asking other peers of the DHT: one stream to each, kept as long as there is something to ask.

To open a stream and agree on its protocol costs both ends three times what a question does. Upstream opens one for
each, and signs and verifies a record of addresses for each peer that is named in it, which nobody relies on: whoever
is dialled has to show his key.
"""

from dataclasses import dataclass, field
from typing import Final, final

import trio
from google.protobuf.message import DecodeError
from libp2p.host.basic_host import BasicHost
from libp2p.kad_dht.common import PROTOCOL_ID as KAD
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID

from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames, varint_frame
from node.adapters.libp2p.muxed_stream import MuxedStream, muxed_of
from protocol.errors import InvalidMessage

ANSWER_S: Final = 3.0
"""A connected peer must answer one query within this (s)."""
KEPT_S: Final = 5.0
"""A stream is kept for this long (s) after its last question: half of what the other end waits for one."""
MAX_ANSWER_BYTES: Final = 256 * 1024
"""Largest answer: 256 providers and 20 peers, with four addresses each, have 128 KiB at most."""
_FAILURES: Final = (*STREAM_ERRORS, InvalidMessage)


@dataclass(slots=True)
class _Kept:
    lock: trio.Lock = field(default_factory=trio.Lock)
    stream: MuxedStream | None = None
    frames: VarintFrames | None = None
    used_at: float = 0.0


@final
class Client:
    """Our questions to all peers."""

    def __init__(self, host: BasicHost) -> None:
        self._host = host
        self._kept: dict[ID, _Kept] = {}

    async def ask(self, peer: ID, query: Message) -> Message | None:
        """Give a peer's answer; None when there is none. Dials it if need be."""
        kept = self._kept.setdefault(peer, _Kept())
        async with kept.lock:
            while True:
                is_new = kept.stream is None or kept.stream.is_closed
                try:
                    stream, frames = await self._stream_to(peer, kept)
                    answer = await self._exchange(stream, frames, query)
                except _FAILURES:
                    if kept.stream is not None:
                        kept.stream.abandon()
                    if is_new:
                        return None
                    continue  # it closes what is not used, as we do
                kept.used_at = trio.current_time()
                return answer

    async def tell(self, peer: ID, query: Message) -> bool:
        """Say something to which there need be no answer; False when that was not possible."""
        kept = self._kept.setdefault(peer, _Kept())
        async with kept.lock:
            try:
                stream, _ = await self._stream_to(peer, kept)
                await stream.write_within(ANSWER_S, varint_frame(query.SerializeToString()))
            except (*_FAILURES, trio.TooSlowError):
                if kept.stream is not None:
                    kept.stream.abandon()
                return False
            kept.used_at = trio.current_time()
            return True

    async def close_unused(self) -> None:
        """Close what has not been used for a while."""
        oldest = trio.current_time() - KEPT_S
        for peer, kept in list(self._kept.items()):
            if kept.used_at < oldest and not kept.lock.locked():
                del self._kept[peer]
                if kept.stream is not None:
                    kept.stream.abandon()

    async def _stream_to(self, peer: ID, kept: _Kept) -> tuple[MuxedStream, VarintFrames]:
        if kept.stream is None or kept.frames is None or kept.stream.is_closed:
            kept.stream = muxed_of(await self._host.new_stream(peer, [KAD]))
            kept.frames = VarintFrames(kept.stream, MAX_ANSWER_BYTES)
        return kept.stream, kept.frames

    @staticmethod
    async def _exchange(stream: MuxedStream, frames: VarintFrames, query: Message) -> Message:
        """Ask, and wait for the answer to that and not to what was told before.

        Raises:
            STREAM_ERRORS: The stream is over, also because there was no answer in time.
            InvalidMessage: What came is no answer.
        """
        is_answered = False
        try:
            with trio.move_on_after(ANSWER_S):
                await stream.write(varint_frame(query.SerializeToString()))
                while True:
                    answer = Message()
                    answer.ParseFromString(await frames.read())
                    if answer.type == query.type:
                        is_answered = True
                        return answer
            raise EOFError("no answer in time")
        except DecodeError as error:
            raise InvalidMessage("dht.malformed", str(error)) from error
        finally:
            if not is_answered:
                stream.abandon()  # what comes now would be taken for the answer to the next question
