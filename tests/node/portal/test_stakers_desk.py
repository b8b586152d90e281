"""What the portal tells and prepares, against the real contracts on a real chain; a wallet signs as it would."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import trio

from node.adapters.chain.devchain import DEV_FAUCET_DRIP_CAI, DEV_UNBONDING_DELAY_S, DevnetNode, deploy_devnet
from node.config.configuration import load_params
from node.network_file import NetworkChain, NetworkContracts, NetworkFile
from node.owner.registration_proof import RegistrationProof
from node.portal.ports import Prepared, PreparedStep, Wish
from node.portal.stakers_desk import ContractsDesk
from node.settings import ChainSection, PortalSection
from protocol.crypto.keys import NodeKey
from protocol.errors import ConfigError
from protocol.units import CAI, Role
from tests.support.anvil import Anvil, running_anvil
from tests.support.web_server import QuietHandler, listening

VOTER = "0x25cB8d1B3B1D8B2b0A7D5c7b7A4B2F6C9A3d0D50"
MINER_ID, NEXT_ID = 2, 3
LATER = 2**32


@dataclass
class Town:
    """A network of one coordinator and one miner, as a page asks for it."""

    anvil: Anvil
    network: NetworkFile
    desk: ContractsDesk

    async def prepare(self, action: str, **fields: object) -> Prepared:
        return await self.desk.prepare(Wish(action=action, account=VOTER, **fields))  # type: ignore[arg-type]

    async def refusal(self, action: str, **fields: object) -> str:
        """Why a wish cannot be; in words for a page, which knows no commands and flags."""
        with pytest.raises(ConfigError) as refused:
            await self.prepare(action, **fields)
        said = str(refused.value)
        assert "--" not in said
        assert "cuckoo" not in said.replace("cuckoo key prove", "")
        return said

    def sign(self, step: PreparedStep) -> None:
        """Sign one transaction, as a wallet does."""
        self.anvil._mined({"from": VOTER, "to": step.to, "data": step.data, "gas": hex(step.gas_limit)})

    async def carry_out(self, action: str, **fields: object) -> Prepared:
        """Sign all transactions of a wish, as a wallet does."""
        prepared = await self.prepare(action, **fields)
        assert prepared.is_affordable
        for step in prepared.steps:
            self.sign(step)
        for text in (prepared.title, *prepared.notes):
            assert "cuckoo " not in text
        return prepared


@pytest.fixture(scope="module")
def founded() -> Iterator[tuple[Anvil, NetworkFile]]:
    nodes = [
        DevnetNode(Role.COORDINATOR, bytes([1]) * 32, 2_500_000, "coordinator-1"),
        DevnetNode(Role.MINER, bytes([2]) * 32, 25_000, "miner-1"),
    ]
    with running_anvil() as anvil:
        made = trio.run(deploy_devnet, anvil.url, load_params("minimal"), nodes)
        addresses = {name: getattr(made.deployed, name) for name in NetworkContracts.model_fields}
        anvil.rpc("anvil_impersonateAccount", VOTER)
        chain = NetworkChain(rpc_urls=(anvil.url,), chain_id=made.chain_id)
        yield anvil, NetworkFile(params="minimal", chain=chain, contracts=NetworkContracts(**addresses))


@pytest.fixture
async def town(founded: tuple[Anvil, NetworkFile], nursery: trio.Nursery):
    anvil, network = founded
    chain = ChainSection(
        rpc_urls=network.chain.rpc_urls, chain_id=network.chain.chain_id, staking=network.contracts.staking
    )
    portal = PortalSection(chain_name="Test chain", wallet_rpc_url="https://rpc.example.org")
    with anvil.unchanged():
        desk = ContractsDesk(chain, portal, network.contracts.faucet)
        nursery.start_soon(desk.run)
        yield Town(anvil, network, desk)


async def test_chain__staking_contract_alone_is_known__finds_the_others(town: Town):
    chain = await town.desk.chain()
    expected = town.network.contracts.model_dump(exclude={"start_block"})
    assert {name: address.lower() for name, address in chain.contracts.items()} == {
        name: address.lower() for name, address in expected.items()
    }
    assert (chain.name, chain.coin, chain.rpc_url) == ("Test chain", "ETH", "https://rpc.example.org")
    assert chain.minimum_wei == {"miner": 20_000 * CAI, "coordinator": 2_000_000 * CAI}
    assert (chain.unbonding_s, chain.staked_wei) == (DEV_UNBONDING_DELAY_S, 2_525_000 * CAI)


async def test_nodes__registered__are_listed_with_their_profile(town: Town):
    coordinator, miner = await town.desk.nodes()
    assert (coordinator.role, coordinator.profile["name"]) == ("coordinator", "coordinator-1")
    assert (miner.id, miner.state, miner.own_wei, miner.votes_wei) == (MINER_ID, "active", 25_000 * CAI, 0)


async def test_prepare__vote_unvote_withdraw__a_voter_gets_all_back(town: Town):
    await town.carry_out("faucet")
    held = await town.desk.holdings(VOTER.lower())
    assert (held.account, held.balance_wei) == (VOTER, DEV_FAUCET_DRIP_CAI * CAI)
    assert held.next_drip_at is not None
    assert held.next_drip_at > held.now

    vote = await town.carry_out("vote", node=str(MINER_ID), amount="1000")
    assert [(step.contract, step.function) for step in vote.steps] == [("CAI", "approve"), ("Staking", "vote")]
    assert vote.steps[1].to.lower() == town.network.contracts.staking.lower()
    assert vote.steps[1].arguments == ("2", "1000000000000000000000 (1,000 CAI)")
    assert ("your stake on node 2", "0 CAI", "1,000 CAI") in vote.effects
    (holding,) = (await town.desk.holdings(VOTER)).holdings
    assert (holding.node, holding.name, holding.is_own, holding.stake_wei) == (2, "miner-1", False, 1000 * CAI)

    await town.carry_out("unvote", node="2", amount="all")
    held = await town.desk.holdings(VOTER)
    (release,) = held.releases
    assert (release.node, release.value_wei) == (2, 1000 * CAI)
    assert release.release_at == pytest.approx(held.now + DEV_UNBONDING_DELAY_S, abs=2)
    assert "nothing to withdraw yet" in await town.refusal("withdraw")
    town.anvil.rpc("evm_increaseTime", DEV_UNBONDING_DELAY_S + 2)
    town.anvil.rpc("evm_mine")
    await town.carry_out("withdraw")
    held = await town.desk.holdings(VOTER)
    assert held.releases == ()
    assert held.balance_wei == DEV_FAUCET_DRIP_CAI * CAI


async def test_prepare__epoch_begins_before_it_is_mined__gas_is_enough_all_the_same(town: Town):
    await town.carry_out("faucet")
    await town.carry_out("vote", node="2", amount="1000")
    (step,) = (await town.prepare("unvote", node="2", amount="500")).steps
    town.anvil.rpc("evm_increaseTime", 3 * load_params("minimal").epoch_s)
    town.sign(step)
    assert town.anvil.gas > step.gas_limit / 1.5, "it costs much more than when it was tried out"


async def test_prepare__claim__pays_what_a_vote_has_earned(town: Town):
    await town.carry_out("faucet")
    await town.carry_out("vote", node="2", amount="1000")
    town.anvil.rpc("evm_increaseTime", 3600)
    town.anvil.rpc("evm_mine")
    (holding,) = (await town.desk.holdings(VOTER)).holdings
    assert holding.earned_wei > 0
    for node in ("2", ""):
        claimed = await town.prepare("claim", node=node)
        assert [step.function for step in claimed.steps] == ["claim_many"]
    await town.carry_out("claim", node="2")
    held = await town.desk.holdings(VOTER)
    assert held.balance_wei >= (DEV_FAUCET_DRIP_CAI - 1000) * CAI + holding.earned_wei
    assert held.holdings[0].earned_wei < holding.earned_wei


async def test_prepare__registration__with_a_pasted_proof(town: Town):
    await town.carry_out("faucet")
    key = NodeKey(bytes([9]) * 32)
    proof = RegistrationProof.make(town.network, key, VOTER, Role.MINER, LATER).text()
    profile = {"name": "My GPU", "site": "https://example.org", "unknown": "left out", "contact": ""}
    prepared = await town.carry_out("register", proof=proof, amount="24000", profile=profile)
    assert [step.function for step in prepared.steps] == ["approve", "register"]
    assert [node.profile.get("name") for node in await town.desk.nodes()] == ["coordinator-1", "miner-1", "My GPU"]
    (holding,) = (await town.desk.holdings(VOTER)).holdings
    assert (holding.node, holding.name, holding.is_own) == (NEXT_ID, "My GPU", True)
    added = await town.carry_out("vote", node=str(NEXT_ID), amount="500")
    assert added.title.startswith("stake 500 CAI on node 3")


async def test_prepare__what_cannot_be__is_said_in_words_for_a_page(town: Town):
    assert "a test network from the faucet above" in await town.refusal("vote", node="2", amount="1")
    assert "'much' is no amount of CAI" in await town.refusal("vote", node="2", amount="much")
    assert "nobody is registered as 77" in await town.refusal("vote", node="77", amount="1")
    assert "you have nothing on node 2" in await town.refusal("unvote", node="2", amount="all")
    assert await town.refusal("withdraw") == "nothing to withdraw: take stake back first"
    assert await town.refusal("claim") == "nothing to claim"
    assert await town.refusal("register", proof="{", amount="24000") == (
        "proof: no proof as cuckoo key prove prints it"
    )
    other = RegistrationProof.make(town.network, NodeKey(bytes([9]) * 32), "0x" + "11" * 20, Role.MINER, LATER)
    assert "proof: it is for owner 0x1111" in await town.refusal("register", proof=other.text(), amount="24000")
    await town.carry_out("faucet")
    assert "once a day" in await town.refusal("faucet")


async def test_prepare__chain_node_cannot_simulate__says_who_can_help(town: Town):
    class WithoutSimulation(QuietHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            if b"eth_simulateV1" in asked:
                error = {"code": -32601, "message": "the method does not exist"}
                self.answer(200, json.dumps({"jsonrpc": "2.0", "id": json.loads(asked)["id"], "error": error}).encode())
            else:
                kind = {"Content-Type": "application/json"}
                self.answer(200, httpx.post(town.anvil.url, content=asked, headers=kind, trust_env=False).content)

    with listening(WithoutSimulation) as url:
        chain = town.network.chain
        section = ChainSection(rpc_urls=(url,), chain_id=chain.chain_id, staking=town.network.contracts.staking)
        desk = ContractsDesk(section, PortalSection(), town.network.contracts.faucet)
        async with trio.open_nursery() as own:
            own.start_soon(desk.run)
            with pytest.raises(ConfigError, match="another coordinator will do"):
                await desk.prepare(Wish(action="faucet", account=VOTER))
            own.cancel_scope.cancel()


async def test_holdings__no_address__is_refused(town: Town):
    with pytest.raises(ConfigError, match=r"^account: 'bob' is no Ethereum address"):
        await town.desk.holdings("bob")


async def test_nodes__asked_again_soon__the_chain_is_not(town: Town):
    await town.desk.nodes()
    await town.carry_out("faucet")
    await town.carry_out("vote", node=str(MINER_ID), amount="1000")
    _, miner = await town.desk.nodes()
    assert miner.votes_wei == 0, "read a moment ago"
    (holding,) = (await town.desk.holdings(VOTER)).holdings
    assert holding.stake_wei == 1000 * CAI, "an account is always read anew"
