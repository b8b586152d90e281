"""The follower on a real chain: history, re-orgs, restarts, blocks by time."""

import json
from collections.abc import AsyncIterator

import pytest
from eth_utils.abi import event_abi_to_log_topic

from contracts.bindings import load
from node.adapters.chain import follower as module
from node.adapters.chain.answers import CallRefused
from node.adapters.chain.follower import FEW_BLOCKS, KEPT_FIELDS, NODE_CHANGED, Follower
from node.adapters.chain.rpc import JsonRpc
from protocol.units import BlockNumber, Role, UnixMillis
from tests.adapters.chain.conftest import MINER_STAKE, StakingOnAnvil
from tests.support.chain import Cable


@pytest.fixture
async def rpc(staking: StakingOnAnvil) -> AsyncIterator[JsonRpc]:
    async with JsonRpc([staking.anvil.url]) as client:
        yield client


@pytest.fixture
def follower(rpc: JsonRpc, staking: StakingOnAnvil) -> Follower:
    return Follower(rpc, staking.address, staking.start_block)


def ids(follower: Follower) -> list[int]:
    assert follower.head is not None
    return [row.id for row in follower.history.table_at(follower.head.number).rows]


def test_node_changed__is_the_contracts_event():
    event = next(entry for entry in load("Staking").abi if entry.get("name") == "NodeChanged")
    assert event_abi_to_log_topic(event) == NODE_CHANGED


async def test_step__contract_without_nodes__has_an_empty_table(follower: Follower):
    assert await follower.step() == 0
    assert ids(follower) == []


async def test_step__rows__are_those_of_the_contract(follower: Follower, staking: StakingOnAnvil):
    keys = [staking.register(number) for number in (1, 2)]
    staking.vote(2, 77)
    await follower.step()
    first, second = follower.history.table_at(BlockNumber(staking.height())).rows
    assert (first.id, first.address, first.role, first.stake) == (1, keys[0].address, Role.MINER, MINER_STAKE)
    assert (second.id, second.address, second.stake, second.active) == (2, keys[1].address, MINER_STAKE + 77, True)
    assert first.owner == second.owner == bytes.fromhex(staking.owner[2:])


async def test_block__heads_that_were_seen__are_given_as_the_node_sent_them_and_no_others_are(
    follower: Follower, staking: StakingOnAnvil
):
    assert follower.block(0) is None, "nothing was read yet"
    await follower.step()
    first = staking.height()
    staking.register(1)
    await follower.step()
    for height in (first, first + 1):
        sent = staking.anvil.rpc("eth_getBlockByNumber", hex(height), False)
        assert follower.block(height) == {name: sent[name] for name in KEPT_FIELDS}
    assert follower.block(first - 1) is None
    assert follower.block(first + 2) is None


async def test_step__few_blocks_at_once__are_read_in_three_requests_and_all_are_known(staking: StakingOnAnvil):
    cable = Cable()
    async with JsonRpc([staking.anvil.url], transport=cable) as rpc:
        follower = Follower(rpc, staking.address, staking.start_block)
        await follower.step()
        first = staking.height() + 1
        for number in (1, 2, 3):
            staking.register(number)
        cable.bodies.clear()
        assert await follower.step() == 0
        bodies = [json.loads(body) for body in cable.bodies]
    last = staking.height()
    assert [body["method"] if isinstance(body, dict) else [one["method"] for one in body] for body in bodies] == [
        "eth_getBlockByNumber",
        2 * ["eth_getBlockByNumber"],
        3 * ["eth_getLogs"],
    ]
    assert [len(follower.history.table_at(BlockNumber(height)).rows) for height in range(first, last + 1)] == [1, 2, 3]
    sent = [staking.anvil.rpc("eth_getBlockByNumber", hex(height), False) for height in range(first, last + 1)]
    assert follower.blocks(first, last) == [{name: block[name] for name in KEPT_FIELDS} for block in sent]
    assert follower.blocks(first + 1, last) == follower.blocks(first, last)[1:]
    assert follower.blocks(0, last)[-3:] == follower.blocks(first, last)


async def test_step__few_blocks_of_two_branches__are_read_as_a_range(staking: StakingOnAnvil):
    def mixed(answer: bytes) -> bytes:
        """Send one of two blocks as a chain node on another branch would."""
        parts = json.loads(answer)
        if not isinstance(parts, list) or len(parts) != 2:
            return answer
        parts[1]["result"]["parentHash"] = "0x" + "ab" * 32
        return json.dumps(parts).encode()

    cable = Cable()
    async with JsonRpc([staking.anvil.url], transport=cable) as rpc:
        follower = Follower(rpc, staking.address, staking.start_block)
        await follower.step()
        for number in (1, 2, 3):
            staking.register(number)
        cable.edit = mixed
        assert await follower.step() == 0
        assert ids(follower) == [1, 2, 3]
        assert any(b'"toBlock"' in body for body in cable.bodies[-3:])


async def test_step__many_blocks_at_once__are_read_as_a_range(follower: Follower, staking: StakingOnAnvil):
    await follower.step()
    staking.register(1)
    staking.anvil.rpc("anvil_mine", hex(FEW_BLOCKS))
    await follower.step()
    assert ids(follower) == [1]
    assert len(follower.blocks(0, staking.height())) == 1, "of the others nothing was asked but events"


async def test_block__chain_went_back_behind_it__is_that_of_the_other_branch(
    follower: Follower, staking: StakingOnAnvil
):
    staking.anvil.rpc("anvil_mine", "0x2")
    staking.register(1)  # empty blocks of the same second would be the same in both branches
    await follower.step()
    height = staking.height()
    before = follower.block(height)
    assert before is not None
    staking.anvil.rpc("anvil_reorg", 2, [])
    staking.anvil.rpc("evm_mine")
    await follower.step()
    assert follower.block(height) is None, "that of the new branch was no head that we saw"
    assert follower.block(height + 1) is not None


async def test_step__history__tells_the_table_after_each_block(follower: Follower, staking: StakingOnAnvil):
    heights = []
    for number in (1, 2, 3):
        staking.register(number)
        staking.anvil.rpc("evm_mine")
        heights.append(staking.height())
    await follower.step()
    counts = [len(follower.history.table_at(BlockNumber(height)).rows) for height in heights]
    assert counts == [1, 2, 3]
    assert len(follower.history.table_at(BlockNumber(heights[2] - 2)).rows) == 2


async def test_step__small_chunks__read_the_same(
    rpc: JsonRpc, staking: StakingOnAnvil, monkeypatch: pytest.MonkeyPatch
):
    for number in range(1, 8):
        staking.register(number)
        staking.anvil.rpc("evm_mine")
    monkeypatch.setattr(module, "FIRST_CHUNK_BLOCKS", 1)
    monkeypatch.setattr(module, "MAX_CHUNK_BLOCKS", 3)
    slow = Follower(rpc, staking.address, staking.start_block)
    await slow.step()
    assert ids(slow) == [1, 2, 3, 4, 5, 6, 7]


async def test_step__block_by_block__equals_one_read_from_the_start(
    rpc: JsonRpc, follower: Follower, staking: StakingOnAnvil
):
    for number in (1, 2, 3):
        staking.register(number)
        assert await follower.step() == 0
    restarted = Follower(rpc, staking.address, staking.start_block)
    await restarted.step()
    height = BlockNumber(staking.height())
    assert follower.history.table_at(height).root == restarted.history.table_at(height).root


async def test_step__reorganisation_without_the_event__forgets_the_node(follower: Follower, staking: StakingOnAnvil):
    staking.register(1)
    await follower.step()
    staking.register(2)
    staking.anvil.rpc("evm_mine")
    await follower.step()
    assert ids(follower) == [1, 2]
    staking.anvil.rpc("anvil_reorg", 2, [])
    assert await follower.step() > 0
    assert ids(follower) == [1]


async def test_step__new_fork_with_events_below_the_dropped_block__reads_them(
    follower: Follower, staking: StakingOnAnvil
):
    await follower.step()
    fork = staking.anvil.rpc("evm_snapshot")
    for _ in range(4):
        staking.anvil.rpc("evm_mine")
    await follower.step()
    staking.anvil.rpc("evm_revert", fork)
    staking.register(5)
    for _ in range(6):
        staking.anvil.rpc("evm_mine")
    assert await follower.step() > 0
    assert ids(follower) == [1]


async def test_step__shorter_chain__goes_back_with_it(follower: Follower, staking: StakingOnAnvil):
    fork = staking.anvil.rpc("evm_snapshot")
    staking.register(1)
    staking.register(2)
    await follower.step()
    staking.anvil.rpc("evm_revert", fork)
    await follower.step()
    assert ids(follower) == []
    assert follower.head is not None
    assert follower.head.number == staking.height()


async def test_step__reorganisation_below_the_settled_block__reads_all_again(
    follower: Follower, staking: StakingOnAnvil
):
    fork = staking.anvil.rpc("evm_snapshot")
    staking.register(1)
    staking.anvil.rpc("evm_mine")
    await follower.step()
    assert follower.head is not None
    await follower.settle(follower.head)
    staking.anvil.rpc("evm_revert", fork)
    staking.register(9)
    staking.register(8)
    staking.register(7)
    await follower.step()
    assert ids(follower) == [1, 2, 3]
    restarted_root = follower.history.table_at(BlockNumber(staking.height())).root
    fresh = Follower(follower._rpc, staking.address, staking.start_block)
    await fresh.step()
    assert fresh.history.table_at(BlockNumber(staking.height())).root == restarted_root


async def test_settle__then_a_shallow_reorganisation__keeps_the_settled_part(
    follower: Follower, staking: StakingOnAnvil
):
    staking.register(1)
    await follower.step()
    assert follower.head is not None
    await follower.settle(follower.head)
    staking.register(2)
    await follower.step()
    staking.anvil.rpc("anvil_reorg", 1, [])
    assert await follower.step() == 1
    assert ids(follower) == [1]


@pytest.mark.parametrize("blocks", [1, 100])
async def test_last_before__far_back__finds_the_block(follower: Follower, staking: StakingOnAnvil, blocks: int):
    mark = staking.height()
    staking.anvil.rpc("anvil_mine", hex(blocks), "0x3")
    await follower.step()
    marked = await follower.header(mark)
    assert marked is not None
    found = await follower.last_before(UnixMillis(marked.timestamp + 1))
    assert found == marked


async def test_last_before__node_without_batches__asks_one_by_one(follower: Follower, staking: StakingOnAnvil):
    for gap in (5, 5, 5):
        staking.anvil.wait(gap)
    await follower.step()
    expected = await follower.header(staking.height() - 2)
    assert expected is not None

    class Unbatched:
        """A public node that refuses batches, in front of the real one."""

        async def batch(self, calls: object) -> list[object]:
            raise CallRefused("batch", -32600, "batches are not allowed")

        call = follower._rpc.call

    follower._rpc = Unbatched()
    assert await follower.last_before(UnixMillis(expected.timestamp + 1)) == expected


async def test_last_before__every_cutoff__equals_a_plain_search(follower: Follower, staking: StakingOnAnvil):
    for gap in (1, 5, 1, 1, 30, 2, 1, 8):
        staking.anvil.wait(gap)
    await follower.step()
    blocks = [await follower.header(number) for number in range(staking.height() + 1)]
    moments = [block.timestamp for block in blocks if block is not None]
    for cutoff in {moment + shift for moment in moments[-12:] for shift in (-1, 0, 1)} | {moments[0], 0, 1}:
        expected = [block for block in blocks if block is not None and block.timestamp < cutoff]
        assert await follower.last_before(UnixMillis(cutoff)) == (expected[-1] if expected else None)
