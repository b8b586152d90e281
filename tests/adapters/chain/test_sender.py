"""Transactions of a person's account on anvil."""

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
    sender = Sender(sender.rpc, DEV_TREASURY_SECRET, DEV_CHAIN_ID, receipt_limit_s=1)
    cai = await sender.deploy(load("CAI"), sender.address)
    snapshot = anvil_process.rpc("evm_snapshot")
    for _ in range(3):
        await sender.call(load("CAI"), cai.address, "transfer", sender.address, 1)
    anvil_process.rpc("evm_revert", snapshot)
    with pytest.raises(Unavailable, match="no receipt"):
        await sender.call(load("CAI"), cai.address, "transfer", sender.address, 1)
    await sender.call(load("CAI"), cai.address, "transfer", sender.address, 1)


async def test_call__somebody_else_used_the_account__takes_the_next_nonce(sender: Sender, anvil_process: Anvil):
    cai = await sender.deploy(load("CAI"), sender.address)
    anvil_process.rpc("eth_sendTransaction", {"from": sender.address, "to": sender.address, "value": "0x1"})
    receiver = Account.from_key(b"\x06" * 32).address
    await sender.call(load("CAI"), cai.address, "transfer", receiver, CAI)
    assert await sender.read(load("CAI"), cai.address, "balanceOf", receiver) == CAI


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
