"""The follower against a chain node that changes its mind, refuses or lies at a chosen request.

A real chain cannot be made to re-organise between two requests of ours; this node answers from a list of blocks that
the test replaces after so many requests.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio

from node.adapters.chain import chain as chain_module
from node.adapters.chain import follower as module
from node.adapters.chain.answers import AnswerTooLarge, CallRefused
from node.adapters.chain.chain import ChainSettings, StakingChain
from node.adapters.chain.follower import Follower
from node.adapters.memory.store import MemoryStore
from protocol.chain_records import Header
from protocol.errors import Unavailable
from protocol.units import Address, BlockNumber, Role, UnixMillis
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.networks import network_params
from tests.support.patience import PATIENCE_S

STAKING = Address(bytes([5]) * 20)
FIRST_MOMENT_S = 1_000
BLOCK_S = 2


def block_hash(number: int, fork: int) -> str:
    return "0x" + bytes([fork, *number.to_bytes(31, "big")]).hex()


def block(number: int, fork: int = 0, parent_fork: int | None = None) -> dict[str, str]:
    return {
        "number": hex(number),
        "hash": block_hash(number, fork),
        "parentHash": block_hash(number - 1, fork if parent_fork is None else parent_fork)
        if number
        else "0x" + "00" * 32,
        "timestamp": hex(FIRST_MOMENT_S + BLOCK_S * number),
    }


def moment_of(number: int) -> UnixMillis:
    return UnixMillis((FIRST_MOMENT_S + BLOCK_S * number) * 1000)


def event(number: int, node: int, *, index: int = 0, role: int = 1) -> dict[str, Any]:
    """A ``NodeChanged``: owner, key, role, effective stake, own stake, active."""
    words = (0, int.from_bytes(bytes([node]) * 20, "big"), role, 9, 9, 1)
    return {
        "topics": ["0x" + module.NODE_CHANGED.hex(), f"0x{node:064x}"],
        "data": "0x" + "".join(f"{word:064x}" for word in words),
        "blockNumber": hex(number),
        "logIndex": hex(index),
    }


class Node:
    """Speaks as ``JsonRpc`` does; before request number n it does what ``at[n]`` says."""

    def __init__(self, length: int) -> None:
        self.blocks = {number: block(number) for number in range(length)}
        self.events: list[dict[str, Any]] = []
        self.at: dict[int, Callable[[], None]] = {}
        self.asked: list[str] = []
        self.ranges: list[tuple[int, int]] = []
        self.most_blocks = 10**9
        self.syncing: object = False

    def fork(self, first: int, last: int | None = None, *, fork: int = 1) -> None:
        """Replace the blocks from ``first`` on, up to ``last`` where it is given."""
        for number in range(first, (max(self.blocks) if last is None else last) + 1):
            self.blocks[number] = block(number, fork, parent_fork=0 if number == first else fork)

    async def call(self, method: str, *params: Any, repeat: bool = True) -> Any:
        self._request(method)
        if method == "eth_getLogs":
            return self._logs(params[0])
        if method == "eth_syncing":
            return self.syncing
        assert method == "eth_getBlockByNumber"
        number = max(self.blocks) if params[0] == "latest" else int(params[0], 16)
        return self.blocks.get(number)

    def leave(self, trouble: str) -> bool:
        return False

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self._request("batch")
        await trio.lowlevel.checkpoint()
        return [self.blocks.get(int(params[0], 16)) for _, params in calls]

    def _request(self, method: str) -> None:
        self.at.get(len(self.asked), lambda: None)()
        self.asked.append(method)

    def _logs(self, where: dict[str, Any]) -> Any:
        if "blockHash" in where:
            (first,) = (number for number, one in self.blocks.items() if one["hash"] == where["blockHash"])
            last = first
        else:
            first, last = int(where["fromBlock"], 16), int(where["toBlock"], 16)
        if last - first + 1 > self.most_blocks:
            raise CallRefused("eth_getLogs", -32005, "too many blocks")
        self.ranges.append((first, last))
        return list(self.events)


def following(node: Node, start: int = 0) -> Follower:
    return Follower(node, STAKING, start)  # type: ignore[arg-type] a stand-in of the same shape


async def stepped(length: int = 60) -> tuple[Node, Follower]:
    """A node and a follower that has read all of it."""
    node = Node(length)
    follower = following(node)
    await follower.step()
    node.asked.clear()
    return node, follower


async def test_last_before__head_before_the_cutoff__is_the_head_without_a_question():
    node, follower = await stepped()
    assert await follower.last_before(UnixMillis(moment_of(59) + 1)) == follower.head
    assert node.asked == []


async def test_last_before__cutoff_before_the_first_block__there_is_none():
    _, follower = await stepped()
    assert await follower.last_before(moment_of(0)) is None


async def test_last_before__chain_of_one_block_after_the_cutoff__there_is_none():
    node, follower = await stepped(1)
    assert await follower.last_before(moment_of(0)) is None
    assert node.asked == []


async def test_last_before__nothing_changes__the_last_one_of_the_same_chain():
    _, follower = await stepped()
    found = await follower.last_before(moment_of(31))
    assert found is not None
    assert (found.number, found.hash) == (30, bytes.fromhex(block_hash(30, 0)[2:]))


async def test_last_before__blocks_below_change_while_it_searches__is_not_believed():
    node, follower = await stepped()
    # The head stays: only the two neighbours that were found no longer belong together.
    node.at[1] = lambda: node.fork(0, 30)
    with pytest.raises(Unavailable, match="re-organised during a search"):
        await follower.last_before(moment_of(31))
    assert len(node.asked) > 2


async def test_last_before__head_changes_while_it_searches__is_not_believed():
    node, follower = await stepped()
    await follower.last_before(moment_of(31))
    last_request = len(node.asked) - 1
    node.asked.clear()
    # The neighbours still belong together: only the chain that they were asked for is not the one that we read.
    node.at[last_request] = lambda: node.fork(50)
    with pytest.raises(Unavailable, match="re-organised during a search"):
        await follower.last_before(moment_of(31))


async def test_last_before__node_sends_other_blocks_than_asked_for__is_not_believed():
    """Else the search begins again at each of them, for ever."""
    node, follower = await stepped()
    for number in range(59):
        node.blocks[number] = block(50)
    with trio.fail_after(PATIENCE_S), pytest.raises(Unavailable, match="other blocks than we asked for"):
        await follower.last_before(moment_of(3))


async def test_last_before__node_forgets_a_block__is_not_believed():
    node, follower = await stepped()
    node.at[0] = lambda: node.blocks.pop(40)
    with pytest.raises(Unavailable, match="does not know block"):
        await follower.last_before(moment_of(30))


async def test_step__block_changes_between_the_two_looks__reads_nothing(monkeypatch):
    monkeypatch.setattr(module, "FIRST_CHUNK_BLOCKS", 10)
    node = Node(30)
    node.events = [event(3, node=7)]
    node.at[2] = lambda: node.fork(5)  # requests: head, block 9, events, block 9 again
    follower = following(node)
    with pytest.raises(Unavailable, match="re-organised while its events were read"):
        await follower.step()
    assert node.asked == ["eth_getBlockByNumber", "batch", "eth_getLogs", "batch"]
    assert follower.history.table_at(BlockNumber(29)).rows == ()
    node.events = []
    await follower.step()
    assert follower.head == await follower.header(29)


async def test_step__head_changes_before_the_second_look__reads_nothing():
    node = Node(30)
    node.at[1] = lambda: node.fork(5)  # requests: head, events, head again
    follower = following(node)
    with pytest.raises(Unavailable, match="re-organised while its events were read"):
        await follower.step()
    assert node.asked == ["eth_getBlockByNumber", "eth_getLogs", "batch"]


async def test_step__one_new_block__is_asked_for_by_its_hash_and_needs_no_second_look():
    node, follower = await stepped(10)
    node.blocks[10] = block(10)
    await follower.step()
    assert node.asked == ["eth_getBlockByNumber", "eth_getLogs"]
    assert node.ranges[-1] == (10, 10)


@pytest.mark.parametrize("number", [4, 10])
async def test_step__events_outside_the_range__are_not_believed(number):
    node = Node(10)
    node.events = [event(7, node=1), event(number, node=2)]
    follower = following(node, start=5)
    with pytest.raises(Unavailable, match="did not ask for"):
        await follower.step()
    assert follower.history.table_at(BlockNumber(9)).rows == ()


@pytest.mark.parametrize("number", [5, 9])
async def test_step__events_at_the_ends_of_the_range__count(number):
    node = Node(10)
    node.events = [event(number, node=2)]
    follower = following(node, start=5)
    await follower.step()
    assert [row.id for row in follower.history.table_at(BlockNumber(9)).rows] == [2]


async def test_step__events_in_any_order__are_applied_by_block_and_index():
    node = Node(10)
    node.events = [event(7, node=2, index=1, role=2), event(7, node=2), event(8, node=3)][::-1]
    follower = following(node)
    await follower.step()
    rows = follower.history.table_at(BlockNumber(9)).rows
    assert [(row.id, row.role) for row in rows] == [(2, Role.COORDINATOR), (3, Role.MINER)]


async def test_step__node_limits_the_range__asks_for_less_until_it_fits_and_misses_no_block(monkeypatch):
    monkeypatch.setattr(module, "FIRST_CHUNK_BLOCKS", 64)
    node = Node(100)
    node.most_blocks = 5
    follower = following(node, start=3)
    await follower.step()
    asked = [number for first, last in node.ranges for number in range(first, last + 1)]
    assert asked == list(range(3, 100))
    assert max(last - first + 1 for first, last in node.ranges) == 4, "64, 16, then 4 at once"
    assert node.asked.count("eth_getLogs") < 2 * len(node.ranges) + 4


async def test_step__node_refuses_a_single_block__says_so(monkeypatch):
    monkeypatch.setattr(module, "FIRST_CHUNK_BLOCKS", 8)
    node = Node(20)
    node.most_blocks = 0
    with pytest.raises(CallRefused, match="too many blocks"):
        await following(node).step()
    assert node.asked.count("eth_getLogs") <= 3


@pytest.mark.parametrize("excuse", ["too large", "too slow"])
async def test_step__answer_too_large_or_too_slow__asks_for_less_next_time(monkeypatch, excuse):
    monkeypatch.setattr(module, "FIRST_CHUNK_BLOCKS", 64)
    node = Node(100)
    real = node._logs

    def logs(where):
        if int(where["toBlock"], 16) - int(where["fromBlock"], 16) >= 8:
            raise AnswerTooLarge("http://a", 1000) if excuse == "too large" else Unavailable("no whole answer in 30 s")
        return real(where)

    node._logs = logs  # type: ignore[method-assign]
    follower = following(node)
    for _ in range(12):
        try:
            await follower.step()
        except Unavailable:
            continue
    assert follower.head is not None
    assert follower.head.number == 99
    asked = [number for first, last in node.ranges for number in range(first, last + 1)]
    assert asked == list(range(100)), "no block twice and none left out"


async def test_step__connection_breaks_between_chunks__goes_on_with_the_next_one(monkeypatch):
    monkeypatch.setattr(module, "FIRST_CHUNK_BLOCKS", 10)
    monkeypatch.setattr(module, "MAX_CHUNK_BLOCKS", 10)
    node = Node(40)

    def break_off() -> None:
        node.at.clear()
        raise Unavailable("gone")

    node.at[5] = break_off
    follower = following(node)
    with pytest.raises(Unavailable):
        await follower.step()
    await follower.step()
    assert [first for first, _ in node.ranges] == sorted({first for first, _ in node.ranges})
    assert node.ranges[-1][1] == 39


@pytest.mark.parametrize(
    "change",
    [
        {"topics": ["0x" + module.NODE_CHANGED.hex(), "0x" + "f" * 64]},
        {"topics": ["0x" + module.NODE_CHANGED.hex()]},
        {"topics": 7},
        {"data": "0x00"},
        {"blockNumber": "0x" + "f" * 64},
        {"blockNumber": "-0x5"},
        {"logIndex": "0x" + "f" * 64},
        {"logIndex": None},
    ],
)
async def test_step__event_that_no_chain_makes__is_not_believed_and_stops_nothing(change):
    node = Node(10)
    node.events = [event(5, node=1) | change]
    follower = following(node)
    with pytest.raises(Unavailable):
        await follower.step()
    node.events = [event(5, node=1)]
    await follower.step()
    assert len(follower.history.table_at(BlockNumber(9)).rows) == 1


@pytest.mark.parametrize(
    ("syncing", "fixed"), [(False, True), ({"currentBlock": "0x1"}, False), (True, False), (None, False)]
)
async def test_is_fixed__chain_looks_quiet__only_when_the_node_is_not_catching_up(syncing, fixed):
    params = network_params(epoch_s=60)
    node = Node(10)
    node.syncing = syncing
    head = Header(BlockNumber(9), bytes(32), bytes(32), moment_of(9))
    chain = StakingChain(
        ChainSettings(("http://127.0.0.1:1",), 1, STAKING, 0), params, HandClock(), RecordingJournal(), MemoryStore()
    )
    cutoff = UnixMillis(head.timestamp + 1000)
    quiet_ms = params.epoch_s * 1000 // chain_module.QUIET_EPOCH_SHARE
    late = UnixMillis(cutoff + quiet_ms + 60_000)
    assert await chain._is_fixed(node, cutoff, head, late) is fixed
    assert node.asked == ["eth_syncing"]
    assert not await chain._is_fixed(node, cutoff, head, cutoff), "a block may still be on its way"
    assert await chain._is_fixed(node, head.timestamp, head, cutoff), "the head is beyond the cutoff"
    assert node.asked == ["eth_syncing"], "nobody needs to be asked for those two"
