"""How often an app looks for coordinators."""

import random

import trio
import trio.testing

from node.apps.app_coordinators import BELIEVED_S, Coordinators
from protocol.errors import Unavailable
from protocol.units import PeerId

FIRST, SECOND = PeerId("first"), PeerId("second")


class Network:
    """A DHT that counts; implements what is needed of ``node.apps.app_links.AppNetwork``."""

    def __init__(self, *found: PeerId) -> None:
        self.found = found
        self.asked = 0

    async def find(self, key: str) -> tuple[PeerId, ...]:
        assert key == "key"
        self.asked += 1
        await trio.lowlevel.checkpoint()
        return self.found

    async def open(self, peer: PeerId) -> None:
        raise Unavailable(peer)


def of(network: Network) -> Coordinators:
    return Coordinators(network, "key", random.Random(7))  # type: ignore[arg-type]  # see ``open``


async def test_find__orders_that_begin_one_after_another__share_one_look_up(mock_clock: trio.testing.MockClock) -> None:
    network = Network(FIRST, SECOND)
    coordinators = of(network)
    orders = {await coordinators.find() for _ in range(20)}
    assert network.asked == 1
    assert orders == {(FIRST, SECOND), (SECOND, FIRST)}, "all are asked as often"
    network.found = (SECOND,)
    mock_clock.jump(BELIEVED_S)
    assert await coordinators.find() == (SECOND,)
    assert network.asked == 2


async def test_find__order_that_has_tried_them_all__looks_again_for_itself_and_the_others() -> None:
    network = Network(FIRST)
    coordinators = of(network)
    await coordinators.find()
    network.found = (FIRST, SECOND)
    assert set(await coordinators.find(again=True)) == {FIRST, SECOND}
    assert set(await coordinators.find()) == {FIRST, SECOND}
    assert network.asked == 2


async def test_find__nobody_was_found__is_remembered_of_nobody() -> None:
    network = Network()
    coordinators = of(network)
    assert await coordinators.find() == ()
    network.found = (FIRST,)
    assert await coordinators.find() == (FIRST,)


async def test_find__some_may_not_be_asked__are_left_out_each_time() -> None:
    asked: list[PeerId] = []

    async def may_be_asked(peer: PeerId) -> bool:
        asked.append(peer)
        await trio.lowlevel.checkpoint()
        return peer == SECOND

    coordinators = Coordinators(Network(FIRST, SECOND), "key", random.Random(7), may_be_asked)  # type: ignore[arg-type]
    assert [await coordinators.find() for _ in range(2)] == [(SECOND,), (SECOND,)]
    assert len(asked) == 4
