"""An app's orders over streams to several coordinators, without sockets: the test is all coordinators."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from node.apps.app_client import AppClient, OrderFailed, order_of
from protocol.crypto.keys import NodeKey
from protocol.errors import Unavailable
from protocol.units import PeerId, TaskId
from protocol.wire.app_messages import AppMessage, CoordinatorMessage, Order, OrderAccepted, OrderNews, OrderRefused
from protocol.wire.codec import APP_PLACE, decode, encode
from tests.support.clock import HandClock
from tests.support.patience import PATIENCE_S

APP = NodeKey(b"\x77" * 32)
FIRST, SECOND = PeerId("first"), PeerId("second")
TASK = TaskId(b"t" * 32)
ORDER = order_of("a red heart")


class Coordinator:
    """The other end of one submit stream; implements what an app needs of ``AppStream``."""

    def __init__(self) -> None:
        self.heard: list[AppMessage] = []
        self._hears, self._said = trio.open_memory_channel[AppMessage](64)
        self._says, self._to_read = trio.open_memory_channel[bytes](64)

    async def send(self, data: bytes, body: bytes = b"") -> None:
        assert not body, "the orders here begin from none"
        message = decode(data, APP_PLACE)
        self.heard.append(message)
        self._hears.send_nowait(message)

    async def receive(self) -> bytes:
        try:
            return await self._to_read.receive()
        except trio.EndOfChannel:
            raise Unavailable("gone") from None

    async def receive_body(self, size: int) -> bytes:
        raise AssertionError(f"nobody sends {size} bytes here")

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()

    def say(self, message: CoordinatorMessage) -> None:
        self._says.send_nowait(encode(message))

    def die(self) -> None:
        self._says.close()

    async def hears(self, kind: str) -> None:
        """Wait for a message of the app."""
        with trio.fail_after(PATIENCE_S):
            while (await self._said.receive()).kind != kind:
                pass


class Network:
    """Coordinators by peer id, each with one stream; implements ``node.apps.app_links.AppNetwork``."""

    def __init__(self) -> None:
        self.coordinators = {FIRST: Coordinator(), SECOND: Coordinator()}
        self.found: Sequence[PeerId] = (FIRST, SECOND)

    async def find(self, key: str) -> tuple[PeerId, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(self.found)

    async def open(self, peer: PeerId) -> Coordinator:
        await trio.lowlevel.checkpoint()
        return self.coordinators[peer]


@asynccontextmanager
async def ordering(
    network: Network, order: Order = ORDER, pictures: tuple[bytes, ...] = ()
) -> AsyncGenerator[trio.Nursery, None]:
    """An order under way; leaving the block cancels it."""
    client = AppClient(network, "test", HandClock(), APP)
    client._random.shuffle = lambda found: None  # type: ignore[method-assign]

    async def draw() -> None:
        with pytest.raises(OrderFailed):
            await client.draw(order, pictures=pictures)

    async with client.running(), trio.open_nursery() as nursery:
        nursery.start_soon(draw)
        yield nursery
        nursery.cancel_scope.cancel()


async def moved_on(first: Coordinator, second: Coordinator) -> None:
    """The first coordinator cannot draw it now, the second takes it."""
    await first.hears("order")
    first.say(OrderRefused(order=ORDER.order, code="no_miner", detail=""))
    await second.hears("order")
    second.say(OrderAccepted(order=ORDER.order, task=TASK, price=1))
    second.say(OrderNews(order=ORDER.order, stage="queued", attempt=0))
    await trio.testing.wait_all_tasks_blocked()


async def test_draw__coordinator_that_refused_it_dies_later__order_stays_with_the_one_that_has_it() -> None:
    network = Network()
    first, second = network.coordinators.values()
    async with ordering(network):
        await moved_on(first, second)
        first.die()
        await trio.testing.wait_all_tasks_blocked()
        assert [message.kind for message in second.heard] == ["order"]


async def test_draw__stream_of_its_coordinator_ends__order_is_not_cancelled() -> None:
    network = Network()
    first, second = network.coordinators.values()
    async with ordering(network):
        await moved_on(first, second)
        second.die()
        await trio.testing.wait_all_tasks_blocked()
        assert [message.kind for message in second.heard] == ["order"], "it is waited for, and may be back"


async def test_draw__cancelled__tells_the_coordinator_that_has_it_and_no_other() -> None:
    network = Network()
    first, second = network.coordinators.values()
    async with ordering(network):
        await moved_on(first, second)
    assert [message.kind for message in first.heard] == ["order"]
    assert [message.kind for message in second.heard] == ["order", "order_cancelled"]


async def test_running__left_with_an_order_under_way__tells_its_coordinator() -> None:
    network = Network()
    first, second = network.coordinators.values()
    client = AppClient(network, "test", HandClock(), APP)
    client._random.shuffle = lambda found: None  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        async with client.running():
            nursery.start_soon(client.draw, ORDER)
            await moved_on(first, second)
        await trio.testing.wait_all_tasks_blocked()
        assert [message.kind for message in second.heard] == ["order", "order_cancelled"]
        nursery.cancel_scope.cancel()


async def test_draw__all_that_were_found_refuse_it__others_are_looked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = Network()
    first, second = network.coordinators.values()
    network.found = (FIRST,)
    async with ordering(network):
        await first.hears("order")
        network.found = (SECOND,)
        first.say(OrderRefused(order=ORDER.order, code="no_miner", detail=""))
        await second.hears("order")
