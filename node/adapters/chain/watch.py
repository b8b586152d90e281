"""Notices a chain node that stands still or leaves events out, by asking others and the contract itself.

It finds faults, not malice: a node that answers every question with the same lie is believed. SPEC.md §6.2.
"""

from typing import Any, Final, final

import trio

from contracts.bindings import load
from node.adapters.chain.answers import WORD, CallRefused, octets, quantity
from node.adapters.chain.rpc import JsonRpc
from protocol.chain_records import Header
from protocol.crypto.keys import keccak256
from protocol.errors import Unavailable
from protocol.stake.table import StakeTable
from protocol.units import Address, StakingId

NODE_COUNT: Final = "0x" + keccak256(b"node_count()")[:4].hex()
"""Call data of the staking contract's `node_count`."""
NODE: Final = "0x" + keccak256(b"node(uint256)")[:4].hex()
"""Call data of its `node`, less the id."""
SURVEY_S: Final = 60.0
"""Pause (s) between two looks at the heads of all nodes."""
BEHIND_BLOCKS: Final = 8
"""How far another node's head must be ahead: less is the time that a block takes to travel."""
CHECK_S: Final = 60.0
"""Pause (s) between two comparisons of rows with the contract's own."""
CHECK_ROWS: Final = 32
"""Rows compared at once; 10,000 take five hours, and a registration left out shows at once in the count."""


@final
class Watch:
    """Compares what the follower believes with what else can be known."""

    def __init__(self, rpc: JsonRpc, staking: Address) -> None:
        """Ask through the follower's own client."""
        self._rpc = rpc
        self._to = "0x" + staking.hex()
        self._surveyed = self._checked = trio.current_time()
        self._next_row = 0

    async def leave_if_behind(self) -> bool:
        """Ask all nodes for their heads now and then; True when the present one was behind and is left."""
        if len(self._rpc.urls) < 2 or trio.current_time() < self._surveyed + SURVEY_S:
            return False
        self._surveyed = trio.current_time()
        heads: dict[str, int] = {}
        for url, answer in (await self._rpc.survey("eth_blockNumber")).items():
            if not isinstance(answer, Unavailable):
                heads[url] = _height(answer)
        current = self._rpc.current
        if current is None or current not in heads or max(heads.values()) < heads[current] + BEHIND_BLOCKS:
            return False
        return self._rpc.leave("behind", current)

    def is_due(self) -> bool:
        """Say whether it is time to compare rows again."""
        return trio.current_time() >= self._checked + CHECK_S

    async def finds_events_missing(self, head: Header, table: StakeTable) -> bool:
        """Say whether the contract knows of nodes at this block, or of rows, that its events did not tell.

        Args:
            head: Up to which all events are read.
            table: What they said.
        """
        self._checked = trio.current_time()
        ids = self._sample(table)
        data = [NODE_COUNT, *(NODE + f"{one:064x}" for one in ids)]
        place = {"blockHash": "0x" + head.hash.hex()}
        calls = [("eth_call", ({"to": self._to, "data": one}, place)) for one in data]
        try:
            answers = await self._rpc.batch(calls)
        except CallRefused:
            return False  # no batches, or no state of a block by its hash: nothing is known against it
        if quantity(answers[0]) != len(table.rows):
            return True
        return any(
            _differs(octets(answer), table, StakingId(one)) for one, answer in zip(ids, answers[1:], strict=True)
        )

    def _sample(self, table: StakeTable) -> list[int]:
        """Give the ids of the rows whose turn it is."""
        if self._next_row >= len(table.rows):
            self._next_row = 0
        rows = table.rows[self._next_row : self._next_row + CHECK_ROWS]
        self._next_row += CHECK_ROWS
        return [row.id for row in rows]


def _height(answer: Any) -> int:  # noqa: ANN401 what a remote node sent
    """Read a block number; one that makes no sense is nobody's head."""
    try:
        return quantity(answer, 48)
    except Unavailable:
        return 0


def _differs(words: bytes, table: StakeTable, node: StakingId) -> bool:
    """Compare a row with the contract's ``Node`` struct, whose parts are one word each."""
    row = table.by_id[node]
    if len(words) != len(_LAYOUT) * WORD:
        return False

    def part(name: str) -> int:
        return int.from_bytes(words[_LAYOUT[name] * WORD : (_LAYOUT[name] + 1) * WORD], "big")

    ours = (int.from_bytes(row.address, "big"), int(row.role), int(row.stake), int(row.active))
    return ours != (part("key"), part("role"), part("effective_stake"), part("active"))


def _layout() -> dict[str, int]:
    """Give the place of each part of the contract's ``Node`` struct by its name."""
    entry = next(one for one in load("Staking").abi if one.get("name") == "node")
    return {part["name"]: place for place, part in enumerate(entry["outputs"][0]["components"])}


_LAYOUT: Final = _layout()
