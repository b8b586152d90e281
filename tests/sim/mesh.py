"""Who is whose neighbour in gossip: a random graph for each topic, which mends itself."""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.sim.flood import Ways
from tests.sim.machine import Machine

if TYPE_CHECKING:
    from tests.sim.world import World

PICKS = 3
"""Neighbours that a machine picks when it joins; twice as many have it in the end, which is GossipSub's D."""
FEWEST = 4
"""Neighbours below which a machine looks for more at its next heartbeat (GossipSub's D_low)."""
HEARTBEAT_MS = 1000
"""How long a hole in the graph lasts."""


class Mesh:
    """The graphs of all topics."""

    def __init__(self, world: "World") -> None:
        """Start with empty graphs."""
        self._world = world
        self._members: dict[str, list[Machine]] = defaultdict(list)
        self._neighbours: dict[str, dict[int, list[int]]] = defaultdict(dict)
        self._ways: dict[str, Ways] = {}
        """Of the graphs that have not changed since they were asked for."""
        self._random: random.Random = world.random

    def ways(self, topic: str) -> Ways:
        """Give all hops of a topic as it is now."""
        if topic not in self._ways:
            self._ways[topic] = Ways(self._neighbours[topic])
        return self._ways[topic]

    def near(self, topic: str, machine: int) -> Sequence[int]:
        """Give the neighbours of a machine."""
        return self._neighbours[topic].get(machine, ())

    def surround(self, machine: Machine, topic: str, others: Sequence[Machine]) -> None:
        """Give a machine these neighbours, as far as they hear the topic, and no others."""
        near = self._neighbours[topic]
        others = [other for other in others if other.index in near]
        for index in near[machine.index]:
            near[index].remove(machine.index)
        near[machine.index] = [other.index for other in others]
        for other in others:
            near[other.index].append(machine.index)
        self._ways.pop(topic, None)

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
        self._ways.pop(topic, None)
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
            self._ways.pop(topic, None)
        machine.topics.clear()

    def _heal(self, machine: Machine, topic: str) -> None:
        near = self._neighbours[topic].get(machine.index)
        if near is not None and len(near) < FEWEST:
            self._pick(machine, topic, FEWEST - len(near))
