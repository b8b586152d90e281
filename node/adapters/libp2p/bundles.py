"""Streams on which jurors fetch evidence: one question, one answer, and nothing for anybody else.

The juror writes a question of fixed size: the dispute's number (32 bytes) and the evidence's digest (32). The reporter
answers with a length (4 bytes), zero for nothing, and as many bytes. Whoever asks must be registered; all places, sizes
and times are bounded, so that neither side can be held up or filled.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final, final

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost

from node.adapters.libp2p.dialling import Dialler
from node.adapters.libp2p.framing import STREAM_ERRORS, LengthFrames
from node.adapters.libp2p.identity import from_libp2p, to_libp2p
from node.adapters.libp2p.muxed_stream import MuxedStream, muxed_of
from node.adapters.libp2p.peers import Peers
from node.disputes.ports import BundleFace
from protocol.effects import Offence
from protocol.errors import InvalidMessage, Unavailable
from protocol.justice.bundle import MAX_BUNDLE_BYTES, bundle_digest
from protocol.params import MAX_MESSAGE_BYTES
from protocol.stake.standing import WORKERS
from protocol.units import Digest, PeerId

BUNDLE: Final = TProtocol("/cuckoo/1/dispute")
NUMBER_BYTES: Final = 32
QUESTION_BYTES: Final = NUMBER_BYTES + 32
LENGTH_BYTES: Final = 4
QUESTION_S: Final = 5.0
"""A question must be here within this (s) after its stream is open."""
MAX_SERVED: Final = 4
"""Bundles that are read and sent at once: 100 MB of the largest. Who only asks, one question to a peer, takes none."""
TURN_S: Final = 10.0
"""How long (s) a juror waits for a turn at that: less than it waits for an answer."""
REACH_S: Final = 10.0
"""Dial and negotiate within this (s)."""
ANSWER_S: Final = 20.0
"""A reporter asks its chain node before it answers: within this (s)."""
STEP_BYTES: Final = 64 * 1024
STEP_S: Final = 10.0
"""Each step of a bundle must be written, or be here, within this (s)."""
WHOLE_S: Final = 180.0
"""The whole of it within this (s): the largest at 1.2 Mbit/s."""


@final
class Bundles:
    """Asks for evidence, and answers jurors."""

    def __init__(self, host: BasicHost, peers: Peers, dialler: Dialler, face: Callable[[], BundleFace | None]) -> None:
        """Answer by ``face()``; where there is none, nobody gets anything."""
        self._host = host
        self._peers = peers
        self._dialler = dialler
        self._face = face
        self._of_peer: Counter[PeerId] = Counter()
        self._turns = trio.Semaphore(MAX_SERVED)
        host.set_stream_handler(BUNDLE, self.accept)

    async def accept(self, stream: INetStream) -> None:
        """Answer one question; returns when that is done, or the stream is over."""
        peer = from_libp2p(stream.muxed_conn.peer_id)
        muxed, face = muxed_of(stream), self._face()
        if self._peers.standing(peer) not in WORKERS:
            self._peers.judge(peer, Offence.MINOR, "bundle.unregistered")
        elif self._of_peer[peer]:
            self._peers.judge(peer, Offence.MINOR, "bundle.too_many")
        elif face is not None:
            self._of_peer[peer] += 1
            try:
                await self._answer(muxed, peer, face)
            except (*STREAM_ERRORS, trio.TooSlowError):
                pass  # it asks again, or does not
            finally:
                self._of_peer[peer] -= 1
                self._of_peer = +self._of_peer
        muxed.abandon()

    async def _answer(self, stream: MuxedStream, peer: PeerId, face: BundleFace) -> None:
        with trio.fail_after(QUESTION_S):
            asked = await LengthFrames(stream, MAX_MESSAGE_BYTES).read_exactly(QUESTION_BYTES)
        number, digest = int.from_bytes(asked[:NUMBER_BYTES], "big"), Digest(asked[NUMBER_BYTES:])
        if not await face.may_see(peer, number, digest):
            await self._send(stream, b"")
            return
        with trio.fail_after(TURN_S):
            await self._turns.acquire()
        try:
            data = await face.bundle(peer, number, digest)
            with trio.fail_after(WHOLE_S):
                await self._send(stream, data or b"")
        finally:
            self._turns.release()

    @staticmethod
    async def _send(stream: MuxedStream, data: bytes) -> None:
        """Write an answer, and wait until it is heard."""
        await stream.write_within(STEP_S, len(data).to_bytes(LENGTH_BYTES, "big") + data[:STEP_BYTES])
        for start in range(STEP_BYTES, len(data), STEP_BYTES):
            await stream.write_within(STEP_S, data[start : start + STEP_BYTES])
        # The juror closes once it has everything; a reset before would take back what is under way.
        with trio.fail_after(STEP_S):
            await stream.read(1)

    async def fetch(self, peer: PeerId, dispute: int, evidence: Digest) -> bytes:
        """Ask a reporter for its evidence.

        Raises:
            Unavailable: A stable name of why there is none.
        """
        try:
            with trio.fail_after(REACH_S):
                if not await self._dialler.reach(peer):
                    raise Unavailable("not_reached")
                stream = await self._host.new_stream(to_libp2p(peer), [BUNDLE])
        except (*STREAM_ERRORS, trio.TooSlowError) as error:
            raise Unavailable("not_reached") from error
        muxed = muxed_of(stream)
        try:
            with trio.fail_after(WHOLE_S):
                data = await self._ask(muxed, dispute, evidence)
        except (*STREAM_ERRORS, trio.TooSlowError, InvalidMessage) as error:
            raise Unavailable("broken_off") from error
        finally:
            muxed.abandon()
        if bundle_digest(data) != evidence:
            self._peers.judge(peer, Offence.GRAVE, "bundle.digest")
            raise Unavailable("other_evidence")
        return data

    async def _ask(self, stream: MuxedStream, dispute: int, evidence: Digest) -> bytes:
        """Write a question and read the answer.

        Raises:
            Unavailable: There is none for us, or it is too large.
        """
        await stream.write_within(STEP_S, dispute.to_bytes(NUMBER_BYTES, "big") + evidence)
        frames = LengthFrames(stream, MAX_MESSAGE_BYTES)
        with trio.fail_after(ANSWER_S):
            size = int.from_bytes(await frames.read_exactly(LENGTH_BYTES), "big")
        if size == 0:
            raise Unavailable("not_shown")
        if size > MAX_BUNDLE_BYTES:
            raise Unavailable("too_large")
        body = bytearray()
        while len(body) < size:
            with trio.fail_after(STEP_S):
                body += await frames.read_exactly(min(STEP_BYTES, size - len(body)))
        return bytes(body)
