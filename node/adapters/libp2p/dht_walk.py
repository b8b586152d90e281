"""Finding the peers closest to a key: asking ever closer ones who is closer still."""

from collections.abc import Awaitable, Callable, Iterable
from heapq import nsmallest
from typing import Final

import trio
from libp2p.peer.id import ID

from node.adapters.libp2p.dht_table import CLOSEST, place_of

AT_ONCE: Final = 3
"""Peers asked at once: α of Kademlia."""
SURE: Final = 3
"""Once so many of the closest have answered, nobody is closer. Upstream asks all twenty, and dials them for it: where
fifty join at once, each of them dialled all others."""
WALK_S: Final = 30.0
"""A search ends after this (s) with what it has found."""
MAX_ASKED: Final = 60
"""Peers asked in one search: a network of 10^6 has some ten steps."""


async def walk(
    nursery: trio.Nursery,
    key: bytes,
    known: Iterable[ID],
    ask: Callable[[ID], Awaitable[Iterable[ID] | None]],
    is_enough: Callable[[], bool] = lambda: True,
) -> list[ID]:
    """Give the peers closest to a key, at most ``CLOSEST``, the closest first, without those that did not answer.

    Args:
        nursery: Where peers are asked. Those whose answer is not waited for any more are asked all the same: a
            connection half made has cost most of its price.
        key: The key.
        known: Where to begin.
        ask: Asks one peer, and gives those that it names; None when it does not answer. Limits its own time.
        is_enough: Asked once the closest have answered: False lets all of the closest be asked, one after the other.
    """
    target = place_of(key)
    distances = {peer: place_of(peer.to_bytes()) ^ target for peer in known}
    asked, answered, gone = set[ID](), set[ID](), set[ID]()
    news, over = trio.Event(), trio.Event()

    def front() -> list[ID]:
        return nsmallest(CLOSEST, distances, key=lambda peer: distances[peer])

    def is_over(closest: list[ID]) -> bool:
        return len(asked) >= MAX_ASKED or (answered.issuperset(closest[:SURE]) and is_enough())

    async def search() -> None:
        nonlocal news
        while not (over.is_set() or is_over(closest := front())):
            peer = next((peer for peer in closest if peer not in asked), None)
            if peer is None:
                if asked <= answered | gone:
                    break
                await news.wait()
                continue
            asked.add(peer)
            named = await ask(peer)
            if named is None:
                gone.add(peer)
                del distances[peer]
            else:
                answered.add(peer)
                for other in named:
                    if other not in gone:
                        distances.setdefault(other, place_of(other.to_bytes()) ^ target)
            news.set()
            news = trio.Event()
        over.set()
        news.set()

    for _ in range(AT_ONCE):
        nursery.start_soon(search)
    with trio.move_on_after(WALK_S):
        await over.wait()
    over.set()
    return front()
