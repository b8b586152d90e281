"""How many connections one network address may begin, whatever the number of slots."""

import pytest
from trio.testing import MockClock

from node.adapters.libp2p.handshakes import MAX_SLOTS, MIN_BURST, MIN_UNFINISHED, UNFINISHED_SHARE, Handshakes


@pytest.mark.parametrize(
    ("slots", "most"),
    [
        pytest.param(8, MIN_UNFINISHED, id="few slots"),
        pytest.param(200, 200 // UNFINISHED_SHARE, id="a quarter"),
        pytest.param(10_000, MAX_SLOTS // UNFINISHED_SHARE, id="many slots"),
    ],
)
async def test_begin__at_once_of_one_address__are_a_share_of_the_slots_up_to_a_limit(
    slots: int, most: int, mock_clock: MockClock
):
    handshakes = Handshakes(slots)
    assert sum(handshakes.begin("192.0.2.1") for _ in range(2 * most)) == most
    assert handshakes.begin("192.0.2.2")


@pytest.mark.parametrize(
    ("slots", "burst"),
    [pytest.param(8, MIN_BURST, id="few slots"), pytest.param(10_000, MAX_SLOTS, id="many slots")],
)
async def test_begin__one_after_another__are_as_many_as_there_are_slots_up_to_a_limit(
    slots: int, burst: int, mock_clock: MockClock
):
    handshakes = Handshakes(slots)
    begun = 0
    while handshakes.begin("192.0.2.1"):
        handshakes.end("192.0.2.1")
        begun += 1
    assert begun == burst
