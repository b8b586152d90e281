"""Some nodes in one process, ours or of an unmodified py-libp2p, that do what ``tests.bench.overlay`` asks of them."""

import hashlib
import json
import struct
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import trio

from node.garbage import collect_from_here_on
from protocol.events import PeerDown, ProvidersFound
from protocol.stake.standing import Standing
from tests.support.overlay import Overlay, Running, overlay, peer_of, secret_of

MOST_NUMBERS = 200
TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
MESSAGE_BYTES = 300
ASK_S = 15.0


class Nodes(Protocol):
    """What is asked of either kind."""

    async def start(self, number: int, bootstraps: list[str], book: list[str]) -> str: ...
    async def provide(self, number: int, key: str) -> None: ...
    async def find(self, number: int, key: str) -> list[str]: ...
    def holds(self, number: int, key: str) -> bool: ...
    def table(self, number: int) -> int: ...
    def connections(self, number: int) -> int: ...
    def address(self, number: int) -> str: ...
    def addresses(self, number: int) -> list[str]: ...
    async def subscribe(self, number: int) -> None: ...
    async def publish(self, number: int) -> None: ...
    def heard(self, number: int) -> list[float]: ...
    async def watch(self, number: int, peer: int) -> None: ...
    def has_lost(self, number: int, peer: int) -> bool: ...


def _stamped() -> bytes:
    """Make a message that says when it was made."""
    return struct.pack("d", time.time()) + bytes(MESSAGE_BYTES - 8)


def _age_ms(message: bytes) -> float:
    return 1000 * (time.time() - float(struct.unpack("d", message[:8])[0]))


def _record(key: str) -> bytes:
    return b"\x12\x20" + hashlib.sha256(key.encode()).digest()


class Ours:
    """Nodes of this project."""

    def __init__(self, place: Overlay) -> None:
        self._place = place
        self._nodes: dict[int, Running] = {}
        self._heard: defaultdict[int, list[float]] = defaultdict(list)
        for number in range(1, MOST_NUMBERS):
            place.standings[peer_of(number)] = Standing.MINER if number > 3 else Standing.BOOTSTRAP

    async def start(self, number: int, bootstraps: list[str], book: list[str]) -> str:
        standing = Standing.MINER if number > 3 else Standing.BOOTSTRAP
        node = await self._place.start(number, standing, bootstraps, book, max_connections=300)
        self._nodes[number] = node
        return node.address

    async def provide(self, number: int, key: str) -> None:
        self._nodes[number].transport.provide(key)

    async def find(self, number: int, key: str) -> list[str]:
        node = self._nodes[number]
        node.sink.events[:] = [event for event in node.sink.events if not isinstance(event, ProvidersFound)]
        node.transport.find_providers(key)
        while not (found := [event for event in node.sink.of(ProvidersFound) if event.key == key]):
            await trio.sleep(0.005)
        return list(found[0].peers)

    def _dht(self, number: int) -> Any:
        parts = self._nodes[number].transport._parts
        assert parts is not None
        return parts.discovery._dht

    def holds(self, number: int, key: str) -> bool:
        return bool(self._dht(number).records.of(_record(key)))

    def table(self, number: int) -> int:
        return len(self._dht(number).table)

    def connections(self, number: int) -> int:
        parts = self._nodes[number].transport._parts
        assert parts is not None
        return len(parts.peers.connected())

    def address(self, number: int) -> str:
        return self._nodes[number].address

    def addresses(self, number: int) -> list[str]:
        return self._nodes[number].book.kept

    async def subscribe(self, number: int) -> None:
        ages = self._heard[number]
        record = self._nodes[number].record
        record.heard = lambda publication: ages.append(_age_ms(publication.data))  # type: ignore[method-assign]  # a clock
        self._nodes[number].transport.subscribe(TOPIC)

    async def publish(self, number: int) -> None:
        self._nodes[number].transport.publish(TOPIC, _stamped())

    def heard(self, number: int) -> list[float]:
        return self._heard.pop(number, [])

    async def watch(self, number: int, peer: int) -> None:
        transport = self._nodes[number].transport
        parts = transport._parts
        assert parts is not None
        with trio.move_on_after(ASK_S):
            while not parts.peers.is_connected(peer_of(peer)):
                await trio.sleep(0.01)
            transport.open_stream(peer_of(peer))
            while peer_of(peer) not in parts.work._current:
                await trio.sleep(0.01)

    def has_lost(self, number: int, peer: int) -> bool:
        return any(event.peer == peer_of(peer) for event in self._nodes[number].sink.of(PeerDown))


class Stock:
    """Hosts of py-libp2p as it comes: its own muxer, GossipSub with a heartbeat of a second, its own DHT."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._hosts: dict[int, tuple[Any, Any]] = {}
        self._pubsubs: dict[int, Any] = {}
        self._heard: defaultdict[int, list[float]] = defaultdict(list)

    async def start(self, number: int, bootstraps: list[str], book: list[str]) -> str:
        return str(await self._nursery.start(self._run, number, bootstraps))

    async def _run(
        self, number: int, bootstraps: list[str], task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        from libp2p import new_host
        from libp2p.crypto.secp256k1 import create_new_key_pair
        from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
        from libp2p.peer.peerinfo import info_from_p2p_addr
        from libp2p.pubsub.gossipsub import GossipSub
        from libp2p.pubsub.pubsub import Pubsub
        from libp2p.tools.anyio_service import background_trio_service
        from multiaddr.multiaddr import Multiaddr

        listen = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
        host = new_host(key_pair=create_new_key_pair(secret_of(number)), listen_addrs=listen)
        router = GossipSub(["/meshsub/1.1.0"], 6, 4, 12, heartbeat_initial_delay=0.1, heartbeat_interval=1)
        pubsub, dht = Pubsub(host, router), KadDHT(host, DHTMode.SERVER)
        async with background_trio_service(router), background_trio_service(pubsub):
            await pubsub.wait_until_ready()
            async with host.run(listen_addrs=listen), background_trio_service(dht):
                self._hosts[number], self._pubsubs[number] = (host, dht), pubsub
                for text in bootstraps:
                    info = info_from_p2p_addr(Multiaddr(text))
                    try:
                        with trio.move_on_after(5):
                            await host.connect(info)
                            await dht.routing_table.add_peer(info)
                    except Exception as error:  # whatever it raises, it has not joined by this one
                        print(f"stock {number}: {error!r}", file=sys.stderr)
                task_status.started(str(host.get_addrs()[0]))
                await trio.sleep_forever()

    async def provide(self, number: int, key: str) -> None:
        with trio.move_on_after(ASK_S):
            await self._hosts[number][1].provider_store.provide(_record(key))

    async def find(self, number: int, key: str) -> list[str]:
        found: list[Any] = []
        with trio.move_on_after(ASK_S):
            found = await self._hosts[number][1].provider_store.find_providers(_record(key), 100)
        return [str(info.peer_id) for info in found]

    def holds(self, number: int, key: str) -> bool:
        return bool(self._hosts[number][1].provider_store.get_providers(_record(key)))

    def table(self, number: int) -> int:
        return len(self._hosts[number][1].routing_table.get_peer_ids())

    def connections(self, number: int) -> int:
        return len(self._hosts[number][0].get_network().get_connections())

    def address(self, number: int) -> str:
        return str(self._hosts[number][0].get_addrs()[0])

    def addresses(self, number: int) -> list[str]:
        return []

    async def subscribe(self, number: int) -> None:
        subscription = await self._pubsubs[number].subscribe(TOPIC)
        self._nursery.start_soon(self._listen, subscription, self._heard[number])

    async def _listen(self, subscription: Any, ages: list[float]) -> None:
        while True:
            ages.append(_age_ms((await subscription.get()).data))

    async def publish(self, number: int) -> None:
        await self._pubsubs[number].publish(TOPIC, _stamped())

    def heard(self, number: int) -> list[float]:
        return self._heard.pop(number, [])

    async def watch(self, number: int, peer: int) -> None:
        return None

    def has_lost(self, number: int, peer: int) -> bool:
        from node.adapters.libp2p.identity import to_libp2p

        return not self._hosts[number][0].get_network().get_connections(to_libp2p(peer_of(peer)))


@asynccontextmanager
async def _nodes(kind: str) -> AsyncIterator[Nodes]:
    if kind == "ours":
        collect_from_here_on()  # as the command does before it runs a node
        async with overlay() as place:
            yield Ours(place)
    else:
        async with trio.open_nursery() as nursery:
            yield Stock(nursery)
            nursery.cancel_scope.cancel()


async def main(kind: str) -> None:
    """Do what is written, each order in a task of its own, until nobody writes any more."""
    async with _nodes(kind) as nodes, trio.open_nursery() as nursery:
        commands: dict[str, Callable[..., Any]] = {
            name: getattr(nodes, name)
            for name in (
                "start",
                "provide",
                "find",
                "holds",
                "table",
                "connections",
                "address",
                "addresses",
                "subscribe",
                "publish",
                "heard",
                "watch",
                "has_lost",
            )
        }

        async def one(order: dict[str, Any]) -> None:
            said = None if order["do"] == "ready" else commands[order["do"]](*order["with"])
            answer = await said if isinstance(said, Awaitable) else said
            print(json.dumps({"order": order["order"], "answer": answer}), flush=True)

        reading = trio.lowlevel.FdStream(0)
        rest = b""
        async for data in reading:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                nursery.start_soon(one, json.loads(line))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    import logging

    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    trio.run(main, sys.argv[1])
