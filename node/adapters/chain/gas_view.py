"""One look at the chain for the transactions of one account: head, nonces, balance, fees and receipts.

Everything is asked for in as few requests as possible, so that the answers are of one node and one moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from node.adapters.chain.answers import COUNT_BITS, CallRefused, Json, octets, quantity
from node.adapters.chain.rpc import JsonRpc
from protocol.errors import Unavailable
from protocol.units import BlockNumber, Digest

BATCH: Final = 100
"""Calls in one request: what small providers still take."""
CERTAIN_BLOCKS: Final = 2
"""Blocks at least for which a nonce must be used, and ours have no receipt, before another transaction took it: of two
chain nodes behind one URL, one may be a block behind."""

Call = tuple[str, Sequence[Json]]


@dataclass(frozen=True, slots=True)
class Mined:
    """The receipt of one version of a transaction."""

    block: BlockNumber
    block_hash: bytes
    succeeded: bool
    gas_used: int
    fee: int
    """What it cost (wei of the chain's coin)."""
    logs: Json


@dataclass(frozen=True, slots=True)
class GasView:
    """What the chain says of an account now."""

    head: BlockNumber
    count: int
    """Transactions of the account that are in blocks: the first nonce that is free."""
    balance: int
    base_fee: int | None
    """None where the chain has none."""
    price: int
    """The node's idea of a whole gas price, for chains without base fee."""
    tip: int | None
    """The node's idea of a tip; None where it has none."""
    mined: Mapping[Digest, Mined]


async def ask(rpc: JsonRpc, calls: Sequence[Call]) -> list[Json | CallRefused]:
    """Make calls in batches, one by one where the node takes no batches."""
    answers: list[Json | CallRefused] = []
    for start in range(0, len(calls), BATCH):
        part = calls[start : start + BATCH]
        try:
            answers += await rpc.batch_each(part)
        except CallRefused:
            for method, params in part:
                try:
                    answers.append(await rpc.call(method, *params))
                except CallRefused as refusal:
                    answers.append(refusal)
    return answers


async def ask_all(rpc: JsonRpc, calls: Sequence[Call]) -> list[Json]:
    """Ask like ``ask``, where no answer may be missing.

    Raises:
        CallRefused: The node answered any of them with an error.
        Unavailable: No URL gave a usable answer.
    """
    answers: list[Json] = []
    for answer in await ask(rpc, calls):
        if isinstance(answer, CallRefused):
            raise answer
        answers.append(answer)
    return answers


async def look(rpc: JsonRpc, address: str, hashes: Sequence[Digest]) -> GasView:
    """Look at an account, and for the receipts of these transactions.

    Raises:
        Unavailable: The node does not answer, or not sensibly.
    """
    calls: list[Call] = [
        ("eth_getBlockByNumber", ("latest", False)),
        ("eth_getTransactionCount", (address, "latest")),
        ("eth_getBalance", (address, "latest")),
        ("eth_gasPrice", ()),
        ("eth_maxPriorityFeePerGas", ()),
    ]
    calls += [("eth_getTransactionReceipt", ("0x" + one.hex(),)) for one in hashes]
    head, count, balance, price, tip, *receipts = await ask(rpc, calls)
    for needed in (head, count, balance, price, *receipts):
        if isinstance(needed, CallRefused):
            raise needed
    if not isinstance(head, dict):
        raise Unavailable("the chain node sent no latest block")
    base_fee = head.get("baseFeePerGas")
    return GasView(
        head=BlockNumber(quantity(head.get("number"), COUNT_BITS)),
        count=quantity(count, COUNT_BITS),
        balance=quantity(balance),
        base_fee=None if base_fee is None else quantity(base_fee),
        price=quantity(price),
        tip=None if isinstance(tip, CallRefused) else quantity(tip),
        mined={
            one: _mined(receipt) for one, receipt in zip(hashes, receipts, strict=True) if isinstance(receipt, dict)
        },
    )


async def is_canonical(rpc: JsonRpc, places: Sequence[Mined]) -> list[bool]:
    """Say of each receipt whether its block is the one that the chain has at that height."""
    calls: list[Call] = [("eth_getBlockByNumber", (hex(one.block), False)) for one in places]
    blocks = await ask(rpc, calls)
    return [
        isinstance(block, dict) and octets(block.get("hash"), 32) == one.block_hash
        for one, block in zip(places, blocks, strict=True)
    ]


def _mined(receipt: Mapping[str, Json]) -> Mined:
    used = quantity(receipt.get("gasUsed"), COUNT_BITS)
    price = receipt.get("effectiveGasPrice")
    return Mined(
        block=BlockNumber(quantity(receipt.get("blockNumber"), COUNT_BITS)),
        block_hash=octets(receipt.get("blockHash"), 32),
        succeeded=quantity(receipt.get("status")) == 1,
        gas_used=used,
        fee=0 if price is None else used * quantity(price),
        logs=receipt.get("logs"),
    )
