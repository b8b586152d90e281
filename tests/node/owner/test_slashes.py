"""Slashes as they are read from a chain node that re-organises, limits ranges, or says more than we know."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from node.adapters.chain.answers import CallRefused
from node.adapters.chain.rpc import JsonRpc
from node.owner.slashes import MAY_CHANGE, PROVEN_SLASHED, QUORUM_SLASHED, SlashLog, slashes_of
from node.owner.wallet import Wallet
from protocol.errors import Unavailable
from protocol.justice.evidence import Kind
from tests.node.test_network_file import NETWORK

START, HEAD, BLOCK_S = 10, 400, 2


def event(block: int, node: int, *, kind: int = Kind.TWO_AWARDS, wei: int = 7, fork: int = 0) -> dict[str, Any]:
    """A ``ProvenSlashed`` of one node: subject, amount, reporter, receiver."""
    return {
        "topics": [PROVEN_SLASHED, f"0x{node:064x}", f"0x{kind:064x}"],
        "data": "0x" + "".join(f"{word:064x}" for word in (1, wei, 2, 3)),
        "blockNumber": hex(block),
        "transactionHash": "0x" + bytes([fork, *block.to_bytes(31, "big")]).hex(),
    }


def found_by_jurors(block: int, node: int, dispute: int, *, wei: int = 7) -> dict[str, Any]:
    """A ``QuorumSlashed`` of one node: amount, basis points, reporter."""
    words = "".join(f"{word:064x}" for word in (wei, 200, 3))
    topics = [QUORUM_SLASHED, f"0x{node:064x}", f"0x{dispute:064x}"]
    return event(block, node) | {"topics": topics, "data": "0x" + words}


class Node:
    """Speaks as ``JsonRpc`` does."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = list(events)
        self.head = HEAD
        self.most_blocks = 10**9
        self.ranges: list[tuple[int, int]] = []

    async def call(self, method: str, *params: Any) -> Any:
        if method == "eth_blockNumber":
            return hex(self.head)
        assert method == "eth_getLogs"
        (where,) = params
        first, last = int(where["fromBlock"], 16), int(where["toBlock"], 16)
        if last - first >= self.most_blocks:
            raise CallRefused(method, -32005, "query exceeds max range")
        self.ranges.append((first, last))
        wanted = where["topics"]
        assert wanted[0] == [PROVEN_SLASHED, QUORUM_SLASHED]
        contracts = NETWORK.contracts
        assert [one.lower() for one in where["address"]] == [contracts.slashing.lower(), contracts.disputes.lower()]
        named = wanted[1] if len(wanted) > 1 else None
        return [
            one
            for one in self.events
            if first <= int(one["blockNumber"], 16) <= last and (named is None or one["topics"][1] in named)
        ]

    async def batch_each(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return [{"timestamp": hex(BLOCK_S * int(params[0], 16))} for _, params in calls]


def wallet_at(node: Node) -> Wallet:
    contracts = NETWORK.contracts.model_copy(update={"start_block": START})
    return Wallet(cast("JsonRpc", node), NETWORK.model_copy(update={"contracts": contracts}), "0x" + "00" * 20, None)


async def test_read__again__asks_for_what_may_have_changed_and_forgets_what_was_undone() -> None:
    node, log = Node(event(20, 1), event(HEAD - 3, 2)), SlashLog()
    await log.read(wallet_at(node))
    assert [(one.node, one.block, one.at) for one in log.found] == [(1, 20, 40), (2, HEAD - 3, 2 * (HEAD - 3))]
    node.events = [event(20, 1), event(HEAD - 1, 2, fork=1)]
    node.head += 5
    await log.read(wallet_at(node))
    assert node.ranges == [(START, HEAD), (HEAD + 1 - MAY_CHANGE, HEAD + 5)]
    assert [(one.node, one.block) for one in log.found] == [(1, 20), (2, HEAD - 1)]


async def test_read__node_limits_ranges__asks_for_shorter_ones() -> None:
    node, log = Node(event(20, 1), event(HEAD, 2)), SlashLog()
    node.most_blocks = 100
    await log.read(wallet_at(node))
    assert [one.node for one in log.found] == [1, 2]
    assert node.ranges[0][0] == START
    assert node.ranges[-1][1] == HEAD
    assert all(last + 1 == first for (_, last), (first, _) in zip(node.ranges, node.ranges[1:], strict=False))


async def test_read__kind_of_a_later_release__is_passed_over() -> None:
    node, log = Node(event(20, 1, kind=9), event(21, 2)), SlashLog()
    await log.read(wallet_at(node))
    assert [(one.node, one.why) for one in log.found] == [(2, "two awards for one claim")]


async def test_read__what_is_no_such_event__is_unavailable() -> None:
    with pytest.raises(Unavailable, match="not of a slash"):
        await SlashLog().read(wallet_at(Node(event(20, 1) | {"topics": ["0x" + "00" * 32]})))


async def test_read__found_by_jurors__says_so_and_in_which_dispute() -> None:
    node, log = Node(event(20, 1), found_by_jurors(21, 2, 5, wei=9)), SlashLog()
    await log.read(wallet_at(node))
    proven, found = log.found
    assert (proven.reason, proven.dispute) == ("two_awards", 0)
    assert (found.reason, found.node, found.slashed_wei, found.dispute, found.at) == ("quorum", 2, 9, 5, 42)
    assert found.why == "jurors of dispute 5 found its picture wrong"


async def test_slashes_of__some_nodes__are_theirs_alone() -> None:
    node = Node(event(20, 1), event(21, 2, wei=0), event(22, 1))
    assert [(one.node, one.slashed_wei) for one in await slashes_of(wallet_at(node), [1])] == [(1, 7), (1, 7)]
    assert await slashes_of(wallet_at(node), []) == []
    assert len(node.ranges) == 1
