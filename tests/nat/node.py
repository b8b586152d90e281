"""One node in a namespace: says each event as a JSON line, and plays a coordinator or a miner by the simplest rules."""

import hashlib
import json
import sys

import trio

from node.adapters.libp2p import RelayLimits
from node.adapters.libp2p.circuit_bytes import is_relayed
from node.adapters.libp2p.host import swarm_of
from node.adapters.libp2p.identity import to_libp2p
from protocol.effects import Lane
from protocol.events import (
    ArtifactReceived,
    PeerDown,
    PeerUp,
    ProvidersFound,
    StreamClosed,
    StreamOpened,
    StreamReceived,
)
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import Digest, TaskId
from tests.support.overlay import Running, overlay, peer_of, until

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
ROLE = "/cuckoo/1/devnet/role/coordinator"
COORDINATOR = 1
ARTIFACT = bytes(range(256)) * 4000
MINERS = (2, 3)
BOOTSTRAP = 4


def say(event: str, **fields: object) -> None:
    """Tell the test."""
    print(json.dumps({"event": event, **fields}), flush=True)


async def coordinate(node: Running) -> None:
    """Answer every frame, offer twice a second, and try to dial each miner once it is known and gone."""
    node.transport.provide(ROLE)
    parts = node.transport._parts
    assert parts is not None
    for number in range(10_000):
        for event in _taken(node):
            match event:
                case StreamOpened(peer):
                    connections = swarm_of(parts.artifacts._host).get_connections(to_libp2p(peer))
                    hosts = [str((each.muxed_conn.get_remote_address() or ("",))[0]) for each in connections]
                    relayed = all(is_relayed(each.muxed_conn) for each in connections)
                    say("stream", peer=peer, from_last=hosts[-1], relayed=relayed)
                case PeerDown(peer):
                    say("down", peer=peer)
                case StreamReceived(peer, data):
                    node.transport.send(peer, b"award of " + data, Lane.PRIORITY)
                case ArtifactReceived(peer, _, _, _, data):
                    say("artifact", peer=peer, bytes=len(data))
                case _:
                    pass
        if number % 10 == 0:
            node.transport.publish(TOPIC, b"offer %d" % number)
        await trio.sleep(0.05)


async def mine(node: Running) -> None:
    """Look coordinators up, dial one, claim on the stream, send an artifact; again whenever the stream is gone."""
    heard: set[str] = set()
    node.transport.find_providers(ROLE)
    for number in range(10_000):
        for event in _taken(node):
            match event:
                case ProvidersFound(_, peers):
                    say("found", peers=list(peers))
                    node.transport.open_stream(peer_of(COORDINATOR))
                case StreamOpened(peer):
                    node.transport.send(peer, b"claim %d" % number, Lane.NORMAL)
                    digest = Digest(hashlib.sha256(ARTIFACT).digest())
                    node.transport.send_artifact(peer, TaskId(number.to_bytes(32, "big")), 0, digest, ARTIFACT)
                case StreamReceived(_, data):
                    say("received", data=data.decode())
                case PeerUp(peer):
                    if peer == peer_of(COORDINATOR):
                        node.transport.open_stream(peer)
                case StreamClosed(peer):
                    # Another connection to the same peer may stand already: then nobody goes down or comes up.
                    node.transport.open_stream(peer)
                case _:
                    pass
        for _, data, signer in node.gate.judged:
            if signer not in heard:
                heard.add(signer)
                say("heard", signer=signer, data=data.decode())
        node.gate.judged.clear()
        if number % 20 == 0:
            node.transport.publish(TOPIC, b"capability %d" % number)
        await trio.sleep(0.05)


def _taken(node: Running) -> list[object]:
    events, node.sink.events[:] = list(node.sink.events), []
    return list(events)


def _is_connected(node: Running, peer: str) -> bool:
    parts = node.transport._parts
    return parts is not None and peer in parts.peers.connected()


def _was_unreachable(node: Running, peer: str) -> bool:
    return any(note.fields["peer"] == peer for note in node.journal.of(NoteName.PEER_UNREACHABLE))


async def main(number: int, listen: str, relay: str, bootstraps: list[str]) -> None:
    """Run one node until the test ends it.

    Args:
        number: Whose key it has.
        listen: Where it listens.
        relay: ``serve`` for a relay, ``use`` to be reached through its bootstraps, ``ask`` to find out whether it
            must be, or ``none``.
        bootstraps: Whom it joins.
    """
    async with overlay() as place, trio.open_nursery() as nursery:
        place.standings[peer_of(BOOTSTRAP)] = Standing.BOOTSTRAP
        place.standings[peer_of(COORDINATOR)] = Standing.COORDINATOR
        for miner in MINERS:
            place.standings[peer_of(miner)] = Standing.MINER
        node = await place.start(
            number,
            place.standings[peer_of(number)],
            bootstraps,
            listen=listen,
            relays=bootstraps if relay == "use" else (),
            service=RelayLimits() if relay == "serve" else None,
            asks_reach=relay == "ask",
        )
        node.transport.subscribe(TOPIC)
        say("listening", peer=node.id)
        if relay in {"use", "ask"}:
            await until(lambda: node.journal.of(NoteName.RELAY_HELD), "a reservation")
            say("reserved", addresses=node.transport.addresses())
        if number != BOOTSTRAP:
            nursery.start_soon(coordinate if number == COORDINATOR else mine, node)
        async for line in trio.lowlevel.FdStream(0):
            for peer in line.decode().split():
                node.transport.connect(peer)  # type: ignore[arg-type]
                with trio.move_on_after(15):
                    while not (_is_connected(node, peer) or _was_unreachable(node, peer)):
                        await trio.sleep(0.05)
                say("dialled", peer=peer, refused=not _is_connected(node, peer))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
