"""Tells the core the outcome of each transaction: once in a run, and in each further run until it is taken in.

An outcome is on disk before it is told. Whoever has no gas key fails every transaction here, by name.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, final

import trio

from node.ports import ChainStore, EventSink, Journal
from protocol.chain_records import Confirmed, Failed, Transaction
from protocol.errors import Unavailable
from protocol.events import TxConfirmed, TxFailed
from protocol.notes import NoteName

READ_AT_ONCE: Final = 256
"""Open transactions that are looked at in one round; the others wait on disk."""
RETRY_S: Final = 5.0
"""Pause (s) after the disk refused."""
NO_GAS_KEY: Final = Failed(
    "no_gas_key", "this node has no gas key to pay for transactions: set chain.gas_keystore and send it some gas"
)


@final
class Outcomes:
    """What is to be told, and whoever waits for something to do."""

    def __init__(self, store: ChainStore, journal: Journal) -> None:
        """Begin a run: what was told in earlier ones and not taken in is told again."""
        self._store = store
        self._journal = journal
        self._told: set[str] = set()
        self._asked: dict[str, None] = {}
        self._woken = trio.Event()

    def ask(self, key: str) -> None:
        """The core asks for this transaction now."""
        self._asked[key] = None
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Wait until the core asks for something, but no longer than this."""
        with trio.move_on_after(seconds):
            await self._woken.wait()
        self._woken = trio.Event()

    async def take(self, sink: EventSink) -> list[Transaction]:
        """Tell what ended and was not told in this run, or is asked for again; give what has no outcome yet."""
        asked, self._asked = self._asked, {}
        opened = await self._store.open_transactions(READ_AT_ONCE)
        found = {transaction.key: transaction for transaction in opened}
        self._told &= found.keys()
        for key in asked.keys() - found.keys():
            again = await self._store.transaction(key)
            if again is not None:
                found[key] = again
        for key, transaction in found.items():
            if transaction.outcome is not None and (key in asked or key not in self._told):
                await self._tell(transaction, transaction.outcome, sink)
        return [transaction for transaction in opened if transaction.outcome is None]

    async def end(
        self,
        ended: Sequence[tuple[Transaction, Confirmed | Failed]] | Sequence[tuple[Transaction, Failed]],
        sink: EventSink,
    ) -> None:
        """Keep outcomes, then tell them."""
        if not ended:
            return
        await self._store.keep_transactions([replace(one, outcome=outcome) for one, outcome in ended])
        for transaction, outcome in ended:
            if isinstance(outcome, Confirmed):
                self._journal.note(
                    NoteName.TX_CONFIRMED, key=transaction.key, block=outcome.block, fee_wei=str(outcome.fee)
                )
            else:
                self._journal.note(
                    NoteName.TX_FAILED, key=transaction.key, reason=outcome.reason, detail=outcome.detail
                )
            await self._tell(transaction, outcome, sink)

    async def refuse_all(self, sink: EventSink) -> None:
        """Fail everything for want of a gas key; runs until cancelled."""
        while True:
            pause = RETRY_S
            try:
                waiting = await self.take(sink)
                await self.end([(transaction, NO_GAS_KEY) for transaction in waiting], sink)
                pause = 0.0 if waiting else math.inf
            except Unavailable as error:
                self._journal.note(NoteName.CHAIN_STALLED, reason=str(error)[:200])
            await self.wait(pause)

    async def _tell(self, transaction: Transaction, outcome: Confirmed | Failed, sink: EventSink) -> None:
        self._told.add(transaction.key)
        key = transaction.key
        await sink.post(TxConfirmed(key, outcome) if isinstance(outcome, Confirmed) else TxFailed(key, outcome))
