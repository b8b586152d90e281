"""What a new block costs a node in requests, and that nobody can tell what was asked ahead from what was not."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from node.adapters.chain.answers import CallRefused, quantity
from node.adapters.chain.asked_ahead import AskedAhead
from node.adapters.chain.chain import ChainSettings, StakingChain
from node.adapters.chain.devchain import DEV_CHAIN_ID, deploy_devnet, devchain
from node.adapters.chain.rpc import JsonRpc
from node.adapters.memory.store import MemoryStore
from protocol.chain_records import Header
from protocol.crypto.keys import NodeKey
from protocol.events import SettlementSeen
from protocol.units import BlockNumber, UnixMillis
from tests.adapters.chain.test_devchain import NODES, PARAMS, WallClock
from tests.support.chain import Cable, Sink
from tests.support.journal import RecordingJournal
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.usefixtures("anvil_is_there")

CHAIN_ID = ("eth_chainId", ())
HEIGHT = ("eth_blockNumber", ())
HOUR_S = 3600
"""Between two blocks that nobody asks for: none comes while a test looks."""


@pytest.fixture(scope="module")
def head() -> Header:
    return Header(BlockNumber(7), b"h" * 32, b"p" * 32, UnixMillis(0))


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[tuple[AskedAhead, Cable]]:
    cable = Cable()
    still = devchain(block_time_s=HOUR_S, log=folder / "chain.log")
    async with still as url, JsonRpc([url], transport=cable) as rpc:
        yield AskedAhead(rpc), cable


def requests(cable: Cable) -> list[list[str]]:
    """Give the methods of each request since this was asked last."""
    bodies = [json.loads(body) for body in cable.bodies]
    cable.bodies.clear()
    return [[call["method"] for call in (body if isinstance(body, list) else [body])] for body in bodies]


async def test_of_blocks__others_are_foreseen__all_are_asked_in_one_request_and_each_is_given_once(
    tmp_path: Path, head: Header
) -> None:
    async with asking(tmp_path) as (ahead, cable):
        ahead.foreseen = lambda seen: (CHAIN_ID,) if seen == [head] else ()
        assert [quantity(one) for one in await ahead.of_blocks([head], [HEIGHT])] == [0]
        assert requests(cable) == [["eth_blockNumber", "eth_chainId"]]
        assert quantity(await ahead.call("eth_chainId")) == DEV_CHAIN_ID
        assert requests(cable) == []
        await ahead.call("eth_chainId")
        await ahead.call("eth_gasPrice")
        assert requests(cable) == [["eth_chainId"], ["eth_gasPrice"]]


async def test_of_blocks__next_head__what_nobody_asked_for_is_forgotten(tmp_path: Path, head: Header) -> None:
    async with asking(tmp_path) as (ahead, cable):
        ahead.foreseen = lambda _: (CHAIN_ID,)
        await ahead.of_blocks([head], [HEIGHT])
        ahead.foreseen = lambda _: ()
        await ahead.of_blocks([head], [HEIGHT])
        requests(cable)
        await ahead.call("eth_chainId")
        assert requests(cable) == [["eth_chainId"]]


async def test_of_blocks__one_is_refused__only_who_asked_for_it_hears_of_that(tmp_path: Path, head: Header) -> None:
    async with asking(tmp_path) as (ahead, _):
        ahead.foreseen = lambda _: (("eth_getLogs", ({"blockHash": "0x" + "ab" * 32},)), CHAIN_ID)
        await ahead.of_blocks([head], [HEIGHT])
        assert quantity(await ahead.call("eth_chainId")) == DEV_CHAIN_ID
        with pytest.raises(CallRefused):
            await ahead.call("eth_getLogs", {"blockHash": "0x" + "ab" * 32})
        with pytest.raises(CallRefused):
            await ahead.of_blocks([head], [("eth_getLogs", ({"blockHash": "0x" + "ab" * 32},))])


async def test_of_blocks__node_takes_no_batches__each_is_asked_alone(tmp_path: Path, head: Header) -> None:
    async with asking(tmp_path) as (ahead, cable):
        ahead.foreseen = lambda _: (CHAIN_ID,)
        refusal = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batches"}})
        cable.edit = lambda answer: refusal.encode() if answer.startswith(b"[") else answer
        for expected in ([["eth_blockNumber", "eth_chainId"], ["eth_blockNumber"]], [["eth_blockNumber"]]):
            assert [quantity(one) for one in await ahead.of_blocks([head], [HEIGHT])] == [0]
            assert requests(cable) == expected
            assert quantity(await ahead.call("eth_chainId")) == DEV_CHAIN_ID
            assert requests(cable) == [["eth_chainId"]]


@asynccontextmanager
async def overheard(target: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Carry what is said to a chain node, and write down what it is asked."""
    said: list[bytes] = []
    port = int(target.rpartition(":")[2])

    async def pump(source: trio.SocketStream, sink: trio.SocketStream, kept: list[bytes] | None) -> None:
        async for data in source:
            if kept is not None:
                kept.append(bytes(data))
            await sink.send_all(data)

    async def serve(stream: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as other, trio.open_nursery() as nursery:
            nursery.start_soon(pump, other, stream, None)
            await pump(stream, other, said)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listener, *_ = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}", said
        nursery.cancel_scope.cancel()


def bodies_in(said: list[bytes]) -> list[Any]:
    """Read the bodies out of requests of one connection."""
    rest, found = b"".join(said), []
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        found.append(json.loads(rest[:length]))
        rest = rest[length:]
    return found


@pytest.mark.parametrize("confirmations", [1, 3])
async def test_run__new_block__costs_a_registered_node_two_requests(tmp_path: Path, confirmations: int) -> None:
    sink, own = Sink(), NodeKey(NODES[1].node_key).address
    async with (
        devchain(block_time_s=HOUR_S, log=tmp_path / "chain.log") as chain_url,
        overheard(chain_url) as (url, said),
        trio.open_nursery() as nursery,
    ):
        deployed = await deploy_devnet(chain_url, PARAMS, NODES)
        settings = ChainSettings(
            (url,),
            deployed.chain_id,
            deployed.staking,
            deployed.deployed.start_block,
            poll_s=0.05,
            confirmations=confirmations,
        )
        chain = StakingChain(settings, PARAMS, WallClock(), RecordingJournal(), MemoryStore(), own=own)
        await nursery.start(chain.run, sink)
        with trio.fail_after(PATIENCE_S):
            for _ in range(3 + confirmations):
                await _mine_and_read(chain_url, sink, confirmations)
            said.clear()
            for _ in range(2):
                await _mine_and_read(chain_url, sink, confirmations)
        nursery.cancel_scope.cancel()
    asked = [body for body in bodies_in(said) if isinstance(body, list) or body["params"] != ["latest", False]]
    together = [[call["method"] for call in body] for body in asked if isinstance(body, list)]
    searches = [one for one in together if set(one) == {"eth_getBlockByNumber"}]  # for the block of an epoch
    assert [one for one in together if one not in searches] == 2 * [["eth_getLogs", "eth_getLogs", "eth_call"]]
    assert [body["method"] for body in asked if not isinstance(body, list)] == []


async def _mine_and_read(url: str, sink: Sink, confirmations: int) -> None:
    """Make one block, and wait until the node has read all that it confirms: several at once cost other requests."""
    async with JsonRpc([url]) as rpc:
        await rpc.call("evm_mine")
        confirmed = quantity(await rpc.call("eth_blockNumber")) - confirmations + 1
    await sink.wait_until(lambda sink: any(one.read.block >= confirmed for one in _read(sink)))


def _read(sink: Sink) -> list[SettlementSeen]:
    return [event for event in sink.events if isinstance(event, SettlementSeen)]
