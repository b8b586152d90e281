"""Work streams between real nodes."""

import pytest
import trio

from node.adapters.libp2p import work
from protocol.effects import Lane
from protocol.events import PeerDown, PeerUp, StreamClosed, StreamOpened, StreamReceived
from protocol.notes import NoteName
from protocol.params import MAX_MESSAGE_BYTES
from protocol.stake.standing import Standing
from tests.support.overlay import Overlay, Running, overlay, until
from tests.support.patience import PATIENCE_S, stopwatch


async def _pair(place: Overlay) -> tuple[Running, Running]:
    coordinator = await place.start(1, Standing.COORDINATOR)
    miner = await place.start(2, Standing.MINER, [coordinator])
    await until(lambda: miner.connected_to(coordinator) and coordinator.connected_to(miner), "a connection")
    return coordinator, miner


def _frames(node: Running) -> list[bytes]:
    return [event.data for event in node.sink.of(StreamReceived)]


async def test_send__both_directions__frames_arrive_whole_and_in_order() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        await miner.work_with(coordinator)
        up = [bytes([number % 256]) * (1 + 37 * number) for number in range(200)]
        down = [b"largest" + bytes(MAX_MESSAGE_BYTES - 7), b"x"]
        assert all(miner.send(coordinator, data) for data in up)
        assert all(coordinator.send(miner, data) for data in down)
        await until(lambda: len(_frames(coordinator)) == 200 and len(_frames(miner)) == 2, "all frames")
        assert _frames(coordinator) == up
        assert _frames(miner) == down
        kinds = [type(event) for event in coordinator.sink.events]
        assert kinds.index(PeerUp) < kinds.index(StreamOpened) < kinds.index(StreamReceived)


async def test_send__both_lanes_waiting__priority_first() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        await miner.work_with(coordinator)
        coordinator.sink.block()
        sent = [b"n%02d" % number + bytes(60_000) for number in range(20)]
        for data in sent:
            assert miner.send(coordinator, data, Lane.NORMAL)
            await trio.sleep(0)  # the first fill the windows
        assert miner.send(coordinator, b"p", Lane.PRIORITY)
        coordinator.sink.open.set()
        await until(lambda: len(_frames(coordinator)) == len(sent) + 1, "all frames")
        received = _frames(coordinator)
        assert received.index(b"p") < received.index(sent[-1]) - 2
        assert [data for data in received if data != b"p"] == sent


async def test_send__no_stream_or_oversize__refused_and_noted() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        assert not miner.send(coordinator, b"x")
        await miner.work_with(coordinator)
        assert not miner.send(coordinator, bytes(MAX_MESSAGE_BYTES + 1))
        reasons = [note.fields["reason"] for note in miner.journal.of(NoteName.MESSAGE_DROPPED)]
        assert reasons == ["no_stream", "oversize"]


async def test_send__receiver_takes_nothing__outbox_fills_others_flow_and_the_slow_one_is_cut() -> None:
    async with overlay() as place:
        coordinator, slow = await _pair(place)
        quick = await place.start(3, Standing.MINER, [coordinator])
        await slow.work_with(coordinator)
        await quick.work_with(coordinator)
        slow.sink.block()
        with trio.fail_after(PATIENCE_S):
            while coordinator.send(slow, bytes(60_000)):
                await trio.sleep(0.001)
        assert coordinator.journal.of(NoteName.MESSAGE_DROPPED)[0].fields["reason"] == "outbox_full"
        for number in range(50):
            assert coordinator.send(quick, b"%d" % number)
        await until(lambda: len(_frames(quick)) == 50, "the quick one's frames", 2)
        await until(lambda: StreamClosed(slow.id) in coordinator.sink.events, "the end of the slow one", 12)
        slow.sink.open.set()


async def test_read__ten_times_the_goal_of_one_pair__taken_at_once_and_not_judged() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        await miner.work_with(coordinator)
        sent = 0
        with stopwatch() as watch:
            while sent < work.BURST_FRAMES:
                if miner.send(coordinator, b"%04d" % sent):
                    sent += 1
                else:
                    await trio.sleep(0.005)
            await until(lambda: len(_frames(coordinator)) == sent, "all frames")
            assert watch.seconds < 5
        assert _frames(coordinator) == [b"%04d" % number for number in range(sent)]
        assert coordinator.rules_against(miner.id) == []


async def test_read__more_frames_than_allowed__slowed_and_judged_others_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "FRAMES_PER_S", 100)
    monkeypatch.setattr(work, "BURST_FRAMES", 200)
    monkeypatch.setattr(work, "SATURATED_S", 0.5)
    async with overlay() as place:
        coordinator, flooder = await _pair(place)
        quick = await place.start(3, Standing.MINER, [coordinator])
        await flooder.work_with(coordinator)
        await quick.work_with(coordinator)
        began = trio.current_time()
        for number in range(1000):
            assert flooder.send(coordinator, b"%d" % number)
        await until(lambda: coordinator.rules_against(flooder.id), "the judgement")
        elapsed = trio.current_time() - began
        flood = [event for event in coordinator.sink.of(StreamReceived) if event.peer == flooder.id]
        assert len(flood) <= 200 + 100 * elapsed + 1
        assert quick.send(coordinator, b"work")
        await until(lambda: StreamReceived(quick.id, b"work") in coordinator.sink.events, "the honest frame", 2)
        assert set(coordinator.rules_against(flooder.id)) == {"work.flood"}
        assert coordinator.rules_against(quick.id) == []


async def test_open_stream__peer_unknown__one_stream_closed() -> None:
    async with overlay() as place:
        alice = await place.start(1, Standing.COORDINATOR)
        await place.start(9)
        stranger = (await place.start(4, Standing.STRANGER)).id
        alice.transport.open_stream(stranger)
        await until(lambda: alice.sink.of(StreamClosed), "the failure")
        assert alice.sink.events == [StreamClosed(stranger)]


async def test_open_stream__both_at_once__one_stream_that_works_both_ways() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        miner.transport.open_stream(coordinator.id)
        coordinator.transport.open_stream(miner.id)
        await until(lambda: miner.has_stream(coordinator) and coordinator.has_stream(miner), "a stream")
        await trio.sleep(0.3)
        assert miner.send(coordinator, b"up")
        assert coordinator.send(miner, b"down")
        await until(lambda: _frames(coordinator) == [b"up"] and _frames(miner) == [b"down"], "one frame each way")
        assert miner.has_stream(coordinator)
        assert coordinator.has_stream(miner)


async def test_stake_changed__registration_lost__stream_closed() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        await miner.work_with(coordinator)
        del place.standings[miner.id]
        coordinator.transport.stake_changed()
        await until(lambda: not coordinator.has_stream(miner) and not miner.has_stream(coordinator), "the end")
        miner.transport.open_stream(coordinator.id)
        await until(lambda: "work.unregistered" in coordinator.rules_against(miner.id), "the refusal")


async def test_close__node_stops__stream_closed_then_peer_down_exactly_once() -> None:
    async with overlay() as place:
        coordinator, miner = await _pair(place)
        await miner.work_with(coordinator)
        await miner.close()
        await until(lambda: coordinator.sink.of(PeerDown), "PeerDown")
        await trio.sleep(0.1)
        about = [type(event) for event in coordinator.sink.events if getattr(event, "peer", None) == miner.id]
        assert about == [PeerUp, StreamOpened, StreamClosed, PeerDown]
