"""Which neighbours of the mesh still need a publisher's messages from us, and which have them from elsewhere.

A mesh hands every message over every edge, and most copies come too late to matter: with nine nodes three of four. A
neighbour that sends us a copy has shown that it did not need ours. One that has shown it for a whole window of a
publisher's messages gets no more of them pushed; it hears at each heartbeat which ones there are (IHAVE), and once it
asks for one (IWANT) they are pushed again. Whoever has two neighbours that bring everything keeps the quicker one, and
shows the other its copies for a window, also of what came from that very one. So a tree grows in the mesh for each
publisher, along the quickest edges: Plumtree (Leitao et al., "Epidemic Broadcast Trees", 2007) without messages of its
own, with any GossipSub peer at the other end. Who lies about what it has loses only its own copies. Who is quickest
until all others have stopped, and then says nothing, costs a heartbeat once: where a message came only because we asked
for it, nobody is shown to be superfluous for a while, and for twice as long each time that it happens again.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

import trio
from libp2p.peer.id import ID

WINDOW: Final = 8
"""Messages of a publisher after which conclusions are drawn: at the same ones by both ends of an edge, or the first to
stop would leave the other without the proof that it may stop, too."""
SLACK: Final = 1
"""Copies that may be missing: that of the last message of a window comes after its end."""
FIRST_DOUBT: Final = 2
MAX_DOUBT: Final = 64
"""Windows in which nobody is shown to be superfluous, the first time and at most."""
CALM: Final = 16
"""So many times a doubt without another end it: the next is as long as the first."""
RACE_S: Final = 0.1
"""What is pushed to us this soon (s) after we got it by asking was on its way: no break, but a heartbeat in between."""
MAX_PUBLISHERS: Final = 256
"""Publishers remembered; the one that was quiet for longest is forgotten, and learned anew."""


@dataclass(slots=True)
class _Publisher:
    window: int
    messages: int = 0
    copies: Counter[ID] = field(default_factory=Counter)
    first: Counter[ID] = field(default_factory=Counter)
    """How many of the messages each neighbour brought before all others."""
    supplied: set[ID] = field(default_factory=set)
    """Neighbours that have its messages from elsewhere."""
    superfluous: set[ID] = field(default_factory=set)
    """Neighbours that need not bring us its messages, and are shown so."""
    awaited: set[ID] = field(default_factory=set)
    """Neighbours that we asked for a message, and that have not answered yet."""
    by_asking: dict[int, float] = field(default_factory=dict)
    """Messages of the window that came only because we asked, and when (s)."""
    doubt: int = 0
    doubt_ends: int = 0
    """The first window in which neighbours are shown to be superfluous again."""


@final
class EagerLinks:
    """What this node has concluded. Keys are publishers as they stand in messages (``from_id``)."""

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        self._now = now
        self._publishers: OrderedDict[bytes, _Publisher] = OrderedDict()

    def accepted(self, publisher: bytes, sequence: int, forwarder: ID) -> None:
        """A new message of a publisher came from a neighbour, and is forwarded."""
        known = self._publishers.setdefault(publisher, _Publisher(sequence // WINDOW))
        self._publishers.move_to_end(publisher)
        if len(self._publishers) > MAX_PUBLISHERS:
            self._publishers.popitem(last=False)
        if sequence // WINDOW != known.window:
            if known.by_asking:
                self._doubt(known)
            if known.messages >= WINDOW - SLACK:
                self._conclude(known, ID(publisher))
            known.window, known.messages = sequence // WINDOW, 0
            known.copies.clear()
            known.first.clear()
            known.by_asking.clear()
        known.messages += 1
        known.copies[forwarder] += 1
        known.first[forwarder] += 1
        if forwarder in known.awaited:
            known.awaited.discard(forwarder)
            known.by_asking[sequence] = self._now()

    @staticmethod
    def _doubt(known: _Publisher) -> None:
        """Whoever was to bring everything has not done so."""
        if known.window >= known.doubt_ends:
            is_first = known.window - known.doubt_ends >= CALM * known.doubt
            known.doubt = FIRST_DOUBT if is_first else min(2 * known.doubt, MAX_DOUBT)
            known.doubt_ends = known.window + known.doubt

    @staticmethod
    def _conclude(known: _Publisher, origin: ID) -> None:
        """A window has ended."""
        brought_all = {peer for peer, copies in known.copies.items() if copies >= known.messages - SLACK}
        known.supplied |= brought_all
        best = max(brought_all, key=lambda peer: (peer == origin, known.first[peer], peer.to_bytes()), default=origin)
        # Who was never first among them has had our copy of everything, and draws its own conclusion.
        superfluous = {peer for peer in brought_all - {best, origin} if known.first[peer] > SLACK}
        known.superfluous = superfluous if known.window >= known.doubt_ends else set()

    def copied(self, publisher: bytes, sequence: int, forwarder: ID) -> None:
        """A neighbour sent us what we had already."""
        known = self._publishers.get(publisher)
        if known is None:
            return
        known.copies[forwarder] += 1
        if forwarder in known.awaited:
            known.awaited.discard(forwarder)
        elif sequence in known.by_asking and self._now() - known.by_asking[sequence] <= RACE_S:
            del known.by_asking[sequence]

    def asked(self, publisher: bytes, neighbour: ID) -> None:
        """We ask a neighbour for a message: it has this publisher's from elsewhere, and needs no copies of ours."""
        known = self._publishers.get(publisher)
        if known is not None:
            known.awaited.add(neighbour)
            known.supplied.add(neighbour)
            known.superfluous.discard(neighbour)

    def wanted(self, publisher: bytes, neighbour: ID) -> None:
        """A neighbour asked for a message: nobody pushes this publisher's messages to it in time."""
        known = self._publishers.get(publisher)
        if known is not None:
            known.supplied.discard(neighbour)
            known.copies.pop(neighbour, None)

    def targets(self, publisher: bytes, neighbours: set[ID], forwarder: ID) -> set[ID]:
        """Say to whom a message is pushed.

        Args:
            publisher: Whose message it is.
            neighbours: All of the mesh but the forwarder and the publisher.
            forwarder: Who brought it.
        """
        known = self._publishers.get(publisher)
        if known is None:
            return neighbours
        return (neighbours - known.supplied) | (known.superfluous & (neighbours | {forwarder}))

    def supplied(self) -> set[ID]:
        """Give every neighbour that some publisher's messages are not pushed to: it must hear which there are."""
        return {peer for known in self._publishers.values() for peer in known.supplied}

    def forget(self, neighbour: ID) -> None:
        """A neighbour is gone; when it comes back it has everything to show again."""
        for known in self._publishers.values():
            known.supplied.discard(neighbour)
            known.superfluous.discard(neighbour)
            known.awaited.discard(neighbour)
            known.copies.pop(neighbour, None)
            known.first.pop(neighbour, None)
