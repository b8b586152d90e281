"""Submit streams: how apps, who are strangers, hand in orders. One place lets them in, and counts what they cost."""

from collections import Counter
from collections.abc import Callable
from typing import Final, final

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost

from node.adapters.libp2p.budget import Budgets
from node.adapters.libp2p.framing import FRAME_S, STREAM_ERRORS, LengthFrames, frame
from node.adapters.libp2p.identity import from_libp2p
from node.adapters.libp2p.muxed_stream import MuxedStream, muxed_of
from node.adapters.libp2p.peers import Peers
from node.ports import AppFace
from protocol.effects import Offence
from protocol.errors import InvalidMessage, Unavailable
from protocol.params import MAX_MESSAGE_BYTES
from protocol.units import PeerId
from protocol.wire.app_messages import SUBMIT_PROTOCOL

SUBMIT: Final = TProtocol(SUBMIT_PROTOCOL)
MAX_APPS: Final = 256
"""Submit streams at once; each may hold a picture that it is sent."""
MAX_STREAMS_PER_APP: Final = 2
"""Of one app: it may come back before we notice that it was gone. More is an offence."""
MAX_STREAMS_PER_ADDRESS: Final = 64
"""Of one network address: keys cost nothing."""
FRAMES_PER_S: Final = 2000
"""Frames of one app (1/s): an order is two of them, and no coordinator does a thousand a second."""
BURST_FRAMES: Final = 4000
PAUSE_S: Final = 0.05
"""How long (s) we stop reading an app that has used up its frames."""
SATURATED_S: Final = 10.0
"""An app that sends more than it may for this long (s) floods."""
WRITE_S: Final = 10.0
"""An app that takes no bytes for this long (s) is left."""
STEP_BYTES: Final = 64 * 1024
"""Of a picture, each has a time limit of its own."""


@final
class SubmitLink:
    """One app's stream. Implements ``node.ports.AppLink``."""

    def __init__(self, stream: MuxedStream, peer: PeerId, peers: Peers, frames: Budgets) -> None:
        self._stream = stream
        self._peer = peer
        self._peers = peers
        self._budget = frames.of(peer)
        self._frames = LengthFrames(stream, MAX_MESSAGE_BYTES)
        self._writing = trio.Lock()

    @property
    def peer(self) -> PeerId:
        """The app's own id."""
        return self._peer

    @property
    def address(self) -> str:
        """The IP address that it calls from."""
        remote = self._stream.get_remote_address()
        return remote[0] if remote is not None else ""

    async def receive(self, size: int = 0) -> bytes:
        """Wait for one frame, or for the ``size`` bytes that the last one announced.

        Raises:
            Unavailable: The stream is over.
            InvalidMessage: It is no frame, or they do not come within ``FRAME_S``.
        """
        try:
            if size:
                return await self._body(size)
            data = await self._frames.read()
        except STREAM_ERRORS as error:
            raise Unavailable(type(error).__name__) from error
        while not self._budget.take():
            if self._budget.dry_s() >= SATURATED_S:
                self._budget.forgive()
                self.blame("submit.flood")
            await trio.sleep(PAUSE_S)
        return data

    async def _body(self, size: int) -> bytes:
        with trio.move_on_after(FRAME_S):
            return await self._frames.read_exactly(size)
        raise InvalidMessage("stream.slow", f"{size} bytes were not here after {FRAME_S:.0f} s")

    async def send(self, data: bytes, body: bytes = b"") -> None:
        """Send one frame and its body.

        Raises:
            Unavailable: The stream is over, or the app does not read.
        """
        try:
            async with self._writing:
                await self._stream.write_within(WRITE_S, frame(data) + body[:STEP_BYTES])
                for start in range(STEP_BYTES, len(body), STEP_BYTES):
                    await self._stream.write_within(WRITE_S, body[start : start + STEP_BYTES])
        except (*STREAM_ERRORS, trio.TooSlowError) as error:
            raise Unavailable(type(error).__name__) from error

    def blame(self, rule: str) -> None:
        """Hold a minor offence against the app."""
        self._peers.judge(self._peer, Offence.MINOR, rule)


@final
class Submits:
    """All submit streams of this node."""

    def __init__(self, host: BasicHost, peers: Peers, face: Callable[[], AppFace | None]) -> None:
        """Hand streams to ``face()``; where there is none, nobody is served."""
        self._peers = peers
        self._face = face
        self._frames = Budgets(FRAMES_PER_S, BURST_FRAMES)
        self._of_peer: Counter[PeerId] = Counter()
        self._of_address: Counter[str] = Counter()
        host.set_stream_handler(SUBMIT, self.accept)

    async def accept(self, stream: INetStream) -> None:
        """Serve one app; returns when its stream is over."""
        peer = from_libp2p(stream.muxed_conn.peer_id)
        muxed = muxed_of(stream)
        link = SubmitLink(muxed, peer, self._peers, self._frames)
        face, address = self._face(), link.address
        if face is not None and self._has_place(peer, address):
            self._of_peer[peer] += 1
            self._of_address[address] += 1
            self._peers.watch(peer, True)
            try:
                await face.serve(link)
            except InvalidMessage as error:
                self._peers.judge(peer, Offence.GRAVE, error.rule)
            finally:
                self._leave(peer, address)
        muxed.abandon()

    def _has_place(self, peer: PeerId, address: str) -> bool:
        if self._of_peer[peer] >= MAX_STREAMS_PER_APP:
            self._peers.judge(peer, Offence.MINOR, "submit.too_many")
            return False
        return self._of_peer.total() < MAX_APPS and self._of_address[address] < MAX_STREAMS_PER_ADDRESS

    def _leave(self, peer: PeerId, address: str) -> None:
        self._of_peer[peer] -= 1
        self._of_address[address] -= 1
        # Counters keep names whose count is zero, and there may be any number of these.
        self._of_peer, self._of_address = +self._of_peer, +self._of_address
        if peer not in self._of_peer:
            self._peers.watch(peer, False)
