"""Who gets a place when many want one: by number, and with a thousand real sockets."""

from dataclasses import dataclass
from ipaddress import ip_network

import httpx
import pytest
import trio

from node.adapters.http import HttpSettings
from node.adapters.http.connections import HEADER_S, KEEP_ALIVE_S
from node.adapters.http.places import ALL_TAKEN, SITE_FULL, Places
from protocol.notes import NoteName
from tests.adapters.http.conftest import Serve, Served
from tests.adapters.http.sockets import HALF_A_HEADER, REQUEST, answer, connect, ended, free, settled
from tests.support.desk import Workbench

HALF_OPEN = 1010
"""More than there are places in all."""


@dataclass(eq=False)
class Guest:
    """A connection as places see it."""

    waiting_since: float = 0.0
    is_busy: bool = True
    ended: bool = False

    def end(self) -> None:
        self.ended = True


def places(limit: int = 100, site: int = 100, **settings: object) -> Places:
    return Places(HttpSettings(max_connections=limit, max_connections_per_site=site, **settings))


def taken(room: Places, *addresses: str) -> list[str | None]:
    """What each busy newcomer found full."""
    found = []
    for address in addresses:
        has_place, full = room.take(Guest(), address)
        assert has_place is (full is None)
        found.append(full)
    return found


def test_take__one_site__has_its_share_and_others_go_on():
    room = places(site=2)
    assert taken(room, *["198.51.101.7"] * 3, "198.51.101.8") == [None, None, SITE_FULL, None]
    assert len(room) == 3


def test_take__ipv6_addresses_of_one_site__share_a_limit():
    room = places(site=2)
    assert taken(room, "2a00:1:2:3::1", "2a00:1:2:3:ffff::2") == [None, None]
    assert taken(room, "2a00:1:2:3:4:5:6:7", "2a00:1:2:4::1") == [SITE_FULL, None]


@pytest.mark.parametrize("addresses", [("127.0.0.1", "127.9.9.9", "::1"), ("192.168.1.4",) * 3])
def test_take__this_machine_or_its_network__may_have_half(addresses):
    assert taken(places(6, 1), *addresses, addresses[0]) == [None, None, None, SITE_FULL]


def test_take__trusted_proxy__may_have_all():
    room = places(3, 1, trusted_proxies=(ip_network("198.51.101.7"),))
    assert taken(room, *["198.51.101.7"] * 4) == [None, None, None, SITE_FULL]


def test_take__all_busy__nobody_gets_one_until_one_is_free():
    room = places(2)
    guest = Guest()
    room.take(guest, "192.0.77.1")
    assert taken(room, "192.0.77.2", "192.0.77.3") == [None, ALL_TAKEN]
    room.release(guest)
    room.release(guest)
    assert taken(room, "192.0.77.3", "192.0.77.3") == [None, ALL_TAKEN]


def test_take__all_taken__who_waited_longest_makes_room():
    room = places(4)
    guests = [Guest(since, is_busy) for since, is_busy in ((1.0, True), (3.0, False), (2.0, False), (4.0, False))]
    for guest in guests:
        room.take(guest, "192.0.77.1")
    assert room.take(Guest(5.0), "192.0.77.2") == (True, ALL_TAKEN)
    assert [guest.ended for guest in guests] == [False, False, True, False]
    assert len(room) == 4
    room.release(guests[2])
    assert len(room) == 4, "the newcomer keeps the place that the other had"


def test_take__site_is_full__one_of_that_site_makes_room():
    room = places(site=1)
    elsewhere, here = Guest(1.0, is_busy=False), Guest(2.0, is_busy=False)
    room.take(elsewhere, "198.51.101.7")
    room.take(here, "198.51.101.8")
    assert room.take(Guest(3.0), "198.51.101.8") == (True, SITE_FULL)
    assert (elsewhere.ended, here.ended) == (False, True)


# Real sockets


@pytest.fixture
def many_files():
    """Room for both ends of a thousand sockets in this one process."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 8192, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("data", [b"", HALF_A_HEADER], ids=["silent", "half"])
async def test_connection__more_half_open_than_places__an_honest_client_is_served(serve: Serve, many_files, data):
    served = await serve()
    async with httpx.AsyncClient(base_url=served.url) as regular:
        await regular.get("/healthz")
        streams = [await connect(served, data) for _ in range(HALF_OPEN)]
        with trio.fail_after(HEADER_S - 1):  # then half-open ones are closed anyway
            assert (await served.generate()).status_code == 200
        with trio.fail_after(HEADER_S - 1):
            assert (await regular.get("/healthz")).status_code == 200, "closed meanwhile, and opened anew"
        assert len(served.gateway._places) == 500
        assert len(served.journal.of(NoteName.MESSAGE_DROPPED)) >= HALF_OPEN - 500
        for stream in streams:
            await trio.aclose_forcefully(stream)
    await served.http.aclose()
    await free(served)


async def test_connection__half_open_and_silent__give_all_places_back_in_time(serve: Serve, many_files, mock_clock):
    served = await serve(max_connections=200)
    streams = [await connect(served, HALF_A_HEADER) for _ in range(150)]
    await settled(mock_clock, HEADER_S + 0.01)
    assert await ended(streams[-1])
    await free(served)
    for stream in streams:
        await trio.aclose_forcefully(stream)


async def _busy(served: Served, nursery: trio.Nursery) -> None:
    """Keep one connection at work."""
    nursery.start_soon(served.generate)
    await served.desk.wait_for_tasks(1)


async def test_connection__too_many_and_one_idle__the_idle_one_makes_room(serve: Serve):
    served = await serve(max_connections=2)
    async with await connect(served) as first, await connect(served) as second:
        await answer(first)
        await answer(second)
        async with await connect(served) as third:
            await answer(third)
            assert await ended(first)
            await answer(second)
    assert [note.fields for note in served.journal.of(NoteName.MESSAGE_DROPPED)] == [{"reason": ALL_TAKEN}]


async def test_connection__too_many_and_bodies_that_never_end__they_make_room(serve: Serve):
    served = await serve(max_connections=2)
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
    async with await connect(served, head) as first, await connect(served, head) as second:
        await settled()
        async with await connect(served) as third:
            await answer(third)
            assert await ended(first)
            assert not await ended(second)
    await free(served)


async def test_connection__too_many_and_all_busy__the_new_one_is_closed_and_noted(serve: Serve):
    served = await serve(Workbench(draws=False), max_connections=1)
    async with trio.open_nursery() as nursery:
        await _busy(served, nursery)
        async with await connect(served, REQUEST) as second:
            assert await ended(second)
        assert served.journal.of(NoteName.MESSAGE_DROPPED)[0].fields == {"reason": ALL_TAKEN}
        nursery.cancel_scope.cancel()


async def test_connection__one_after_another__each_gives_its_place_back(serve: Serve, mock_clock):
    served = await serve(max_connections=2)
    for _ in range(5):
        async with await connect(served) as stream:
            await answer(stream)
        await free(served)
    assert not served.journal.of(NoteName.MESSAGE_DROPPED)
    async with await connect(served) as stream:
        await answer(stream)
        await settled(mock_clock, KEEP_ALIVE_S + 0.01)
        await free(served)
