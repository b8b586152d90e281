"""The follower over restarts and re-orgs on a real chain: whatever was kept, it ends with the contract's rows."""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from node.adapters.chain import follower as follower_module
from node.adapters.chain import place as module
from node.adapters.chain.follower import Follower
from node.adapters.chain.place import Place
from node.adapters.chain.rpc import JsonRpc
from node.adapters.memory.store import MemoryStore
from node.adapters.store import SqliteStore
from node.ports import Store
from protocol.chain_records import Header
from protocol.units import BlockNumber, UnixMillis
from tests.adapters.chain.conftest import StakingOnAnvil
from tests.adapters.chain.gas import FatalStore, Killed
from tests.support.anvil import Anvil, running_anvil
from tests.support.clock import HandClock
from tests.support.networks import ALICE, BOB, row


@pytest.fixture(scope="module")
def anvil_process() -> Iterator[Anvil]:
    """An anvil for this file: one that did much before may lose a contract's code with the blocks that it drops."""
    with running_anvil() as anvil:
        yield anvil


@pytest.fixture
async def rpc(staking: StakingOnAnvil) -> AsyncIterator[JsonRpc]:
    async with JsonRpc([staking.anvil.url]) as client:
        yield client


def following(rpc: JsonRpc, staking: StakingOnAnvil, store: Store | None) -> Follower:
    return Follower(rpc, staking.address, staking.start_block, store, 31_337)


async def rows_read_anew(rpc: JsonRpc, staking: StakingOnAnvil):
    fresh = following(rpc, staking, None)
    await fresh.step()
    assert fresh.head is not None
    return fresh.history.table_at(fresh.head.number)


def table(follower: Follower):
    assert follower.head is not None
    return follower.history.table_at(follower.head.number)


@pytest.fixture(params=["sqlite", "memory"])
async def store(request, tmp_path: Path) -> AsyncIterator[Store]:
    made = SqliteStore(tmp_path, HandClock()) if request.param == "sqlite" else MemoryStore()
    async with made.opened():
        yield made


async def test_step__second_run__goes_on_from_where_the_first_was(staking: StakingOnAnvil, store: Store):
    asked: list[bytes] = []
    for number in range(1, 4):
        staking.register(number)
    async with JsonRpc([staking.anvil.url]) as rpc:
        await following(rpc, staking, store).step()
        staking.register(4)
        staking.register(5)
        second = following(rpc, staking, store)
        exchange = rpc.exchange

        async def listening(body: bytes, *, repeat: bool):
            asked.extend([body] if b"eth_getLogs" in body else [])
            return await exchange(body, repeat=repeat)

        rpc.exchange = listening  # type: ignore[method-assign]
        assert await second.step() == 0
        rpc.exchange = exchange  # type: ignore[method-assign]
        assert table(second) == await rows_read_anew(rpc, staking)
    (body,) = asked
    newest = [staking.anvil.rpc("eth_getBlockByNumber", hex(staking.height() - back), False) for back in (1, 0)]
    assert [call["params"][0]["blockHash"] for call in json.loads(body)] == [block["hash"] for block in newest]


@pytest.mark.parametrize("depth", [1, 5])
async def test_step__re_organised_between_two_runs__rolls_back_and_reads_on(
    staking: StakingOnAnvil, rpc: JsonRpc, store: Store, depth: int
):
    staking.register(1)
    first = following(rpc, staking, store)
    await first.step()
    for number in range(2, 2 + depth):
        staking.register(number)
        await first.step()
    staking.anvil.rpc("anvil_reorg", depth, [])
    staking.anvil.rpc("anvil_dropAllTransactions")
    staking.register(99)
    second = following(rpc, staking, store)
    assert await second.step() == depth
    assert second.rebuilt is None
    assert [row.id for row in table(second).rows] == [1, 2]
    assert table(second) == await rows_read_anew(rpc, staking)


@pytest.mark.parametrize("depth", [1, 5])
async def test_step__re_organised_while_it_runs__rolls_back_and_reads_on(
    staking: StakingOnAnvil, rpc: JsonRpc, store: Store, depth: int
):
    follower = following(rpc, staking, store)
    for number in range(1, 2 + depth):
        staking.register(number)
        await follower.step()
    staking.anvil.rpc("anvil_reorg", depth, [])
    assert await follower.step() == depth
    assert table(follower) == await rows_read_anew(rpc, staking)
    assert len(table(follower).rows) == 1


async def test_step__re_organised_beyond_the_window__reads_all_again_says_so_and_goes_on(
    staking: StakingOnAnvil, rpc: JsonRpc, store: Store
):
    fork = staking.anvil.rpc("evm_snapshot")
    first = following(rpc, staking, store)
    for number in range(1, 6):
        staking.register(number)
        await first.step()
    assert first.head is not None
    await first.settle(first.head)
    staking.anvil.rpc("evm_revert", fork)
    for number in (9, 8, 7, 6, 5, 4, 3):
        staking.register(number)
    second = following(rpc, staking, store)
    await second.step()
    assert second.rebuilt == "deep_reorganisation"
    assert table(second) == await rows_read_anew(rpc, staking)
    await second.step()
    assert second.rebuilt is None, "once"
    third = following(rpc, staking, store)
    assert await third.step() == 0
    assert third.rebuilt is None
    assert table(third) == await rows_read_anew(rpc, staking)


@pytest.mark.parametrize("before", [True, False])
async def test_step__killed_at_every_write__the_next_run_ends_with_the_same_rows(
    staking: StakingOnAnvil, rpc: JsonRpc, monkeypatch: pytest.MonkeyPatch, before: bool
):
    monkeypatch.setattr(follower_module, "FIRST_CHUNK_BLOCKS", 2)
    monkeypatch.setattr(follower_module, "MAX_CHUNK_BLOCKS", 2)
    survived = False
    for write in range(1, 16):
        snapshot = staking.anvil.rpc("evm_snapshot")
        store = FatalStore(write, before=before)
        first = following(rpc, staking, store)
        try:
            for number in range(1, 7):
                staking.register(number)
            await first.step()
            staking.anvil.rpc("anvil_reorg", 3, [])
            await first.step()
            assert first.head is not None
            settled = await first.header(first.head.number - 1)
            assert settled is not None
            await first.settle(settled)
            survived = True
        except Killed:
            assert not survived
        store.left = 10**6
        staking.vote(1, 5)
        second = following(rpc, staking, store)
        await second.step()
        assert table(second) == await rows_read_anew(rpc, staking)
        third = following(rpc, staking, store)
        assert await third.step() == 0
        assert table(third) == table(second)
        assert staking.anvil.rpc("evm_revert", snapshot)
    assert survived, "more writes were tried than one run makes"


async def test_load__kept_of_another_contract__begins_anew(staking: StakingOnAnvil, rpc: JsonRpc, store: Store):
    staking.register(1)
    await following(rpc, staking, store).step()
    other = Follower(rpc, staking.address, staking.start_block, store, 1)
    assert not await other._place.load()
    await other.step()
    assert await other._place.load()
    assert not await following(rpc, staking, store)._place.load(), "what was kept of the first is forgotten"


# Without a chain


def header(number: int, fork: int = 0) -> Header:
    name = bytes([fork, *number.to_bytes(31, "big")])
    return Header(BlockNumber(number), name, bytes(32), UnixMillis(number * 1000))


async def test_advance__many_blocks__keeps_few_anchors_in_memory_and_on_disk(store: Store):
    place = Place(BlockNumber(0), "c", store)
    for number in range(1000):
        place.advance(header(number), [])
        await place.save()
    numbers = [anchor.number for anchor in place.anchors]
    assert len(numbers) <= module.DENSE_ANCHORS + 1000 // module.ANCHOR_SPACING + 2
    assert numbers[-module.DENSE_ANCHORS :] == list(range(1000 - module.DENSE_ANCHORS, 1000))
    gaps = [later - earlier for earlier, later in pairwise(numbers)]
    assert max(gaps) <= module.ANCHOR_SPACING
    again = Place(BlockNumber(0), "c", store)
    assert await again.load()
    assert again.anchors == place.anchors


async def test_settle__block_that_is_no_anchor__becomes_the_first_one_also_on_disk(store: Store):
    place = Place(BlockNumber(0), "c", store)
    for number in (10, 20, 30):
        place.advance(header(number), [])
    await place.save()
    place.settle(header(15))
    await place.save()
    assert [anchor.number for anchor in place.anchors] == [15, 20, 30]
    again = Place(BlockNumber(0), "c", store)
    assert await again.load()
    assert (again.anchors, again.history.settled) == (place.anchors, 15)
    again.roll_back(1)
    again.advance(header(16, fork=1), [])
    await again.save()
    third = Place(BlockNumber(0), "c", store)
    assert await third.load()
    assert third.anchors == [header(15), header(16, fork=1)]


async def test_save__disk_refuses__the_next_one_keeps_all():
    store = FatalStore(0)
    place = Place(BlockNumber(0), "c", store)
    place.advance(header(1), [])
    with pytest.raises(Killed):
        await place.save()
    place.advance(header(2), [])
    store.left = 10
    await place.save()
    again = Place(BlockNumber(0), "c", store)
    assert await again.load()
    assert again.anchors == [header(1), header(2)]


async def test_roll_back__of_what_was_not_saved__is_never_kept(store: Store):
    place = Place(BlockNumber(0), "c", store)
    place.advance(header(1), [(BlockNumber(1), row(ALICE, 1))])
    place.advance(header(2), [(BlockNumber(2), row(ALICE, 1, stake=7))])
    place.roll_back(1)
    place.advance(header(3), [(BlockNumber(3), row(BOB, 2))])
    await place.save()
    again = Place(BlockNumber(0), "c", store)
    assert await again.load()
    assert again.history.table_at(BlockNumber(3)) == place.history.table_at(BlockNumber(3))
    assert again.history.table_at(BlockNumber(3)).by_id[row(ALICE, 1).id] == row(ALICE, 1)
    assert again.anchors == [header(1), header(3)]
