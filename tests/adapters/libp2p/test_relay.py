"""Nodes that nobody can dial, reached through a relay over real sockets, with all that runs over a connection."""

import hashlib

import trio

from node.adapters.libp2p import RelayLimits
from node.adapters.libp2p.circuit_bytes import is_relayed
from node.adapters.libp2p.host import swarm_of
from node.adapters.libp2p.identity import to_libp2p
from protocol.events import ArtifactReceived, ProvidersFound, StreamReceived
from protocol.notes import NoteName
from protocol.stake.standing import Standing
from protocol.units import Digest, TaskId
from tests.support.overlay import Overlay, Running, overlay, peer_of, until
from tests.support.patience import PATIENCE_S

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
ROLE = "/cuckoo/1/devnet/role/coordinator"
ARTIFACT = bytes(range(256)) * 6000


def is_reached_through_a_relay(node: Running, other: Running) -> bool:
    """Say whether all connections of a node with another run over circuits."""
    parts = node.transport._parts
    assert parts is not None
    connections = swarm_of(parts.discovery._host).get_connections(to_libp2p(other.id))
    return bool(connections) and all(is_relayed(connection.muxed_conn) for connection in connections)


async def hidden_coordinator(place: Overlay, relay: Running) -> Running:
    """A coordinator that tells no address but the one through the relay."""
    coordinator = await place.start(2, Standing.COORDINATOR, [relay], relays=[relay])
    await until(lambda: coordinator.journal.of(NoteName.RELAY_HELD), "a reservation")
    return coordinator


async def test_coordinator__reached_through_a_relay_alone__found_worked_with_and_heard() -> None:
    async with overlay() as place:
        relay = await place.start(1, Standing.BOOTSTRAP, service=RelayLimits())
        coordinator = await hidden_coordinator(place, relay)
        assert coordinator.transport.addresses() == (f"{relay.address}/p2p-circuit/p2p/{coordinator.id}",)
        coordinator.transport.provide(ROLE)
        coordinator.transport.subscribe(TOPIC)
        miner = await place.start(3, Standing.MINER, [relay], relays=[relay])
        miner.transport.subscribe(TOPIC)
        with trio.fail_after(PATIENCE_S):
            while not any(event.peers for event in miner.sink.of(ProvidersFound)):
                miner.transport.find_providers(ROLE)
                await trio.sleep(0.1)
        await miner.work_with(coordinator)
        assert is_reached_through_a_relay(miner, coordinator)
        assert miner.send(coordinator, b"claim")
        await until(lambda: coordinator.sink.of(StreamReceived), "a frame")
        digest = Digest(hashlib.sha256(ARTIFACT).digest())
        miner.transport.send_artifact(coordinator.id, TaskId(bytes(32)), 0, digest, ARTIFACT)
        await until(lambda: coordinator.sink.of(ArtifactReceived), "an artifact")
        assert coordinator.sink.of(ArtifactReceived)[0].data == ARTIFACT
        coordinator.transport.publish(TOPIC, b"offer")
        await until(lambda: any(signer == peer_of(2) for _, _, signer in miner.gate.judged), "gossip")
