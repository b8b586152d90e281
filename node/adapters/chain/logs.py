"""The events of contracts, read by ranges of blocks as long as the chain node takes, and headers of blocks."""

from collections.abc import AsyncGenerator, Sequence

from node.adapters.chain.answers import COUNT_BITS, CallRefused, Json, quantity
from node.adapters.chain.rpc import JsonRpc
from protocol.errors import Unavailable


async def read_logs(
    rpc: JsonRpc, contract: str | Sequence[str], first: int, last: int, *, chunk: int, topics: Sequence[Json] = ()
) -> AsyncGenerator[tuple[int, list[Json]]]:
    """Read the events of these blocks by parts, each with the block after it. Who may stop in the middle closes it.

    Args:
        rpc: The chain node.
        contract: Its address, ``0x…``, or those of several.
        first: The first block.
        last: The last one.
        chunk: Blocks asked for at once; a quarter of it where the chain node refuses.
        topics: What the events' topics must be; all events where empty.

    Raises:
        Unavailable: The chain node does not answer, or with what is no list of events.
        CallRefused: It refuses a single block.
    """
    address: Json = contract if isinstance(contract, str) else list(contract)
    wanted: dict[str, Json] = {"address": address} | ({"topics": list(topics)} if topics else {})
    while first <= last:
        end = min(last, first + chunk - 1)
        try:
            logs = await rpc.call("eth_getLogs", wanted | {"fromBlock": hex(first), "toBlock": hex(end)})
        except CallRefused:
            if chunk == 1:
                raise
            chunk = max(1, min(chunk, end - first + 1) // 4)  # public nodes limit blocks or results
            continue
        first = end + 1
        yield first, events_in(logs)


async def block_at(rpc: JsonRpc, number: int) -> dict[str, Json]:
    """Read the header of a block below the chain's head.

    Raises:
        Unavailable: The chain node does not answer, or does not know the block.
    """
    raw = await rpc.call("eth_getBlockByNumber", hex(number), False)
    if not isinstance(raw, dict) or quantity(raw.get("number"), COUNT_BITS) != number:
        raise Unavailable(f"the chain node does not know block {number} below its own head")
    return raw


def events_in(logs: Json) -> list[Json]:
    """Pass what is a list of events, as far as its shape tells."""
    if not isinstance(logs, list) or not all(isinstance(log, dict) for log in logs):
        raise Unavailable("the chain node sent no list of events")
    return logs
