"""What the driver makes durable, and when: before anything leaves, in order, and again while the disk is full."""

import pytest
import trio
import trio.testing

from node import driver as driver_module
from node.adapters.memory.store import MemoryStore
from node.desk import TaskDesk
from protocol.chain_records import Confirmed, ContractCall, Failed, Transaction, TransactionRequested
from protocol.effects import Accepted, Effect, Persist, Refused, Reply, SubmitTx, Subscribe
from protocol.errors import DiskFull, Unavailable
from protocol.events import BlockSeen, Event, PeerUp, TaskCancelled, TaskSubmitted, TxConfirmed, TxFailed
from protocol.notes import NoteName
from protocol.records import BootStarted
from protocol.units import BlockNumber, Digest, UnixMillis, Wei
from tests.protocol.roles.frames import SPECIFICATION
from tests.support.driver_bench import TASK, Bench, on, send
from tests.support.networks import ALICE, CAROL

CALL = ContractCall("Settlement", "redeem", (b"voucher", 7))
CONFIRMED = Confirmed(BlockNumber(5), Digest(b"x" * 32), (), Wei(1))


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


async def test_handle__transaction__is_on_disk_with_what_belongs_to_it_before_it_is_submitted() -> None:
    wanted = SubmitTx("redeem/1", CALL)
    bench = Bench(on(PeerUp, send(), wanted, Persist((BootStarted(1),))))
    assert await bench.handle(PeerUp(CAROL.peer_id)) == ["persist 2", "send", "submit redeem/1"]
    assert await bench.world.disk.open_transactions(9) == (Transaction("redeem/1", CALL),)


@pytest.mark.parametrize(
    "event", [TxFailed("redeem/1", Failed("refused", "Settlement: no escrow")), TxConfirmed("redeem/1", CONFIRMED)]
)
async def test_handle__outcome__is_settled_together_with_what_the_core_makes_of_it(event: Event) -> None:
    bench = Bench(on(type(event), Persist((BootStarted(1),)), send()))
    await bench.world.disk.persist((TransactionRequested("redeem/1", CALL),))
    assert await bench.handle(event) == ["persist 2", "send"]
    assert await bench.world.disk.open_transactions(9) == ()
