"""Transactions of a person's account on anvil."""

import json
from collections.abc import AsyncIterator

import pytest
import trio
from eth_account import Account

from contracts.bindings import load
from contracts.deploy import Terms, deploy_all, fund_emission
from node.adapters.chain.abi import TransactionRefused
from node.adapters.chain.devchain import DEV_CHAIN_ID, DEV_TREASURY_SECRET
from node.adapters.chain.registration import register_node
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.sender import Sender
from protocol.crypto.keys import NodeKey
from protocol.errors import ConfigError, Unavailable
from protocol.units import CAI, Role
from tests.support.anvil import Anvil
from tests.support.chain import Cable
from tests.support.patience import PATIENCE_S

TERMS = Terms(
    miner_minimum_cai=20_000,
    coordinator_minimum_cai=2_000_000,
    unbonding_delay_s=60,
    epoch_s=10,
    stream_s=60,
    parameter_delay_s=60,
    escrow_notice_s=60,
)
FAR = 2**40


@pytest.fixture
async def sender(anvil_process: Anvil) -> AsyncIterator[Sender]:
    with anvil_process.unchanged():
        async with JsonRpc([anvil_process.url]) as rpc:
            yield Sender(rpc, DEV_TREASURY_SECRET, DEV_CHAIN_ID)


async def test_call__many_at_a_time__each_gets_its_own_nonce(sender: Sender):
    cai = await sender.deploy(load("CAI"), sender.address)
    receiver = Account.from_key(b"\x05" * 32).address
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(sender.call, load("CAI"), cai.address, "transfer", receiver, CAI)
    assert await sender.read(load("CAI"), cai.address, "balanceOf", receiver) == 20 * CAI


async def test_call__contract_refuses__gives_its_reason_and_the_next_call_works(sender: Sender):
    deployed = await deploy_all(sender, TERMS)
    assert deployed.faucet is None
    with pytest.raises(TransactionRefused, match=r"^Staking: no node has this id$"):
        await sender.call(load("Staking"), deployed.staking, "vote", 5, 1)
    await sender.call(load("CAI"), deployed.cai, "approve", deployed.staking, 1)


async def test_deploy__constructor_refuses__gives_its_reason(sender: Sender):
    with pytest.raises(TransactionRefused, match="Staking: token is not a contract"):
        await sender.deploy(load("Staking"), sender.address, sender.address, 1, 2, 4, 1)


async def test_call__nonce_lost_in_a_reorganisation__recovers_after_one_failure(sender: Sender, anvil_process: Anvil):
    cai = await sender.deploy(load("CAI"), sender.address)
    snapshot = anvil_process.rpc("evm_snapshot")
    for _ in range(3):
        await sender.call(load("CAI"), cai.address, "transfer", sender.address, 1)
    anvil_process.rpc("evm_revert", snapshot)
    patient, sender.receipt_limit_s = sender.receipt_limit_s, 0.1
    with pytest.raises(Unavailable, match="no receipt"):
        await sender.call(load("CAI"), cai.address, "transfer", sender.address, 1)
    sender.receipt_limit_s = patient
    await sender.call(load("CAI"), cai.address, "transfer", sender.address, 1)


@pytest.fixture
async def by_hand(anvil_process: Anvil) -> AsyncIterator[tuple[Sender, Cable, str]]:
    """Give a sender, the cable it is on, and its CAI contract; blocks are made when the test says so."""
    cable = Cable()
    with anvil_process.unchanged():
        async with JsonRpc([anvil_process.url], transport=cable) as rpc:
            sender = Sender(rpc, DEV_TREASURY_SECRET, DEV_CHAIN_ID)
            cai = await sender.deploy(load("CAI"), sender.address)
            anvil_process.rpc("evm_setAutomine", False)
            try:
                yield sender, cable, cai.address
            finally:
                anvil_process.rpc("evm_setAutomine", True)


def others(anvil: Anvil, sender: Sender, **fields: str) -> str:
    """Send from a sender's account behind its back; gives the hash."""
    return str(
        anvil.rpc("eth_sendTransaction", {"from": sender.address, "to": sender.address, "value": "0x1", **fields})
    )


def waiting(anvil: Anvil) -> int:
    """Say how many transactions wait to be mined."""
    return int(anvil.rpc("txpool_status")["pending"], 16)


async def polled(cable: Cable, times: int) -> None:
    """Wait until so many more looks for a receipt have begun."""
    end = len(cable.bodies) + times
    with trio.fail_after(PATIENCE_S):
        while len(cable.bodies) < end:
            await trio.sleep(0.005)


async def test_call__transaction_of_somebody_else_waits_in_the_pool__takes_the_next_nonce(
    by_hand: tuple[Sender, Cable, str], anvil_process: Anvil
):
    sender, _, cai = by_hand
    receiver = Account.from_key(b"\x06" * 32).address
    other = others(anvil_process, sender)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.call, load("CAI"), cai, "transfer", receiver, CAI)
        with trio.fail_after(PATIENCE_S):
            while waiting(anvil_process) < 2:
                await trio.sleep(0.005)
        anvil_process.rpc("evm_mine")
    assert anvil_process.rpc("eth_getTransactionReceipt", other) is not None, "ours did not replace it"
    assert await sender.read(load("CAI"), cai, "balanceOf", receiver) == CAI


async def test_call__transaction_of_somebody_else_is_mined_between_count_and_send__takes_the_next_nonce(
    by_hand: tuple[Sender, Cable, str], anvil_process: Anvil
):
    sender, cable, cai = by_hand
    receiver = Account.from_key(b"\x06" * 32).address
    sent: list[str] = []

    def overtake(answer: bytes) -> bytes:
        if b"pending" in cable.bodies[-1] and not sent:
            sent.append(others(anvil_process, sender))
            anvil_process.rpc("evm_mine")
            anvil_process.rpc("evm_setAutomine", True)
        return answer

    cable.edit = overtake
    await sender.call(load("CAI"), cai, "transfer", receiver, CAI)
    assert sent
    assert anvil_process.rpc("eth_getTransactionReceipt", sent[0]) is not None
    assert await sender.read(load("CAI"), cai, "balanceOf", receiver) == CAI


async def test_call__another_transaction_replaced_it__says_so_once_that_is_certain(
    by_hand: tuple[Sender, Cable, str], anvil_process: Anvil
):
    sender, cable, cai = by_hand
    told: list[Unavailable] = []

    async def call() -> None:
        with pytest.raises(
            Unavailable, match="will never be mined: another one of this account took its nonce"
        ) as error:
            await sender.call(load("CAI"), cai, "transfer", sender.address, CAI)
        told.append(error.value)

    with trio.fail_after(PATIENCE_S):  # half of the time that a receipt is waited for
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            while not waiting(anvil_process):
                await trio.sleep(0.005)
            nonce = anvil_process.rpc("eth_getTransactionCount", sender.address, "latest")
            dear = hex(10**12)
            other = others(anvil_process, sender, nonce=nonce, maxFeePerGas=dear, maxPriorityFeePerGas=dear)
            for _ in range(2):
                anvil_process.rpc("evm_mine")
                await polled(cable, 2)
                assert not told, "perhaps only this node lacks its receipt"
            anvil_process.rpc("evm_mine")
    assert anvil_process.rpc("eth_getTransactionReceipt", other) is not None
    anvil_process.rpc("evm_setAutomine", True)
    await sender.call(load("CAI"), cai, "transfer", sender.address, CAI)


async def test_call__chain_node_has_the_receipt_a_block_later__waits_for_it(
    by_hand: tuple[Sender, Cable, str], anvil_process: Anvil
):
    sender, cable, cai = by_hand

    def without_receipt(answer: bytes) -> bytes:
        if b"eth_getTransactionReceipt" not in cable.bodies[-1]:
            return answer
        parts = json.loads(answer)
        return json.dumps(
            [part | {"result": None} if isinstance(part["result"], dict) else part for part in parts]
        ).encode()

    cable.edit = without_receipt
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.call, load("CAI"), cai, "transfer", sender.address, CAI)
        with trio.fail_after(PATIENCE_S):
            while not waiting(anvil_process):
                await trio.sleep(0.005)
        for _ in range(2):
            anvil_process.rpc("evm_mine")
            await polled(cable, 2)
        cable.edit = lambda answer: answer


async def test_register_node__good__gives_its_id_and_refusals_their_reason(sender: Sender):
    deployed = await deploy_all(sender, TERMS)
    fields = {"cai": deployed.cai, "staking": deployed.staking, "chain_id": 31_337, "role": Role.MINER, "deadline": FAR}
    key = NodeKey(b"\x09" * 32)
    assert await register_node(sender, **fields, key=key, stake_cai=20_001, profile={"name": "Ä"}) == 1
    with pytest.raises(TransactionRefused, match="registered already"):
        await register_node(sender, **fields, key=key, stake_cai=20_001, profile={})
    with pytest.raises(ConfigError, match="the profile has"):
        await register_node(sender, **fields, key=key, stake_cai=20_001, profile={"name": "x" * 513})


async def test_call__epoch_that_begins_after_the_estimate__has_gas_enough(sender: Sender, anvil_process: Anvil):
    deployed = await deploy_all(sender, TERMS)
    await fund_emission(sender, deployed.cai, deployed.staking, 1000 * CAI)
    fields = {"cai": deployed.cai, "staking": deployed.staking, "chain_id": 31_337, "role": Role.MINER, "deadline": FAR}
    await register_node(sender, **fields, key=NodeKey(b"\x09" * 32), stake_cai=20_001, profile={})
    for _ in range(2):  # the second time everything has its first value, and only the epoch costs more
        await sender.call(load("CAI"), deployed.cai, "approve", deployed.staking, CAI)
        await sender.call(load("Staking"), deployed.staking, "vote", 1, CAI)
        anvil_process.next_at((anvil_process.now() // TERMS.epoch_s + 1) * TERMS.epoch_s + 5)
        await sender.call(load("Staking"), deployed.staking, "poke", 1)
    assert await sender.read(load("Staking"), deployed.staking, "earned", 1, sender.address) > 0


async def test_call__answer_lost_and_mined_meanwhile__is_not_sent_again(anvil_process: Anvil):
    cable = Cable()
    receiver = Account.from_key(b"\x07" * 32).address
    with anvil_process.unchanged():
        async with JsonRpc([anvil_process.url], transport=cable) as rpc:
            sender = Sender(rpc, DEV_TREASURY_SECRET, DEV_CHAIN_ID)
            cai = await sender.deploy(load("CAI"), sender.address)
            before = anvil_process.rpc("eth_getTransactionCount", sender.address, "latest")

            async def deaf_once() -> None:
                cable.mute = b"eth_sendRawTransaction"
                while anvil_process.rpc("eth_getTransactionCount", sender.address, "latest") == before:
                    await trio.sleep(0.001)
                cable.mute = None

            async with trio.open_nursery() as nursery:
                nursery.start_soon(deaf_once)
                await sender.call(load("CAI"), cai.address, "transfer", receiver, CAI)
            assert await sender.read(load("CAI"), cai.address, "balanceOf", receiver) == CAI, "once, not twice"
            await sender.call(load("CAI"), cai.address, "transfer", receiver, CAI)


async def test_call__chain_without_base_fee__pays_its_gas_price(anvil_process: Anvil):
    cable = Cable()
    cable.edit = lambda answer: answer.replace(b'"baseFeePerGas"', b'"other"')
    with anvil_process.unchanged():
        async with JsonRpc([anvil_process.url], transport=cable) as rpc:
            sender = Sender(rpc, DEV_TREASURY_SECRET, DEV_CHAIN_ID)
            cai = await sender.deploy(load("CAI"), sender.address)
            block = anvil_process.rpc("eth_getBlockByNumber", hex(cai.block), True)
            assert [one["type"] for one in block["transactions"]] == ["0x0"]


async def test_call__node_that_refuses_by_itself__is_no_refusal_of_the_contract(anvil_process: Anvil):
    with anvil_process.unchanged():
        async with JsonRpc([anvil_process.url]) as rpc:
            poor = Sender(rpc, b"\x61" * 32, DEV_CHAIN_ID)
            with pytest.raises(Unavailable, match=r"the chain node refused: .*(?i:insufficient funds)"):
                await poor.deploy(load("CAI"), poor.address)


async def test_call__node_knows_it_already__is_on_its_way(anvil_process: Anvil):
    cable = Cable()
    known = b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "already known"}}'
    with anvil_process.unchanged():
        async with JsonRpc([anvil_process.url], transport=cable) as rpc:
            sender = Sender(rpc, DEV_TREASURY_SECRET, DEV_CHAIN_ID)
            cable.edit = lambda answer: known if b"eth_sendRawTransaction" in cable.bodies[-1] else answer
            cai = await sender.deploy(load("CAI"), sender.address)
            await sender.call(load("CAI"), cai.address, "transfer", sender.address, 1)
