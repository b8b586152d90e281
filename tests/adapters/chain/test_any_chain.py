"""What every chain promises of transactions, checked on the real one and on the one in memory alike."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from node.adapters.chain.chain import StakingChain
from node.adapters.memory import MemoryChain
from node.adapters.memory.store import MemoryStore
from node.ports import Chain
from protocol.chain_records import (
    Confirmed,
    ContractCall,
    Failed,
    TransactionRequested,
    TransactionSettled,
)
from protocol.events import ActivityChanged, StakeChanged, TxConfirmed, TxFailed
from protocol.units import CAI, BlockNumber, Digest, Wei
from tests.adapters.chain.conftest import StakingOnAnvil
from tests.adapters.chain.gas import RECEIVER, SECRET, Gas
from tests.adapters.chain.test_chain import PARAMS, chain_time, settings
from tests.support.chain import Sink
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.networks import view
from tests.support.patience import PATIENCE_S

SENTENCE = "Staking: no node has this id"
GOOD = ContractCall("CAI", "transfer", (RECEIVER, CAI))
BAD = ContractCall("Staking", "vote", (5, CAI))
Make = Callable[[MemoryStore, bool], Chain]


@pytest.fixture(params=["anvil", "memory"])
async def make(request, staking: StakingOnAnvil) -> Make:
    """Makes a chain for one run of a node on this store, with a gas key or without."""
    if request.param == "anvil":
        gas = Gas(staking)
        gas.fund()
        await gas.rpc.close()
        clock = HandClock(chain_time(staking))
        return lambda store, has_key: StakingChain(
            settings(staking), PARAMS, clock, RecordingJournal(), store, SECRET if has_key else None
        )

    def contract(call: ContractCall) -> Confirmed | Failed:
        if call == BAD:
            return Failed("refused", SENTENCE)
        return Confirmed(BlockNumber(1), Digest(bytes(32)), (), Wei(1))

    return lambda store, has_key: MemoryChain((view(1),), store, contract if has_key else None)


@asynccontextmanager
async def running(chain: Chain) -> AsyncIterator[Sink]:
    sink = Sink()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE_S):
            await nursery.start(chain.run, sink)
        yield sink
        nursery.cancel_scope.cancel()


async def want(store: MemoryStore, chain: Chain, key: str, call: ContractCall) -> None:
    """As the driver does it."""
    await store.persist((TransactionRequested(key, call),))
    chain.submit(key)


def told(sink: Sink) -> list[str]:
    return [event.key for event in sink.outcomes]


async def test_submit__good_and_bad_calls__each_has_its_one_outcome(make: Make):
    store = MemoryStore()
    chain = make(store, True)
    async with running(chain) as sink:
        assert any(isinstance(event, StakeChanged) for event in sink.events)
        for number in range(3):
            await want(store, chain, f"good{number}", GOOD)
        await want(store, chain, "bad", BAD)
        await sink.wait_until(lambda sink: len(sink.outcomes) == 4)
    by_key = {event.key: event for event in sink.outcomes}
    assert by_key["bad"] == TxFailed("bad", Failed("refused", SENTENCE))
    assert all(isinstance(by_key[f"good{number}"], TxConfirmed) for number in range(3))


async def test_submit__no_gas_key__fails_by_name(make: Make):
    store = MemoryStore()
    chain = make(store, False)
    async with running(chain) as sink:
        await want(store, chain, "t", GOOD)
        await sink.wait_until(lambda sink: sink.outcomes)
    (event,) = sink.outcomes
    assert isinstance(event, TxFailed)
    assert event.outcome.reason == "no_gas_key"


async def test_submit__same_key_again__tells_the_same_outcome_again(make: Make):
    store = MemoryStore()
    chain = make(store, True)
    async with running(chain) as sink:
        await want(store, chain, "t", GOOD)
        await sink.wait_until(lambda sink: told(sink) == ["t"])
        await store.persist((TransactionSettled("t"),))
        await want(store, chain, "t", GOOD)
        await sink.wait_until(lambda sink: told(sink) == ["t", "t"])
    assert sink.outcomes[0] == sink.outcomes[1]


async def test_run__outcome_not_taken_in__is_told_in_the_next_run_and_requests_of_the_last_are_met(make: Make):
    store = MemoryStore()
    await store.persist((TransactionRequested("before", GOOD),))
    for _ in range(2):
        async with running(make(store, True)) as sink:
            await sink.wait_until(lambda sink: told(sink) == ["before"])
    await store.persist((TransactionSettled("before"),))
    chain = make(store, True)
    async with running(chain) as sink:
        await want(store, chain, "after", GOOD)
        await sink.wait_until(lambda sink: sink.outcomes)
    assert told(sink) == ["after"]


async def test_deactivate__memory_chain__is_told_like_a_jailing():
    chain = MemoryChain((view(1),))
    async with running(chain) as sink:
        await chain.deactivate(view(1).table.rows[0].id)
        await sink.wait_until(lambda sink: isinstance(sink.events[-1], ActivityChanged))
    assert sink.events[-1] == ActivityChanged(frozenset({view(1).table.rows[0].id}))
