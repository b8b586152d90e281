"""The driver: durable before anything leaves, in order, and never blocked by a flood."""

from collections.abc import Callable

import pytest
import trio
import trio.testing

from node import driver as driver_module
from node.adapters.memory.store import MemoryStore
from node.desk import TaskDesk
from node.driver import Driver
from node.ports import EventSink, Gatekeeper, PictureComparer, Ports, Reach
from protocol.chain_records import Confirmed, ContractCall, Failed, Transaction, TransactionRequested
from protocol.crypto.keys import NodeKey
from protocol.effects import (
    Accepted,
    CancelTimer,
    ComparePictures,
    Effect,
    Lane,
    Note,
    Offence,
    Persist,
    Publish,
    Refused,
    Reply,
    Send,
    SendArtifact,
    SetTimer,
    SubmitTx,
    Subscribe,
)
from protocol.errors import DiskFull, Unavailable
from protocol.events import (
    ActivityChanged,
    BlockSeen,
    Event,
    GossipReceived,
    PeerUp,
    PicturesCompared,
    Restored,
    StakeChanged,
    TaskCancelled,
    TaskSubmitted,
    TimerFired,
    TxConfirmed,
    TxFailed,
)
from protocol.gossip.verdict import Verdict
from protocol.notes import NoteName
from protocol.records import BootStarted, Record
from protocol.roles.core import EPOCH_BEGINS, Core, Identity
from protocol.stake.standing import Standing
from protocol.units import BlockNumber, Digest, PeerId, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Cancel, GossipMessage
from protocol.wire.topics import offers_topic
from tests.protocol.roles.frames import CATALOG, DOMAIN, EPOCH, MODEL, NETWORK_ID, NOW, PARAMS, SPECIFICATION, bulletin
from tests.support import networks
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.networks import ALICE, CAROL, DAVE
from tests.support.records import committed, picture

CALL = ContractCall("Settlement", "redeem", (b"voucher", 7))
CONFIRMED = Confirmed(BlockNumber(5), Digest(b"x" * 32), (), Wei(1))
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

    def publish(self, topic: str, data: bytes) -> None:
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


async def test_run__first_event__is_what_the_store_holds() -> None:
    bench = Bench()
    await bench.world.disk.persist((BootStarted(7),))
    await bench.handle()
    assert bench.core.heard == [Restored((BootStarted(7),))]


async def test_run__tables_posted_before__are_known_once_it_reports_started() -> None:
    bench = Bench()
    await bench.driver.post(StakeChanged(networks.view(EPOCH)))
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.driver.run)
        assert bench.core.own_id() == 1
        nursery.cancel_scope.cancel()


async def test_remember__before_the_transport_listens__the_core_knows_its_tables_and_nothing_is_done_yet() -> None:
    bench = Bench(on(Restored, Persist((BootStarted(1),)), send()))
    await bench.driver.post(StakeChanged(networks.view(EPOCH)))
    await bench.driver.remember()
    assert bench.driver.standing(CAROL.peer_id) is Standing.COORDINATOR
    assert bench.world.acts == ["persist 1"]
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.driver.run)
        nursery.cancel_scope.cancel()
    assert bench.world.acts == ["persist 1", "send", "stake_changed"]
    assert [type(event) for event in bench.core.heard] == [Restored, StakeChanged]


async def test_handle__a_batch__is_durable_in_one_commit_before_anything_leaves() -> None:
    bench = Bench(on(PeerUp, send(), Persist((BootStarted(1), BootStarted(2))), send(), Subscribe("news")))
    acts = await bench.handle(PeerUp(CAROL.peer_id), PeerUp(ALICE.peer_id))
    assert acts == ["persist 4", "send", "send", "subscribe news", "send", "send", "subscribe news"]


WAITS = Persist((BootStarted(1),), may_wait=True)


async def test_handle__records_that_may_wait__are_written_soon_after_what_follows_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bench = Bench(on(PeerUp, WAITS, send()))
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.driver.run)
        await bench.driver.post(PeerUp(CAROL.peer_id))
        await trio.sleep(driver_module.KEPT_BACK_S / 2)
        assert bench.world.acts == ["send"]
        await bench.driver.post(PeerUp(ALICE.peer_id))
        await trio.sleep(driver_module.KEPT_BACK_S * 0.4)
        assert bench.world.acts == ["send", "send"], "the first one's time is not over"
        await trio.sleep(driver_module.KEPT_BACK_S * 0.2)
        assert bench.world.acts == ["send", "send", "persist 2"]
        nursery.cancel_scope.cancel()
    assert bench.world.acts[3:] == [], "all of it was written"


async def test_handle__records_that_may_wait__go_in_order_with_the_next_that_may_not() -> None:
    def answer(event: Event) -> tuple[Effect, ...]:
        match event:
            case PeerUp():
                return (WAITS,)
            case BlockSeen():
                return Persist((BootStarted(2),)), send()
            case _:
                return ()

    bench = Bench(answer)
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.driver.run)
        await bench.driver.post(PeerUp(CAROL.peer_id))
        await trio.testing.wait_all_tasks_blocked()
        assert bench.world.acts == []
        await bench.driver.post(BlockSeen(BlockNumber(1), UnixMillis(1000)))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert bench.world.acts == ["persist 2", "send"]
    assert await bench.world.disk.load() == (BootStarted(2),)


async def test_handle__records_that_may_wait_beside_others__wait_for_nothing() -> None:
    bench = Bench(on(PeerUp, WAITS, send(), SubmitTx("redeem/7", CALL)))
    acts = await bench.handle(PeerUp(CAROL.peer_id))
    assert acts[0] == "persist 2"


async def test_run__ends_with_records_that_may_wait__they_are_written() -> None:
    bench = Bench(on(PeerUp, WAITS, send()))
    assert await bench.handle(PeerUp(CAROL.peer_id)) == ["send", "persist 1"]


async def test_handle__very_many_records_that_may_wait__are_written_at_once() -> None:
    bench = Bench(on(PeerUp, WAITS))
    events = [PeerUp(CAROL.peer_id)] * (driver_module.MAX_KEPT_BACK + driver_module.BATCH_EVENTS)
    acts = await bench.handle(*events)
    assert acts[0] == f"persist {driver_module.MAX_KEPT_BACK + driver_module.BATCH_EVENTS}"


async def test_handle__store_fails__nothing_leaves_and_the_node_stops_with_its_reason() -> None:
    bench = Bench(on(PeerUp, send(), Persist((BootStarted(1),)), send()))
    bench.world.failure = Unavailable("the store does not answer: disk I/O error")
    with pytest.raises(ExceptionGroup) as stopped:
        await bench.handle(PeerUp(CAROL.peer_id))
    assert stopped.group_contains(Unavailable, match="disk I/O error")
    assert bench.world.acts == []


async def test_handle__disk_full__nothing_leaves_until_there_is_room_and_then_all_does_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bench = Bench(on(PeerUp, send(), Persist((BootStarted(1),)), Subscribe("news")))
    bench.world.failure = DiskFull("the disk is full")
    async with trio.open_nursery() as nursery:
        await bench.driver.post(PeerUp(CAROL.peer_id))
        nursery.start_soon(bench.driver.run)
        await trio.sleep(10 * driver_module.FULL_DISK_PAUSE_S)
        assert bench.world.acts == []
        assert len(bench.journal.of(NoteName.STORE_FULL)) == 1
        assert not bench.journal.of(NoteName.STORE_WRITABLE)
        bench.world.failure = None
        await trio.sleep(2 * driver_module.FULL_DISK_PAUSE_S)
        assert bench.world.acts == ["persist 1", "send", "subscribe news"]
        assert len(bench.journal.of(NoteName.STORE_WRITABLE)) == 1
        await bench.driver.post(PeerUp(CAROL.peer_id))
        await trio.sleep(1)
        assert bench.world.acts[3:] == ["persist 1", "send", "subscribe news"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("detached", [False, True])
async def test_handle__disk_full__apps_are_told_at_once_and_attached_tasks_are_cancelled_later(
    detached: bool, autojump_clock: trio.testing.MockClock
) -> None:
    store = MemoryStore()
    desk = TaskDesk(store, tuple, lambda: (True, ""))

    def answer(event: Event) -> tuple[Effect, ...]:
        if not isinstance(event, TaskSubmitted):
            return ()
        return Persist((BootStarted(event.request),)), Reply(event.request, Accepted(TASK))

    bench = Bench(answer, desk)
    desk.connect(bench.driver.post)
    bench.world.failure = DiskFull("the disk is full")
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.driver.run)
        begun = trio.current_time()
        for _ in range(2):
            told = await desk.submit(SPECIFICATION, detached=detached)
            assert isinstance(told, Refused)
            assert (told.code, told.retry_after_s) == ("disk_full", 30)
        assert trio.current_time() - begun < driver_module.FULL_DISK_PAUSE_S
        assert desk.ready() == (False, told.detail)
        bench.world.failure = None
        await trio.sleep(2 * driver_module.FULL_DISK_PAUSE_S)
        assert desk.ready() == (True, "")
        assert isinstance(await desk.submit(SPECIFICATION, detached=detached), Accepted)
        nursery.cancel_scope.cancel()
    submitted = [event for event in bench.core.heard if isinstance(event, TaskSubmitted)]
    assert len(submitted) == 2, "the second was turned away at the door"
    assert (TaskCancelled(TASK) in bench.core.heard) is not detached


async def test_handle__frame__is_left_to_the_transport_to_note_when_it_drops_it() -> None:
    bench = Bench(on(PeerUp, send()))
    assert await bench.handle(PeerUp(CAROL.peer_id)) == ["send"]
    assert bench.journal.of(NoteName.MESSAGE_DROPPED) == []


async def test_handle__artifact__is_read_beside_the_loop_and_a_lost_one_is_noted() -> None:
    stored, result = picture(), committed()
    gone = SendArtifact(CAROL.peer_id, TASK, 0, Digest(bytes(32)))
    bench = Bench(on(PeerUp, SendArtifact(CAROL.peer_id, TASK, 0, result.artifact), gone))
    await bench.world.disk.persist((stored,))
    acts = await bench.handle(PeerUp(CAROL.peer_id))
    assert acts == [f"artifact {len(stored.data)}"]
    assert [noted.fields["reason"] for noted in bench.journal.of(NoteName.MESSAGE_DROPPED)] == ["artifact_expired"]


class Lengths:
    """Says how much longer one file is than another."""

    async def apart(self, one: bytes, other: bytes) -> int:
        await trio.lowlevel.checkpoint()
        return abs(len(one) - len(other))


async def test_handle__pictures_to_compare__are_looked_at_beside_the_loop_and_lost_ones_cannot_be() -> None:
    one, other, lost = picture(), picture(b"another"), picture(b"expired").digest
    wanted = (ComparePictures(TASK, one.digest, other.digest), ComparePictures(TASK, one.digest, lost))
    for pictures, expected in ((Lengths(), 0), (None, None)):
        bench = Bench(on(PeerUp, *wanted), pictures=pictures)
        await bench.world.disk.persist((one, other))
        await bench.handle(PeerUp(CAROL.peer_id))
        assert set(bench.core.heard[-2:]) == {
            PicturesCompared(TASK, one.digest, other.digest, expected),
            PicturesCompared(TASK, one.digest, lost, None),
        }


async def test_handle__table_or_beginning_epoch__has_standings_checked_again() -> None:
    bench = Bench()
    begins = TimerFired((EPOCH_BEGINS, b"", EPOCH))
    events = (StakeChanged(networks.view(EPOCH)), begins, ActivityChanged(frozenset({StakingId(1)})))
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.driver.run)
        for event in events:
            bench.world.acts.clear()
            await bench.driver.post(event)
            await trio.testing.wait_all_tasks_blocked()
            assert bench.world.acts == ["stake_changed"]
        bench.world.acts.clear()
        for event in (TimerFired(("offer", TASK, 0)), BlockSeen(BlockNumber(1), NOW)):
            await bench.driver.post(event)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.world.acts == []
        nursery.cancel_scope.cancel()


async def test_handle__transaction__is_on_disk_with_what_belongs_to_it_before_it_is_submitted() -> None:
    wanted = SubmitTx("redeem/1", CALL)
    bench = Bench(on(PeerUp, send(), wanted, Persist((BootStarted(1),))))
    assert await bench.handle(PeerUp(CAROL.peer_id)) == ["persist 2", "send", "submit redeem/1"]
    assert await bench.world.disk.open_transactions(9) == (Transaction("redeem/1", CALL),)


@pytest.mark.parametrize(
    "event",
    [TxFailed("redeem/1", Failed("refused", "Settlement: no escrow")), TxConfirmed("redeem/1", CONFIRMED)],
)
async def test_handle__outcome__is_settled_together_with_what_the_core_makes_of_it(event: Event) -> None:
    bench = Bench(on(type(event), Persist((BootStarted(1),)), send()))
    await bench.world.disk.persist((TransactionRequested("redeem/1", CALL),))
    assert await bench.handle(event) == ["persist 2", "send"]
    assert await bench.world.disk.open_transactions(9) == ()


async def test_timers__set_by_the_core__come_back_unless_cancelled() -> None:
    past = UnixMillis(NOW - 1)
    later, never = ("later", TASK, 1), ("never", TASK, 1)
    bench = Bench(on(PeerUp, SetTimer(never, past), SetTimer(later, past), CancelTimer(never)))
    await bench.handle(PeerUp(CAROL.peer_id))
    assert bench.core.heard[-1] == TimerFired(later)
    assert TimerFired(never) not in bench.core.heard


def taught(bench: Bench) -> bytes:
    """Teach the core who coordinates, and give an honest bulletin."""
    bench.core.handle(StakeChanged(networks.view(EPOCH)), NOW)
    bench.core.handle(StakeChanged(networks.view(EPOCH - 1)), NOW)
    bench.core.handle(StakeChanged(networks.view(EPOCH + 1)), NOW)
    bench.core.handle(BlockSeen(BlockNumber(1), NOW), NOW)
    return encode(bulletin(NOW, 1))


async def test_judge__honest_bulletin__is_accepted_and_heard() -> None:
    bench = Bench()
    data = taught(bench)
    topic = offers_topic(PARAMS.name, MODEL.name)
    assert bench.driver.judge(topic, data, CAROL.peer_id) is Verdict.ACCEPT
    await bench.handle()
    event = bench.core.heard[-1]
    assert isinstance(event, GossipReceived)
    assert bench.told == [event.message]


async def test_judge__wrong_in_every_view__costs_its_publisher_credit() -> None:
    bench = Bench()
    data = taught(bench)
    assert bench.driver.judge("/cuckoo/1/test/offers/other", data, CAROL.peer_id) is Verdict.REJECT
    assert bench.driver.judge(offers_topic(PARAMS.name, MODEL.name), data, DAVE.peer_id) is Verdict.REJECT
    assert bench.world.acts == ["judge gossip.topic", "judge gossip.stranger"]
    assert bench.told == []


async def test_judge__queue_full__ignores_and_notes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "QUEUE_EVENTS", 2)
    bench = Bench()
    data = taught(bench)
    for _ in range(2):
        await bench.driver.post(PeerUp(CAROL.peer_id))
    assert bench.driver.judge(offers_topic(PARAMS.name, MODEL.name), data, CAROL.peer_id) is Verdict.IGNORE
    assert [noted.fields["reason"] for noted in bench.journal.of(NoteName.MESSAGE_DROPPED)] == ["events_full"]
    assert bench.told == []


async def test_is_stranger__by_certain_tables__only_who_is_in_none() -> None:
    bench = Bench()
    nobody = NodeKey(b"\x09" * 32).peer_id
    assert not bench.driver.is_stranger(nobody), "without tables nobody is a stranger for sure"
    taught(bench)
    assert bench.driver.is_stranger(nobody)
    assert not bench.driver.is_stranger(CAROL.peer_id)
    assert bench.driver.is_stranger(PeerId("no key"))


async def test_expects_artifact__core_is_asked_with_the_present_moment() -> None:
    bench = Bench()
    bench.core.awaited = (CAROL.peer_id, TASK, 1, 500, NOW)
    assert bench.driver.expects_artifact(CAROL.peer_id, TASK, 1, 500)
    assert not bench.driver.expects_artifact(CAROL.peer_id, TASK, 1, 501)


async def test_post__queue_full__waits_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(driver_module, "QUEUE_EVENTS", 2)
    bench = Bench()
    for _ in range(2):
        await bench.driver.post(PeerUp(CAROL.peer_id))
    with trio.move_on_after(1) as scope:
        await bench.driver.post(PeerUp(ALICE.peer_id))
    assert scope.cancelled_caught
    await bench.handle(PeerUp(ALICE.peer_id))
    assert bench.core.heard.count(PeerUp(ALICE.peer_id)) == 1


async def test_handle__more_than_a_batch__all_are_handled_in_order() -> None:
    bench = Bench(
        lambda event: (Note(NoteName.PEER_UP), Publish("topic", bulletin(NOW, 1)))[: isinstance(event, PeerUp)]
    )
    peers = [PeerId(f"peer{number}") for number in range(3 * driver_module.BATCH_EVENTS)]
    await bench.handle(*(PeerUp(peer) for peer in peers))
    assert [event.peer for event in bench.core.heard if isinstance(event, PeerUp)] == peers
    assert len(bench.journal.of(NoteName.PEER_UP)) == len(peers)


async def test_reply__nobody_waits_any_more__attached_task_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    desk = TaskDesk(MemoryStore(), tuple, lambda: (True, ""))
    bench = Bench(lambda event: (Reply(1, Accepted(TASK)),) if isinstance(event, TaskSubmitted) else (), desk)
    desk.connect(bench.driver.post)
    await desk.submit(SPECIFICATION, detached=False)
    await bench.handle()
    assert bench.core.heard[-1] == TaskCancelled(TASK)
