"""Follows the staking contract's events through re-orgs, and finds blocks by time.

Keeps anchors, blocks whose hash it has seen to be canonical, from the settled block up to the head. At each step it
goes back to the last anchor that still holds and reads on from there: never from the block that was dropped, since
the new fork may hold events below it. Tables come from events alone, so no archive node is needed. After each step
the place is in the store, anchors and rows together, and the next run goes on from it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, final

from node.adapters.chain.answers import COUNT_BITS, ID_BITS, WORD, CallRefused, Json, octets, quantity
from node.adapters.chain.asked_ahead import AskedAhead
from node.adapters.chain.place import DENSE_ANCHORS, Place
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.tables import StakeHistory
from node.ports import ChainStore
from protocol.chain_records import Header
from protocol.crypto.keys import keccak256
from protocol.errors import Unavailable
from protocol.stake.table import StakeRow
from protocol.units import Address, BlockNumber, Role, StakingId, UnixMillis, Wei

NODE_CHANGED: Final = keccak256(b"NodeChanged(uint256,address,address,uint8,uint256,uint256,bool)")
"""First topic of the one event that changes the stake table."""
FIRST_CHUNK_BLOCKS: Final = 2000
"""Blocks per request for events while catching up; large public nodes allow 2,000 to 10,000."""
MAX_CHUNK_BLOCKS: Final = 10_000
"""What the chunk may grow to while the node keeps answering."""
PATIENCE: Final = 16
"""Chunks that must be answered after a refusal before a larger one is tried again."""
FEW_BLOCKS: Final = 8
"""New blocks that are read by their hashes, all in one request; of more, ranges are read and looked at twice."""
KEPT_FIELDS: Final = ("number", "hash", "parentHash", "timestamp", "baseFeePerGas")
"""What of a head is kept until it is confirmed: a full block names hundreds of transactions."""
SEARCH_WIDTH: Final = 16
"""Headers read at once in a search by time: a cutoff 150 blocks ago takes three requests instead of fifteen."""


@final
class Follower:
    """The staking contract's history up to the head that we saw last."""

    def __init__(
        self,
        rpc: JsonRpc,
        staking: Address,
        start_block: int,
        store: ChainStore | None = None,
        chain_id: int = 0,
        ahead: AskedAhead | None = None,
    ) -> None:
        """Follow the contract from its own block on: no event is older. With a store a later run goes on.

        With ``ahead``, what is foreseen there is asked along with the events of each next block.
        """
        self._rpc = rpc
        self._ahead = ahead or AskedAhead(rpc)
        self._address = "0x" + staking.hex()
        self._events: dict[str, Json] = {"address": self._address, "topics": ["0x" + NODE_CHANGED.hex()]}
        self._chunk = FIRST_CHUNK_BLOCKS
        self._answered = PATIENCE
        self._place = Place(BlockNumber(start_block), f"{chain_id}/{self._address}/{start_block}", store)
        self._loaded = False
        self.head: Header | None = None
        """Last head up to which all events are read."""
        self._blocks: OrderedDict[bytes, dict[str, Json]] = OrderedDict()
        """The heads that the node sent last, by their hashes, without what is in them."""
        self.rebuilt: str | None = None
        """Why everything was read again from the start block in the last step; None in most steps."""

    @property
    def history(self) -> StakeHistory:
        """The rows after each recent block."""
        return self._place.history

    async def step(self) -> int:
        """Read on to the present head. Gives the number of blocks that a re-org took back, 0 in most steps.

        Raises:
            Unavailable: The node or the disk does not answer, or the chain was re-organised while we read; what
                was read before is kept.
        """
        self.rebuilt = None
        if not self._loaded:
            await self._place.load()
            self._loaded = True
        head = await self._latest()
        anchors = self._place.anchors
        if anchors and head.hash == anchors[-1].hash:
            self.head = head
            await self._place.save()
            return 0
        dropped = 0
        if blocks := await self._children(head):
            await self._read_blocks(blocks)
        elif anchors:
            dropped = await self._roll_back()
        while self._place.next <= head.number:
            await self._read_chunk(head)
            await self._place.save()  # after each chunk, so that a long way from the start block is gone once
        self.head = head
        await self._place.save()
        return dropped

    def block(self, number: int) -> dict[str, Json] | None:
        """Give ``KEPT_FIELDS`` of the canonical block of this number, if it was the head a while ago."""
        anchor = self._place.anchor(number)
        return None if anchor is None else self._blocks.get(anchor.hash)

    def blocks(self, first: int, last: int) -> list[dict[str, Json]]:
        """Give ``KEPT_FIELDS`` of the last few canonical blocks up to ``last``, as far back to ``first`` as known."""
        found: list[dict[str, Json]] = []
        for number in range(last, max(first, last - FEW_BLOCKS + 1) - 1, -1):
            if (block := self.block(number)) is None:
                break
            found.append(block)
        return found[::-1]

    def hashes_below(self, blocks: Sequence[Header], depth: int) -> list[bytes]:
        """Give the hashes of the blocks so many below each of those that come next, as far as they are known."""
        coming = {block.number: block for block in blocks}
        wanted = [block.number - depth for block in blocks]
        known = [coming.get(BlockNumber(number)) or self._place.anchor(number) for number in wanted]
        return [block.hash for block in known if block is not None]

    async def rebuild(self) -> None:
        """Forget everything and read it again from the start block."""
        self._place.restart()
        await self.step()

    async def _latest(self) -> Header:
        """Give the head, of a node that is not behind what another one has shown us."""
        while True:
            raw = await self._rpc.call("eth_getBlockByNumber", "latest", False)
            if not isinstance(raw, dict):
                raise Unavailable("the chain node does not know its latest block")
            head = self._remembered(raw)
            known = self._place.anchors[-1] if self._place.anchors else None
            # When nobody else is there to ask, or all say the same, the chain itself has become shorter.
            if known is None or head.number >= known.number or not self._rpc.leave("behind"):
                return head

    def _remembered(self, raw: dict[str, Json]) -> Header:
        """Read a block that is new, and remember it for those who read more of it."""
        block = _header(raw)
        self._blocks[block.hash] = {name: raw[name] for name in KEPT_FIELDS if name in raw}
        if len(self._blocks) > DENSE_ANCHORS:
            self._blocks.popitem(last=False)
        return block

    async def last_before(self, cutoff: UnixMillis) -> Header | None:
        """Find the last canonical block with a timestamp before the cutoff; None when even the first is later.

        Raises:
            Unavailable: The node does not answer, or re-organised while we searched.
        """
        head = self.head
        assert head is not None, "step() comes first"
        if head.timestamp < cutoff:
            return head
        later, earlier = head, None
        while earlier is None:  # gallop back: cutoffs are at most three epochs old, far fewer blocks than the chain has
            if later.number == 0:
                return None
            steps = {max(0, later.number - 2**power) for power in range(SEARCH_WIDTH)}
            for block in await self._known(sorted(steps, reverse=True)):
                if block.timestamp < cutoff:
                    earlier = block
                    break
                later = block
        while (gap := later.number - earlier.number) > 1:
            steps = {earlier.number + gap * part // SEARCH_WIDTH for part in range(1, SEARCH_WIDTH)} - {earlier.number}
            for block in await self._known(sorted(steps)):
                if block.timestamp >= cutoff:
                    later = block
                    break
                earlier = block
        (again,) = await self._known([head.number])
        if later.parent != earlier.hash or again.hash != head.hash:
            raise Unavailable("the chain was re-organised during a search")
        return earlier

    async def settle(self, block: Header) -> None:
        """Give up the past before a block: no table before it will be asked for."""
        self._place.settle(block)
        await self._place.save()

    async def header(self, number: int) -> Header | None:
        """Read a block's header; None when the node does not have it."""
        raw = await self._rpc.call("eth_getBlockByNumber", hex(number), False)
        return None if raw is None else _header(raw)

    async def _known(self, numbers: Sequence[int]) -> list[Header]:
        """Read the headers of blocks that must exist, in one request where the node takes batches."""
        return [_header(raw) for raw in await self._sent(numbers)]

    async def _sent(self, numbers: Sequence[int]) -> list[dict[str, Json]]:
        """Give blocks that must exist as the node sends them."""
        calls = [("eth_getBlockByNumber", (hex(number), False)) for number in numbers]
        try:
            raws = await self._rpc.batch(calls)
        except CallRefused:
            raws = [await self._rpc.call(method, *params) for method, params in calls]
        if None in raws:
            raise Unavailable(f"the chain node does not know block {numbers[raws.index(None)]} below its own head")
        blocks = [raw for raw in raws if isinstance(raw, dict)]
        if [quantity(block.get("number"), COUNT_BITS) for block in blocks] != list(numbers):
            raise Unavailable("the chain node sent other blocks than we asked for")  # a search would never end
        return blocks

    async def _roll_back(self) -> int:
        """Drop anchors until one is canonical; read on after it, or from the start when none is."""
        before, anchors = self._place.next, self._place.anchors
        for place in range(len(anchors), 0, -1):
            anchor = anchors[place - 1]
            current = await self.header(anchor.number)
            if current is not None and current.hash == anchor.hash:
                self._place.roll_back(place)
                return before - self._place.next
        # Deeper than what is settled, which no honest chain does: nothing that we hold can be trusted.
        self._place.restart()
        self.rebuilt = "deep_reorganisation"
        return before - self._place.next

    async def _children(self, head: Header) -> list[Header]:
        """Give the blocks after the last anchor up to a head; none where they are many, or of another fork."""
        last = self._place.anchors[-1] if self._place.anchors else None
        if last is None or not 0 < head.number - last.number <= FEW_BLOCKS:
            return []
        between = range(last.number + 1, head.number)
        blocks = [*map(self._remembered, await self._sent(between) if between else ()), head]
        are_linked = all(block.parent == before.hash for before, block in pairwise([last, *blocks]))
        return blocks if are_linked else []

    async def _read_blocks(self, blocks: Sequence[Header]) -> None:
        """Read the events of the next blocks by their hashes, which no re-organisation changes."""
        calls = [("eth_getLogs", ({**self._events, "blockHash": "0x" + block.hash.hex()},)) for block in blocks]
        for block, logs in zip(blocks, await self._ahead.of_blocks(blocks, calls), strict=True):
            self._place.advance(block, _rows(logs, block.number, block.number))

    async def _read_chunk(self, head: Header) -> None:
        """Read the events of the next blocks, all from the fork that ``head`` belongs to."""
        first = self._place.next
        last = BlockNumber(min(head.number, first + self._chunk - 1))
        anchor = head if last == head.number else (await self._known([last]))[0]
        try:
            logs = await self._rpc.call("eth_getLogs", {**self._events, "fromBlock": hex(first), "toBlock": hex(last)})
        except CallRefused:
            if last == first:
                raise
            # Public nodes limit blocks or results, each in its own words.
            self._ask_for_less(min(self._chunk, last - first + 1) // 4)
            return
        except Unavailable:
            self._ask_for_less(self._chunk // 2)  # perhaps it was too much to be answered in time
            raise
        # The same hash before and after the request means that the events are those of one fork.
        if (await self._known([last]))[0].hash != anchor.hash:
            raise Unavailable("the chain was re-organised while its events were read")
        self._place.advance(anchor, _rows(logs, first, last))
        self._answered += 1
        if self._answered >= PATIENCE:
            self._chunk = min(MAX_CHUNK_BLOCKS, self._chunk * 2)

    def _ask_for_less(self, blocks: int) -> None:
        """Make the next chunks smaller, and larger ones only after a while."""
        self._chunk, self._answered = max(1, blocks), 0


def _header(raw: Json) -> Header:
    """Read a block as the node sends it."""
    if not isinstance(raw, dict):
        raise Unavailable("the chain node sent no block")
    return Header(
        BlockNumber(quantity(raw.get("number"), COUNT_BITS)),
        octets(raw.get("hash"), 32),
        octets(raw.get("parentHash"), 32),
        UnixMillis(quantity(raw.get("timestamp"), COUNT_BITS) * 1000),
    )


def _rows(logs: Json, first: int, last: int) -> list[tuple[BlockNumber, StakeRow]]:
    """Read the events of these blocks, in their order."""
    if not isinstance(logs, list):
        raise Unavailable("the chain node sent no list of events")
    rows = sorted((_row(log) for log in logs), key=lambda entry: entry[0])
    if rows and not (first <= rows[0][0][0] and rows[-1][0][0] <= last):
        raise Unavailable("the chain node sent events of blocks that we did not ask for")
    return [(block, row) for (block, _index), row in rows]


def _row(log: Json) -> tuple[tuple[BlockNumber, int], StakeRow]:
    """Read one ``NodeChanged`` event: its place as (block, index), and the node's row after it."""
    if not isinstance(log, dict) or not isinstance(topics := log.get("topics"), list) or len(topics) != 2:
        raise Unavailable("the chain node sent an event that is not the staking contract's")
    data = octets(log.get("data"), 6 * WORD)
    owner, key, role, effective, _own, active = (data[start : start + WORD] for start in range(0, len(data), WORD))
    try:
        row = StakeRow(
            id=StakingId(quantity(topics[1], ID_BITS)),
            address=Address(key[-20:]),
            role=Role(int.from_bytes(role, "big")),
            stake=Wei(int.from_bytes(effective, "big")),
            active=any(active),
            owner=Address(owner[-20:]),
        )
    except ValueError as error:
        raise Unavailable("the chain node sent an event with an unknown role") from error
    return (BlockNumber(quantity(log.get("blockNumber"), COUNT_BITS)), quantity(log.get("logIndex"), COUNT_BITS)), row
