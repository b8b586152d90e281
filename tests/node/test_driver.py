"""The driver: in order, and never blocked by a flood. What it writes is in ``test_driver_writes``."""

import pytest
import trio
import trio.testing

from node import driver as driver_module
from node.adapters.memory.store import MemoryStore
from node.desk import TaskDesk
from protocol.crypto.keys import NodeKey
from protocol.effects import (
    Accepted,
    CancelTimer,
    ComparePictures,
    Note,
    Persist,
    Publish,
    Reply,
    SendArtifact,
    SetTimer,
)
from protocol.events import (
    ActivityChanged,
    BlockSeen,
    GossipReceived,
    PeerUp,
    PicturesCompared,
    Restored,
    StakeChanged,
    TaskCancelled,
    TaskSubmitted,
    TimerFired,
)
from protocol.gossip.verdict import Verdict
from protocol.notes import NoteName
from protocol.records import BootStarted
from protocol.roles.core import EPOCH_BEGINS
from protocol.stake.standing import Standing
from protocol.units import BlockNumber, Digest, PeerId, StakingId, UnixMillis
from protocol.wire.codec import encode
from protocol.wire.topics import offers_topic
from tests.protocol.roles.frames import EPOCH, MODEL, NOW, PARAMS, SPECIFICATION, bulletin
from tests.support import networks
from tests.support.driver_bench import TASK, Bench, on, send
from tests.support.networks import ALICE, CAROL, DAVE
from tests.support.records import committed, picture


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


async def test_handle__artifact_that_is_in_memory_still__goes_out_in_its_turn() -> None:
    stored, result = picture(), committed()
    bench = Bench(on(PeerUp, SendArtifact(CAROL.peer_id, TASK, 0, result.artifact), send()))
    bench.world.has_at_hand = True
    await bench.world.disk.persist((stored,))
    assert await bench.handle(PeerUp(CAROL.peer_id)) == [f"artifact {len(stored.data)}", "send"]


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
