"""A driver over a core that says what the test wants, and a world that writes down what is done to it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import trio
import trio.testing

from node.adapters.memory.store import MemoryStore
from node.desk import TaskDesk
from node.driver import Driver
from node.ports import EventSink, Gatekeeper, PictureComparer, Ports, Reach
from protocol.effects import Effect, Lane, Offence, Send
from protocol.events import Event
from protocol.records import Record
from protocol.roles.core import Core, Identity
from protocol.units import Digest, PeerId, TaskId, UnixMillis
from protocol.wire.messages import Cancel, GossipMessage
from tests.protocol.roles.frames import CATALOG, DOMAIN, NETWORK_ID, NOW, PARAMS
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.networks import ALICE, CAROL

TASK = TaskId(b"t" * 32)
FRAME = Cancel(task=TASK, attempt=0, reason="cancelled")


class Script(Core):
    """Answers each event with what the test says, and remembers what it heard."""

    def __init__(self, answer: Callable[[Event], tuple[Effect, ...]]) -> None:
        super().__init__(Identity(PARAMS.name, NETWORK_ID, PARAMS, DOMAIN, CATALOG, ALICE, bytes))
        self.answer = answer
        self.heard: list[Event] = []
        self.awaited: tuple[PeerId, TaskId, int, int, UnixMillis] | None = None

    def expects_artifact(self, peer: PeerId, task: TaskId, attempt: int, size: int, now: UnixMillis) -> bool:
        return self.awaited == (peer, task, attempt, size, now)

    def on_event(self, event: Event) -> None:
        self.heard.append(event)
        self.emit(*self.answer(event))


class World:
    """A transport and a store that write down what happens to them, in one list."""

    def __init__(self) -> None:
        self.acts: list[str] = []
        self.failure: Exception | None = None
        self.disk = MemoryStore()
        self.has_at_hand = False
        """Whether the store has artifacts in memory still."""
        self.arrived = trio.Event()

    @property
    def peer_id(self) -> PeerId:
        return ALICE.peer_id

    def addresses(self) -> tuple[str, ...]:
        return ()

    async def run(
        self, sink: EventSink, gatekeeper: Gatekeeper, *, task_status: object = trio.TASK_STATUS_IGNORED
    ) -> None:
        await trio.sleep_forever()

    def subscribe(self, topic: str) -> None:
        self.acts.append(f"subscribe {topic}")

    def at_once(self) -> AbstractContextManager[None]:
        return nullcontext()

    def publish(self, topic: str, data: bytes, first: Sequence[PeerId] = (), head_start_ms: int = 0) -> None:
        self.acts.append("publish")

    def connect(self, peer: PeerId) -> None:
        self.acts.append("connect")

    def open_stream(self, peer: PeerId) -> None:
        self.acts.append("open_stream")

    def send(self, peer: PeerId, data: bytes, lane: Lane) -> None:
        self.acts.append("send")

    def send_artifact(self, peer: PeerId, task: TaskId, attempt: int, digest: Digest, data: bytes) -> None:
        self.acts.append(f"artifact {len(data)}")
        self.arrived.set()

    def provide(self, key: str) -> None:
        self.acts.append("provide")

    @property
    def reach(self) -> Reach:
        return "unknown"

    def find_providers(self, key: str) -> None:
        self.acts.append("find")

    def judge_peer(self, peer: PeerId, offence: Offence, rule: str) -> None:
        self.acts.append(f"judge {rule}")

    def stake_changed(self) -> None:
        self.acts.append("stake_changed")

    # As a chain

    def submit(self, key: str) -> None:
        self.acts.append(f"submit {key}")

    # As a store

    async def load(self) -> tuple[Record, ...]:
        return await self.disk.load()

    async def persist(self, records: tuple[Record, ...]) -> None:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        self.acts.append(f"persist {len(records)}")
        await self.disk.persist(records)

    def artifact_at_hand(self, digest: Digest) -> bytes | None:
        return self.disk.artifact_at_hand(digest) if self.has_at_hand else None

    async def artifact(self, digest: Digest) -> bytes | None:
        return await self.disk.artifact(digest)


class Bench:
    """A driver over a script."""

    def __init__(
        self,
        answer: Callable[[Event], tuple[Effect, ...]] = lambda _: (),
        desk: TaskDesk | None = None,
        pictures: PictureComparer | None = None,
    ) -> None:
        self.world, self.journal, self.clock = World(), RecordingJournal(), HandClock(NOW)
        self.core = Script(answer)
        ports = Ports(
            transport=self.world,  # type: ignore[arg-type]
            chain=self.world,  # type: ignore[arg-type]  # submit is all that the driver uses
            store=self.world,  # type: ignore[arg-type]  # load, persist and artifact are all that the driver uses
            engine=None,
            clock=self.clock,
            journal=self.journal,
            pictures=pictures,
        )
        self.told: list[GossipMessage] = []
        self.driver = Driver(self.core, ports, desk, self.told.append)

    async def handle(self, *events: Event) -> list[str]:
        """Hand in events, run, and give what was done until all were handled.

        The first events wait already when the driver starts, so it takes them as one batch.
        """
        async with trio.open_nursery() as nursery:
            room = self.driver._send.statistics()
            waiting = int(room.max_buffer_size) - room.current_buffer_used
            for event in events[:waiting]:
                await self.driver.post(event)
            await nursery.start(self.driver.run)
            for event in events[waiting:]:
                await self.driver.post(event)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return self.world.acts


def on(kind: type, *effects: Effect) -> Callable[[Event], tuple[Effect, ...]]:
    return lambda event: effects if isinstance(event, kind) else ()


def send() -> Send:
    return Send(CAROL.peer_id, FRAME)
