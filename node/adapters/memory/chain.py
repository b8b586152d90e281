"""A chain whose tables are handed in, and whose contracts are a function."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, final

import trio

from node.ports import ChainStore, EventSink, Ready
from protocol.chain_records import Confirmed, ContractCall, Escrow, Failed, SettlementRead, Transaction
from protocol.events import (
    ActivityChanged,
    Event,
    EvidenceChecked,
    Provability,
    SettlementSeen,
    StakeChanged,
    TxConfirmed,
    TxFailed,
)
from protocol.justice.evidence import Evidence, name_of
from protocol.stake.table import EpochView
from protocol.units import CAI, Address, BlockNumber, Digest, Role, StakingId, Wei

Contract = Callable[[ContractCall], Confirmed | Failed]
"""What a call comes to. It is asked once for each transaction."""

MAX_OPEN: Final = 256
"""Transactions that are looked at in one round, as by the real chain."""
QUEUE: Final = 512
"""Events that wait to be posted: what a test hands in, and an answer for all evidence that a core may have on file."""
OWNER: Final = Address(b"\x0a" * 20)
ESCROW: Final = Wei(10**9 * CAI)
"""What every coordinator has in escrow until somebody says otherwise (wei)."""
NO_GAS_KEY: Final = Failed("no_gas_key", "this node has no gas key to pay for transactions")


@final
class MemoryChain:
    """Posts given views at start, and further ones as they are added. Implements ``node.ports.Chain``."""

    def __init__(
        self, views: tuple[EpochView, ...], store: ChainStore | None = None, contract: Contract | None = None
    ) -> None:
        """Begin with the views of the epochs around now.

        Args:
            views: What is posted at start.
            store: The node's own, where its cores make transactions.
            contract: What transactions come to; without it they fail for want of a gas key, as on a real chain.
        """
        self._views = views
        self._store = store
        self._contract = contract or (lambda _call: NO_GAS_KEY)
        self._send, self._receive = trio.open_memory_channel[Event](QUEUE)
        self.owner = OWNER
        """Who owns every node here."""
        self._asked: dict[str, None] = {}
        self._told: set[str] = set()
        self._woken = trio.Event()

    async def add(self, view: EpochView) -> None:
        """Fix the table of one more epoch."""
        await self._send.send(StakeChanged(view))

    async def deactivate(self, *nodes: StakingId) -> None:
        """Make these nodes, and no others, inactive now, as a jailed one is."""
        await self._send.send(ActivityChanged(frozenset(nodes)))

    async def see(self, seen: SettlementSeen) -> None:
        """Make one more block of the Settlement contract known."""
        await self._send.send(seen)

    def submit(self, key: str) -> None:
        """Take up the transaction of this key, whose request is in the store; tell its outcome if there is one."""
        self._asked[key] = None
        self._woken.set()

    def check(self, evidence: Evidence) -> None:
        """Find nothing in the way of a proof: whether the contract takes it is for ``contract`` to say."""
        answer = EvidenceChecked(name_of(evidence), Provability.PROVABLE, "", self.owner, Wei(0))
        self._send.send_nowait(answer)

    async def run(self, sink: EventSink, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        """Post the views, then wait for more, and for transactions."""
        for view in self._views:
            await sink.post(StakeChanged(view))
        for escrow in _escrows(self._views):
            # One each: a coordinator is told of its own alone, and here nobody knows who asks.
            read = SettlementRead("memory", BlockNumber(0), Digest(bytes(32)), escrows=(escrow,))
            await sink.post(SettlementSeen(read, Wei(0)))
        task_status.started()
        async with trio.open_nursery() as nursery:
            if self._store is not None:
                nursery.start_soon(self._transact, self._store, sink)
            async for event in self._receive:
                await sink.post(event)

    async def _transact(self, store: ChainStore, sink: EventSink) -> None:
        """Give each transaction its one outcome, and tell it in each run until the core has taken it in."""
        while True:
            asked, self._asked = self._asked, {}
            opened = await store.open_transactions(MAX_OPEN)
            for key in {**{one.key: None for one in opened}, **asked}:
                found = await store.transaction(key)
                if found is not None and (key in asked or key not in self._told):
                    await self._tell(await self._ended(found, store), sink)
            await self._woken.wait()
            self._woken = trio.Event()

    async def _ended(self, transaction: Transaction, store: ChainStore) -> Transaction:
        if transaction.outcome is None:
            transaction = replace(transaction, outcome=self._contract(transaction.call))
            await store.keep_transactions([transaction])
        return transaction

    async def _tell(self, transaction: Transaction, sink: EventSink) -> None:
        self._told.add(transaction.key)
        if isinstance(transaction.outcome, Confirmed):
            await sink.post(TxConfirmed(transaction.key, transaction.outcome))
        elif transaction.outcome is not None:
            await sink.post(TxFailed(transaction.key, transaction.outcome))


def _escrows(views: tuple[EpochView, ...]) -> tuple[Escrow, ...]:
    """Give every coordinator of these tables an ample escrow."""
    known = {row.id for view in views for row in view.table.rows if row.role is Role.COORDINATOR}
    return tuple(Escrow(coordinator, ESCROW, Wei(0), Wei(0), Wei(0)) for coordinator in sorted(known))
