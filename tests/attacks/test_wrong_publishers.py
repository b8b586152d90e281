"""Who may not offer is not heard, whatever it signs: whole nodes, with real tables, over real sockets.

Enemy - gate - listener, and carol, an honest coordinator, at the gate as well.
"""

import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from node.adapters.libp2p import OverlaySettings, OverlayTransport
from node.adapters.libp2p import gossip as limits
from node.adapters.memory.chain import MemoryChain
from node.adapters.memory.store import MemoryStore
from node.driver import Driver
from node.ports import Ports
from protocol.crypto.keys import NodeKey
from protocol.events import BlockSeen, StakeChanged
from protocol.notes import NoteName
from protocol.roles.bootstrap import BootstrapCore
from protocol.roles.core import Identity
from protocol.stake.epoch import epoch_at
from protocol.stake.field import Field
from protocol.stake.table import EpochView, StakeRow
from protocol.units import BlockNumber, Epoch, PeerId, StakingId
from protocol.wire.codec import encode
from protocol.wire.messages import Bulletin
from protocol.wire.topics import offers_topic
from tests.protocol.roles.frames import CATALOG, DOMAIN, MODEL, NETWORK_ID
from tests.support.adversary import Adversary, adversary, gossip
from tests.support.journal import RecordingJournal
from tests.support.networks import coordinator, network_params, row, view
from tests.support.overlay import MemoryBook, WallClock, secret_of, until

GATE, LISTENER, CAROL, ENEMY = 1, 2, 3, 666
"""Numbers of keys; of the registered ones also their staking ids."""
PARAMS = network_params(epoch_s=600, boundary_tolerance_s=60)
TOPIC = offers_topic(PARAMS.name, MODEL.name)
MESH = "/meshsub/1.1.0"
FIXED = (row(NodeKey(secret_of(GATE)), GATE), row(NodeKey(secret_of(LISTENER)), LISTENER))
HONEST = (*FIXED, coordinator(NodeKey(secret_of(CAROL)), CAROL))


@dataclass
class Whole:
    """One running node: transport, driver and a core that hears every offer."""

    transport: OverlayTransport
    journal: RecordingJournal

    @property
    def id(self) -> PeerId:
        return self.transport.peer_id

    @property
    def address(self) -> str:
        return self.transport.addresses()[0]

    def heard(self, signer: PeerId) -> list[NoteName]:
        """What was made of the messages of a signer."""
        return [note.name for note in self.journal.notes if note.fields.get("signer") == signer]

    def rules_against(self, peer: PeerId) -> set[str | int]:
        return {note.fields["rule"] for note in self.journal.of(NoteName.PEER_JUDGED) if note.fields["peer"] == peer}


@dataclass
class Scene:
    gate: Whole
    listener: Whole
    carol: Whole
    view: EpochView
    _sequence: Iterable[int]

    def bulletin(self, speaker: int, **changes: object) -> bytes:
        """A bulletin that is right in all but, perhaps, who says it; no two are the same."""
        field = Field.of(self.view.table.miners, {StakingId(GATE)}, set())
        message = Bulletin(
            coordinator=StakingId(speaker),
            model=MODEL.name,
            addresses=(f"/dns4/a{next(iter(self._sequence))}.example/tcp/1",),
            epoch=self.view.epoch,
            root=self.view.table.root,
            field=field.to_bytes(),
            sent_at=WallClock().now(),
            offers=(),
            awards=(),
            closures=(),
        )
        return encode(message.model_copy(update=changes))

    async def goes_on(self) -> None:
        """Fail unless carol's next bulletin comes to the listener through the gate."""
        known = len(self.listener.heard(self.carol.id))
        self.carol.transport.publish(TOPIC, self.bulletin(CAROL))
        await until(lambda: len(self.listener.heard(self.carol.id)) > known, "carol's offers")
        assert set(self.listener.heard(self.carol.id)) == {NoteName.GOSSIP_ACCEPTED}
        assert self.gate.rules_against(self.carol.id) == self.listener.rules_against(self.gate.id) == set()


async def _start(nursery: trio.Nursery, number: int, views: Iterable[EpochView], *bootstraps: Whole) -> Whole:
    settings = OverlaySettings(
        listen=("/ip4/127.0.0.1/tcp/0",),
        announce=(),
        bootstraps=tuple(node.address for node in bootstraps),
        max_connections=64,
    )
    journal, clock, key = RecordingJournal(), WallClock(), NodeKey(secret_of(number))
    transport = OverlayTransport(settings, secret_of(number), clock, journal, MemoryBook())
    core = BootstrapCore(Identity(PARAMS.name, NETWORK_ID, PARAMS, DOMAIN, CATALOG, key, bytes))
    driver = Driver(core, Ports(transport, MemoryChain(tuple(views)), MemoryStore(), None, clock, journal))
    await nursery.start(transport.run, driver, driver)
    await nursery.start(driver.run)
    for known in views:
        await driver.post(StakeChanged(known))
    await driver.post(BlockSeen(BlockNumber(1), clock.now()))
    return Whole(transport, journal)


@asynccontextmanager
async def _scene(rows: Iterable[StakeRow]) -> AsyncIterator[tuple[Scene, Adversary]]:
    """All of them, after carol's first offers have come through."""
    present = epoch_at(WallClock().now(), PARAMS)
    views = [view(Epoch(present + step), rows) for step in (-1, 0, 1)]
    async with trio.open_nursery() as nursery:
        gate = await _start(nursery, GATE, views)
        listener = await _start(nursery, LISTENER, views, gate)
        carol = await _start(nursery, CAROL, views, gate)
        scene = Scene(gate, listener, carol, views[1], itertools.count())
        for node in (listener, carol):
            parts = gate.transport._parts
            assert parts is not None
            topics = parts.pubsub.peer_topics
            await until(lambda node=node, topics=topics: node.id in map(str, topics.get(TOPIC, ())), "subscriptions")
        await until(lambda: carol.transport._parts.pubsub.peer_topics.get(TOPIC), "the gate's subscription")
        await scene.goes_on()
        async with adversary(gate, ENEMY) as enemy:  # type: ignore[arg-type]  # all it needs are id and address
            yield scene, enemy
        nursery.cancel_scope.cancel()


async def _say(enemy: Adversary, messages: Iterable[bytes]) -> None:
    await enemy.say(MESH, b"".join(gossip(enemy.message(TOPIC, data)) for data in messages))


@pytest.mark.parametrize(("speaker", "rule"), [(ENEMY, "gossip.not_coordinator"), (CAROL, "gossip.coordinator")])
async def test_gossip__offers_of_a_registered_miner__heard_by_nobody_and_it_is_banned(speaker: int, rule: str) -> None:
    async with _scene((*HONEST, row(NodeKey(secret_of(ENEMY)), ENEMY))) as (scene, enemy):
        await _say(enemy, [scene.bulletin(speaker)])
        await until(lambda: scene.gate.rules_against(enemy.id), "the judgement")
        await scene.goes_on()
        assert enemy.is_connected(), "one is not enough for a ban"
        await _say(enemy, [scene.bulletin(speaker) for _ in range(10)])
        await until(lambda: not enemy.is_connected(), "the ban")
        await scene.goes_on()
        assert scene.gate.rules_against(enemy.id) == {rule}
        assert set(scene.gate.heard(enemy.id)) == {NoteName.GOSSIP_REJECTED}
        assert scene.listener.heard(enemy.id) == []
        assert scene.listener.rules_against(scene.gate.id) == set()


async def test_gossip__offers_of_an_unregistered_coordinator__heard_by_nobody_and_it_is_banned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "REFUSED_BURST", 10)
    monkeypatch.setattr(limits, "REFUSED_PER_S", 1)
    async with _scene(HONEST) as (scene, enemy):
        await _say(enemy, [scene.bulletin(speaker) for speaker in (ENEMY, CAROL)])
        await scene.goes_on()
        assert scene.gate.rules_against(enemy.id) == set(), "a few may be honest at the edge of an epoch"
        await _say(enemy, [scene.bulletin(ENEMY) for _ in range(60)])
        await until(lambda: not enemy.is_connected(), "the ban")
        await scene.goes_on()
        assert scene.gate.rules_against(enemy.id) == {"gossip.refused"}
        assert scene.gate.heard(enemy.id) == scene.listener.heard(enemy.id) == []


async def test_gossip__offers_of_a_coordinator_below_its_minimum__heard_by_nobody_and_nobody_is_blamed() -> None:
    """Its stake may have fallen after it last looked: it is not forwarded, and not judged."""
    async with _scene((*HONEST, coordinator(NodeKey(secret_of(ENEMY)), ENEMY, active=False))) as (scene, enemy):
        await _say(enemy, [scene.bulletin(ENEMY) for _ in range(3)])
        await until(lambda: len(scene.gate.heard(enemy.id)) == 3, "the bulletins")
        await scene.goes_on()
        assert set(scene.gate.heard(enemy.id)) == {NoteName.GOSSIP_IGNORED}
        assert scene.listener.heard(enemy.id) == []
        assert scene.gate.rules_against(enemy.id) == set()
