"""Calls are tried out on a real chain one after another, and leave no trace."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from contracts.bindings import load
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.simulation import Call, read, simulate
from protocol.errors import Unavailable
from protocol.units import CAI
from tests.support.anvil import Anvil, Contract, anvil_process  # noqa: F401 a fixture
from tests.support.web_server import QuietHandler, listening


@pytest.fixture
def cai(anvil_process: Anvil) -> Contract:  # noqa: F811 the fixture
    return anvil_process.deploy(load("CAI"), anvil_process.accounts[0])


def call(cai: Contract, function: str, *arguments: object) -> Call:
    return Call(load("CAI"), cai.address, function, arguments)


async def test_simulate__steps_that_build_on_each_other__are_tried_in_order(anvil_process: Anvil, cai: Contract):  # noqa: F811
    treasury, friend = anvil_process.accounts[:2]
    async with JsonRpc([anvil_process.url]) as rpc:
        outcomes = await simulate(
            rpc,
            treasury,
            [
                call(cai, "approve", treasury, 5 * CAI),
                call(cai, "transferFrom", treasury, friend, 5 * CAI),
                call(cai, "balanceOf", friend),
                call(cai, "transferFrom", treasury, friend, 1),
            ],
        )
        assert [outcome.refusal is None for outcome in outcomes] == [True, True, True, False]
        assert outcomes[2].values == (5 * CAI,)
        assert "insufficient allowance" in (outcomes[3].refusal or "")
        assert all(21_000 < outcome.gas < 100_000 for outcome in outcomes)
        assert await read(rpc, [call(cai, "balanceOf", friend)]) == [(0,)], "nothing was sent"


async def test_read__several_calls__come_in_order_from_one_request(anvil_process: Anvil, cai: Contract):  # noqa: F811
    async with JsonRpc([anvil_process.url]) as rpc:
        answers = await read(rpc, [call(cai, "symbol"), call(cai, "decimals"), call(cai, "name")])
        assert answers == [("CAI",), (18,), ("Cuckoo AI",)]
        assert await read(rpc, []) == []


async def test_read__no_contract_there__is_unavailable_by_name(anvil_process: Anvil):  # noqa: F811
    async with JsonRpc([anvil_process.url]) as rpc:
        nobody = Call(load("CAI"), "0x" + "11" * 20, "decimals")
        with pytest.raises(Unavailable, match="does not answer as a CAI contract does"):
            await read(rpc, [nobody])


@contextmanager
def answering(**answer: object) -> Iterator[str]:
    """A chain node that gives one answer to everything."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(200, json.dumps({"jsonrpc": "2.0", "id": body["id"], **answer}).encode())

    with listening(Handler) as url:
        yield url


async def test_simulate__node_that_cannot__says_so():
    with answering(error={"code": -32601, "message": "Method not found"}) as url:
        async with JsonRpc([url]) as rpc:
            with pytest.raises(Unavailable, match="cannot try transactions out"):
                await simulate(rpc, "0x" + "11" * 20, [Call(load("CAI"), "0x" + "22" * 20, "decimals")])


@pytest.mark.parametrize("result", [None, [], [{}], [{"calls": []}], [{"calls": [{}, {}]}], "0x", [{"calls": [7]}]])
async def test_simulate__answer_of_another_form__is_unavailable(result):
    with answering(result=result) as url:
        async with JsonRpc([url]) as rpc:
            with pytest.raises(Unavailable):
                await simulate(rpc, "0x" + "11" * 20, [Call(load("CAI"), "0x" + "22" * 20, "decimals")])


async def test_read__node_that_takes_no_batches__is_asked_one_by_one():
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            error = {"error": {"code": -32600, "message": "no batches"}}
            refused = isinstance(body, list)
            answer = error if refused else {"id": body["id"], "result": "0x" + f"{18:064x}"}
            self.answer(200, json.dumps({"jsonrpc": "2.0", **answer}).encode())

    with listening(Handler) as url:
        async with JsonRpc([url]) as rpc:
            decimals = Call(load("CAI"), "0x" + "22" * 20, "decimals")
            assert await read(rpc, [decimals, decimals]) == [(18,), (18,)]
