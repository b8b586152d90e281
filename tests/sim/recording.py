"""What one machine of the simulator would write down: signed gossip, tables, who is inactive.

As py-libp2p does it: a publisher's sequence number begins at its clock's nanoseconds in each run and goes up by one
with each message; the publisher's signature covers message, topic and number.
"""

import hashlib

from coincurve import PrivateKey

from protocol.audit.record import Entry, Heard, InactiveSeen, RecordHead, ViewSeen
from protocol.crypto.publication import Publication, signed_bytes
from protocol.effects import Publish
from protocol.events import ActivityChanged, Event, GossipReceived, Restored, StakeChanged
from protocol.units import Address, PeerId
from protocol.wire.codec import encode
from tests.sim.machine import Machine
from tests.sim.world import World


def secret_of(machine: Machine) -> PrivateKey:
    """Make a machine's key again: the world derives it from the name."""
    return PrivateKey(hashlib.sha256(machine.name.encode()).digest())


class Recording:
    """Listens at one machine."""

    def __init__(self, world: World, at: str) -> None:
        """Record what ``at`` hears; before anything has happened, so that no run is missed."""
        self._world = world
        self._ear = world.machines[at]
        self._next: dict[tuple[str, int], int] = {}
        """Last sequence number of each life."""
        self._published: dict[tuple[PeerId, bytes], Publication] = {}
        self.entries: list[Entry] = []
        world.watch(Publish, self._on_publish)
        world.after_events(self._on_event)

    @property
    def head(self) -> RecordHead:
        """Of which network it is."""
        return RecordHead(self._world.params, 31337, Address(b"\x11" * 20))

    def _on_publish(self, machine: Machine, effect: Publish) -> None:
        run = (machine.name, machine.life)
        sequence = self._next[run] = self._next[run] + 1
        data = encode(effect.message)
        unsigned = Publication(machine.key.peer_id, sequence, effect.topic, data, b"")
        signature = secret_of(machine).sign(signed_bytes(unsigned))
        published = Publication(machine.key.peer_id, sequence, effect.topic, data, signature)
        self._published[(machine.key.peer_id, data)] = published
        if machine is self._ear:
            self.entries.append(Heard(self._world.now, published))

    def _on_event(self, machine: Machine, event: Event) -> None:
        if isinstance(event, Restored):
            self._next[(machine.name, machine.life)] = self._world.now * 10**6
        if machine is not self._ear:
            return
        match event:
            case GossipReceived(message=message, signer=signer):
                self.entries.append(Heard(self._world.now, self._published[(signer, encode(message))]))
            case StakeChanged(view=view):
                self.entries.append(ViewSeen(view, view.table.root))
            case ActivityChanged(inactive=inactive):
                self.entries.append(InactiveSeen(self._world.now, inactive))
            case _:
                pass
