"""What peers do to a relay, to those that it carries, and what an evil relay does."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from libp2p.network.stream.net_stream import NetStream
from libp2p.relay.circuit_v2.pb import circuit_pb2

from node.adapters.libp2p import RelayLimits, relay_service
from node.adapters.libp2p.circuit_messages import (
    HOP,
    MAX_RELAY_MESSAGE_BYTES,
    STOP,
    Answer,
    Connect,
    Reserve,
    Status,
    read_hop,
    read_stop,
    write_hop,
    write_stop,
)
from node.adapters.libp2p.framing import STREAM_ERRORS, VarintFrames
from node.adapters.libp2p.identity import to_libp2p
from node.adapters.libp2p.muxed_stream import muxed_of
from protocol.events import StreamReceived
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import PeerId
from tests.support.adversary import Adversary, adversary, varint
from tests.support.overlay import Overlay, Running, overlay, peer_of, until
from tests.support.patience import PATIENCE_S


@dataclass
class Place:
    """A relay, a coordinator that is reached through it alone, and a miner."""

    place: Overlay
    relay: Running
    coordinator: Running
    miner: Running

    @asynccontextmanager
    async def enemy(self, number: int = 666, standing: Standing = Standing.STRANGER) -> AsyncIterator[Adversary]:
        """An adversary at the relay's door."""
        if standing is not Standing.STRANGER:
            self.place.standings[peer_of(number)] = standing
        async with adversary(self.relay, number) as enemy:
            yield enemy

    async def holds(self) -> None:
        """Fail unless the miner still works with the coordinator through the relay."""
        if not self.miner.has_stream(self.coordinator):
            await self.miner.work_with(self.coordinator)
        known = len(self.coordinator.sink.of(StreamReceived))
        assert self.miner.send(self.coordinator, b"still there?")
        await until(lambda: len(self.coordinator.sink.of(StreamReceived)) > known, "a frame through the relay")


@asynccontextmanager
async def relayed(limits: RelayLimits | None = None) -> AsyncIterator[Place]:
    async with overlay() as place:
        relay = await place.start(1, Standing.BOOTSTRAP, service=limits or RelayLimits())
        coordinator = await place.start(2, Standing.COORDINATOR, [relay], relays=[relay])
        await until(lambda: coordinator.journal.of(NoteName.RELAY_HELD), "a reservation")
        # It tells no address of its own either, so that the two meet through the relay alone.
        miner = await place.start(3, Standing.MINER, [relay], book=coordinator.transport.addresses(), relays=[relay])
        yield Place(place, relay, coordinator, miner)


def framed(message: Reserve | Connect | Answer) -> bytes:
    data = write_hop(message)
    return varint(len(data)) + data


async def asks(enemy: Adversary, message: Reserve | Connect | Answer) -> int:
    """Ask the relay, and give the status that it answers."""
    stream = await enemy.say(HOP, framed(message))
    answer = await heard(stream)
    await stream.reset()
    return answer.status


async def heard(stream: NetStream) -> Answer:
    with trio.fail_after(PATIENCE_S):
        answer = read_hop(await VarintFrames(muxed_of(stream), MAX_RELAY_MESSAGE_BYTES).read())
    assert isinstance(answer, Answer)
    return answer


async def is_ended(stream: NetStream, within_s: float) -> bool:
    """Say whether the other end ends a stream in time, on which it says nothing."""
    with trio.move_on_after(within_s):
        try:
            return await stream.read(1) == b""
        except STREAM_ERRORS:
            return True
    return False


def reasons(node: Running, peer: PeerId) -> set[str | int]:
    return {note.fields["reason"] for note in node.journal.of(NoteName.RELAY_REFUSED) if note.fields["peer"] == peer}


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (varint(3) + b"\xff\xff\xff", "relay.malformed"),
        (varint(0), "stream.malformed"),
        (varint(MAX_RELAY_MESSAGE_BYTES + 1), "stream.oversize"),
        (b"\xff" * 12, "stream.oversize"),
        (varint(40) + bytes(40), "relay.malformed"),
    ],
    ids=["garbage", "nothing", "oversized", "endless_length", "zeros"],
)
async def test_hop__wrong_in_every_view__judged_banned_and_others_served(data: bytes, rule: str) -> None:
    async with relayed() as place:
        async with place.enemy() as enemy:
            enemy.cannot_come_back()
            with trio.fail_after(PATIENCE_S):
                while enemy.is_connected():
                    try:
                        await (await enemy.say(HOP, data)).read(1)
                    except STREAM_ERRORS:
                        await trio.sleep(0.05)
            assert rule in place.relay.rules_against(enemy.id)
        await place.holds()


async def test_hop__streams_that_ask_nothing__few_are_kept_and_only_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_service, "REQUEST_S", 0.5)
    async with relayed() as place:
        async with place.enemy() as enemy:
            streams = [await enemy.open(HOP) for _ in range(relay_service.MAX_WAITING)]
            assert await is_ended(await enemy.open(HOP), 0.4)
            assert place.relay.rules_against(enemy.id) == ["relay.waiting"]
            for stream in streams:
                assert await is_ended(stream, 3)
            assert await asks(enemy, Reserve()) == Status.PERMISSION_DENIED
        await place.holds()


async def test_reserve__stranger__refused() -> None:
    async with relayed() as place:
        async with place.enemy() as enemy:
            assert await asks(enemy, Reserve()) == Status.PERMISSION_DENIED
            assert reasons(place.relay, enemy.id) == {"unregistered"}
        await place.holds()


async def test_reserve__names_somebody_else__holds_for_the_asker_alone() -> None:
    async with relayed() as place, place.enemy(7, Standing.MINER) as enemy:
        raw = circuit_pb2.HopMessage(type=circuit_pb2.HopMessage.RESERVE)
        raw.peer.id = to_libp2p(peer_of(99)).to_bytes()
        data = raw.SerializeToString()
        assert (await heard(await enemy.say(HOP, varint(len(data)) + data))).status == Status.OK
        async with place.enemy(8) as other:
            assert await asks(other, Connect(to_libp2p(peer_of(99)))) == Status.NO_RESERVATION
        await place.holds()


async def test_reserve__again_and_again__refused_and_then_judged() -> None:
    async with relayed() as place:
        async with place.enemy(7, Standing.MINER) as enemy:
            enemy.cannot_come_back()
            with trio.fail_after(PATIENCE_S):
                while "relay.flood" not in place.relay.rules_against(enemy.id):
                    assert await asks(enemy, Reserve()) in (Status.OK, Status.RESOURCE_LIMIT_EXCEEDED)
            assert reasons(place.relay, enemy.id) == {"flood"}
        await place.holds()


async def test_reserve__more_than_there_are_places__refused_until_one_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with relayed() as place:
        monkeypatch.setattr(relay_service, "MAX_RESERVATIONS", 3)  # the coordinator and the miner have two
        async with place.enemy(7, Standing.MINER) as first, place.enemy(8, Standing.MINER) as second:
            assert await asks(first, Reserve()) == Status.OK
            assert await asks(second, Reserve()) == Status.RESERVATION_REFUSED
            await first.host.get_network().close_peer(to_libp2p(place.relay.id))
            await until(lambda: place.relay.transport._parts.peers.connected().count(first.id) == 0, "its end")  # type: ignore[union-attr]
            assert await asks(second, Reserve()) == Status.OK
        await place.holds()


async def test_connect__to_itself_or_the_relay__refused_and_judged() -> None:
    async with relayed() as place:
        async with place.enemy(7, Standing.MINER) as enemy:
            assert await asks(enemy, Reserve()) == Status.OK
            assert await asks(enemy, Connect(to_libp2p(enemy.id))) == Status.PERMISSION_DENIED
            assert await asks(enemy, Connect(to_libp2p(place.relay.id))) == Status.PERMISSION_DENIED
            assert place.relay.rules_against(enemy.id) == ["relay.loop", "relay.loop"]
        await place.holds()


async def test_hop__an_answer_in_place_of_a_request__refused_and_judged() -> None:
    async with relayed() as place:
        async with place.enemy() as enemy:
            assert await asks(enemy, Answer(Status.OK)) == Status.UNEXPECTED_MESSAGE
            assert place.relay.rules_against(enemy.id) == ["relay.unexpected"]
        await place.holds()


async def test_connect__to_whoever_holds_no_reservation__refused_and_nobody_is_dialled() -> None:
    async with relayed() as place:
        bystander = await place.place.start(9, Standing.MINER)
        async with place.enemy() as enemy:
            assert await asks(enemy, Connect(to_libp2p(bystander.id))) == Status.NO_RESERVATION
            assert not place.relay.connected_to(bystander)
            assert place.relay.rules_against(enemy.id) == []


async def test_connect__more_circuits_than_one_peer_may_have__refused() -> None:
    async with relayed() as place:
        async with place.enemy() as enemy:
            streams = []
            for _ in range(relay_service.MAX_CIRCUITS_FROM // 2):  # strangers have half
                streams.append(await enemy.say(HOP, framed(Connect(to_libp2p(place.coordinator.id)))))
                assert (await heard(streams[-1])).status == Status.OK
            assert await asks(enemy, Connect(to_libp2p(place.coordinator.id))) == Status.RESOURCE_LIMIT_EXCEEDED
            # What it opened and says nothing on is ended by whom it reaches, which waits for a handshake.
            assert reasons(place.relay, enemy.id) == {"full"}
        await place.holds()


async def test_connect__many_keys_of_one_address__have_a_part_of_what_strangers_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_service, "MAX_CIRCUITS_TO", 16)
    async with relayed() as place, AsyncExitStack() as enemies:
        connect = Connect(to_libp2p(place.coordinator.id))
        for number in range(700, 702):
            enemy = await enemies.enter_async_context(place.enemy(number))
            assert (await heard(await enemy.say(HOP, framed(connect)))).status == Status.OK
        late = await enemies.enter_async_context(place.enemy(702))
        assert await asks(late, connect) == Status.RESOURCE_LIMIT_EXCEEDED
        assert reasons(place.relay, late.id) == {"full"}
        assert place.relay.rules_against(late.id) == []
        await place.holds()


async def test_hop__over_a_circuit__no_relay_through_a_relay() -> None:
    async with overlay() as place:
        relay = await place.start(1, Standing.BOOTSTRAP, service=RelayLimits())
        hidden = await place.start(2, Standing.COORDINATOR, [relay], relays=[relay], service=RelayLimits())
        await until(lambda: hidden.journal.of(NoteName.RELAY_HELD), "a reservation")
        miner = await place.start(3, Standing.MINER, [relay], book=hidden.transport.addresses(), relays=[relay])
        await miner.work_with(hidden)
        parts = miner.transport._parts
        assert parts is not None
        stream = await parts.discovery._host.new_stream(to_libp2p(hidden.id), [HOP])
        assert isinstance(stream, NetStream)
        await stream.write(framed(Reserve()))
        assert (await heard(stream)).status == Status.PERMISSION_DENIED
        assert hidden.rules_against(miner.id) == ["relay.nested"]


async def test_stop__from_whom_nothing_was_asked__refused_and_judged() -> None:
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR)
        async with adversary(victim) as enemy:
            stop = write_stop(Connect(to_libp2p(peer_of(3))))
            stream = await enemy.say(STOP, varint(len(stop)) + stop)
            answer = read_stop(await VarintFrames(muxed_of(stream), MAX_RELAY_MESSAGE_BYTES).read())
            assert answer == Answer(Status.PERMISSION_DENIED)
            assert victim.rules_against(enemy.id) == ["relay.unasked"]


async def test_circuit__more_bytes_than_its_limit__ended_and_made_anew() -> None:
    async with relayed(RelayLimits(circuit_bytes=300_000)) as place:
        await place.holds()
        for number in range(20):
            place.miner.send(place.coordinator, bytes(60_000))
            await trio.sleep(0.02)
            if any(note.fields["reason"] == "bytes" for note in place.relay.journal.of(NoteName.RELAY_CARRIED)):
                break
            assert number < 19
        (ended,) = (note for note in place.relay.journal.of(NoteName.RELAY_CARRIED) if note.fields["reason"] == "bytes")
        assert ended.fields["bytes"] == 300_000
        await until(lambda: not place.miner.has_stream(place.coordinator), "the end of the stream")
        await place.holds()


async def test_circuit__silent_beyond_its_time__ended() -> None:
    async with relayed(RelayLimits(circuit_s=1)) as place:
        began = trio.current_time()
        await place.holds()
        await until(
            lambda: any(note.fields["reason"] == "time" for note in place.relay.journal.of(NoteName.RELAY_CARRIED)),
            "the end",
            5,
        )
        assert trio.current_time() - began >= 1
