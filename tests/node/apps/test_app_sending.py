"""An app's pictures on their way to coordinators that ask for them, without sockets: the test is all coordinators."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from node.apps.app_client import AppClient, OrderFailed, order_of
from protocol.roles.app_inputs import ComingInputs, named
from protocol.units import PeerId, Wei
from protocol.wire.app_messages import (
    MAX_INPUT_PART,
    AppMessage,
    OrderAccepted,
    OrderInput,
    OrderInputsWanted,
    OrderNews,
    OrderRefused,
)
from protocol.wire.codec import APP_PLACE, decode
from tests.node.apps.test_app_client import APP, TASK, Coordinator, Network, ordering
from tests.support.clock import HandClock

SOURCE, MASK = bytes(range(256)) * 1000, b"a mask"
EDIT = order_of("a blue heart", source=SOURCE, mask=MASK, strength=0.5)
WANTED = OrderInputsWanted(order=EDIT.order)
PARTS = len(SOURCE) // MAX_INPUT_PART + 2


class Taking(Coordinator):
    """Puts together what comes; one frame at a time, as a stream has it, and only as many parts as it may."""

    def __init__(self, may_take: int = 100) -> None:
        super().__init__()
        self.may_take = trio.Semaphore(may_take)
        self.coming = ComingInputs(EDIT)
        self.parts = 0
        self._writing = trio.Lock()

    async def send(self, data: bytes, body: bytes = b"") -> None:
        message: AppMessage = decode(data, APP_PLACE)
        async with self._writing:
            if not isinstance(message, OrderInput):
                await super().send(data)
                return
            await self.may_take.acquire()
            assert message.size == len(body)
            self.coming.take(message.digest, body)
            self.parts += 1
            self.heard.append(message)

    def go_on(self) -> None:
        for _ in range(100):
            self.may_take.release()


@asynccontextmanager
async def editing(*coordinators: Taking, times: int = 1) -> AsyncGenerator[trio.Nursery]:
    """An edit under way; each coordinator is turned to so many times."""
    network = Network()
    network.coordinators = dict(zip((PeerId("first"), PeerId("second")), coordinators, strict=False))  # type: ignore[assignment]  # some more is all that they do
    network.found = tuple(network.coordinators) * times
    async with ordering(network, EDIT, pictures=(SOURCE, MASK)) as nursery:
        yield nursery


async def test_draw__coordinator_asks_for_its_pictures__gets_them_whole() -> None:
    first = Taking()
    async with editing(first):
        await first.hears("order")
        await wait_all_tasks_blocked()
        assert not first.parts, "nobody asked"
        first.say(WANTED)
        await wait_all_tasks_blocked()
        assert first.coming.pictures() == {named(file).digest: file for file in (SOURCE, MASK)}
        assert first.parts == PARTS


async def test_draw__refused_while_its_pictures_go_out__stops_and_the_next_one_gets_them_all() -> None:
    first, second = Taking(may_take=1), Taking()
    async with editing(first, second):
        await first.hears("order")
        first.say(WANTED)
        await wait_all_tasks_blocked()
        first.say(OrderRefused(order=EDIT.order, code="busy", detail=""))
        await second.hears("order")
        second.say(WANTED)
        first.go_on()
        await wait_all_tasks_blocked()
        assert first.parts == 2, "the one that was under way, and no more"
        assert not second.coming.missing


async def test_draw__asked_again_by_one_that_refused_it__begins_anew() -> None:
    first = Taking(may_take=1)
    async with editing(first, times=2):
        await first.hears("order")
        first.say(WANTED)
        await wait_all_tasks_blocked()
        first.say(OrderRefused(order=EDIT.order, code="busy", detail=""))
        await wait_all_tasks_blocked()
        first.go_on()
        await first.hears("order")
        assert first.parts == 2
        first.coming = ComingInputs(EDIT)
        first.say(WANTED)
        await wait_all_tasks_blocked()
        assert not first.coming.missing


async def test_draw__accepted_before_all_is_sent__sends_no_more() -> None:
    first = Taking(may_take=1)
    async with editing(first):
        await first.hears("order")
        first.say(WANTED)
        await wait_all_tasks_blocked()
        first.say(OrderAccepted(order=EDIT.order, task=TASK, price=Wei(1)))
        await wait_all_tasks_blocked()
        first.go_on()
        await wait_all_tasks_blocked()
        assert first.parts == 2


async def test_draw__cancelled_while_its_pictures_go_out__part_is_whole_and_the_last_word_follows() -> None:
    first = Taking(may_take=1)
    async with trio.open_nursery() as outer, editing(first):
        await first.hears("order")
        first.say(WANTED)
        await wait_all_tasks_blocked()

        async def go_on() -> None:
            await wait_all_tasks_blocked()
            first.go_on()

        outer.start_soon(go_on)
    assert [message.kind for message in first.heard] == ["order", "order_input", "order_input", "order_cancelled"]


async def test_draw__word_of_another_order__does_not_wait_for_pictures(nursery: trio.Nursery) -> None:
    network, first = Network(), Taking(may_take=1)
    network.coordinators = {PeerId("first"): first}  # type: ignore[dict-item]  # some more is all that it does
    network.found = tuple(network.coordinators)
    client = AppClient(network, "test", HandClock(), APP)
    other = order_of("a red heart")

    async def draw() -> None:
        with pytest.raises(OrderFailed):
            await client.draw(other)

    async with client.running(), trio.open_nursery() as inner:
        inner.start_soon(draw)
        await first.hears("order")
        first.say(OrderAccepted(order=other.order, task=TASK, price=Wei(1)))
        await wait_all_tasks_blocked()
        inner.start_soon(lambda: client.draw(EDIT, pictures=(SOURCE, MASK)))
        await first.hears("order")
        first.say(WANTED)
        await wait_all_tasks_blocked()
        first.say(OrderNews(order=other.order, stage="ready", attempt=0))
        await wait_all_tasks_blocked()
        first.may_take.release()
        await first.hears("order_taken")
        assert first.parts == 2, "the one that was under way"
        inner.cancel_scope.cancel()
        first.go_on()


@pytest.mark.parametrize("pictures", [(), (SOURCE,), (SOURCE, MASK, b"another"), (SOURCE, b"another")])
async def test_draw__other_files_than_the_order_names__are_refused(pictures: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="pictures: give the files that the order names"):
        await AppClient(Network(), "test", HandClock(), APP).draw(EDIT, pictures=pictures)


async def test_draw__sealed_and_begins_from_pictures__is_refused() -> None:
    with pytest.raises(ValueError, match="is not sealed"):
        await AppClient(Network(), "test", HandClock(), APP).draw(EDIT, sealed=True, pictures=(SOURCE, MASK))


def test_order_of__what_version_one_can_say__stays_in_version_one() -> None:
    assert order_of("x", steps=9, strength=None, may_be_disputed=False).version == 1
    assert order_of("x", may_be_disputed=True).version == 2
    assert order_of("x", strength=0.0).strength == 0.0
    assert EDIT.version == 2
    assert EDIT.source == named(SOURCE)
