"""Who hears a message first, and when the others do."""

from collections.abc import Collection

import pytest
import trio
import trio.testing
from libp2p.peer.id import ID

from node.adapters.libp2p.head_starts import HeadStarts

BOB, CAROL = ID(b"bob"), ID(b"carol")


@pytest.fixture
def sent() -> list[tuple[bytes, set[ID]]]:
    """What went out, to whom."""
    return []


@pytest.fixture
async def starts(sent: list[tuple[bytes, set[ID]]], nursery: trio.Nursery) -> HeadStarts:
    """Head starts that run; a test with them names ``autojump_clock`` itself, or else its time is real."""

    def send(data: bytes, peers: Collection[ID]) -> None:
        sent.append((data, set(peers)))

    starts = HeadStarts(send)
    nursery.start_soon(starts.run)
    await trio.testing.wait_all_tasks_blocked()
    return starts


async def test_hold__nothing_comes__is_sent_in_its_time_and_once(
    starts: HeadStarts, sent: list[tuple[bytes, set[ID]]], autojump_clock: trio.testing.MockClock
) -> None:
    for number in range(2):
        starts.hold(b"%d" % number, [BOB, CAROL], 1.0)
        await trio.sleep(0.9)
        assert len(sent) == number
        await trio.sleep(5.0)
        assert sent[number:] == [(b"%d" % number, {BOB, CAROL})]


async def test_hold__next_one_comes__does_not_overtake_and_has_its_own_time(
    starts: HeadStarts, sent: list[tuple[bytes, set[ID]]], autojump_clock: trio.testing.MockClock
) -> None:
    starts.hold(b"one", [BOB], 1.0)
    await trio.sleep(0.5)
    starts.hold(b"two", [CAROL], 1.0)
    assert sent == [(b"one", {BOB})]
    await trio.sleep(0.9)
    assert sent == [(b"one", {BOB})], "the end of the first one's time is not the second's"
    await trio.sleep(0.2)
    assert sent == [(b"one", {BOB}), (b"two", {CAROL})]


async def test_end__something_is_held__is_sent_at_once_and_not_again(
    starts: HeadStarts, sent: list[tuple[bytes, set[ID]]], autojump_clock: trio.testing.MockClock
) -> None:
    starts.hold(b"one", [BOB], 1.0)
    starts.end()
    assert sent == [(b"one", {BOB})]
    starts.end()
    await trio.sleep(5.0)
    assert len(sent) == 1
