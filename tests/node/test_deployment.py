"""A deployment goes on where it was interrupted, spends nothing twice, and can be checked by anybody."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.bindings import load
from node import deployment as module
from node import keystore
from node.adapters.chain.devchain import DEV_CHAIN_ID, DEV_TREASURY_SECRET
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.sender import Sender
from node.deployment import deploy_network, params_of, read_plan, verify_network
from node.network_file import addresses_file, read_network
from node.owner.wallet import open_wallet
from protocol.errors import ConfigError, Unavailable
from protocol.units import CAI
from tests.support.anvil import Anvil, Contract, anvil_process  # noqa: F401 a fixture

PASSWORD = "a password for tests"
PLAN = """
params = "minimal"
[chain]
rpc_urls = ["{url}"]
chain_id = 31337
[terms]
unbonding_delay_s = 60
parameter_delay_s = 60
escrow_notice_s = 60
stream_s = 120
emission_fund_cai = 1000
faucet_drip_cai = 25000
faucet_fund_cai = 100000
"""


@pytest.fixture
def plan(anvil_process: Anvil, tmp_path: Path) -> Iterator[Path]:  # noqa: F811 the fixture
    path = tmp_path / "network.toml"
    path.write_text(PLAN.format(url=anvil_process.url), encoding="utf-8")
    with anvil_process.unchanged():
        yield path


def silent(_: str) -> None:
    pass


class Interrupted(Unavailable):
    """The process was stopped before this transaction."""


class StopsBefore:
    """A sender that is cut off before its n-th transaction."""

    def __init__(self, rpc: JsonRpc, secret: bytes, left: int) -> None:
        self.inner = Sender(rpc, secret, DEV_CHAIN_ID)
        self.left = left

    @property
    def address(self) -> str:
        return self.inner.address

    async def read(self, *arguments):
        return await self.inner.read(*arguments)

    async def deploy(self, *arguments):
        self._count()
        return await self.inner.deploy(*arguments)

    async def call(self, *arguments):
        self._count()
        await self.inner.call(*arguments)

    def _count(self) -> None:
        if self.left == 0:
            raise Interrupted
        self.left -= 1


async def test_deploy_network__interrupted_before_each_transaction__goes_on_and_spends_nothing_twice(
    plan: Path,
    anvil_process: Anvil,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    whole = Sender
    for tries in range(1, 20):  # noqa: B007 the count is looked at
        monkeypatch.setattr(module, "Sender", lambda rpc, secret, _chain_id: StopsBefore(rpc, secret, 1))
        try:
            network = await deploy_network(plan, DEV_TREASURY_SECRET, silent)
            break
        except Interrupted:
            assert not addresses_file(plan).exists(), "what others read is written last"
    assert tries == 11, "seven contracts, one connection, two approvals or transfers and one funding, one a try"
    monkeypatch.setattr(module, "Sender", whole)
    assert read_network(plan) == network
    nonce = int(anvil_process.rpc("eth_getTransactionCount", anvil_process.accounts[0], "latest"), 16)
    cai = Contract(load("CAI"), network.contracts.cai)
    assert anvil_process.read(cai, "balanceOf", network.contracts.staking) == 1000 * CAI
    assert anvil_process.read(cai, "balanceOf", network.contracts.faucet) == 100_000 * CAI

    assert await deploy_network(plan, DEV_TREASURY_SECRET, silent) == network
    assert int(anvil_process.rpc("eth_getTransactionCount", anvil_process.accounts[0], "latest"), 16) == nonce


async def test_verify_network__as_deployed__is_right(plan: Path):
    network = await deploy_network(plan, DEV_TREASURY_SECRET, silent)
    async with open_wallet(network, address="0x" + "00" * 20) as wallet:
        findings = await verify_network(wallet, params_of(network, plan))
    assert [finding.what for finding in findings if not finding.is_right] == []
    assert len(findings) == 20


async def test_verify_network__other_numbers__are_named(plan: Path):
    network = await deploy_network(plan, DEV_TREASURY_SECRET, silent)
    async with open_wallet(network, address="0x" + "00" * 20) as wallet:
        params = params_of(network, plan).model_copy(update={"epoch_s": 600, "miner_minimum_cai": 1})
        findings = await verify_network(wallet, params)
    assert [(item.what, item.detail) for item in findings if not item.is_right] == [
        ("minimum of a miner", "20,000 CAI, and devnet says 1 CAI"),
        ("epoch", "10 s, and devnet says 600 s"),
    ]


async def test_verify_network__another_contract_there__is_named(plan: Path, anvil_process: Anvil):  # noqa: F811
    network = await deploy_network(plan, DEV_TREASURY_SECRET, silent)
    code = anvil_process.rpc("eth_getCode", network.contracts.settlement, "latest")
    anvil_process.rpc("anvil_setCode", network.contracts.settlement, code[:100] + "00" + code[102:])
    async with open_wallet(network, address="0x" + "00" * 20) as wallet:
        findings = await verify_network(wallet, params_of(network, plan))
    (wrong,) = [finding for finding in findings if not finding.is_right]
    assert wrong.what == f"Settlement at {network.contracts.settlement}"
    assert wrong.detail.startswith("other code than contracts/artifacts")


async def test_verify_network__connected_to_others__is_named(plan: Path):
    network = await deploy_network(plan, DEV_TREASURY_SECRET, silent)
    swapped = network.contracts.model_copy(update={"faucet": None})
    network = network.model_copy(update={"contracts": swapped})
    async with open_wallet(network, address="0x" + "00" * 20) as wallet:
        assert all(item.is_right for item in await verify_network(wallet, params_of(network, plan)))
    addresses_file(plan).unlink()
    plan.with_name("network.deployment.json").unlink()
    second = await deploy_network(plan, DEV_TREASURY_SECRET, silent)
    mixed = second.contracts.model_copy(update={"slashing": network.contracts.slashing})
    async with open_wallet(second.model_copy(update={"contracts": mixed}), address="0x" + "00" * 20) as wallet:
        findings = await verify_network(wallet, params_of(second, plan))
    assert [item.what for item in findings if not item.is_right] == ["Staking.slashing", "Slashing.staking"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[terms]", "[term]", "terms is missing: set it in {path}"),
        ("parameter_delay_s = 60", "parameter_delay_s = 59", "{path}: terms.parameter_delay_s: below terms.unbonding"),
        ("stream_s = 120", "stream_s = 0", "{path}: terms.stream_s: 0 is too small: at least 1"),
        ("escrow_notice_s = 60\n", "", "terms.escrow_notice_s is missing: set it in {path}"),
        (
            "faucet_fund_cai",
            "faucet_funds",
            "{path}: terms.faucet_funds: unknown key (did you mean 'faucet_fund_cai'?)",
        ),
    ],
)
def test_read_plan__wrong__names_file_and_key(plan: Path, old: str, new: str, line: str):
    plan.write_text(plan.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_plan(plan)
    assert str(caught.value).startswith(line.format(path=plan))


@pytest.mark.parametrize("text", ["{", "[]", '{"CAI": 7}', '{"CAI": {"address": "0x"}}', '{"CAI": {"block": 1}}'])
async def test_deploy_network__log_damaged__says_so_and_sends_nothing(plan: Path, text: str):
    log = plan.with_name("network.deployment.json")
    log.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"network\.deployment\.json: damaged: delete it to deploy everything anew"):
        await deploy_network(plan, DEV_TREASURY_SECRET, silent)


async def test_deploy_network__chain_started_anew__says_so(plan: Path, anvil_process: Anvil):  # noqa: F811
    with anvil_process.unchanged():
        await deploy_network(plan, DEV_TREASURY_SECRET, silent)
    log = plan.with_name("network.deployment.json")
    with pytest.raises(ConfigError, match=r"deployment\.json: no contract at 0x\w+ on this chain, which may have been"):
        await deploy_network(plan, DEV_TREASURY_SECRET, silent)
    log.unlink()
    with pytest.raises(ConfigError, match=r"contracts\.toml: no contract at 0x\w+ on this chain, which may have been"):
        await deploy_network(plan, DEV_TREASURY_SECRET, silent)


async def test_deploy_network__account_without_gas__is_told(plan: Path):
    with pytest.raises(ConfigError, match="has too little of the chain's coin for gas: send it some"):
        await deploy_network(plan, bytes([77]) * 32, silent)


def test_contracts__command_line__example_deploy_and_verify(cuckoo, plan: Path, anvil_process: Anvil):  # noqa: F811
    folder = plan.parent
    code, out, _ = cuckoo("contracts", "example")
    assert code == 0
    (folder / "example.toml").write_text(out, encoding="utf-8")
    assert read_plan(folder / "example.toml").terms.unbonding_delay_s == 14 * 86_400

    keystore.create(folder / "deployer.json", PASSWORD, light=True, key=DEV_TREASURY_SECRET)
    keystore.write_private(folder / "password", PASSWORD + "\n")
    account = ("--keystore", str(folder / "deployer.json"), "--password-file", str(folder / "password"))
    code, out, err = cuckoo("contracts", "deploy", "--network", str(plan), *account)
    assert code == 0, err
    assert [row.split()[0] for row in err.splitlines()][:6] == [
        *("CAI", "Parameters", "Staking", "Settlement", "Slashing", "Disputes")
    ]
    assert out.splitlines()[0].startswith("cai         0x")
    code, out, _ = cuckoo("contracts", "verify", "--network", str(plan))
    assert code == 0
    assert all(row.startswith("ok ") for row in out.splitlines())

    network = read_network(plan)
    anvil_process.rpc("anvil_setCode", network.contracts.disputes, "0x00")
    code, out, _ = cuckoo("contracts", "verify", "--network", str(plan), "--json")
    assert code == 1
    assert json.loads(out)["right"] is False
