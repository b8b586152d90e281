"""A gas account on anvil with CAI of its own, and the transactor of one run after another on one store."""

import math
from collections.abc import Awaitable, Callable

import trio

from node.adapters.chain.gas_account import GasAccount
from node.adapters.chain.outcomes import Outcomes
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.transactor import GasPolicy, Transactor
from node.adapters.memory.store import MemoryStore
from protocol.chain_records import (
    Confirmed,
    ContractCall,
    Failed,
    Transaction,
    TransactionRequested,
    TransactionSettled,
)
from protocol.units import CAI, Wei
from tests.adapters.chain.conftest import StakingOnAnvil
from tests.support.chain import Cable, Sink
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.patience import PATIENCE_S

SECRET = b"\x51" * 32
RECEIVER = b"\x05" * 20
GWEI = 10**9
BUMP_MS = 60_000


class Killed(Exception):
    """The process ends here."""


class FatalStore(MemoryStore):
    """Kills the process before or after its n-th write; what is written is on disk."""

    def __init__(self, writes: float = math.inf, *, before: bool = False) -> None:
        super().__init__()
        self.left = writes
        self.before = before

    async def _write_or_die(self, write: Callable[[], Awaitable[None]]) -> None:
        self.left -= 1
        if self.left < 0 or (self.left < 1 and self.before):
            raise Killed
        await write()
        if self.left < 1:
            raise Killed

    async def keep_transactions(self, changed) -> None:
        keep = super().keep_transactions
        await self._write_or_die(lambda: keep(changed))

    async def keep_chain_step(self, contract, step) -> None:
        keep = super().keep_chain_step
        await self._write_or_die(lambda: keep(contract, step))


class Gas:
    """One gas account; ``start`` begins a new run of the node on the same disk and chain."""

    def __init__(self, staking: StakingOnAnvil, store: MemoryStore | None = None, *, confirmations: int = 1) -> None:
        self.staking = staking
        self.anvil = staking.anvil
        self.store = store or MemoryStore()
        self.clock = HandClock()
        self.cable = Cable()
        self.rpc = JsonRpc([staking.anvil.url], chain_id=31_337, transport=self.cable)
        self.policy = GasPolicy(confirmations, Wei(200 * GWEI), BUMP_MS, 0.01)
        self.start()

    def start(self, store: MemoryStore | None = None, secret: bytes = SECRET) -> None:
        self.account = GasAccount(secret, 31_337)
        self.store = store or self.store
        self.journal, self.sink = RecordingJournal(), Sink()
        self.outcomes = Outcomes(self.store, self.journal)
        self.transactor = Transactor(
            self.rpc,
            self.account,
            self.staking.address,
            store=self.store,
            outcomes=self.outcomes,
            clock=self.clock,
            journal=self.journal,
            policy=self.policy,
        )

    def fund(self, cai: int = 1000 * CAI, ether: int = 10 * 10**18) -> None:
        self.anvil.rpc("anvil_setBalance", self.account.address, hex(ether))
        self.anvil.send(self.staking.owner, self.staking.cai, "transfer", self.account.address, cai)

    async def want(self, key: str, contract: str, function: str, *arguments: object) -> None:
        call = ContractCall(contract, function, arguments)  # type: ignore[arg-type]
        await self.store.persist((TransactionRequested(key, call),))

    async def want_transfer(self, key: str, amount: int = CAI) -> None:
        await self.want(key, "CAI", "transfer", RECEIVER, amount)

    async def rounds(self, count: int = 3) -> None:
        for _ in range(count):
            await self.transactor.round(self.sink)

    async def finish(self) -> dict[str, Confirmed | Failed]:
        """Run until everything has an outcome, and let the core take each in; each may be told once in a run."""
        with trio.fail_after(PATIENCE_S):
            looks = 0
            while await self.transactor.round(self.sink):
                looks += 1
                if looks % 40 == 0:
                    self.mine()  # under load anvil sometimes leaves a part of a burst in its pool until the next block
                for told in self.sink.outcomes:
                    await self.store.persist((TransactionSettled(told.key),))
        told = [event.key for event in self.sink.outcomes]
        assert sorted(told) == sorted(set(told))
        return {event.key: event.outcome for event in self.sink.outcomes}

    async def kept(self, key: str) -> Transaction:
        found = await self.store.transaction(key)
        assert found is not None
        return found

    def received(self) -> int:
        return self.anvil.read(self.staking.cai, "balanceOf", "0x" + RECEIVER.hex())

    def count(self) -> int:
        return int(self.anvil.rpc("eth_getTransactionCount", self.account.address, "latest"), 16)

    async def mined(self, count: int) -> None:
        """Wait until so many transactions of the account are in blocks: anvil answers before it mines."""
        with trio.fail_after(PATIENCE_S):
            while self.count() < count:
                await trio.sleep(0.005)

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.anvil.rpc("evm_mine")


def confirmed(outcomes: dict[str, Confirmed | Failed]) -> set[str]:
    return {key for key, outcome in outcomes.items() if isinstance(outcome, Confirmed)}
