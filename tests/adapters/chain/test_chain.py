"""StakingChain on real chains: what it posts, what it refuses, what it survives."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from node.adapters.chain import chain as module
from node.adapters.chain.chain import ChainSettings, StakingChain
from node.adapters.memory.store import MemoryStore
from node.ports import ChainStore, Clock
from protocol.errors import ConfigError
from protocol.events import BlockSeen
from protocol.notes import NoteName
from protocol.params import Params
from protocol.stake.epoch import beacon, beacon_cutoff, epoch_at, table_cutoff
from protocol.units import Address, UnixMillis
from tests.adapters.chain.conftest import StakingOnAnvil
from tests.support.chain import Sink
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.networks import network_params
from tests.support.patience import PATIENCE_S

PARAMS = network_params(epoch_s=60)
DEAD = "http://127.0.0.1:1"


def settings(on: StakingOnAnvil, **changed) -> ChainSettings:
    fields = {
        "rpc_urls": (on.anvil.url,),
        "chain_id": 31_337,
        "staking": on.address,
        "start_block": on.start_block,
        "poll_s": 0.02,
    }
    return ChainSettings(**(fields | changed))


@asynccontextmanager
async def running(
    chain_settings: ChainSettings, clock: Clock, params: Params = PARAMS, store: ChainStore | None = None
) -> AsyncIterator[tuple[Sink, RecordingJournal]]:
    sink, journal = Sink(), RecordingJournal()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE_S):
            await nursery.start(StakingChain(chain_settings, params, clock, journal, store or MemoryStore()).run, sink)
        yield sink, journal
        nursery.cancel_scope.cancel()


def chain_time(staking: StakingOnAnvil) -> UnixMillis:
    return UnixMillis(staking.anvil.now() * 1000)


def mine_at(staking: StakingOnAnvil, moment: int) -> str:
    """Mine a block with this timestamp (ms); gives its hash."""
    staking.anvil.rpc("evm_setNextBlockTimestamp", moment // 1000)
    staking.anvil.rpc("evm_mine")
    return staking.anvil.rpc("eth_getBlockByNumber", "latest", False)["hash"]


async def test_run__epochs_around_now__follow_the_rules_of_table_and_beacon(staking: StakingOnAnvil):
    epoch = epoch_at(chain_time(staking), PARAMS) + 5
    staking.register(1)
    hashes = {}
    for number in (epoch - 1, epoch):
        cutoff = table_cutoff(number, PARAMS)
        mine_at(staking, cutoff - 1000)
        mine_at(staking, cutoff)
        staking.register(number)  # too late for this table, in time for the next
        hashes[number] = mine_at(staking, beacon_cutoff(number, PARAMS) - 1000)
        mine_at(staking, beacon_cutoff(number, PARAMS))
    now = UnixMillis(chain_time(staking) + PARAMS.epoch_s * 500)
    assert epoch_at(now, PARAMS) == epoch
    mine_at(staking, now)
    async with running(settings(staking), HandClock(now)) as (sink, _):
        await sink.wait_until(lambda sink: isinstance(sink.events[-1], BlockSeen))
        assert [view.epoch for view in sink.views] == [epoch - 1, epoch]
        assert [[row.id for row in view.table.rows] for view in sink.views] == [[1], [1, 2]]
        for view in sink.views:
            assert view.beacon == beacon(bytes.fromhex(hashes[view.epoch][2:]), view.epoch)
        last_hash = mine_at(staking, beacon_cutoff(epoch + 1, PARAMS) - 1000)
        mine_at(staking, beacon_cutoff(epoch + 1, PARAMS))
        await sink.wait_until(lambda sink: len(sink.views) == 3)
        assert sink.views[2].beacon == beacon(bytes.fromhex(last_hash[2:]), epoch + 1)
        assert [row.id for row in sink.views[2].table.rows] == [1, 2, 3]


async def test_run__quiet_chain__posts_once_our_clock_is_well_past_the_cutoff(staking: StakingOnAnvil):
    staking.register(1)
    clock = HandClock(UnixMillis(chain_time(staking) + 10 * PARAMS.epoch_s * 1000))
    epoch = epoch_at(clock.now(), PARAMS)
    clock.moment = UnixMillis(beacon_cutoff(epoch + 1, PARAMS) + 1)
    async with running(settings(staking), clock) as (sink, _):
        await sink.wait_until(lambda sink: isinstance(sink.events[-1], BlockSeen))
        assert [view.epoch for view in sink.views] == [epoch - 1, epoch]
        assert [row.id for row in sink.views[-1].table.rows] == [1]
        clock.advance(PARAMS.epoch_s * 1000 // 8)
        await sink.wait_until(lambda sink: sink.views[-1].epoch == epoch + 1)


async def test_run__first_step_succeeds__reports_started_without_a_pause(staking: StakingOnAnvil):
    staking.register(1)
    begun = trio.current_time()
    async with running(settings(staking, poll_s=60), HandClock(chain_time(staking))) as (sink, _):
        assert sink.views
    assert trio.current_time() - begun < 50


async def test_run__long_gap__skips_epochs_that_nobody_needs(staking: StakingOnAnvil):
    clock = HandClock(chain_time(staking))
    async with running(settings(staking), clock) as (sink, _):
        clock.advance(100 * PARAMS.epoch_s * 1000)
        epoch = epoch_at(clock.now(), PARAMS)
        await sink.wait_until(lambda sink: sink.views[-1].epoch >= epoch)
        assert len(sink.views) <= 6


async def test_run__reorganisation__is_noted_and_a_posted_epoch_stays(staking: StakingOnAnvil):
    clock = HandClock(UnixMillis(chain_time(staking) + 3 * PARAMS.epoch_s * 1000))
    async with running(settings(staking), clock) as (sink, journal):
        staking.register(1)
        height = staking.height()
        await sink.wait_until(lambda sink: sink.events[-1:] and getattr(sink.events[-1], "number", 0) >= height)
        posted = len(sink.views)
        staking.anvil.rpc("anvil_reorg", 1, [])
        with trio.fail_after(PATIENCE_S):
            while not journal.of(NoteName.CHAIN_REORGANISED):
                await trio.sleep(0.01)
        assert len(sink.views) == posted


async def test_run__outage__is_noted_once_and_survived(staking: StakingOnAnvil, monkeypatch: pytest.MonkeyPatch):
    clock = HandClock(chain_time(staking))
    monkeypatch.setattr("node.adapters.chain.endpoints.FIRST_REST_S", 0.001)
    async with (
        _relay(staking.anvil.url) as (url, relay),
        running(settings(staking, rpc_urls=(url,)), clock) as (sink, journal),
    ):
        for outage in (1, 2):
            relay.open = False
            with trio.fail_after(PATIENCE_S):
                while len(journal.of(NoteName.CHAIN_STALLED)) < outage:
                    await trio.sleep(0.01)
            await trio.sleep(0.2)
            assert len(journal.of(NoteName.CHAIN_STALLED)) == outage
            relay.open = True
            staking.anvil.rpc("evm_mine")
            height = staking.height()
            await sink.wait_until(lambda sink, height=height: getattr(sink.events[-1], "number", 0) == height)


class Relay:
    """A cable that a test unplugs."""

    open = True


@asynccontextmanager
async def _relay(target: str) -> AsyncIterator[tuple[str, Relay]]:
    relay = Relay()
    port = int(target.rpartition(":")[2])

    async def pump(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for data in source:
                if not relay.open:
                    break
                await sink.send_all(data)
        except trio.BrokenResourceError:
            relay.open = relay.open  # the other side hung up: the same end
        scope.cancel()

    async def serve(stream: trio.SocketStream) -> None:
        if not relay.open:
            return
        async with await trio.open_tcp_stream("127.0.0.1", port) as other, trio.open_nursery() as nursery:
            nursery.start_soon(pump, stream, other, nursery.cancel_scope)
            nursery.start_soon(pump, other, stream, nursery.cancel_scope)

    async with trio.open_nursery() as nursery:
        listener, *_ = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}", relay
        nursery.cancel_scope.cancel()


async def refused(chain_settings: ChainSettings) -> str:
    chain = StakingChain(
        chain_settings, PARAMS, HandClock(UnixMillis(int(time.time() * 1000))), RecordingJournal(), MemoryStore()
    )
    with pytest.raises(ConfigError) as caught, trio.fail_after(PATIENCE_S):
        await chain.run(Sink())
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_run__other_chain_id__is_refused(staking: StakingOnAnvil):
    text = await refused(settings(staking, chain_id=1))
    assert text.startswith("chain.chain_id is 1, but http://127.0.0.1:")
    assert "serves chain 31337" in text


async def test_run__one_of_several_urls_serves_another_chain__is_refused(staking: StakingOnAnvil):
    text = await refused(settings(staking, chain_id=1, rpc_urls=(DEAD, staking.anvil.url)))
    assert "serves chain 31337" in text


async def test_run__no_contract_at_the_address__is_refused(staking: StakingOnAnvil):
    text = await refused(settings(staking, staking=Address(b"\x11" * 20)))
    assert text.startswith("chain.staking: no contract at 0x1111111111111111111111111111111111111111 on chain 31337")


async def test_run__another_contract_at_the_address__is_refused(staking: StakingOnAnvil):
    text = await refused(settings(staking, staking=Address(bytes.fromhex(staking.cai.address[2:]))))
    assert "is no staking contract: correct the address" in text


async def test_run__start_block_that_is_not_mined_yet__is_refused(staking: StakingOnAnvil):
    text = await refused(settings(staking, start_block=10**9))
    assert text.startswith("chain.start_block is 1000000000, but the chain is at block ")


async def test_run__start_block_after_a_registration__is_refused(staking: StakingOnAnvil):
    staking.register(1)
    staking.anvil.rpc("evm_mine")
    text = await refused(settings(staking, start_block=staking.height()))
    assert "is later than the first registration" in text


async def test_run__nobody_answers__is_refused_after_the_limit(
    staking: StakingOnAnvil, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "START_LIMIT_S", 0.3)
    monkeypatch.setattr(module, "START_RETRY_S", 0.05)
    text = await refused(settings(staking, rpc_urls=(DEAD,)))
    assert text.startswith("chain.rpc_urls: no answer from http://127.0.0.1:1 in 0 s")


async def test_run__one_dead_url_and_one_good__works(staking: StakingOnAnvil):
    async with running(settings(staking, rpc_urls=(DEAD, staking.anvil.url)), HandClock(chain_time(staking))) as (
        sink,
        _,
    ):
        assert sink.views
