"""Connections, work streams, artifact streams and the DHT of the simulated world."""

from collections import defaultdict
from typing import TYPE_CHECKING

from protocol.effects import Connect, FindProviders, OpenStream, Provide, Send, SendArtifact, SendEncoded, SendInput
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
from protocol.units import PeerId, UnixMillis
from protocol.wire.codec import encode
from tests.sim.machine import Machine

if TYPE_CHECKING:
    from tests.sim.world import World


class Wires:
    """What goes from one machine to one other. Frames of a pair arrive in the order in which they were sent."""

    def __init__(self, world: "World") -> None:
        """Start with nobody connected."""
        self._world = world
        self.providers: dict[str, set[PeerId]] = defaultdict(set)
        self._arrivals: dict[tuple[int, int], int] = {}
        self._last: tuple[object, bytes] = (None, b"")
        """What was encoded last: one message often goes to many."""
        self.frames = 0

    # Connections

    def connect(self, machine: Machine, effect: Connect) -> None:
        """Connect two live machines that reach each other."""
        me, peer = machine.key.peer_id, effect.peer
        if peer in machine.connected:
            return
        other = self._world.by_peer.get(peer)
        if other is None or other.core is None or other.side != machine.side:
            return
        now = self._world.now
        if not machine.ledger.banned(peer, now) and not other.ledger.banned(me, now):
            machine.connected.add(peer)
            other.connected.add(me)
            self.in_order(other, machine, PeerUp(peer))
            self.in_order(machine, other, PeerUp(me))

    def open_stream(self, machine: Machine, effect: OpenStream) -> None:
        """Open the work stream of two connected machines."""
        me, peer = machine.key.peer_id, effect.peer
        other = self._world.by_peer[peer]
        if other.core is None or peer not in machine.connected:
            self.in_order(other, machine, StreamClosed(peer))
            return
        machine.streams.add(peer)
        other.streams.add(me)
        self.in_order(machine, other, StreamOpened(me))
        self.in_order(other, machine, StreamOpened(peer))

    def leave(self, machine: Machine) -> None:
        """A machine is gone from everybody's lines; they notice after one latency."""
        for peer in sorted(machine.connected):
            self._part(machine, self._world.by_peer[peer])
        machine.connected.clear()
        machine.streams.clear()

    def cut(self, one: Machine, other: Machine) -> None:
        """Break the connection of two machines; they may dial again."""
        self._part(one, other)
        self._part(other, one)

    def _part(self, gone: Machine, left: Machine) -> None:
        peer = gone.key.peer_id
        left.connected.discard(peer)
        if peer in left.streams:
            left.streams.discard(peer)
            self.in_order(gone, left, StreamClosed(peer))
        self.in_order(gone, left, PeerDown(peer))

    # The DHT

    def provide(self, machine: Machine, effect: Provide) -> None:
        """Announce a machine under a key."""
        self.providers[effect.key].add(machine.key.peer_id)

    def find(self, machine: Machine, effect: FindProviders) -> None:
        """Answer a look-up."""
        found = tuple(sorted(self.providers[effect.key]))
        self._world.post(machine, ProvidersFound(effect.key, found), self._world.links.delay())

    # Frames

    def send(self, machine: Machine, effect: Send) -> None:
        """Put one message on a stream."""
        if self._last[0] is not effect.message:
            self._last = (effect.message, encode(effect.message))
        self._frame(machine, effect.peer, self._last[1], effect.message)

    def send_encoded(self, machine: Machine, effect: SendEncoded) -> None:
        """Put bytes on a stream."""
        self._frame(machine, effect.peer, effect.data, effect.data)

    def _frame(self, machine: Machine, peer: PeerId, data: bytes, message: object) -> None:
        world = self._world
        other = world.by_peer.get(peer)
        if other is None or peer not in machine.streams or world.loses(machine, other, message):
            return
        self.frames += 1
        received = StreamReceived(machine.key.peer_id, data)
        self.in_order(machine, other, received)
        if world.repeats():
            self.in_order(machine, other, received)

    def send_artifact(self, machine: Machine, effect: SendArtifact) -> None:
        """Send the bytes of a picture on a stream of their own."""
        world = self._world
        self._send_bytes(machine, effect, world.disk(machine.store.artifact(effect.digest)))

    def send_input(self, machine: Machine, effect: SendInput) -> None:
        """Send a picture that a task begins from."""
        self._send_bytes(machine, effect, self._world.disk(machine.store.input(effect.digest)))

    def _send_bytes(self, machine: Machine, effect: SendArtifact | SendInput, data: bytes | None) -> None:
        world = self._world
        other = world.by_peer.get(effect.peer)
        if other is None or data is None or world.loses(machine, other, effect) or other.side != machine.side:
            return
        received = ArtifactReceived(machine.key.peer_id, effect.task, effect.attempt, effect.digest, data)
        world.post(other, received, world.links.delay())

    def in_order(self, sender: Machine, receiver: Machine, event: Event) -> None:
        """Have something arrive after all that was sent to this receiver before."""
        world, pair = self._world, (sender.index, receiver.index)
        arrival = max(world.now + world.links.delay(), self._arrivals.get(pair, 0))
        self._arrivals[pair] = UnixMillis(arrival)
        world.post(receiver, event, arrival - world.now)
