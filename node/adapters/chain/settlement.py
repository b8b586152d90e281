"""Reads the Settlement contract up to each confirmed block: escrows that coordinators have, and payments of this node.

Escrows come from the contract's own views at that block; which to look at again, and who was paid, come from its
events. So no history of others is read, and no archive node is needed. What was read is kept by the core, in one
transaction with what it makes of it, and the next run goes on from there.
"""

from collections.abc import Iterable, Sequence
from typing import Final, final

from contracts.bindings import load
from node.adapters.chain.abi import call_data, returned
from node.adapters.chain.answers import COUNT_BITS, ID_BITS, WORD, CallRefused, Json, octets, quantity
from node.adapters.chain.asked_ahead import AskedAhead
from node.adapters.chain.follower import FIRST_CHUNK_BLOCKS
from node.adapters.chain.gas_view import Call, ask
from node.adapters.chain.logs import block_at, events_in, read_logs
from node.adapters.chain.rpc import JsonRpc
from node.ports import ChainStore, EventSink
from protocol.chain_records import Escrow, Payment, SettlementRead
from protocol.crypto.keys import keccak256
from protocol.errors import Unavailable
from protocol.events import SettlementSeen
from protocol.stake.table import StakeRow, StakeTable
from protocol.units import Address, BlockNumber, Digest, Role, StakingId, UnixMillis, Wei

REDEEMED: Final = "0x" + keccak256(b"Redeemed(uint256,uint256,uint256,uint256,uint256,uint256)").hex()
"""First topic of the event of a payment."""
VIEWS: Final = ("escrow", "pending_withdrawal", "redeemed_total", "owed")
LOOK_AGAIN_BLOCKS: Final = 500
"""Blocks after which all escrows are looked at again, whatever the events said: a node may have left some out."""
STRIDE_BLOCKS: Final = 20_000
"""Blocks of a longer way that are read, and kept, at once."""
SMALL_GAP: Final = 32
"""Blocks of which all events are read at once; after a longer absence only our own payments are, and all escrows."""


@final
class SettlementReader:
    """What this node needs to know of the Settlement contract, up to the newest confirmed block."""

    def __init__(
        self,
        rpc: JsonRpc,
        staking: Address,
        start_block: int,
        chain_id: int,
        store: ChainStore,
        ahead: AskedAhead | None = None,
    ) -> None:
        """Find the contract by the staking contract, and read no block before ``start_block``.

        What ``foreseen`` gives may have been asked by ``ahead``.
        """
        self._rpc = rpc
        self._ahead = ahead or AskedAhead(rpc)
        self._staking = staking
        self._start = start_block
        self._chain_id = chain_id
        self._store = store
        self._address: str | None = None
        self._own: StakeRow | None = None
        self._contract = ""
        self._read: tuple[int, bytes] | None = None
        """The last block that is read, and its hash; None before the first look of this run."""
        self._told: StakingId | None = None
        """For which node something was posted in this run."""
        self._known: frozenset[StakingId] = frozenset()
        """Coordinators whose escrows are known."""
        self._looked_at = 0

    async def step(
        self,
        own: StakeRow | None,
        table: StakeTable,
        confirmed: BlockNumber,
        sink: EventSink,
        blocks: Sequence[dict[str, Json]] = (),
    ) -> None:
        """Read on to a confirmed block and post what is new there; nothing for whoever is not registered.

        Args:
            own: Our row.
            table: Who is registered.
            confirmed: Up to which block.
            sink: Whom to tell.
            blocks: That block and those before it from ``next`` on, as the chain node has sent them a moment ago and
                as far back as they are known; where there is none it is asked for.

        Raises:
            Unavailable: The chain node does not answer, or the chain was re-organised while it was read: nothing is
                posted then, and the next step reads the same again.
        """
        if own is None:
            return
        if self._own is None or self._own.id != own.id:
            if not await self._begin(own):
                return
            self._own = own
        if self._read is not None and confirmed < self._read[0]:
            return  # a node that is behind what another one has shown us
        block = blocks[-1] if blocks else await block_at(self._rpc, confirmed)
        number, hash_ = quantity(block.get("number"), COUNT_BITS), octets(block.get("hash"), 32)
        children = self._children(blocks or (block,))
        anew = not children and await self._is_lost(block)
        last = self._start - 1 if anew or self._read is None else self._read[0]
        while number - last > STRIDE_BLOCKS:
            last = await self._stride(last, own, sink, anew=anew)
            anew = False
        gap = number - last
        if children:
            logs = [log for child in children for log in await self._events_of(octets(child.get("hash"), 32))]
        else:
            logs = await self._events(last + 1, number, everything=gap <= SMALL_GAP)
        payments = await self._payments(logs, own)
        wanted = self._wanted(own, table)
        is_due = self._told is None or anew or gap > SMALL_GAP or number >= self._looked_at + LOOK_AGAIN_BLOCKS
        named = wanted if is_due else {one for one in wanted if one not in self._known} | _coordinators_in(logs)
        escrows = await self._escrows(sorted(named & wanted), hash_)
        # What was asked of one block by its hash is of that block, whatever the chain does meanwhile.
        if not children and octets((await block_at(self._rpc, number)).get("hash"), 32) != hash_:
            raise Unavailable("the chain was re-organised while the Settlement contract was read")
        price = block.get("baseFeePerGas")
        gas_price = quantity(price) if price is not None else quantity(await self._rpc.call("eth_gasPrice"))
        read = SettlementRead(self._contract, BlockNumber(number), Digest(hash_), payments, escrows, anew)
        self._read = (number, hash_)
        self._known, self._told = frozenset(wanted), own.id
        self._looked_at = number if is_due else self._looked_at
        await sink.post(SettlementSeen(read, Wei(gas_price)))

    async def _stride(self, last: int, own: StakeRow, sink: EventSink, *, anew: bool) -> int:
        """Read our own payments of many blocks on the way to the present one, and have them kept; gives the last block.

        So a way that takes long is gone once, whatever fails on it.
        """
        end = last + STRIDE_BLOCKS
        hash_ = octets((await block_at(self._rpc, end)).get("hash"), 32)
        payments = await self._payments(await self._events(last + 1, end, everything=False), own)
        read = SettlementRead(self._contract, BlockNumber(end), Digest(hash_), payments, (), anew)
        self._read = (end, hash_)
        await sink.post(SettlementSeen(read, None))
        return end

    @property
    def next(self) -> int:
        """The first block that is not read."""
        return self._start if self._read is None else self._read[0] + 1

    def is_done(self, confirmed: BlockNumber) -> bool:
        """Say whether everything up to this block was posted in this run."""
        return self._told is not None and self._read is not None and self._read[0] >= confirmed

    async def _begin(self, own: StakeRow) -> bool:
        """Find the contract, and how far an earlier run of this node came; False while the network has none."""
        if self._address is None:
            data = "0x" + call_data(load("Staking"), "settlement", ()).hex()
            answer = octets(
                await self._rpc.call("eth_call", {"to": "0x" + self._staking.hex(), "data": data}, "latest")
            )
            if len(answer) != WORD or not any(answer):
                return False
            self._address = "0x" + answer[12:].hex()
        self._contract = f"{self._chain_id}/{self._address}/{self._start}/{own.id}"
        kept = await self._store.settlement_read(self._contract)
        self._read = (kept.block, kept.hash) if kept is not None else None
        self._told, self._known, self._looked_at = None, frozenset(), -LOOK_AGAIN_BLOCKS
        return True

    def _children(self, blocks: Sequence[dict[str, Json]]) -> Sequence[dict[str, Json]]:
        """Give these blocks if the first comes after the last that is read, and each next one after it; else none."""
        parent = None if self._read is None else self._read[1]
        for block in blocks:
            if octets(block.get("parentHash"), 32) != parent:
                return ()
            parent = octets(block.get("hash"), 32)
        return blocks

    async def _is_lost(self, block: dict[str, Json]) -> bool:
        """Say whether there is nothing to go on from to a block: nothing was read, or what is not before it any more.

        That takes a re-organisation deeper than the confirmations. Everything is read again then: payments that were
        taken back would stand in the accounts otherwise, and vouchers that they paid would never be redeemed.
        """
        if self._read is None:
            return True
        number, hash_ = self._read
        if quantity(block.get("number"), COUNT_BITS) == number + 1:
            return octets(block.get("parentHash"), 32) != hash_
        raw = await self._rpc.call("eth_getBlockByNumber", hex(number), False)
        return not isinstance(raw, dict) or octets(raw.get("hash"), 32) != hash_

    def _wanted(self, own: StakeRow, table: StakeTable) -> set[StakingId]:
        """Say whose escrows matter: a coordinator's own, and to a miner those of all coordinators."""
        if own.role is Role.COORDINATOR:
            return {own.id}
        return {row.id for row in table.rows if row.role is Role.COORDINATOR}

    def foreseen(self, block: bytes) -> Sequence[Call]:
        """Say what is asked of a block by its hash, if it is the next one to be read."""
        if self._address is None:
            return ()
        return (("eth_getLogs", ({"address": self._address, "blockHash": "0x" + block.hex()},)),)

    async def _events_of(self, block: bytes) -> list[Json]:
        """Read all events of one block."""
        ((method, where),) = self.foreseen(block)
        return events_in(await self._ahead.call(method, *where))

    async def _events(self, first: int, last: int, *, everything: bool) -> list[Json]:
        """Read events of these blocks: all of them, or only payments of this node."""
        assert self._own is not None
        assert self._address is not None
        word = "0x" + self._own.id.to_bytes(WORD, "big").hex()
        own = [REDEEMED, word] if self._own.role is Role.COORDINATOR else [REDEEMED, None, word]
        topics: list[Json] = [] if everything else own
        parts = read_logs(self._rpc, self._address, first, last, chunk=FIRST_CHUNK_BLOCKS, topics=topics)
        return [log async for _, logs in parts for log in logs]

    async def _payments(self, logs: Sequence[Json], own: StakeRow) -> tuple[Payment, ...]:
        """Read those events that are payments of this node, with the time of their blocks."""
        paid = [event for event in map(_payment, logs) if event is not None and own.id in event[:2]]
        blocks = sorted({block for _, _, block, *_ in paid})
        headers = await ask(self._rpc, [("eth_getBlockByNumber", (hex(block), False)) for block in blocks])
        times: dict[int, int] = {}
        for block, raw in zip(blocks, headers, strict=True):
            if not isinstance(raw, dict):
                raise Unavailable(f"the chain node does not know block {block}, of which it sent events")
            times[block] = quantity(raw.get("timestamp"), COUNT_BITS) * 1000
        return tuple(
            Payment(
                block=BlockNumber(block),
                place=place,
                transaction=Digest(transaction),
                at=UnixMillis(times[block]),
                coordinator=coordinator,
                miner=miner,
                amount=Wei(amount),
                acknowledged=Wei(acknowledged),
                unpaid=Wei(unpaid),
            )
            for coordinator, miner, block, place, transaction, amount, acknowledged, unpaid in sorted(
                paid, key=lambda event: event[2:4]
            )
        )

    async def _escrows(self, coordinators: Sequence[StakingId], block: bytes) -> tuple[Escrow, ...]:
        """Read what these coordinators have after a block."""
        assert self._address is not None
        settlement, place = load("Settlement"), {"blockHash": "0x" + block.hex()}
        calls = [
            (
                "eth_call",
                ({"to": self._address, "data": "0x" + call_data(settlement, view, (one,)).hex()}, place),
            )
            for one in coordinators
            for view in VIEWS
        ]
        answers = await ask(self._rpc, calls)
        values: list[Json] = []
        for number, answer in enumerate(answers):
            if isinstance(answer, CallRefused):
                raise answer
            view = VIEWS[number % len(VIEWS)]
            values.append(returned(settlement, self._address, view, 1, octets(answer))[0])
        return tuple(
            Escrow(one, Wei(deposited), Wei(withdrawal[0]), Wei(redeemed), Wei(owed))
            for one, (deposited, withdrawal, redeemed, owed) in zip(
                coordinators, _grouped(values, len(VIEWS)), strict=True
            )
        )


def _grouped(values: Sequence[Json], size: int) -> Iterable[Sequence[Json]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _coordinators_in(logs: Iterable[Json]) -> set[StakingId]:
    """Give the coordinators that events name: each has one as its first indexed part."""
    found = set()
    for log in logs:
        topics = log.get("topics")
        if isinstance(topics, list) and len(topics) > 1:
            found.add(StakingId(quantity(topics[1], ID_BITS)))
    return found


def _payment(log: Json) -> tuple[StakingId, StakingId, int, int, bytes, int, int, int] | None:
    """Read one event: coordinator, miner, block, place in it, transaction, amount, acknowledged, unpaid."""
    topics = log.get("topics")
    if not isinstance(topics, list) or not topics or topics[0] != REDEEMED:
        return None
    if len(topics) != 3:
        raise Unavailable("the chain node sent an event that is not the Settlement contract's")
    data = octets(log.get("data"), 4 * WORD)
    amount, acknowledged, unpaid, _ = (
        int.from_bytes(data[start : start + WORD], "big") for start in range(0, len(data), WORD)
    )
    return (
        StakingId(quantity(topics[1], ID_BITS)),
        StakingId(quantity(topics[2], ID_BITS)),
        quantity(log.get("blockNumber"), COUNT_BITS),
        quantity(log.get("logIndex"), COUNT_BITS),
        octets(log.get("transactionHash"), 32),
        amount,
        acknowledged,
        unpaid,
    )
