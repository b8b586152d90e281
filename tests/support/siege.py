"""What must be true of a node after an attack: it lives, serves the honest as quickly as before, and has not grown."""

import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil
import trio

from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import PeerId
from tests.support.adversary import Adversary, adversary, serves
from tests.support.overlay import Overlay, Running, overlay, until
from tests.support.patience import PATIENCE_S

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
MESH = "/meshsub/1.1.0"
KAD = "/ipfs/kad/1.0.0"
SAMPLES = 7
NOISE_S = 0.01
"""A shorter latency than this (s) is all the scheduler's: twice as much of it means nothing."""
GROWTH_BYTES = 48 * 1024 * 1024
"""What this process, attackers included, may have grown by: a tenth of what most of these attacks send or claim."""


async def latency(victim: Running, honest: Running) -> float:
    """Median time (s) from an honest publication to its judgement by the victim."""
    times = []
    for number in range(SAMPLES):
        known, began = len(victim.gate.judged), trio.current_time()
        honest.transport.publish(TOPIC, b"how long? %d %d" % (known, number))
        with trio.fail_after(PATIENCE_S):
            while not any(signer == honest.id for _, _, signer in victim.gate.judged[known:]):
                await trio.sleep(0.0005)
        times.append(trio.current_time() - began)
    return statistics.median(times)


@dataclass
class Siege:
    """A coordinator under attack and an honest miner that knows it."""

    place: Overlay
    victim: Running
    honest: Running
    before_s: float
    memory: int

    @asynccontextmanager
    async def enemy(self, number: int = 666, standing: Standing = Standing.STRANGER) -> AsyncIterator[Adversary]:
        """An adversary at the victim's door."""
        async with adversary(self.victim, number) as enemy:
            if standing is not Standing.STRANGER:
                self.place.standings[enemy.id] = standing
            yield enemy

    async def holds(self) -> None:
        """Fail unless the victim serves, about as quickly as before, and has not grown."""
        await serves(self.victim, self.honest, TOPIC)
        # What others do on this machine is no fault of the victim's: once is enough.
        for _ in range(5):
            after = await latency(self.victim, self.honest)
            if after <= 2 * max(self.before_s, NOISE_S):
                break
        assert after <= 2 * max(self.before_s, NOISE_S)
        assert psutil.Process().memory_info().rss - self.memory < GROWTH_BYTES

    async def banned(self, enemy: Adversary, rule: str) -> None:
        """Fail unless the enemy is banned and cut for this rule alone."""
        await until(lambda: self.rules_of_bans(enemy.id), "the ban")
        assert self.rules_of_bans(enemy.id) == [rule]
        assert set(self.victim.rules_against(enemy.id)) == {rule}
        await until(lambda: not enemy.is_connected(), "the cut")

    def rules_of_bans(self, peer: PeerId) -> list[str | int]:
        """For what a peer was banned, as the journal says."""
        notes = self.victim.journal.of(NoteName.PEER_BANNED)
        return [note.fields["rule"] for note in notes if note.fields["peer"] == peer]


@asynccontextmanager
async def siege(max_connections: int = 64) -> AsyncIterator[Siege]:
    """Two nodes that work with each other, and how quickly they do."""
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR, max_connections=max_connections)
        honest = await place.start(2, Standing.MINER, [victim])
        for node in (victim, honest):
            node.transport.subscribe(TOPIC)
        parts = honest.transport._parts
        assert parts is not None
        await until(lambda: TOPIC in parts.pubsub.peer_topics, "the victim's subscription")
        await serves(victim, honest, TOPIC)
        yield Siege(place, victim, honest, await latency(victim, honest), psutil.Process().memory_info().rss)
