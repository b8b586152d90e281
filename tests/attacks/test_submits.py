"""Apps are strangers, and anybody can be one: garbage, floods and streams without end on the submit protocol."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgpack
import pytest
import trio
from prometheus_client import CollectorRegistry

from node.adapters.http import Gateway, HttpSettings
from node.adapters.http.uploads import SharedRoom
from node.adapters.libp2p import submits
from node.adapters.libp2p.framing import STREAM_ERRORS, LengthFrames, frame
from node.adapters.libp2p.muxed_stream import muxed_of
from node.apps import app_uploads
from node.apps.app_service import AppService
from protocol.notes import NoteName
from protocol.params import MAX_INPUT_BYTES, MAX_MESSAGE_BYTES
from protocol.roles.app_inputs import named
from protocol.wire.app_messages import (
    SUBMIT_PROTOCOL,
    Order,
    OrderInput,
    OrderInputsWanted,
    OrderRefused,
    OrderTaken,
)
from protocol.wire.codec import COORDINATOR_PLACE, decode, encode
from tests.adapters.http.conftest import catalog
from tests.node.apps.test_app_service import ORDER, Service
from tests.support.adversary import Adversary
from tests.support.clock import HandClock
from tests.support.desk import Workbench
from tests.support.journal import RecordingJournal
from tests.support.overlay import until
from tests.support.patience import PATIENCE_S
from tests.support.pictures import png
from tests.support.records import NOW
from tests.support.siege import Siege, siege


@asynccontextmanager
async def besieged() -> AsyncIterator[tuple[Siege, Workbench, AppService]]:
    """A coordinator that serves apps, and an honest miner."""
    async with siege() as place:
        bench = Workbench(draws=False)
        service = Service(bench)
        place.victim.transport.serve_apps(service)
        yield place, bench, service


SOURCE = png(64, 48)


@asynccontextmanager
async def besieged_gateway(**settings: int) -> AsyncIterator[tuple[Siege, Workbench, Gateway]]:
    """The same, where orders have the limits of the gateway."""
    async with siege() as place:
        bench = Workbench(draws=False)
        gateway = Gateway(HttpSettings(**settings), bench.desk, catalog(), CollectorRegistry(), RecordingJournal())
        orders = gateway.app_orders(require_key=False)
        place.victim.transport.serve_apps(AppService(bench.desk, orders.place, HandClock(NOW), RecordingJournal()))
        yield place, bench, gateway


def order(number: int) -> Order:
    return ORDER.model_copy(update={"order": number.to_bytes(16, "big")})


def too_long() -> bytes:
    fields = ORDER.model_dump() | {"prompt": "x" * 2001}
    return msgpack.packb(fields)


def naming(size: int) -> bytes:
    source = {"digest": hashlib.sha256(SOURCE).digest(), "size": size}
    return msgpack.packb(ORDER.model_dump() | {"version": 2, "source": source})


def editing(number: int, source: bytes = SOURCE) -> Order:
    return order(number).model_copy(update={"version": 2, "source": named(source)})


def part(message: Order, data: bytes) -> bytes:
    assert message.source is not None
    said = OrderInput(order=message.order, digest=message.source.digest, size=len(data))
    return frame(encode(said)) + data


GARBAGE = {
    "noise": frame(b"\xff" * 100),
    "a frame larger than any": (1 << 20).to_bytes(4, "big") + b"x",
    "an empty frame": bytes(4),
    "a prompt that no app sends": frame(too_long()),
    "a message of miners": frame(msgpack.packb({"kind": "cancel", "version": 1})),
    "an order that begins from more than any picture has": frame(naming(8 * 1024 * 1024 + 1)),
    "an order with a key too long": frame(msgpack.packb(ORDER.model_dump() | {"api_key": "k" * 257})),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_submit__garbage__is_judged_and_the_stream_ends(name: str) -> None:
    async with besieged() as (place, bench, _):
        async with place.enemy() as enemy:
            stream = await enemy.say(SUBMIT_PROTOCOL, GARBAGE[name])
            await until(lambda: place.victim.rules_against(enemy.id), "the judgement")
            (rule,) = place.victim.rules_against(enemy.id)
            assert str(rule).startswith(("message.", "stream."))
            with pytest.raises(STREAM_ERRORS):
                await muxed_of(stream).read(1)
        assert not bench.accepted
        await place.holds()


async def test_submit__garbage_again_and_again__is_banned() -> None:
    async with besieged() as (place, _, _):
        async with place.enemy() as enemy:
            enemy.cannot_come_back()
            with contextlib.suppress(*STREAM_ERRORS):
                for _ in range(8):
                    await enemy.say(SUBMIT_PROTOCOL, GARBAGE["noise"])
            await place.banned(enemy, "message.malformed")
        await place.holds()


async def test_submit__more_streams_than_an_app_has__are_refused_and_held_against_it() -> None:
    async with besieged() as (place, _, _):
        async with place.enemy() as enemy:
            for number in range(4):
                await enemy.say(SUBMIT_PROTOCOL, frame(encode(order(number))))
            await until(lambda: len(place.victim.rules_against(enemy.id)) == 2, "two refusals")
            assert set(place.victim.rules_against(enemy.id)) == {"submit.too_many"}
        await place.holds()


async def test_submit__many_keys_of_one_address__leave_places_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submits, "MAX_STREAMS_PER_ADDRESS", 3)
    async with besieged() as (place, bench, _):
        async with contextlib.AsyncExitStack() as enemies:
            for number in range(5):
                enemy = await enemies.enter_async_context(place.enemy(700 + number))
                await enemy.say(SUBMIT_PROTOCOL, frame(encode(order(number))))
            await until(lambda: len(bench.accepted) == 3, "as many as there may be")
            await trio.sleep(0.2)
            assert len(bench.accepted) == 3
            assert not place.victim.journal.of(NoteName.PEER_JUDGED), "neighbours are not to blame"
        await place.holds()


async def _flood(enemy: Adversary, count: int) -> None:
    stream = muxed_of(await enemy.open(SUBMIT_PROTOCOL))
    with contextlib.suppress(*STREAM_ERRORS):
        for number in range(count):
            await stream.write(frame(encode(order(number))))


async def test_submit__flood_of_orders__few_are_taken_and_the_flood_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submits, "FRAMES_PER_S", 50)
    monkeypatch.setattr(submits, "BURST_FRAMES", 100)
    monkeypatch.setattr(submits, "SATURATED_S", 1.0)
    async with besieged() as (place, bench, _):
        async with place.enemy() as enemy:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_flood, enemy, 5000)
                await until(lambda: place.victim.rules_against(enemy.id), "the judgement")
                nursery.cancel_scope.cancel()
            assert set(place.victim.rules_against(enemy.id)) == {"submit.flood"}
            assert len(bench.accepted) <= 256
        await place.holds()


async def test_submit__app_that_reads_nothing__is_left_and_slows_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submits, "WRITE_S", 0.5)
    async with besieged() as (place, bench, service):
        bench.picture = bytes(8 * 1024 * 1024)
        bench.draws = True
        async with place.enemy() as enemy:
            stream = await enemy.say(SUBMIT_PROTOCOL, frame(encode(ORDER)))
            await until(lambda: bench.accepted, "the order")
            muxed_of(stream).received = lambda body: True  # type: ignore[method-assign]  # it grants no window
            await stream.write(frame(encode(OrderTaken(order=ORDER.order))))
            await until(lambda: bench.ends and not service.followed_by, "its end")
        await place.holds()


async def test_submit__picture_that_its_order_does_not_name__is_judged_and_the_stream_ends() -> None:
    async with besieged_gateway() as (place, bench, gateway):
        free = gateway._door.uploads.free
        async with place.enemy() as enemy:
            message = editing(1)
            stream = muxed_of(await enemy.say(SUBMIT_PROTOCOL, frame(encode(message))))
            await until(lambda: gateway._door.uploads.free < free, "the room for it")
            await stream.write(part(message, bytes(len(SOURCE))))
            await until(lambda: place.victim.rules_against(enemy.id), "the judgement")
            assert set(place.victim.rules_against(enemy.id)) == {"input.digest"}
            await until(lambda: gateway._door.uploads.free == free, "its room")
        assert not bench.accepted
        await place.holds()


async def test_submit__pictures_of_no_order__are_judged_and_not_kept() -> None:
    async with besieged_gateway() as (place, bench, _):
        async with place.enemy() as enemy:
            stream = muxed_of(await enemy.open(SUBMIT_PROTOCOL))
            with contextlib.suppress(*STREAM_ERRORS):
                for _ in range(1000):
                    await stream.write(part(editing(1), bytes(64 * 1024)))
            await until(lambda: place.victim.rules_against(enemy.id), "the judgement")
            assert set(place.victim.rules_against(enemy.id)) == {"submit.stray_input"}
        assert not bench.accepted
        await place.holds()


async def test_submit__pictures_that_never_end__are_cut_off_and_their_room_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app_uploads, "UPLOAD_S", 1.0)
    async with besieged_gateway() as (place, bench, gateway):
        free = gateway._door.uploads.free
        async with place.enemy() as enemy, trio.open_nursery() as nursery:
            message = editing(1)
            stream = muxed_of(await enemy.say(SUBMIT_PROTOCOL, frame(encode(message))))

            async def trickle() -> None:
                with contextlib.suppress(*STREAM_ERRORS):
                    for byte in SOURCE[:-1]:
                        await stream.write(part(message, bytes([byte])))
                        await trio.sleep(0.05)

            frames = LengthFrames(stream, MAX_MESSAGE_BYTES)
            with trio.fail_after(PATIENCE_S):
                assert decode(await frames.read(), COORDINATOR_PLACE) == OrderInputsWanted(order=message.order)
                nursery.start_soon(trickle)
                refused = decode(await frames.read(), COORDINATOR_PLACE)
            nursery.cancel_scope.cancel()
        assert isinstance(refused, OrderRefused)
        assert refused.code == "timeout"
        assert gateway._door.uploads.free == free
        assert not bench.accepted
        await place.holds()


async def test_submit__part_that_stops_in_the_middle__is_judged_and_the_stream_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submits, "FRAME_S", 0.5)
    async with besieged_gateway() as (place, _, gateway):
        free = gateway._door.uploads.free
        async with place.enemy() as enemy:
            message = editing(1)
            stream = muxed_of(await enemy.say(SUBMIT_PROTOCOL, frame(encode(message))))
            await until(lambda: gateway._door.uploads.free < free, "the room for it")
            await stream.write(part(message, SOURCE)[:-1])
            await until(lambda: place.victim.rules_against(enemy.id), "the judgement")
            assert set(place.victim.rules_against(enemy.id)) == {"stream.slow"}
        await place.holds()


async def test_submit__many_large_pictures_at_once__have_half_of_the_room_and_others_the_rest() -> None:
    largest = bytes(MAX_INPUT_BYTES)
    async with besieged_gateway(max_uploading_bytes=6 * MAX_INPUT_BYTES) as (place, bench, gateway):
        async with contextlib.AsyncExitStack() as enemies:
            for number in range(4):
                enemy = await enemies.enter_async_context(place.enemy(700 + number))
                orders = [frame(encode(editing(100 * number + one, largest))) for one in range(20)]
                await enemy.say(SUBMIT_PROTOCOL, b"".join(orders))
            await until(lambda: gateway._door.uploads.free == 3 * MAX_INPUT_BYTES, "what one address may have")
            await trio.sleep(0.2)
            assert gateway._door.uploads.free == 3 * MAX_INPUT_BYTES
            with SharedRoom(gateway._door.uploads, trio.current_time).held(MAX_INPUT_BYTES, "another"):
                assert not place.victim.journal.of(NoteName.PEER_JUDGED)
        assert not bench.accepted
        await until(lambda: gateway._door.uploads.free == 6 * MAX_INPUT_BYTES, "all room")
        await place.holds()


async def test_submit__nobody_serves_apps__stream_is_refused_and_nobody_is_blamed() -> None:
    async with siege() as place:
        async with place.enemy() as enemy:
            stream = await enemy.say(SUBMIT_PROTOCOL, frame(encode(ORDER)))
            with pytest.raises(STREAM_ERRORS):
                await muxed_of(stream).read(1)
            assert not place.victim.rules_against(enemy.id)
        await place.holds()
