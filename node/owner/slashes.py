"""Slashes as the contracts tell of them, proven by signatures or found by jurors: whose stake, how much, why, by what.

Read from events by ranges of blocks, each once: what is asked for again is only what may have been re-organised.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, final

from node.adapters.chain.answers import COUNT_BITS, ID_BITS, WORD, Json, octets, quantity
from node.adapters.chain.gas_view import ask
from node.adapters.chain.logs import read_logs
from node.owner.wallet import Wallet
from protocol.crypto.keys import keccak256
from protocol.errors import Unavailable
from protocol.justice.evidence import Kind

PROVEN_SLASHED: Final = "0x" + keccak256(b"ProvenSlashed(uint256,uint8,bytes32,uint256,address,address)").hex()
"""First topic of the event."""
QUORUM_SLASHED: Final = "0x" + keccak256(b"QuorumSlashed(uint256,uint256,uint256,uint256,uint256)").hex()
"""The same of what jurors found."""
QUORUM: Final = "quorum"
"""Stable name of why a node is slashed that no signature proves to have contradicted itself."""
FIRST_CHUNK: Final = 100_000
"""Blocks asked for at once; a quarter of it where the chain node refuses."""
MAY_CHANGE: Final = 64
"""Newest blocks that are read again each time: they may have been re-organised."""
MAX_SLASHES: Final = 10_000
"""Slashes that are kept, the newest; a node has one in two unbonding delays."""
_WORDS: Final = {
    Kind.TWO_COMMITMENTS: "two results for one award",
    Kind.TWO_AWARDS: "two awards for one claim",
    Kind.TWO_RECEIPTS: "two receipts for one result",
    Kind.TWO_VERDICTS: "two verdicts in one round",
    Kind.TWO_VOUCHERS: "two vouchers in one place",
    Kind.UNDERSTATED: "a total that its promises exceed",
}


@dataclass(frozen=True, slots=True)
class Slash:
    """One slash of one node."""

    node: int
    kind: Kind | None
    """What its signatures proved; None where jurors found it."""
    slashed_wei: int
    """What the node and its voters lost; 0 in a respite, when it was jailed only."""
    block: int
    at: int
    """Time of its block (unix s)."""
    transaction: str
    """Hash of the transaction that did it, ``0x…``."""
    dispute: int = 0
    """In which the jurors found it; 0 where signatures proved it."""

    @property
    def reason(self) -> str:
        """Stable name: ``two_commitments`` and so on, or ``quorum``."""
        return QUORUM if self.kind is None else self.kind.label

    @property
    def why(self) -> str:
        """Say what its key signed, or who found what, in a few words."""
        return f"jurors of dispute {self.dispute} found its picture wrong" if self.kind is None else _WORDS[self.kind]


@final
class SlashLog:
    """All slashes of a network so far."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self.found: list[Slash] = []
        """The newest last."""
        self._next: int | None = None

    async def read(self, wallet: Wallet) -> None:
        """Read on to the chain's head. Who is cancelled meanwhile goes on from there the next time.

        Raises:
            Unavailable: The chain node does not answer.
        """
        start = wallet.network.contracts.start_block
        head = quantity(await wallet.rpc.call("eth_blockNumber"), COUNT_BITS)
        first = max(start, min(self._next - MAY_CHANGE, head)) if self._next is not None else start
        async with aclosing(_logs(wallet, first, head)) as parts:
            async for after, logs in parts:
                fresh = await _slashes(wallet, logs)
                self.found = [*(one for one in self.found if one.block < first), *fresh][-MAX_SLASHES:]
                first = self._next = after


async def slashes_of(wallet: Wallet, nodes: Iterable[int]) -> list[Slash]:
    """Give the slashes of some nodes, the newest last; errors as in ``SlashLog.read``."""
    wanted = sorted(set(nodes))
    if not wanted:
        return []
    start = wallet.network.contracts.start_block
    head = quantity(await wallet.rpc.call("eth_blockNumber"), COUNT_BITS)
    async with aclosing(_logs(wallet, start, head, wanted)) as parts:
        return [slash async for _, logs in parts for slash in await _slashes(wallet, logs)]


def _logs(wallet: Wallet, first: int, last: int, nodes: Sequence[int] = ()) -> AsyncGenerator[tuple[int, list[Json]]]:
    """Read the events of these blocks, of all nodes or of some: by parts, each with the block after it."""
    topics: list[Any] = [[PROVEN_SLASHED, QUORUM_SLASHED]]  # Any: a topic, or several of which one is to be there
    if nodes:
        topics.append(["0x" + node.to_bytes(WORD, "big").hex() for node in nodes])
    contracts = [wallet.address_of("Slashing"), wallet.address_of("Disputes")]
    return read_logs(wallet.rpc, contracts, first, last, chunk=FIRST_CHUNK, topics=topics)


async def _slashes(wallet: Wallet, logs: Sequence[Json]) -> list[Slash]:
    """Read events, with the times of their blocks; a kind that this release does not know is passed over."""
    events = [event for event in map(_event, logs) if event is not None]
    blocks = sorted({event.block for event in events})
    headers = await ask(wallet.rpc, [("eth_getBlockByNumber", (hex(block), False)) for block in blocks])
    times: dict[int, int] = {}
    for block, header in zip(blocks, headers, strict=True):
        if not isinstance(header, dict):
            raise Unavailable(f"the chain node does not know block {block}, of which it sent events")
        times[block] = quantity(header.get("timestamp"), COUNT_BITS)
    return [replace(event, at=times[event.block]) for event in events]


def _event(log: Json) -> Slash | None:
    """Read one event, of which the time is not known yet."""
    topics = log.get("topics") if isinstance(log, dict) else None
    if not isinstance(topics, list) or len(topics) != 3 or topics[0] not in {PROVEN_SLASHED, QUORUM_SLASHED}:
        raise Unavailable("the chain node sent an event that is not of a slash")
    node, number = quantity(topics[1], ID_BITS), quantity(topics[2], COUNT_BITS)
    block = quantity(log.get("blockNumber"), COUNT_BITS)
    hash_ = "0x" + octets(log.get("transactionHash"), 32).hex()
    if topics[0] == QUORUM_SLASHED:
        data = octets(log.get("data"), 3 * WORD)
        return Slash(node, None, int.from_bytes(data[:WORD], "big"), block, 0, hash_, number)
    if number not in set(Kind):
        return None
    data = octets(log.get("data"), 4 * WORD)
    return Slash(node, Kind(number), int.from_bytes(data[WORD : 2 * WORD], "big"), block, 0, hash_)
