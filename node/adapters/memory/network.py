"""An overlay without sockets: every frame and bulletin arrives after a fixed delay, or is lost when told so.

Delivery is in order per pair, as on a stream. It knows no bans: what a core judges is recorded for the test to read.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import final

import trio

from node.ports import AppFace, EventSink, Gatekeeper, Reach, Ready
from protocol.effects import Lane, Offence
from protocol.events import (
    ArtifactReceived,
    Event,
    PeerDown,
    PeerUp,
    ProvidersFound,
    StreamClosed,
    StreamOpened,
    StreamReceived,
)
from protocol.gossip.verdict import Verdict
from protocol.units import Digest, PeerId, TaskId


@final
@dataclass
class MemoryNetwork:
    """Who is there, who hears what, and who provides what."""

    latency_s: float = 0.005
    """One-way delay (s)."""
    lose: Callable[[PeerId, PeerId, bytes], bool] = lambda _sender, _receiver, _data: False
    """Says of each frame or bulletin whether it is lost."""
    nodes: dict[PeerId, "MemoryTransport"] = field(default_factory=dict)
    providers: dict[str, set[PeerId]] = field(default_factory=lambda: defaultdict(set))
    judged: list[tuple[PeerId, PeerId, Offence, str]] = field(default_factory=list)
    """(judge, judged, offence, rule)."""
    dropped: list[tuple[PeerId, PeerId]] = field(default_factory=list)
    """(sender, receiver) of each frame for which there was no stream."""

    def transport(self, peer: PeerId) -> "MemoryTransport":
        """Give one node its place in the network."""
        return MemoryTransport(self, peer)


@final
class MemoryTransport:
    """Implements ``node.ports.Transport`` over a ``MemoryNetwork``."""

    def __init__(self, network: MemoryNetwork, peer: PeerId) -> None:
        """Take part as ``peer`` while ``run`` runs."""
        self._network = network
        self._peer = peer
        self._topics: set[str] = set()
        self._connected: set[PeerId] = set()
        self._streams: set[PeerId] = set()
        self._gatekeeper: Gatekeeper | None = None
        self.app_face: AppFace | None = None
        self._inbox, self._arrivals = trio.open_memory_channel[tuple[float, Event]](100_000)

    @property
    def peer_id(self) -> PeerId:
        """Our own peer id."""
        return self._peer

    @property
    def reach(self) -> Reach:
        """Say that everybody reaches everybody here."""
        return "public"

    def addresses(self) -> tuple[str, ...]:
        """Give an address that only this network understands."""
        return (f"/memory/{self._peer}",)

    async def run(
        self, sink: EventSink, gatekeeper: Gatekeeper, *, task_status: Ready = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be part of the network until cancelled; then all that were connected notice."""
        self._gatekeeper = gatekeeper
        self._network.nodes[self._peer] = self
        task_status.started()
        try:
            while True:
                due, event = await self._arrivals.receive()
                await trio.sleep_until(due)
                await sink.post(event)
        finally:
            del self._network.nodes[self._peer]
            for other in sorted(self._connected):
                self._part(other)

    def _part(self, other: PeerId) -> None:
        node = self._network.nodes.get(other)
        if node is None:
            return
        if self._peer in node._streams:
            node._streams.discard(self._peer)
            node._arrive(StreamClosed(self._peer))
        node._connected.discard(self._peer)
        node._arrive(PeerDown(self._peer))

    def _arrive(self, event: Event) -> None:
        self._inbox.send_nowait((trio.current_time() + self._network.latency_s, event))

    def subscribe(self, topic: str) -> None:
        """Hear a topic."""
        self._topics.add(topic)

    def at_once(self) -> AbstractContextManager[None]:
        """Change nothing: what is sent arrives after its delay."""
        return nullcontext()

    def publish(self, topic: str, data: bytes, first: Sequence[PeerId] = (), head_start_ms: int = 0) -> None:
        """Give the message to everybody on the topic whose gatekeeper accepts it."""
        del first, head_start_ms  # all hear it in one moment
        network = self._network
        for peer, node in sorted(network.nodes.items()):
            if topic in node._topics and not network.lose(self._peer, peer, data):
                node._hear(topic, data, self._peer)

    def _hear(self, topic: str, data: bytes, signer: PeerId) -> Verdict:
        assert self._gatekeeper is not None, "part of the network only while it runs"
        return self._gatekeeper.judge(topic, data, signer)

    def connect(self, peer: PeerId) -> None:
        """Connect at once if the peer is there."""
        node = self._network.nodes.get(peer)
        if node is None or peer in self._connected or peer == self._peer:
            return
        self._connected.add(peer)
        node._connected.add(self._peer)
        self._arrive(PeerUp(peer))
        node._arrive(PeerUp(self._peer))

    def open_stream(self, peer: PeerId) -> None:
        """Open the work stream to a connected peer."""
        node = self._network.nodes.get(peer)
        if node is None or peer not in self._connected:
            self._arrive(StreamClosed(peer))
            return
        self._streams.add(peer)
        node._streams.add(self._peer)
        self._arrive(StreamOpened(peer))
        node._arrive(StreamOpened(self._peer))

    def send(self, peer: PeerId, data: bytes, lane: Lane) -> None:
        """Send a frame; it may be lost, but never out of order. Without a stream it is dropped and recorded."""
        del lane  # nothing ever waits here
        node = self._network.nodes.get(peer)
        if node is None or peer not in self._streams:
            self._network.dropped.append((self._peer, peer))
        elif not self._network.lose(self._peer, peer, data):
            node._arrive(StreamReceived(self._peer, data))

    def send_artifact(self, peer: PeerId, task: TaskId, attempt: int, digest: Digest, data: bytes) -> None:
        """Send an artifact; who does not expect it reads none of it."""
        node = self._network.nodes.get(peer)
        if node is None or peer not in self._connected or self._network.lose(self._peer, peer, data):
            return
        assert node._gatekeeper is not None, "part of the network only while it runs"
        if node._gatekeeper.expects_artifact(self._peer, task, attempt, len(data)):
            node._arrive(ArtifactReceived(self._peer, task, attempt, digest, data))

    def serve_apps(self, face: AppFace) -> None:
        """Keep who serves apps: whoever has this transport may hand it their links."""
        self.app_face = face

    def provide(self, key: str) -> None:
        """Announce ourselves."""
        self._network.providers[key].add(self._peer)

    def find_providers(self, key: str) -> None:
        """Look up who announced itself, there or gone."""
        self._arrive(ProvidersFound(key, tuple(sorted(self._network.providers[key]))))

    def judge_peer(self, peer: PeerId, offence: Offence, rule: str) -> None:
        """Record the judgement."""
        self._network.judged.append((self._peer, peer, offence, rule))

    def stake_changed(self) -> None:
        """Nothing to check: streams are open to whoever the cores want."""
