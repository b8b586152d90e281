"""The overlay as an app sees it, over real sockets."""

import contextlib
import hashlib

import pytest
import trio

from node.adapters.libp2p import RelayLimits
from node.adapters.libp2p import app as app_module
from node.adapters.libp2p.app import AppOverlay
from node.ports import AppLink
from protocol.errors import ConfigError, Unavailable
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.wire.topics import coordinator_key
from tests.support.journal import RecordingJournal
from tests.support.overlay import Overlay, Running, WallClock, overlay, secret_of, until
from tests.support.patience import PATIENCE_S

KEY = coordinator_key("devnet")


class Echo:
    """Answers each frame with itself and a body."""

    def __init__(self, body: bytes = b"") -> None:
        self.body = body
        self.addresses: list[str] = []

    async def serve(self, link: AppLink) -> None:
        self.addresses.append(link.address)
        try:
            while True:
                await link.send(await link.receive(), self.body)
        except Unavailable:
            return


async def app_of(nursery: trio.Nursery, *entries: Running) -> AppOverlay:
    app = AppOverlay(tuple(node.address for node in entries), secret_of(900), WallClock(), RecordingJournal())
    await nursery.start(app.run)
    return app


async def network(place: Overlay) -> tuple[Running, Running, Running]:
    entry = await place.start(1, Standing.BOOTSTRAP)
    ann = await place.start(2, Standing.COORDINATOR, [entry])
    ben = await place.start(3, Standing.COORDINATOR, [entry])
    for node in (ann, ben):
        node.transport.provide(KEY)
    await until(lambda: ann.connected_to(entry) and ben.connected_to(entry), "connections")
    return entry, ann, ben


async def test_find__coordinators_that_announce_themselves__are_found_by_an_entry_point(nursery) -> None:
    async with overlay() as place:
        entry, ann, ben = await network(place)
        app = await app_of(nursery, entry)
        with trio.fail_after(PATIENCE_S):
            while set(await app.find(KEY)) != {ann.id, ben.id}:
                pass
        nursery.cancel_scope.cancel()


async def test_find__nobody_is_there__is_empty_after_some_seconds(nursery) -> None:
    async with overlay() as place:
        entry = await place.start(1, Standing.BOOTSTRAP)
        app = await app_of(nursery, entry)
        with trio.fail_after(PATIENCE_S):
            assert await app.find(KEY) == ()
        nursery.cancel_scope.cancel()


async def test_open__coordinator_that_was_found__frames_and_bodies_come_whole(nursery) -> None:
    async with overlay() as place:
        entry, ann, _ = await network(place)
        body = bytes(range(256)) * 4096
        face = Echo(body)
        ann.transport.serve_apps(face)
        app = await app_of(nursery, entry)
        with trio.fail_after(PATIENCE_S):
            while ann.id not in await app.find(KEY):
                pass
            stream = await app.open(ann.id)
            for data in (b"one", b"two"):
                await stream.send(data)
                assert await stream.receive() == data
                assert await stream.receive_body(len(body)) == body
            assert face.addresses == ["127.0.0.1"]
            await stream.close()
            with pytest.raises(Unavailable):
                await stream.send(b"three")
        nursery.cancel_scope.cancel()


class Taking:
    """Answers each frame, which says how many bytes follow, with their digest."""

    async def serve(self, link: AppLink) -> None:
        with contextlib.suppress(Unavailable):
            while True:
                size = int(await link.receive())
                await link.send(hashlib.sha256(await link.receive(size)).digest())


async def test_send__bodies_behind_frames_of_two_tasks__come_whole(nursery) -> None:
    async with overlay() as place:
        entry = await place.start(1, Standing.COORDINATOR)
        entry.transport.serve_apps(Taking())
        app = await app_of(nursery, entry)
        stream = await app.open(entry.id)
        bodies = [bytes([number]) + bytes(60_000) for number in range(20)]
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as both:
                for body in bodies:
                    both.start_soon(stream.send, b"%d" % len(body), body)
            answers = {await stream.receive() for _ in bodies}
        assert answers == {hashlib.sha256(body).digest() for body in bodies}
        nursery.cancel_scope.cancel()


async def test_send__coordinator_reads_nothing__stream_is_over_and_says_no_more(
    nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "PART_S", 0.5)

    class Deaf:
        async def serve(self, link: AppLink) -> None:
            await trio.sleep_forever()

    async with overlay() as place:
        entry = await place.start(1, Standing.COORDINATOR)
        entry.transport.serve_apps(Deaf())
        app = await app_of(nursery, entry)
        stream = await app.open(entry.id)
        with trio.fail_after(PATIENCE_S):
            with pytest.raises(Unavailable):
                while True:
                    await stream.send(b"60000", bytes(60_000))
            with pytest.raises(Unavailable, match="cut"):
                await stream.send(b"a last word, behind half a part")
        nursery.cancel_scope.cancel()


async def test_open__coordinator_that_serves_no_apps__is_unavailable(nursery) -> None:
    async with overlay() as place:
        entry = await place.start(1, Standing.COORDINATOR)
        app = await app_of(nursery, entry)
        with pytest.raises(Unavailable):
            stream = await app.open(entry.id)
            await stream.receive()
        nursery.cancel_scope.cancel()


async def test_receive__coordinator_dies__is_unavailable(nursery) -> None:
    async with overlay() as place:
        entry = await place.start(1, Standing.COORDINATOR)
        entry.transport.serve_apps(Echo())
        app = await app_of(nursery, entry)
        stream = await app.open(entry.id)
        await stream.send(b"one")
        await stream.receive()
        await entry.close()
        with trio.fail_after(PATIENCE_S), pytest.raises(Unavailable):
            await stream.receive()
        nursery.cancel_scope.cancel()


async def test_open__coordinator_behind_a_relay__is_reached_through_it(nursery) -> None:
    async with overlay() as place:
        relay = await place.start(1, Standing.BOOTSTRAP, service=RelayLimits())
        hidden = await place.start(2, Standing.COORDINATOR, [relay], relays=[relay])
        await until(lambda: hidden.journal.of(NoteName.RELAY_HELD), "a reservation")
        face = Echo()
        hidden.transport.serve_apps(face)
        hidden.transport.provide(KEY)
        app = await app_of(nursery, relay)
        with trio.fail_after(PATIENCE_S):
            while hidden.id not in await app.find(KEY):
                pass
            stream = await app.open(hidden.id)
            await stream.send(b"one")
            assert await stream.receive() == b"one"
        assert face.addresses == [""], "nobody knows from where it calls: all such apps are one site"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("entries", [(), ("/ip4/127.0.0.1/tcp/1",), ("nonsense",)])
def test_app__entry_point_that_is_none__is_refused_by_the_arguments_name(entries: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^entry_points: "):
        AppOverlay(entries, secret_of(1), WallClock(), RecordingJournal())
