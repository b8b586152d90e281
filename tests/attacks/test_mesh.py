"""Strangers that want the places of a mesh: keys cost nothing."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import trio
from libp2p.custom_types import TProtocol
from libp2p.network.stream.net_stream import NetStream
from libp2p.pubsub.pb import rpc_pb2

from node.adapters.libp2p.framing import STREAM_ERRORS
from node.adapters.libp2p.identity import to_libp2p
from node.adapters.libp2p.router import MAX_STRANGERS, OverlayRouter
from protocol.stake.standing import Standing
from tests.support.adversary import Adversary, adversary, varint
from tests.support.overlay import Overlay, Running, overlay, until

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"
MESH = "/meshsub/1.1.0"
HONEST = 4
STRANGERS = 9


def _router(node: Running) -> OverlayRouter:
    parts = node.transport._parts
    assert parts is not None
    assert isinstance(parts.pubsub.router, OverlayRouter)
    return parts.pubsub.router


def _frame(**fields: object) -> bytes:
    body = rpc_pb2.RPC(**fields).SerializeToString()
    return varint(len(body)) + body


SUBSCRIPTION = rpc_pb2.RPC.SubOpts(subscribe=True, topicid=TOPIC)
LISTENS = _frame(subscriptions=[SUBSCRIPTION])
SITS_DOWN = _frame(
    subscriptions=[SUBSCRIPTION],
    control=rpc_pb2.ControlMessage(graft=[rpc_pb2.ControlGraft(topicID=TOPIC)]),
)


@asynccontextmanager
async def _scene() -> AsyncIterator[tuple[Overlay, Running]]:
    async with overlay() as place:
        victim = await place.start(1, Standing.COORDINATOR)
        victim.transport.subscribe(TOPIC)
        _router(victim).heartbeat_interval = 0.25  # type: ignore[assignment]  # s
        yield place, victim


async def _honest(place: Overlay, victim: Running) -> set[object]:
    """Miners that hear the topic, by their ids."""
    miners = [await place.start(2 + number, Standing.MINER, [victim]) for number in range(HONEST)]
    for miner in miners:
        miner.transport.subscribe(TOPIC)
    return {to_libp2p(miner.id) for miner in miners}


async def _stranger(victim: Running, stack: AsyncExitStack, number: int, says: bytes = SITS_DOWN) -> Adversary:
    """A stranger that hears the topic, asks for a place in the mesh, and takes what it is told."""
    enemy = await stack.enter_async_context(adversary(victim, number))

    async def hear(stream: NetStream) -> None:
        with suppress(*STREAM_ERRORS):
            while True:
                await stream.read(65536)

    enemy.host.set_stream_handler(TProtocol(MESH), hear)
    parts = victim.transport._parts
    assert parts is not None
    parts.pubsub._schedule_peer_stream_retry(enemy.host.get_id())
    await enemy.say(MESH, says)
    return enemy


async def test_mesh__strangers_by_the_dozen_ask_for_places__the_registered_keep_theirs() -> None:
    async with _scene() as (place, victim), trio.open_nursery() as nursery, AsyncExitStack() as stack:
        honest = await _honest(place, victim)
        router = _router(victim)
        await until(lambda: honest <= router.mesh[TOPIC], "the honest in the mesh")
        most, fewest = 0, HONEST

        async def watch() -> None:
            nonlocal most, fewest
            while True:
                most = max(most, len(router.mesh[TOPIC] - honest))
                fewest = min(fewest, len(router.mesh[TOPIC] & honest))
                await trio.sleep(0.001)

        nursery.start_soon(watch)
        enemies = [await _stranger(victim, stack, 800 + number) for number in range(STRANGERS)]
        await until(lambda: all(enemy.host.get_id() in router.peer_protocol for enemy in enemies), "strangers")
        await until(lambda: most > 0, "a stranger in the mesh")
        await trio.sleep(0.6)  # heartbeats
        assert most <= MAX_STRANGERS
        assert fewest == HONEST
        chosen = router._get_in_topic_gossipsub_peers_from_minus(TOPIC, HONEST, set())
        assert set(chosen) == honest, "who is told what there is"
        assert all(victim.rules_against(enemy.id) == [] for enemy in enemies)
        nursery.cancel_scope.cancel()


async def test_mesh__strangers_were_there_first__the_registered_get_places_all_the_same() -> None:
    async with _scene() as (place, victim), AsyncExitStack() as stack:
        router = _router(victim)
        for number in range(STRANGERS):
            await _stranger(victim, stack, 800 + number)
        await until(lambda: len(router.mesh[TOPIC]) >= router.degree_low, "a mesh of strangers")
        honest = await _honest(place, victim)
        await until(lambda: honest <= router.mesh[TOPIC], "the honest in the mesh", 5)
        await until(lambda: len(router.mesh[TOPIC] - honest) <= MAX_STRANGERS, "few strangers beside them", 3)


async def test_mesh__full_of_strangers_and_a_registered_peer_does_not_ask__it_is_taken_in() -> None:
    async with _scene() as (place, victim), AsyncExitStack() as stack:
        router = _router(victim)
        for number in range(5):
            await _stranger(victim, stack, 800 + number)
        await until(lambda: len(router.mesh[TOPIC]) >= router.degree_low, "a mesh of strangers")
        miner = await _stranger(victim, stack, 900, LISTENS)
        place.standings[miner.id] = Standing.MINER
        await until(lambda: miner.host.get_id() in router.mesh[TOPIC], "its place", 4)


async def test_mesh__asked_for_by_one_that_hears_nothing_and_leaves__its_place_is_free_again() -> None:
    async with _scene() as (_, victim):
        router = _router(victim)
        async with adversary(victim) as enemy:
            await enemy.say(MESH, SITS_DOWN)
            identity = enemy.host.get_id()
            await until(lambda: identity in router.mesh[TOPIC], "its place")
        await until(lambda: identity not in router.mesh[TOPIC], "the free place", 4)


async def test_mesh__back_offs_that_are_over__are_forgotten() -> None:
    async with _scene() as (_, victim), adversary(victim) as enemy:
        router = _router(victim)
        prune = rpc_pb2.ControlMessage(prune=[rpc_pb2.ControlPrune(topicID=TOPIC, backoff=1)])
        await enemy.say(MESH, _frame(control=prune))
        await until(lambda: enemy.host.get_id() in router.back_off.get(TOPIC, {}), "the back-off")
        await until(lambda: not router.back_off[TOPIC], "its end", 4)
