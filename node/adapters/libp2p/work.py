"""The kept work stream with each miner or coordinator.

At most one per peer. What a peer sends reaches the core in order and no faster than the core takes it; what we send
waits in a bounded outbox, and a peer that does not read loses its connection and slows nobody else.
"""

from dataclasses import dataclass, field
from typing import Final, final

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost

from node.adapters.libp2p.budget import Budgets
from node.adapters.libp2p.dialling import Dialler
from node.adapters.libp2p.framing import STREAM_ERRORS, LengthFrames, Outbox, frame
from node.adapters.libp2p.identity import from_libp2p, to_libp2p
from node.adapters.libp2p.muxed_stream import MuxedStream, muxed_of
from node.adapters.libp2p.peers import Peers
from node.ports import EventSink, Journal
from protocol.effects import Lane, Offence
from protocol.errors import InvalidMessage
from protocol.events import StreamClosed, StreamOpened, StreamReceived
from protocol.notes import NoteName
from protocol.params import MAX_MESSAGE_BYTES
from protocol.stake.standing import WORKERS
from protocol.units import PeerId
from protocol.wire.messages import WORK_PROTOCOL

WORK: Final = TProtocol(WORK_PROTOCOL)
OPEN_S: Final = 5.0
"""Dial and negotiate within this (s), or the stream is reported closed."""
WRITE_S: Final = 10.0
"""A peer that takes no bytes for this long (s) is disconnected; upstream gives a full window five seconds."""
STUCK_S: Final = 4.0
"""A write that failed after this long (s) failed because the peer did not read."""
CROSSING_S: Final = 2.0
"""Two streams opened towards each other within this time (s) are one wish, not a reconnect."""
FRAMES_PER_S: Final = 1000
"""Frames that one peer may send for long (1/s). The goal of 500 tasks/s at one coordinator over 8 miners is 3000 frames
of both directions, 375 a second with each miner; should all of them go one way, or one miner do the work of three,
it is still below this."""
BURST_FRAMES: Final = 2000
"""Frames that may come at once: a full outbox that waited while the network did not move, twice."""
PAUSE_S: Final = 0.05
"""How long (s) we stop reading a peer that has used up its frames."""
SATURATED_S: Final = 10.0
"""A peer that sends more than we read for this long (s), without a time in which its allowance grew half full again,
floods; outboxes of honest peers are empty long before."""
OPENS_PER_S: Final = 1
"""Streams that one peer may open towards us for long (1/s): each is a greeting for the core. An honest one waits half a
second after a break, and twice as long each time that nobody greets it."""
BURST_OPENS: Final = 10
"""Streams that may come at once, as from a node that is started again and again."""
REFUSALS_PER_S: Final = 5
"""Streams beyond those that we refuse and hold against nobody (1/s): no honest peer tries so often."""
BURST_REFUSALS: Final = 50
MAX_OPENING: Final = 32
"""Streams being opened at once; the rest wait."""


@final
@dataclass(eq=False)
class _Work:
    """One work stream."""

    peer: PeerId
    stream: INetStream
    ours: bool
    began: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    finished: trio.Event = field(default_factory=trio.Event)
    muxed: MuxedStream = field(init=False)
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.muxed = muxed_of(self.stream)
        self.outbox = Outbox(self.muxed)


@final
class WorkStreams:
    """All work streams of this node."""

    def __init__(
        self,
        host: BasicHost,
        peers: Peers,
        dialler: Dialler,
        sink: EventSink,
        journal: Journal,
        nursery: trio.Nursery,
    ) -> None:
        self._host = host
        self._peers = peers
        self._dialler = dialler
        self._sink = sink
        self._journal = journal
        self._nursery = nursery
        self._current: dict[PeerId, _Work] = {}
        self._opening: set[PeerId] = set()
        self._budgets = Budgets(FRAMES_PER_S, BURST_FRAMES)
        self._opens = Budgets(OPENS_PER_S, BURST_OPENS)
        self._refusals = Budgets(REFUSALS_PER_S, BURST_REFUSALS)
        self._slots = trio.CapacityLimiter(MAX_OPENING)
        host.set_stream_handler(WORK, self.accept)

    def send(self, peer: PeerId, data: bytes, lane: Lane) -> None:
        """Queue a frame; dropped and noted when there is no stream, its outbox is full or the frame over the limit."""
        work = self._current.get(peer)
        if work is None:
            reason = "no_stream"
        elif not 0 < len(data) <= MAX_MESSAGE_BYTES:
            reason = "oversize"
        elif not work.outbox.put(frame(data), lane):
            reason = "outbox_full"
        else:
            return
        self._journal.note(NoteName.MESSAGE_DROPPED, reason=reason, peer=peer, bytes=len(data))

    def open(self, peer: PeerId) -> None:
        """Open a stream to the peer unless there is one or one is being opened."""
        if peer in self._current or peer in self._opening:
            return
        self._opening.add(peer)
        self._nursery.start_soon(self._open, peer)

    def recheck(self) -> None:
        """Close the streams of peers that may have none any more."""
        for peer, work in list(self._current.items()):
            if self._peers.standing(peer) not in WORKERS:
                work.scope.cancel()

    async def gone(self, peer: PeerId) -> None:
        """End the peer's stream and wait until its end is posted."""
        work = self._current.get(peer)
        if work is not None:
            work.scope.cancel()
            await work.finished.wait()

    async def accept(self, stream: INetStream) -> None:
        """Take a stream that a peer opened; returns when it is over."""
        peer = from_libp2p(stream.muxed_conn.peer_id)
        if self._peers.standing(peer) not in WORKERS:
            self._peers.judge(peer, Offence.MINOR, "work.unregistered")
            await stream.reset()
            return
        if not self._opens.of(peer).take():
            if not self._refusals.of(peer).take():
                self._peers.judge(peer, Offence.MINOR, "work.opens")
            await stream.reset()
            return
        current = self._current.get(peer)
        if (
            current is not None
            and current.ours
            and trio.current_time() - current.began < CROSSING_S
            and self._peers.own_id < peer
        ):
            await stream.reset()
            return
        work = _Work(peer, stream, False, trio.current_time())
        self._nursery.start_soon(self._serve, work)
        try:
            await work.finished.wait()
        finally:
            work.scope.cancel()

    async def _open(self, peer: PeerId) -> None:
        stream: INetStream | None = None
        try:
            async with self._slots:
                with trio.move_on_after(OPEN_S):
                    if await self._dialler.reach(peer):
                        stream = await self._host.new_stream(to_libp2p(peer), [WORK])
        except STREAM_ERRORS as error:
            self._journal.note(NoteName.PEER_UNREACHABLE, peer=peer, reason=type(error).__name__)
        finally:
            self._opening.discard(peer)
        if stream is None:
            if peer not in self._current:
                await self._sink.post(StreamClosed(peer))
            return
        current = self._current.get(peer)
        if current is not None and trio.current_time() - current.began < CROSSING_S and peer < self._peers.own_id:
            await self._reset(stream)
            return
        await self._serve(_Work(peer, stream, True, trio.current_time()))

    async def _serve(self, work: _Work) -> None:
        previous = self._current.get(work.peer)
        self._current[work.peer] = work
        if previous is not None:
            previous.scope.cancel()
            await previous.finished.wait()
        try:
            if self._current.get(work.peer) is work and not work.scope.cancel_called:
                await self._peers.announced(work.peer)
                await self._sink.post(StreamOpened(work.peer))
                self._peers.watch(work.peer, True)
                await self._run(work)
                await self._reset(work.stream)
                if self._current.get(work.peer) is work:
                    del self._current[work.peer]
                    self._peers.watch(work.peer, False)
                await self._sink.post(StreamClosed(work.peer))
        finally:
            if self._current.get(work.peer) is work:
                del self._current[work.peer]
            await self._reset(work.stream)
            work.finished.set()

    async def _run(self, work: _Work) -> None:
        with work.scope:
            async with trio.open_nursery() as both:
                both.start_soon(self._write, work)
                await self._read(work)
                both.cancel_scope.cancel()

    async def _read(self, work: _Work) -> None:
        frames = LengthFrames(work.muxed, MAX_MESSAGE_BYTES)
        try:
            while True:
                data = await frames.read()
                await self._allowance(work.peer)
                await self._sink.post(StreamReceived(work.peer, data))
        except InvalidMessage as error:
            self._peers.judge(work.peer, Offence.GRAVE, error.rule)
        except STREAM_ERRORS:
            return

    async def _allowance(self, peer: PeerId) -> None:
        """Wait until the peer may have one more frame read; its window fills meanwhile."""
        budget = self._budgets.of(peer)
        while not budget.take():
            if budget.dry_s() >= SATURATED_S:
                budget.forgive()
                self._peers.judge(peer, Offence.MINOR, "work.flood")
            await trio.sleep(PAUSE_S)

    async def _write(self, work: _Work) -> None:
        while True:
            batch = await work.outbox.take()
            began = trio.current_time()
            try:
                await work.muxed.write_within(WRITE_S, batch)
            except (*STREAM_ERRORS, trio.TooSlowError):
                if trio.current_time() - began > STUCK_S:
                    self._peers.disconnect(work.peer, "slow_reader")
                work.scope.cancel()
                return

    async def _reset(self, stream: INetStream) -> None:
        with trio.move_on_after(0.5, shield=True):
            try:
                await stream.reset()
            except STREAM_ERRORS:
                return
