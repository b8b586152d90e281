"""Gossip as flooding over a random graph: whoever accepts a message hands it to its neighbours, once.

A simple stand-in for GossipSub's mesh: the same reach, hops and per-hop verdicts, none of its control messages. How
long each hop takes is drawn when the message is published. Whether a hop happens is decided when it begins, and whether
it is heard when it ends: who dies, is apart or keeps a message to itself in between stops it there, and nowhere else.

A network in which none of that happens is calm. There all arrivals are known at once (``Ways.arrivals``), and most of
what is heard need not be heard at once (``LATE_MS``). Neither changes anything but the time that a run takes: a test
runs one seed with and without.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from protocol.effects import CancelTimer, Connect, Effect, Note, SetTimer
from protocol.events import GossipReceived
from protocol.gossip.admission import Judgement
from protocol.gossip.verdict import Verdict
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.core import Core
from protocol.stake.epoch import is_acceptable
from protocol.stake.lottery import slot_ms
from protocol.units import PeerId, Role, StakingId, UnixMillis
from protocol.wire.codec import encode
from protocol.wire.messages import Bulletin, GossipMessage
from tests.sim.flood import NEVER, Ways
from tests.sim.machine import Heard, Machine
from tests.sim.mesh import Mesh

if TYPE_CHECKING:
    from tests.sim.world import World

LATE_MS: Final = 100
"""How late (ms) at most an honest miner of a calm network is given what it heard.

Until its slot comes, a bulletin makes a miner do nothing that others could see. So it is given what it heard when
something else happens to it, or after so long, each message with the moment at which it came; who may claim sooner is
given it at once. Most of what one event costs among a thousand machines is to fetch its machine from memory, and the
next event of the same machine takes a third of the time.
"""
HEARING: Final = 1
"""First rank of what is heard: in each millisecond behind timers and before the rest, by machine, as published."""
EVERYBODY: Final = -1
"""Second rank of what is done for all machines."""

Judge = Callable[[Core, UnixMillis], Judgement]
"""What one core, at one moment, makes of some message."""


def judge_of(topic: str, data: bytes, author: PeerId) -> Judge:
    """Give how each core judges one message."""
    return lambda core, now: core.judge(topic, data, author, now)


def check_late(machine: Machine, effects: Sequence[Effect]) -> None:
    """Raise unless what a machine asks for, that was given late what it heard, is nothing that others see."""
    for effect in effects:
        is_nothing = isinstance(effect, Connect) and effect.peer in machine.connected
        assert is_nothing or isinstance(effect, SetTimer | CancelTimer | Note), f"{machine.name} was late: {effect}"


@dataclass(slots=True)
class Rumour:
    """One message on its way through all machines."""

    number: int
    """In the order of publication."""
    topic: str
    message: GossipMessage
    publisher: Machine
    judge: Judge
    event: GossipReceived | None = None
    ways: Ways | None = None
    """Where it goes hop by hop: all hops."""
    delays: Sequence[int] = ()
    """Where it goes hop by hop: how long (ms) each of the ways takes."""
    best: list[int] = field(default_factory=list)
    """Where it goes hop by hop: earliest arrival (unix ms) planned at each machine. What would come later is a
    duplicate that its transport drops."""


class Gossip:
    """What is on its way on all topics."""

    def __init__(self, world: "World") -> None:
        """Start in silence."""
        self._world = world
        self.mesh = Mesh(world)
        self.deliveries = 0
        self.is_calm = False
        """Whether ``calm`` was called."""
        self._numbers = count()
        self._prompt: list[int] = []
        """Who is given everything at once in a calm network; all others are honest miners."""
        self._late: dict[StakingId, Machine] = {}
        self._late_peers: dict[PeerId, int] = {}
        self._unheard: list[list[Heard]] = []
        """Of each machine of a calm network, so that a flood need not touch the machines themselves."""
        self._is_looked_after = False
        """Whether those who are given nothing in the meantime will be given what they heard."""

    def calm(self) -> None:
        """Promise that from now on nobody joins or dies, nothing is lost, and all hand on what they accept.

        Where the promise is broken, ``_refused`` says so.
        """
        self.is_calm = True
        for machine in self._world.everybody:
            self._unheard.append(machine.unheard)
            if machine.role is Role.MINER and machine.staking_id and machine.behaviour is None:
                self._late[machine.staking_id] = machine
                self._late_peers[machine.key.peer_id] = machine.index
            else:
                self._prompt.append(machine.index)

    # On the way

    def publish(self, machine: Machine, topic: str, message: GossipMessage) -> None:
        """Begin a flood."""
        world, ways = self._world, self.mesh.ways(topic)
        judge = judge_of(topic, encode(message), machine.key.peer_id)
        rumour = Rumour(next(self._numbers), topic, message, machine, judge)
        delays = world.links.delays(len(ways))
        arrivals = ways.arrivals(machine.index, delays) if self.is_calm else []
        if arrivals and self._is_for_all(message, max(after for after in arrivals if after < NEVER)):
            self._flood(rumour, arrivals)
        else:
            rumour.ways, rumour.delays = ways, delays.tolist()
            rumour.best = [world.now + NEVER] * len(world.everybody)
            rumour.best[machine.index] = world.now
            self._forward(rumour, machine)

    def _is_for_all(self, message: GossipMessage, longest_ms: int) -> bool:
        """Say whether all will accept a message: a bulletin's epoch may end on the way, objections have a pace."""
        world = self._world
        return isinstance(message, Bulletin) and all(
            is_acceptable(message.epoch, UnixMillis(world.now + after), world.params) for after in (0, longest_ms)
        )

    def _flood(self, rumour: Rumour, arrivals: list[int]) -> None:
        """Have a message come to all machines of a calm network so long (ms) after now."""
        world, begun, number = self._world, self._world.now, rumour.number
        assert world.is_whole(), "what is lost is no part of a calm network"
        for unheard, after in zip(self._unheard, arrivals, strict=False):
            if 0 < after < NEVER:
                unheard.append((begun + after, number, rumour))
        for index in self._at_once(rumour):
            if 0 < arrivals[index] < NEVER:
                world.first_at(arrivals[index], (HEARING, index, number), self.catch_up, world.everybody[index])
        if not self._is_looked_after:
            self._is_looked_after = True
            world.first_at(LATE_MS, (HEARING, EVERYBODY, 0), self._look_after)

    def _at_once(self, rumour: Rumour) -> Collection[int]:
        """Give who must be given a message at once, as it may make them do something that others see before long."""
        message, publisher, all_of_them = rumour.message, rumour.publisher, range(len(self._unheard))
        core = publisher.core
        if not isinstance(core, CoordinatorCore) or publisher.behaviour:
            return all_of_them
        # Who has no connection with a coordinator dials it once it hears of an offer.
        strangers = self._late_peers.keys() - publisher.connected
        prompt = {*self._prompt, *(self._late_peers[peer] for peer in strangers)}
        for offer in message.offers if isinstance(message, Bulletin) else ():
            task = core.task(offer.task)
            if task is None or task.offered is None:
                return all_of_them
            rank, order = 0, task.offered.order
            while slot_ms(rank, offer.slot_step_ms) <= LATE_MS:
                if rank == len(order):
                    return all_of_them  # who is outside the order comes behind it, but soon
                if order[rank] in self._late:
                    prompt.add(self._late[order[rank]].index)
                rank += 1
        return prompt

    def _forward(self, rumour: Rumour, speaker: Machine) -> None:
        """Have a machine hand a message to all its neighbours that do not have it by then from somebody else."""
        world, best, delays = self._world, rumour.best, rumour.delays
        is_whole = world.is_whole()
        assert rumour.ways is not None
        for index in self.mesh.near(rumour.topic, speaker.index):
            other = world.everybody[index]
            if best[index] <= world.now or not (is_whole or self._passes(rumour, speaker, other)):
                continue
            place = rumour.ways.places.get((speaker.index, index))
            # They are neighbours only since it was published: a hole in the graph was mended.
            delay = world.links.delay() if place is None else delays[place]
            arrival = world.now + delay
            if arrival < best[index]:
                best[index] = arrival
                other.unheard.append((arrival, rumour.number, rumour))
                world.first_at(delay, (HEARING, index, rumour.number), self.catch_up, other)

    def _passes(self, rumour: Rumour, speaker: Machine, hearer: Machine) -> bool:
        """Say whether one hop is possible, and is not lost."""
        return speaker.side == hearer.side and not self._world.loses(speaker, hearer, rumour.message)

    # There

    def catch_up(self, machine: Machine, *, with_now: bool = True) -> None:
        """Give a machine all that it has heard by now, or before, as of the moments at which it came."""
        unheard = machine.unheard
        if not unheard:
            return
        world, index = self._world, machine.index
        now = world.now
        unheard.sort()
        arrived = unheard[: bisect_left(unheard, (now + with_now,))]
        del unheard[: len(arrived)]
        for at, _, rumour in arrived:
            core, behaviour, best = machine.core, machine.behaviour, rumour.best
            if core is None or (best and best[index] != at):
                continue
            world.now = UnixMillis(at)
            verdict, rule, message = rumour.judge(core, UnixMillis(at + machine.skew_ms))
            if message is None:
                self._refused(machine, rumour, verdict, rule)
                continue
            event = rumour.event
            if event is None:
                event = rumour.event = GossipReceived(rumour.topic, message, rumour.publisher.key.peer_id)
            self.deliveries += 1
            world.take(machine, event)
            if best and (behaviour is None or behaviour.forwards(machine, rumour.publisher)):
                self._forward(rumour, machine)
        world.now = now

    def _refused(self, machine: Machine, rumour: Rumour, verdict: Verdict, rule: str) -> None:
        """A machine does not accept a message: it is not handed on."""
        assert rumour.best, f"in a calm network {machine.name} refused a message: {rule}"
        if verdict is Verdict.REJECT:
            self._world.judge(machine, rumour.publisher, rule)

    def catch_up_all(self) -> None:
        """Give everybody what was heard by now, so that a network can be looked at."""
        for machine in self._world.everybody:
            self.catch_up(machine)

    def _look_after(self) -> None:
        """Let nobody hear later than agreed."""
        self.catch_up_all()
        self._is_looked_after = any(self._unheard)
        if self._is_looked_after:
            self._world.first_at(LATE_MS, (HEARING, EVERYBODY, 0), self._look_after)
