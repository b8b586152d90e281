"""Where a node is: told as a person sets it, in both families, and kept by others."""

import socket
from collections import Counter

import pytest
import trio
from libp2p.host.basic_host import BasicHost
from multiaddr.multiaddr import Multiaddr

from node.adapters.chain.devchain import free_port
from node.adapters.libp2p import OverlaySettings, OverlayTransport
from node.adapters.libp2p.handshakes import Handshakes, site_of
from node.adapters.libp2p.host import ADDRESSES_S
from protocol.events import ProvidersFound
from protocol.stake.standing import Standing
from tests.support.journal import RecordingJournal
from tests.support.overlay import Gate, MemoryBook, Overlay, Sink, WallClock, overlay, peer_of, secret_of, until
from tests.support.patience import PATIENCE_S

KEY = "/cuckoo/1/devnet/model/pocket-emoji"


def _has_ip6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ip6(), reason="this machine has no IPv6 loopback")
async def test_listen__on_ip6__joined_found_and_worked_with() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP, listen="/ip6/::1/tcp/0")
        assert boot.address.startswith("/ip6/::1/tcp/")
        miner = await place.start(2, Standing.MINER, [boot], listen="/ip6/::1/tcp/0")
        miner.transport.provide(KEY)
        coordinator = await place.start(3, Standing.COORDINATOR, [boot], listen="/ip6/::1/tcp/0")
        with trio.fail_after(PATIENCE_S):
            found: tuple[str, ...] = ()
            while not found:
                coordinator.sink.events.clear()
                coordinator.transport.find_providers(KEY)
                await until(lambda: coordinator.sink.of(ProvidersFound), "an answer")
                found = coordinator.sink.of(ProvidersFound)[0].peers
        await coordinator.work_with(miner)


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_site_of__address_of_a_socket__who_is_counted_as_one(address: str, site: str) -> None:
    assert site_of(address) == site


@pytest.mark.skipif(not _has_ip6(), reason="this machine has no IPv6 loopback")
async def test_handshakes__over_ip6__counted_by_site(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    monkeypatch.setattr(Handshakes, "begin", lambda _self, address: counted.append(address) or True)
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP, listen="/ip6/::1/tcp/0")
        miner = await place.start(2, Standing.MINER, [boot], listen="/ip6/::1/tcp/0")
        await until(lambda: miner.connected_to(boot), "a connection")
    assert set(counted) == {"::/64"}


async def _announcing(place: Overlay, nursery: trio.Nursery, port: int, *announce: str) -> OverlayTransport:
    """A node of number 2 that listens on one port and tells others of other addresses."""
    place.standings[peer_of(2)] = Standing.MINER
    boot = await place.start(1, Standing.BOOTSTRAP)
    settings = OverlaySettings(
        listen=(f"/ip4/127.0.0.1/tcp/{port}",), announce=announce, bootstraps=(boot.address,), max_connections=64
    )
    transport = OverlayTransport(settings, secret_of(2), WallClock(), RecordingJournal(), MemoryBook())
    await nursery.start(transport.run, Sink(), Gate(place.standings))
    asker = await place.start(3, Standing.COORDINATOR, [boot])
    transport.provide(KEY)
    with trio.fail_after(PATIENCE_S):
        while not any(event.peers for event in asker.sink.of(ProvidersFound)):
            asker.transport.find_providers(KEY)
            await trio.sleep(0.1)
    asker.transport.connect(peer_of(2))
    parts = asker.transport._parts
    assert parts is not None
    await until(lambda: parts.peers.is_connected(peer_of(2)), "a connection")
    return transport


async def test_announce__another_address_of_a_port_mapping__others_dial_that_one() -> None:
    """127.0.0.9 is this machine, too, as the outside of a router is: only whoever was told of it dials it."""
    port = free_port(0)
    async with overlay() as place, trio.open_nursery() as nursery:
        accepted: list[str] = []
        outside = await trio.open_tcp_listeners(0, host="127.0.0.9")

        async def forward(stream: trio.SocketStream) -> None:
            """What a port mapping does."""
            accepted.append("outside")
            async with await trio.open_tcp_stream("127.0.0.1", port) as inside, trio.open_nursery() as both:
                both.start_soon(_pump, stream, inside)
                both.start_soon(_pump, inside, stream)

        nursery.start_soon(trio.serve_listeners, forward, outside)
        told = f"/ip4/127.0.0.9/tcp/{outside[0].socket.getsockname()[1]}"
        transport = await _announcing(place, nursery, port, told)
        assert transport.addresses() == (f"{told}/p2p/{peer_of(2)}",)
        assert accepted
        nursery.cancel_scope.cancel()


async def _pump(source: trio.SocketStream, target: trio.SocketStream) -> None:
    try:
        async for data in source:
            await target.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def test_addresses__a_dozen_connections__put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up, looked = BasicHost.get_addrs, Counter[str]()

    def counting(host: BasicHost) -> list[Multiaddr]:
        looked[str(host.get_id())] += 1
        return look_up(host)

    monkeypatch.setattr(BasicHost, "get_addrs", counting)
    async with overlay() as place:
        began = trio.current_time()
        boot = await place.start(1, Standing.BOOTSTRAP)
        nodes = [await place.start(number, Standing.MINER, [boot]) for number in range(2, 14)]
        await until(lambda: all(boot.connected_to(node) for node in nodes), "the connections")
        # Once before all listeners are there, and then once in a while.
        assert looked[boot.id] <= 2 + (trio.current_time() - began) / ADDRESSES_S
