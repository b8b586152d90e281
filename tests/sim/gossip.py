"""Gossip as flooding over a random graph: whoever accepts a message hands it to its neighbours, once.

A simple stand-in for GossipSub's mesh: the same reach, hops and per-hop verdicts, none of its control messages. Whether
a hop happens is decided when it begins, and whether it is heard when it ends: who dies, is apart or keeps a message to
itself in between stops it there, and nowhere else.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from protocol.events import GossipReceived
from protocol.gossip.admission import Judgement
from protocol.gossip.verdict import Verdict
from protocol.roles.core import Core
from protocol.units import PeerId, UnixMillis
from protocol.wire.codec import encode
from protocol.wire.messages import Bulletin
from tests.sim.machine import Machine

if TYPE_CHECKING:
    from tests.sim.world import World

PICKS = 3
"""Neighbours that a machine picks when it joins; twice as many have it in the end, which is GossipSub's D."""
FEWEST = 4
"""Neighbours below which a machine looks for more at its next heartbeat (GossipSub's D_low)."""
HEARTBEAT_MS = 1000
"""How long a hole in the graph lasts."""
FAR_FUTURE = 2**29
"""Later (ms) than anything arrives: six days. Python compares integers below 2**30 faster than larger ones."""

Judge = Callable[[Core, UnixMillis], Judgement]
"""What one core, at one moment, makes of some message."""


def judge_of(topic: str, data: bytes, author: PeerId) -> Judge:
    """Give how each core judges one message."""
    return lambda core, now: core.judge(topic, data, author, now)


@dataclass(slots=True)
class Rumour:
    """One message on its way through all machines."""

    topic: str
    message: Bulletin
    publisher: Machine
    peer: PeerId
    judge: Judge
    best: list[int]
    """Earliest arrival planned at each machine (ms after it began: small numbers are compared in half the time); what
    would come later is a duplicate that its transport drops."""
    heard: bytearray
    hearers: dict[int, list[int]] = field(default_factory=dict)
    """Who may hear it so long (ms) after it began: all of one millisecond are one entry of the timeline."""
    event: GossipReceived | None = None


class Gossip:
    """The graphs of all topics."""

    def __init__(self, world: "World") -> None:
        """Start with empty graphs."""
        self._world = world
        self._members: dict[str, list[Machine]] = defaultdict(list)
        self._neighbours: dict[str, dict[int, list[int]]] = defaultdict(dict)
        self._random: random.Random = world.random
        self.deliveries = 0

    def surround(self, machine: Machine, topic: str, others: Sequence[Machine]) -> None:
        """Give a machine these neighbours, as far as they hear the topic, and no others."""
        near = self._neighbours[topic]
        others = [other for other in others if other.index in near]
        for index in near[machine.index]:
            near[index].remove(machine.index)
        near[machine.index] = [other.index for other in others]
        for other in others:
            near[other.index].append(machine.index)

    def join(self, machine: Machine, topic: str) -> None:
        """A machine subscribes: it picks neighbours, who take it as theirs."""
        if topic in machine.topics:
            return
        machine.topics.add(topic)
        self._neighbours[topic][machine.index] = []
        self._pick(machine, topic, PICKS)
        self._members[topic].append(machine)

    def _pick(self, machine: Machine, topic: str, wanted: int) -> None:
        near = self._neighbours[topic]
        mine = near[machine.index]
        members = self._members[topic]
        for _ in range(4 * wanted):
            if wanted <= 0 or not members:
                return
            other = members[int(self._random.random() * len(members))]
            if other is not machine and other.index not in mine:
                mine.append(other.index)
                near[other.index].append(machine.index)
                wanted -= 1

    def leave(self, machine: Machine) -> None:
        """A machine is gone; whom it leaves with few neighbours finds others at the next heartbeat."""
        for topic in sorted(machine.topics):
            self._members[topic].remove(machine)
            for other in self._neighbours[topic].pop(machine.index):
                self._neighbours[topic][other].remove(machine.index)
                self._world.at(HEARTBEAT_MS, self._heal, self._world.everybody[other], topic)
        machine.topics.clear()

    def _heal(self, machine: Machine, topic: str) -> None:
        near = self._neighbours[topic].get(machine.index)
        if near is not None and len(near) < FEWEST:
            self._pick(machine, topic, FEWEST - len(near))

    def publish(self, machine: Machine, topic: str, message: Bulletin) -> None:
        """Begin a flood."""
        peer, size = machine.key.peer_id, len(self._world.everybody)
        judge = judge_of(topic, encode(message), peer)
        rumour = Rumour(topic, message, machine, peer, judge, [FAR_FUTURE] * size, bytearray(size))
        rumour.best[machine.index] = 0
        rumour.heard[machine.index] = 1
        self._forward(rumour, [machine.index], 0)

    def _forward(self, rumour: Rumour, speakers: list[int], age: int) -> None:
        """Have some machines hand a message to all their neighbours that do not have it by then from somebody else."""
        world, best, hearers = self._world, rumour.best, rumour.hearers
        near = self._neighbours[rumour.topic]
        if world.is_whole():
            hops = [other for one in speakers for other in near.get(one, ()) if best[other] > age]
        else:
            hops = [other for one in speakers for other in near.get(one, ()) if self._passes(rumour, one, other, age)]
        for other, delay in zip(hops, world.links.delays(len(hops)), strict=True):
            arrival = age + delay
            if arrival < best[other]:
                best[other] = arrival
                together = hearers.get(arrival)
                if together is None:
                    hearers[arrival] = [other]
                    world.at(delay, self._arrive, rumour, arrival)
                else:
                    together.append(other)

    def _passes(self, rumour: Rumour, speaker: int, hearer: int, age: int) -> bool:
        """Say whether one hop is possible, and is not lost."""
        one, other = self._world.everybody[speaker], self._world.everybody[hearer]
        possible = one.side == other.side and rumour.best[hearer] > age
        return possible and not self._world.loses(one, other, rumour.message)

    def _arrive(self, rumour: Rumour, age: int) -> None:
        """Have all hear a message to whom it comes at this moment; who accepts it hands it on."""
        world, heard, everybody = self._world, rumour.heard, self._world.everybody
        now, judge, handle = world.now, rumour.judge, world.handle
        event, speakers = rumour.event, []
        for index in rumour.hearers.pop(age):
            if heard[index]:
                continue
            machine = everybody[index]
            core, behaviour = machine.core, machine.behaviour
            if core is None:
                continue
            heard[index] = 1
            at = now if not machine.skew_ms else UnixMillis(now + machine.skew_ms)
            verdict, rule, message = judge(core, at)
            if message is not None:
                if behaviour is None or behaviour.forwards(machine, rumour.publisher):
                    speakers.append(index)
                if event is None:
                    event = rumour.event = GossipReceived(rumour.topic, message, rumour.peer)
                self.deliveries += 1
                handle(machine, event)
            elif verdict is Verdict.REJECT:
                world.judge(machine, rumour.publisher, rule)
        if speakers:
            self._forward(rumour, speakers, age)
