"""Escrows and payments as the Settlement contract says them, block by block, over restarts and re-organisations."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from contracts.bindings import load
from node.adapters.chain import settlement as module
from node.adapters.chain.abi import call_data
from node.adapters.chain.answers import quantity
from node.adapters.chain.devchain import DEV_CHAIN_ID, DEV_TREASURY_SECRET, deploy_devnet, devchain
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.sender import Sender
from node.adapters.chain.settlement import SMALL_GAP, SettlementReader
from node.adapters.memory.store import MemoryStore
from protocol.chain_records import Escrow, SettlementRead
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, sign
from protocol.errors import Unavailable
from protocol.events import SettlementSeen
from protocol.stake.table import StakeRow, StakeTable
from protocol.units import CAI, Address, BlockNumber, Digest, StakingId, Wei
from protocol.wire.statements import VoucherStatement
from tests.adapters.chain.test_devchain import NODES, PARAMS
from tests.support.chain import Cable, Sink

pytestmark = pytest.mark.usefixtures("anvil_is_there")

COORDINATOR, MINER, OTHER = (StakingId(number) for number in (1, 2, 3))
ESCROW = Wei(100 * CAI)
HELD = VoucherStatement(
    coordinator=COORDINATOR, miner=MINER, cumulative=Wei(7 * CAI), boot=1, sequence=1, issued_total=Wei(7 * CAI)
)


@dataclass
class Scene:
    """A devnet's contracts, and readers of them."""

    rpc: JsonRpc
    cable: Cable
    treasury: Sender
    staking: Address
    start_block: int
    settlement: str
    table: StakeTable
    store: MemoryStore

    def reader(self) -> SettlementReader:
        """A new run of a node, on the same disk."""
        return SettlementReader(self.rpc, self.staking, self.start_block, DEV_CHAIN_ID, self.store)

    async def seen(
        self, reader: SettlementReader, node: StakingId = MINER, sink: Sink | None = None
    ) -> list[SettlementRead]:
        """Make a step, keep what it tells as the core does, and give it."""
        sink = sink or Sink()
        head = BlockNumber(quantity(await self.rpc.call("eth_blockNumber")))
        await reader.step(self.table.by_id.get(node), self.table, head, sink)
        reads = [event.read for event in sink.events if isinstance(event, SettlementSeen)]
        for read in reads:
            await self.store.persist((read,))
        return reads

    async def redeem(self, miner: StakingId, cai: float, total: float | None = None) -> None:
        """Show the contract a voucher."""
        amount = Wei(int(cai * CAI))
        voucher = HELD.model_copy(
            update={"miner": miner, "cumulative": amount, "issued_total": Wei(int((total or cai) * CAI))}
        )
        signature = sign(NodeKey(NODES[0].node_key), Domain(DEV_CHAIN_ID, self.staking), voucher)
        order = (COORDINATOR, miner, amount, voucher.boot, voucher.sequence, voucher.issued_total)
        await self.treasury.call(load("Settlement"), self.settlement, "redeem", order, signature)

    async def deposit(self, cai: int) -> None:
        await self.treasury.call(load("CAI"), await self.token(), "approve", self.settlement, cai * CAI)
        await self.treasury.call(load("Settlement"), self.settlement, "deposit", COORDINATOR, cai * CAI)

    async def token(self) -> str:
        found = await self.treasury.read(load("Settlement"), self.settlement, "token")
        return str(found)


HOUR_S = 3600
"""Between two blocks that no test makes: what is asked depends on how many are new."""


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    cable = Cable()
    async with devchain(block_time_s=HOUR_S, log=folder / "chain.log") as url:
        deployed = await deploy_devnet(url, PARAMS, NODES, escrow=ESCROW)
        rows = [
            StakeRow(number, NodeKey(node.node_key).address, node.role, Wei(node.stake_cai * CAI), active=True)
            for number, node in zip(deployed.ids, NODES, strict=True)
        ]
        async with JsonRpc([url], chain_id=DEV_CHAIN_ID, transport=cable) as rpc:
            treasury = Sender(rpc, DEV_TREASURY_SECRET, DEV_CHAIN_ID)
            staking = "0x" + deployed.staking.hex()
            settlement = await treasury.read(load("Staking"), staking, "settlement")
            start = deployed.deployed.start_block
            table, store = StakeTable.of(rows), MemoryStore()
            yield Scene(rpc, cable, treasury, deployed.staking, start, str(settlement), table, store)


def amounts(read: SettlementRead) -> list[tuple[StakingId, int, int]]:
    return [(payment.miner, payment.amount, payment.redeemed) for payment in read.payments]


async def test_step__block_by_block__tells_escrows_that_change_and_payments_of_this_node(tmp_path: Path):
    async with scene(tmp_path) as one:
        reader = one.reader()
        (first,) = await one.seen(reader)
        assert first.anew
        assert first.escrows == (Escrow(COORDINATOR, ESCROW, Wei(0), Wei(0), Wei(0)),)
        assert first.payments == ()

        await one.redeem(OTHER, 3)
        await one.redeem(MINER, 7)
        (second,) = await one.seen(reader)
        assert not second.anew
        assert second.escrows == (Escrow(COORDINATOR, Wei(90 * CAI), Wei(0), Wei(10 * CAI), Wei(0)),)
        assert amounts(second) == [(MINER, 7 * CAI, 7 * CAI)], "what others are paid is not ours to keep"
        (payment,) = second.payments
        block = await one.rpc.call("eth_getBlockByNumber", hex(payment.block), False)
        assert payment.at == quantity(block["timestamp"]) * 1000
        assert "0x" + payment.transaction.hex() in block["transactions"]

        await one.redeem(MINER, 120)
        (third,) = await one.seen(reader)
        assert amounts(third) == [(MINER, 90 * CAI, 97 * CAI)]
        assert third.payments[0].unpaid == 23 * CAI
        assert third.escrows == (Escrow(COORDINATOR, Wei(0), Wei(0), Wei(100 * CAI), Wei(23 * CAI)),)

        await one.rpc.call("anvil_mine", "0x1")
        (quiet,) = await one.seen(reader)
        assert (quiet.payments, quiet.escrows, quiet.anew) == ((), (), False)
        assert quiet.block > third.block
        reader_of_all = one.reader()
        one.store = MemoryStore()
        (spent,) = await one.seen(reader_of_all, COORDINATOR)
        assert [miner for miner, _, _ in amounts(spent)] == [OTHER, MINER, MINER], "a coordinator sees all that it paid"
        assert await one.seen(one.reader(), StakingId(99)) == [], "who is not registered is told nothing"


async def test_step__next_run__goes_on_where_the_last_one_ended(tmp_path: Path):
    async with scene(tmp_path) as one:
        await one.redeem(MINER, 7)
        (first,) = await one.seen(one.reader())
        assert amounts(first) == [(MINER, 7 * CAI, 7 * CAI)]
        await one.redeem(MINER, 9)
        await one.rpc.call("anvil_mine", hex(2 * SMALL_GAP))
        (second,) = await one.seen(one.reader())
        assert not second.anew
        assert amounts(second) == [(MINER, 2 * CAI, 9 * CAI)]
        assert second.escrows == (Escrow(COORDINATOR, Wei(91 * CAI), Wei(0), Wei(9 * CAI), Wei(0)),)


async def test_step__block_that_was_read_is_not_the_chains_any_more__everything_is_read_anew(tmp_path: Path):
    async with scene(tmp_path) as one:
        await one.redeem(MINER, 7)
        (read,) = await one.seen(one.reader())
        ghost = replace(read.payments[0], place=9, amount=Wei(1))
        await one.store.persist((replace(read, hash=Digest(bytes(32)), payments=(ghost,), anew=False),))
        (again,) = await one.seen(one.reader())
        assert again.anew
        assert amounts(again) == [(MINER, 7 * CAI, 7 * CAI)]
        (kept,) = [record for record in await one.store.load() if isinstance(record, SettlementRead)]
        assert kept.payments == read.payments, "what was on the other branch is gone"


@pytest.mark.parametrize("lost", [b"eth_getLogs", b"eth_call"])
async def test_step__answer_is_lost_on_the_way__tells_nothing_and_all_the_next_time(tmp_path: Path, lost: bytes):
    async with scene(tmp_path) as one:
        reader = one.reader()
        await one.seen(reader)
        await one.redeem(MINER, 7)
        one.cable.mute = lost
        with pytest.raises(Unavailable):
            await one.seen(reader)
        one.cable.mute = None
        (read,) = await one.seen(reader)
        assert amounts(read) == [(MINER, 7 * CAI, 7 * CAI)]


async def test_step__block_is_another_one_at_the_end__tells_nothing_and_all_the_next_time(tmp_path: Path):
    async with scene(tmp_path) as one:
        reader = one.reader()
        await one.seen(reader)
        await one.redeem(MINER, 7)
        await one.rpc.call("anvil_mine", "0x1")  # one block alone is read by its hash
        blocks = 0

        def another(answer: bytes) -> bytes:
            nonlocal blocks
            if b"parentHash" not in answer or answer.startswith(b"["):
                return answer
            blocks += 1
            hash_ = json.loads(answer)["result"]["hash"].encode()
            # The block itself, the last one that was read, and the block once more.
            return answer.replace(hash_, b"0x" + b"ab" * 32) if blocks == 3 else answer

        one.cable.edit = another
        with pytest.raises(Unavailable, match="re-organised"):
            await one.seen(reader)
        one.cable.edit = lambda answer: answer
        (read,) = await one.seen(reader)
        assert amounts(read) == [(MINER, 7 * CAI, 7 * CAI)]


def _asked(one: Scene) -> list[str]:
    """Give what the node was asked since it was asked last, but for the head."""
    bodies = [json.loads(body) for body in one.cable.bodies]
    one.cable.bodies.clear()
    methods = [call["method"] for body in bodies for call in (body if isinstance(body, list) else [body])]
    return [method for method in methods if method != "eth_blockNumber"]


async def test_step__next_block__costs_two_requests(tmp_path: Path):
    async with scene(tmp_path) as one:
        reader = one.reader()
        await one.seen(reader)
        for _ in range(2):
            await one.rpc.call("anvil_mine", "0x1")
            one.cable.bodies.clear()
            (quiet,) = await one.seen(reader)
            assert (quiet.payments, quiet.escrows, quiet.anew) == ((), (), False)
            assert _asked(one) == ["eth_getBlockByNumber", "eth_getLogs"]


async def test_step__next_block_is_at_hand__costs_one_request(tmp_path: Path):
    async with scene(tmp_path) as one:
        reader = one.reader()
        await one.seen(reader)
        await one.rpc.call("anvil_mine", "0x1")
        block = await one.rpc.call("eth_getBlockByNumber", "latest", False)
        assert isinstance(block, dict)
        one.cable.bodies.clear()
        sink = Sink()
        number = BlockNumber(quantity(block["number"]))
        await reader.step(one.table.by_id.get(MINER), one.table, number, sink, [block])
        assert _asked(one) == ["eth_getLogs"]
        (seen,) = sink.events
        assert isinstance(seen, SettlementSeen)
        assert (seen.read.block, "0x" + seen.read.hash.hex()) == (number, block["hash"])


async def _blocks_from(one: Scene, first: int) -> list[dict[str, Any]]:
    """Give the blocks from this one up to the head."""
    last = quantity(await one.rpc.call("eth_blockNumber"))
    sent = [await one.rpc.call("eth_getBlockByNumber", hex(number), False) for number in range(first, last + 1)]
    return [block for block in sent if isinstance(block, dict)]


@pytest.mark.parametrize("are_linked", [True, False])
async def test_step__few_blocks_are_at_hand__events_of_each_are_read_if_they_are_of_one_branch(
    tmp_path: Path, *, are_linked: bool
):
    async with scene(tmp_path) as one:
        reader = one.reader()
        await one.seen(reader)
        await one.redeem(MINER, 7)
        await one.rpc.call("anvil_mine", "0x2")
        blocks = await _blocks_from(one, reader.next)
        if not are_linked:
            blocks[-2] = {**blocks[-2], "hash": "0x" + "ab" * 32}
        one.cable.bodies.clear()
        sink = Sink()
        number = BlockNumber(quantity(blocks[-1]["number"]))
        await reader.step(one.table.by_id.get(MINER), one.table, number, sink, blocks)
        (seen,) = sink.events
        assert isinstance(seen, SettlementSeen)
        assert amounts(seen.read) == [(MINER, 7 * CAI, 7 * CAI)]
        assert reader.next == number + 1
        asked = [method for method in _asked(one) if method != "eth_call"]
        by_hash = [*len(blocks) * ["eth_getLogs"], "eth_getBlockByNumber"]  # the time of the payment
        by_range = ["eth_getBlockByNumber", "eth_getLogs", "eth_getBlockByNumber", "eth_getBlockByNumber"]
        assert asked == (by_hash if are_linked else by_range)


async def test_step__next_block_is_of_another_branch__everything_is_read_anew(tmp_path: Path):
    async with scene(tmp_path) as one:
        await one.redeem(MINER, 7)
        (read,) = await one.seen(one.reader())
        ghost = replace(read.payments[0], place=9, amount=Wei(1))
        await one.store.persist((replace(read, hash=Digest(bytes(32)), payments=(ghost,), anew=False),))
        await one.rpc.call("anvil_mine", "0x1")
        (again,) = await one.seen(one.reader())
        assert again.anew
        assert amounts(again) == [(MINER, 7 * CAI, 7 * CAI)]


async def test_step__long_way_from_the_first_block__is_kept_stride_by_stride_and_never_gone_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "STRIDE_BLOCKS", 40)
    async with scene(tmp_path) as one:
        for cai in (1, 2, 3):
            await one.redeem(MINER, cai)
            await one.rpc.call("anvil_mine", hex(50))
        reader, sink = one.reader(), Sink()
        *strides, last = await one.seen(reader, sink=sink)
        assert len(strides) >= 3
        assert [read.anew for read in (*strides, last)] == [True, *(False for _ in strides)]
        assert [amount for read in (*strides, last) for _, amount, _ in amounts(read)] == [CAI, CAI, CAI]
        assert [read.escrows for read in strides] == [() for _ in strides]
        assert last.escrows == (Escrow(COORDINATOR, Wei(97 * CAI), Wei(0), Wei(3 * CAI), Wei(0)),)
        told = [event for event in sink.events if isinstance(event, SettlementSeen)]
        assert [event.gas_price is None for event in told] == [*(True for _ in strides), False]
        one.cable.bodies.clear()
        (again,) = await one.seen(one.reader())
        assert (again.payments, again.anew) == ((), False)
        assert sum(b"eth_getLogs" in body for body in one.cable.bodies) <= 1


async def test_step__owner_asks_for_escrow_back__shows_in_the_next_block(tmp_path: Path):
    async with scene(tmp_path) as one:
        reader = one.reader()
        await one.seen(reader)
        owner = await one.treasury.read(load("Staking"), "0x" + one.staking.hex(), "node", COORDINATOR)
        await one.rpc.call("anvil_impersonateAccount", owner[0])
        data = "0x" + call_data(load("Settlement"), "request_withdrawal", (COORDINATOR, 40 * CAI)).hex()
        await one.rpc.call("eth_sendTransaction", {"from": owner[0], "to": one.settlement, "data": data})
        await one.rpc.call("anvil_mine", "0x1")
        (read,) = await one.seen(reader)
        assert read.escrows == (Escrow(COORDINATOR, ESCROW, Wei(40 * CAI), Wei(0), Wei(0)),)
        assert read.escrows[0].usable == 60 * CAI
        await one.deposit(5)
        (read,) = await one.seen(reader)
        assert read.escrows[0].deposited == ESCROW + 5 * CAI
