"""The DHT between real nodes that know one bootstrap."""

import trio

from protocol.events import ProvidersFound
from protocol.stake.standing import Standing
from tests.support.overlay import Overlay, Running, overlay, until
from tests.support.patience import PATIENCE_S

KEY = "/cuckoo/1/devnet/model/pocket-emoji"


async def _find(node: Running, key: str = KEY) -> tuple[str, ...]:
    node.sink.events.clear()
    node.transport.find_providers(key)
    await until(lambda: node.sink.of(ProvidersFound), "an answer")
    (found,) = node.sink.of(ProvidersFound)
    assert found.key == key
    return found.peers


def _table(node: Running) -> set[str]:
    parts = node.transport._parts
    assert parts is not None
    return {str(peer) for peer in parts.discovery._dht.table.peers()}


async def _knows(node: Running, count: int) -> None:
    await until(lambda: len(_table(node)) >= count, f"{count} peers in the table of {node.number}")


async def test_find_providers__eight_nodes_and_one_bootstrap__found_whenever_it_provided() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP)
        early = await place.start(2, Standing.MINER, [boot])
        early.transport.provide(KEY)
        others: list[Running] = []

        async def join(number: int) -> None:
            others.append(await place.start(number, Standing.MINER, [boot]))

        async with trio.open_nursery() as nursery:
            for number in range(3, 9):
                nursery.start_soon(join, number)
        late = others[0]
        late.transport.provide(KEY)
        with trio.fail_after(PATIENCE_S):  # whoever has just joined knows few, and their records are on their way
            for node in (*others[1:], early):
                while set(await _find(node)) != {early.id, late.id} - {node.id}:
                    await trio.sleep(0.1)


async def test_find_providers__asked_before_anybody_is_there__waits_for_the_one_that_joins() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP)
        asker = await place.start(2, Standing.COORDINATOR, [boot])
        asker.transport.find_providers(KEY)
        joiner = await place.start(3, Standing.MINER, [boot])
        joiner.transport.provide(KEY)
        await until(lambda: asker.sink.of(ProvidersFound), "an answer")
        assert asker.sink.of(ProvidersFound) == [ProvidersFound(KEY, (joiner.id,))]


async def test_find_providers__nobody__one_empty_answer() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP)
        node = await place.start(2, Standing.MINER, [boot])
        await _knows(node, 1)
        assert await _find(node, "/nobody") == ()


async def test_find_providers__then_open_stream__addresses_are_known() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP)
        miner = await place.start(2, Standing.MINER, [boot])
        miner.transport.provide(KEY)
        coordinator = await place.start(3, Standing.COORDINATOR, [boot])
        assert await _find(coordinator) == (miner.id,)
        await coordinator.work_with(miner)


async def test_provide__stranger__in_no_table_and_no_record_but_may_ask() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP)
        miner = await place.start(2, Standing.MINER, [boot])
        miner.transport.provide(KEY)
        stranger = await place.start(3, Standing.STRANGER, [boot])
        stranger.transport.provide(KEY)
        assert await _find(stranger) == (miner.id,)
        await trio.sleep(0.5)
        assert await _find(boot) == (miner.id,)
        assert stranger.id not in _table(boot) | _table(miner)


async def test_stake_changed__registered_later__enters_the_tables() -> None:
    async with overlay() as place:
        boot = await place.start(1, Standing.BOOTSTRAP)
        node = await place.start(2, Standing.STRANGER, [boot])
        node.transport.provide(KEY)
        await until(lambda: boot.connected_to(node), "a connection")
        place.standings[node.id] = Standing.MINER
        for each in (boot, node):
            each.transport.stake_changed()
        await until(lambda: node.id in _table(boot), "the newcomer in the table")
        del place.standings[node.id]
        boot.transport.stake_changed()
        assert node.id not in _table(boot)


async def test_find_providers__bootstrap_dead__known_peers_answer() -> None:
    async with overlay() as place:
        boot, nodes = await _settled(place)
        await boot.close()
        assert nodes[0].id in await _find(nodes[3])


async def _settled(place: Overlay) -> tuple[Running, list[Running]]:
    boot = await place.start(1, Standing.BOOTSTRAP)
    nodes = [await place.start(number, Standing.MINER, [boot]) for number in range(2, 6)]
    nodes[0].transport.provide(KEY)
    for node in nodes:
        await _knows(node, 4)
    return boot, nodes
