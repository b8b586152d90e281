"""Whole nodes over real sockets, with real tables.

Enemy - gate - listener, and carol, an honest coordinator, at the gate as well.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from node.adapters.libp2p import OverlaySettings, OverlayTransport
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
from tests.support.adversary import Adversary, adversary
from tests.support.journal import RecordingJournal
from tests.support.networks import coordinator, network_params, row, view
from tests.support.overlay import MemoryBook, MemoryRecord, WallClock, secret_of, until

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
    record: MemoryRecord
    stop: Callable[[], None] = lambda: None
    stopped: trio.Event = field(default_factory=trio.Event)

    @property
    def id(self) -> PeerId:
        return self.transport.peer_id

    @property
    def address(self) -> str:
        return self.transport.addresses()[0]

    def heard(self, signer: PeerId) -> list[NoteName]:
        """What was made of the messages of a signer."""
        return [note.name for note in self.journal.notes if note.fields.get("signer") == signer]

    def hears(self) -> set[str]:
        """Who has told this node to hear the topic."""
        parts = self.transport._parts
        return set() if parts is None else {str(peer) for peer in parts.pubsub.peer_topics.get(TOPIC, ())}

    def rules_against(self, peer: PeerId) -> set[str | int]:
        return {note.fields["rule"] for note in self.journal.of(NoteName.PEER_JUDGED) if note.fields["peer"] == peer}


@dataclass
class Scene:
    gate: Whole
    listener: Whole
    carol: Whole
    view: EpochView
    views: list[EpochView]
    nursery: trio.Nursery
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

    async def joined(self) -> None:
        """Wait until everybody knows who hears what."""
        for node in (self.listener, self.carol):
            await until(lambda node=node: self.gate.id in node.hears(), "the gate's subscription")
            await until(lambda node=node: node.id in self.gate.hears(), "a subscription")

    async def restart_gate(self) -> None:
        """End the gate and start it anew, with its key and its port and nothing else."""
        address = self.gate.address.partition("/p2p/")[0]
        self.gate.stop()
        await self.gate.stopped.wait()
        self.gate = await start(self.nursery, GATE, self.views, listen=address)
        await self.joined()

    async def goes_on(self) -> None:
        """Fail unless carol's next bulletin comes to the listener through the gate."""
        known = len(self.listener.heard(self.carol.id))
        self.carol.transport.publish(TOPIC, self.bulletin(CAROL))
        await until(lambda: len(self.listener.heard(self.carol.id)) > known, "carol's offers")
        assert set(self.listener.heard(self.carol.id)) == {NoteName.GOSSIP_ACCEPTED}
        assert self.gate.rules_against(self.carol.id) == self.listener.rules_against(self.gate.id) == set()


async def start(
    nursery: trio.Nursery,
    number: int,
    views: Iterable[EpochView],
    *bootstraps: Whole,
    listen: str = "/ip4/127.0.0.1/tcp/0",
) -> Whole:
    """Start a node with the key of that number, on an empty disk, that knows these tables."""
    settings = OverlaySettings(
        listen=(listen,),
        announce=(),
        bootstraps=tuple(node.address for node in bootstraps),
        max_connections=64,
    )
    journal, clock, key, record = RecordingJournal(), WallClock(), NodeKey(secret_of(number)), MemoryRecord()
    transport = OverlayTransport(settings, secret_of(number), clock, journal, MemoryBook(), record)
    core = BootstrapCore(Identity(PARAMS.name, NETWORK_ID, PARAMS, DOMAIN, CATALOG, key, bytes))
    driver = Driver(core, Ports(transport, MemoryChain(tuple(views)), MemoryStore(), None, clock, journal))
    whole = Whole(transport, journal, record)

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope() as scope:
            whole.stop = scope.cancel
            async with trio.open_nursery() as inner:
                await inner.start(transport.run, driver, driver)
                await inner.start(driver.run)
                task_status.started()
        whole.stopped.set()

    await nursery.start(serve)
    for known in views:
        await driver.post(StakeChanged(known))
    await driver.post(BlockSeen(BlockNumber(1), clock.now()))
    return whole


@asynccontextmanager
async def scene_of(rows: Iterable[StakeRow]) -> AsyncIterator[tuple[Scene, Adversary]]:
    """All of them, after carol's first offers have come through."""
    present = epoch_at(WallClock().now(), PARAMS)
    views = [view(Epoch(present + step), rows) for step in (-1, 0, 1)]
    async with trio.open_nursery() as nursery:
        gate = await start(nursery, GATE, views)
        listener = await start(nursery, LISTENER, views, gate)
        carol = await start(nursery, CAROL, views, gate)
        scene = Scene(gate, listener, carol, views[1], views, nursery, itertools.count())
        await scene.joined()
        await scene.goes_on()
        async with adversary(gate, ENEMY) as enemy:
            yield scene, enemy
        nursery.cancel_scope.cancel()
