"""The commands of stakers and owners against the real contracts on a real chain, as people type them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from contracts.bindings import load
from node import keystore
from node.adapters.chain.devchain import (
    DEV_ESCROW_NOTICE_S,
    DEV_FAUCET_DRIP_CAI,
    DEV_UNBONDING_DELAY_S,
    DevnetNode,
    deploy_devnet,
    owner_secret,
)
from node.cli.rewards import _print as print_rewards
from node.cli.status import _print as print_stakes
from node.config.configuration import load_params
from node.network_file import NetworkChain, NetworkContracts, NetworkFile, read_network
from node.own_command import with_shown_command
from node.owner.stakes import NodeStake, Position
from protocol.crypto.keys import NodeKey
from protocol.units import CAI, Role
from tests.support.anvil import Anvil, Contract, running_anvil

Cuckoo = Callable[..., tuple[int, str, str]]
PASSWORD = "a password for tests"
DAY_S = 86_400


@dataclass(frozen=True)
class Town:
    """A network of one coordinator and two miners, and people with keystores."""

    anvil: Anvil
    folder: Path

    def keystore(self, name: str) -> Path:
        path = self.folder / f"{name}.json"
        if not path.exists():
            keystore.create(path, PASSWORD, light=True)
        return path

    def address(self, name: str) -> str:
        return "0x" + NodeKey(keystore.load(self.keystore(name), PASSWORD)).address.hex()


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    nodes = [
        DevnetNode(Role.COORDINATOR, bytes([1]) * 32, 2_500_000, "coordinator-1"),
        DevnetNode(Role.MINER, bytes([2]) * 32, 25_000, "miner-1"),
        DevnetNode(Role.MINER, bytes([3]) * 32, 50_000, "miner-2"),
    ]
    with running_anvil() as anvil:
        contracts = trio.run(deploy_devnet, anvil.url, load_params("minimal"), nodes)
        NetworkFile(
            params="minimal",
            chain=NetworkChain(rpc_urls=(anvil.url,), chain_id=contracts.chain_id),
            contracts=NetworkContracts(**vars_of(contracts.deployed)),
        ).write(folder / "network.toml")
        keystore.write_private(folder / "password", PASSWORD + "\n")
        yield Town(anvil, folder)


def vars_of(deployed: object) -> dict[str, object]:
    return {name: getattr(deployed, name) for name in NetworkContracts.model_fields}


@pytest.fixture
def town(founded: Town, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    monkeypatch.setenv("CUCKOO_NETWORK", str(founded.folder / "network.toml"))
    monkeypatch.setenv("CUCKOO_PASSWORD_FILE", str(founded.folder / "password"))
    with founded.anvil.unchanged():
        yield founded


@pytest.fixture
def as_(cuckoo: Cuckoo, town: Town) -> Cuckoo:
    """Runs a command as a person with a keystore."""

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        return cuckoo(*arguments, "--keystore", str(town.keystore(name)))

    return run


def proof(cuckoo: Cuckoo, town: Town, owner: str, key: str, role: str = "miner") -> str:
    code, out, err = cuckoo(
        *("key", "prove", "--owner", town.address(owner), "--role", role),
        *("--keystore", str(town.keystore(key)), "--password-file", str(town.folder / "password")),
    )
    assert code == 0, err
    path = town.folder / f"{owner}-{key}-{role}.proof"
    path.write_text(out, encoding="utf-8")
    return str(path)


def registered(as_: Cuckoo, cuckoo: Cuckoo, town: Town) -> None:
    """Alice registers miner 4 with 24,000 CAI."""
    assert as_("alice", "faucet")[0] == 0
    word = proof(cuckoo, town, "alice", "alice-node")
    code, out, err = as_("alice", "register", "--proof", word, "--stake", "24000", "--name", "Alice's GPU")
    assert (code, err.splitlines()[-1]) == (0, "waiting for: register the miner (2 of 2)")
    assert out.startswith(f"done: register {checksummed(town.address('alice-node'))} as miner 4 with 24,000 CAI\n")


def checksummed(address: str) -> str:
    from eth_utils.address import to_checksum_address

    return to_checksum_address(address)


def line(as_: Cuckoo, name: str, *arguments: str) -> dict:
    code, out, err = as_(name, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_staker__whole_life__goes_in_earns_and_comes_out(as_: Cuckoo, cuckoo: Cuckoo, town: Town):
    registered(as_, cuckoo, town)
    assert as_("bob", "faucet")[0] == 0
    code, out, _ = as_("bob", "vote", "4", "1,000")
    assert code == 0
    assert "your stake on node 4  0 CAI → 1,000 CAI" in out
    assert "weight of node 4      24,000 CAI → 25,000 CAI" in out

    town.anvil.wait(100)
    (position,) = line(as_, "bob", "rewards")["positions"]
    assert position["node"] == 4
    assert int(position["stake_wei"]) == 1000 * CAI
    assert int(position["earned_wei"]) > 0
    before = int(line(as_, "bob", "rewards")["balance_wei"])
    assert as_("bob", "claim")[0] == 0
    after = line(as_, "bob", "rewards")
    assert int(after["balance_wei"]) >= before + int(position["earned_wei"])

    assert as_("bob", "unvote", "4", "all")[0] == 0
    (waiting,) = line(as_, "bob", "rewards")["unbonding"]
    assert int(waiting["value_wei"]) == 1000 * CAI
    code, _, err = as_("bob", "withdraw")
    assert code == 2
    assert "error: nothing to withdraw yet: 1,000 CAI are unbonding, the first 1,000 CAI until " in err
    town.anvil.wait(DEV_UNBONDING_DELAY_S)
    assert as_("bob", "withdraw")[0] == 0
    end = line(as_, "bob", "rewards")
    assert int(end["balance_wei"]) > DEV_FAUCET_DRIP_CAI * CAI
    assert end["unbonding"] == []


def test_dry_run__any_plan__shows_effect_and_changes_nothing(as_: Cuckoo, town: Town):
    assert as_("bob", "faucet")[0] == 0
    code, out, _ = as_("bob", "vote", "2", "1000", "--dry-run")
    assert code == 0
    assert out.startswith("would vote 1,000 CAI on node 2; it earns from the next epoch on\n")
    assert "CAI of the account    25,000 CAI → 24,000 CAI" in out
    assert "in 2 transactions, about 0." in out
    assert with_shown_command("  it can be slashed with the node, and comes back 1 min after cuckoo unvote\n") in out
    told = line(as_, "bob", "vote", "2", "1000", "--dry-run")
    assert told["notes"] == ["it can be slashed with the node, and comes back 1 min after cuckoo unvote"]
    assert told["done"] is False
    assert told["gas"] > 100_000
    assert told["transactions"] == ["let Staking take 1,000 CAI", "vote 1,000 CAI on node 2"]
    assert line(as_, "bob", "rewards")["positions"] == []


def test_dry_run__contract_may_take_it_already__needs_no_other_transaction(as_: Cuckoo, town: Town):
    assert as_("bob", "faucet")[0] == 0
    contracts = read_network(town.folder / "network.toml").contracts
    cai = Contract(load("CAI"), contracts.cai)
    town.anvil.impersonate(town.address("bob"))
    town.anvil.send(town.address("bob"), cai, "approve", contracts.staking, 1000 * CAI)
    assert line(as_, "bob", "vote", "2", "1000", "--dry-run")["transactions"] == ["vote 1,000 CAI on node 2"]
    assert len(line(as_, "bob", "vote", "2", "1001", "--dry-run")["transactions"]) == 2


def test_owner__its_node__profile_commission_key_and_stake(as_: Cuckoo, cuckoo: Cuckoo, town: Town):
    registered(as_, cuckoo, town)
    assert as_("alice", "profile", "4", "--site", "https://example.org")[0] == 0
    code, _, err = as_("alice", "commission", "4", "30.5")
    assert (code, err.splitlines()[-1]) == (2, "error: PERCENT: at most 30 on this network, not 30.5")
    assert as_("alice", "commission", "4", "7.5")[0] == 0
    code, out, _ = as_("alice", "unbond", "4", "5000")
    assert code == 0
    assert "node 4                active → inactive" in out
    assert "it earns no more from now on, and can still be slashed until then" in out
    assert as_("alice", "stake", "4", "1000")[0] == 0
    code, _, err = as_("alice", "rotate-key", "4", "--proof", proof(cuckoo, town, "alice", "alice-node"))
    assert code == 2
    assert "is or was the key of node 4, which" in err
    assert as_("alice", "rotate-key", "4", "--proof", proof(cuckoo, town, "alice", "new-node"))[0] == 0
    code, out, _ = cuckoo("status", "--stakes", "--json")
    assert code == 0
    node = json.loads(out)["nodes"][3]
    assert node["profile"] == {"name": "Alice's GPU", "site": "https://example.org"}
    assert node["commission_bps"] == 750, "nobody else has stake on it, so that it holds at once"
    assert node["key"] == checksummed(town.address("new-node"))
    assert int(node["own_wei"]) == 20_000 * CAI
    assert node["state"] == "inactive", "own stake must be above the minimum"


def test_status__stakes__is_a_table_of_all_nodes(cuckoo: Cuckoo, town: Town):
    code, out, _ = cuckoo("status", "--stakes")
    assert code == 0
    assert out.splitlines()[0] == "3 nodes, 2,575,000 CAI staked, 0 CAI unbonding"
    rows = [row.split() for row in out.splitlines() if row.strip()[:1].isdigit()][1:]
    assert [row[:4] for row in rows] == [
        ["1", "coordinator", "coordinator-1", "active"],
        ["3", "miner", "miner-2", "active"],
        ["2", "miner", "miner-1", "active"],
    ]


def test_register__what_the_contract_would_refuse__is_said_in_plain_words(as_: Cuckoo, cuckoo: Cuckoo, town: Town):
    registered(as_, cuckoo, town)
    word = proof(cuckoo, town, "alice", "alice-node")
    key, owner = checksummed(town.address("alice-node")), checksummed(town.address("alice"))
    code, _, err = as_("alice", "register", "--proof", word, "--stake", "24000")
    assert code == 2
    assert f"error: {key} is or was the key of node 4, which {owner} owns: make a new key" in err

    word = proof(cuckoo, town, "alice", "second")
    code, _, err = as_("alice", "register", "--proof", word, "--stake", "20000")
    assert code == 2
    assert "error: --stake: a miner stakes more than 20,000 CAI, not 20,000 CAI" in err
    code, _, err = as_("bob", "register", "--proof", word, "--stake", "24000")
    assert code == 2
    assert f"error: --proof: it is for owner {owner}, and this account is {checksummed(town.address('bob'))}" in err
    town.anvil.wait(2 * DAY_S)
    code, _, err = as_("alice", "register", "--proof", word, "--stake", "24000")
    assert code == 2
    assert "error: --proof: it held until " in err


@pytest.mark.parametrize(
    ("who", "arguments", "words"),
    [
        ("bob", "vote 9 1", "NODE: nobody is registered as 9: cuckoo status --stakes lists all"),
        ("bob", f"vote {'9' * 90} 1", "NODE: nobody is registered as 999"),
        ("bob", "vote nine 1", "NODE: 'nine' is neither a staking id nor the 0x… address of a node's key"),
        ("bob", "vote 2 1e3", "AMOUNT: '1e3' is no amount of CAI: write it as 25000 or 0.5"),
        ("bob", "vote 2 30000", "has 25,000 CAI, and 30,000 CAI are needed: send it CAI first"),
        ("bob", "stake 2 1", "NODE: node 2 belongs to 0x"),
        ("bob", "unbond 2 1", "to take votes back, use cuckoo unvote"),
        ("bob", "unvote 2 1", "AMOUNT: you have nothing on node 2: cuckoo rewards shows where you have"),
        ("bob", "unvote 2 all", "AMOUNT: you have nothing on node 2"),
        ("bob", "withdraw", "nothing to withdraw: take stake back first, with cuckoo unvote or cuckoo unbond"),
        ("bob", "claim", "NODE: nothing to claim: cuckoo rewards shows what there is"),
        ("bob", "claim 2", "NODE: nothing to claim on node 2"),
        ("bob", "faucet", "once a day: next from "),
        ("bob", "commission 2 5", "and only its owner may do this"),
        ("bob", "commission 2 101", "PERCENT: 101 is not within 0 and 100"),
        ("bob", "commission 2 nan", "PERCENT: nan is not within 0 and 100"),
        ("bob", "commission 2 inf", "PERCENT: inf is not within 0 and 100"),
        ("bob", "profile 2", "nothing to change: give --name"),
        ("bob", "profile 2 --name x", "and only its owner may do this"),
        ("bob", "unjail 2", "and only its owner may do this"),
        ("bob", "escrow deposit 2 1", "COORDINATOR: node 2 is a miner: only coordinators have an escrow"),
        ("bob", "escrow request 1 1", "COORDINATOR: node 1 belongs to 0x"),
    ],
)
def test_command__what_cannot_be_done__is_one_line(as_: Cuckoo, town: Town, who: str, arguments: str, words: str):
    assert as_(who, "faucet")[0] == 0
    code, out, err = as_(who, *arguments.split())
    assert code == 2
    assert out == ""
    (said,) = [text for text in err.splitlines() if text.startswith("error: ")]
    assert with_shown_command(words) in said


def test_command__no_gas__is_refused_before_anything_is_sent(as_: Cuckoo, town: Town):
    assert as_("carol", "faucet")[0] == 0
    town.anvil.rpc("anvil_setBalance", town.address("carol"), hex(10**12))
    code, _, err = as_("carol", "vote", "2", "1000")
    assert code == 2
    assert "of the chain's coin, and about" in err
    assert line(as_, "carol", "rewards")["positions"] == []


def test_command__little_gas__is_done_and_warned_of(as_: Cuckoo, town: Town):
    assert as_("carol", "faucet")[0] == 0
    town.anvil.rpc("anvil_setBalance", town.address("carol"), hex(10**15))
    code, _, err = as_("carol", "vote", "2", "1000")
    assert code == 0
    assert err.splitlines()[-1].startswith("warning: little is left for gas: ")


def test_command__chain_unreachable__is_one_line(cuckoo: Cuckoo, tmp_path: Path):
    text = NetworkFile(
        chain=NetworkChain(rpc_urls=("http://127.0.0.1:9",), chain_id=1),
        contracts=NetworkContracts(
            **dict.fromkeys(("cai", "parameters", "staking", "settlement", "slashing", "disputes"), "0x" + "11" * 20)
        ),
    )
    text.write(tmp_path / "network.toml")
    code, _, err = cuckoo("status", "--network", str(tmp_path / "network.toml"))
    assert code == 1
    assert err.startswith("error: no chain node answers (http://127.0.0.1:9: ConnectError: ")
    assert err.endswith("): start it, or correct chain.rpc_urls in the network's file\n")
    assert err.count("\n") == 1


def test_command__another_chain_started_there__says_so(cuckoo: Cuckoo, town: Town, tmp_path: Path):
    text = (town.folder / "network.toml").read_text(encoding="utf-8")
    stale = tmp_path / "network.toml"
    lines = [row if not row.startswith("staking") else f'staking = "0x{"11" * 20}"' for row in text.splitlines()]
    stale.write_text("\n".join(lines), encoding="utf-8")
    code, _, err = cuckoo("status", "--network", str(stale))
    assert code == 2
    assert "is it the network's file of this chain? A devnet that was started again has a new one" in err


def test_escrow__deposit_ask_wait_and_take(as_: Cuckoo, cuckoo: Cuckoo, town: Town):
    owner = town.keystore("coordinator-owner-4")
    assert as_("coordinator-owner-4", "faucet")[0] == 0
    code, out, _ = as_("coordinator-owner-4", "escrow", "deposit", "1", "10000")
    assert code == 0, "anybody may deposit for a coordinator"
    assert "escrow of coordinator 1  0 CAI → 10,000 CAI" in out
    code, _, err = as_("coordinator-owner-4", "escrow", "request", "1", "10")
    assert (code, "and only its owner may do this" in err) == (2, True)
    assert owner.exists()

    secret = owner_secret("coordinator-1")
    keystore.create(town.folder / "coordinator-1.json", PASSWORD, light=True, key=secret)
    try:
        code, _, err = as_("coordinator-1", "escrow", "withdraw", "1")
        assert (code, "nothing was asked for: use" in err) == (2, True), err
        code, _, err = as_("coordinator-1", "escrow", "request", "1", "10001")
        assert (code, "AMOUNT: the escrow holds 10,000 CAI, not 10,001 CAI" in err) == (2, True)
        assert as_("coordinator-1", "escrow", "request", "1", "4000")[0] == 0
        code, _, err = as_("coordinator-1", "escrow", "withdraw", "1")
        assert (code, "4,000 CAI can be withdrawn from " in err) == (2, True)
        code, out, _ = cuckoo("escrow", "show", "1")
        assert code == 0
        assert out.splitlines()[0] == "coordinator 1: 10,000 CAI in escrow, 0 CAI paid to miners"
        assert out.splitlines()[1].startswith("  withdrawal of 4,000 CAI asked for, from ")
        assert as_("coordinator-1", "escrow", "cancel", "1")[0] == 0
        assert as_("coordinator-1", "escrow", "request", "1", "4000")[0] == 0
        town.anvil.wait(DEV_ESCROW_NOTICE_S)
        assert as_("coordinator-1", "escrow", "withdraw", "1")[0] == 0
        told = json.loads(cuckoo("escrow", "show", "1", "--json")[1])
        assert told["escrow_wei"] == str(6000 * CAI)
        assert told["pending_withdrawal"]["amount_wei"] == "0"
    finally:
        (town.folder / "coordinator-1.json").unlink()


NOW_S = 1_800_000_000
JAILED = NodeStake(
    id=1004,
    owner="0x",
    key="0x",
    role=Role.MINER,
    is_active=False,
    own_wei=98_000 * CAI,
    effective_wei=108_780 * CAI,
    profile={"name": "miner-3"},
    commission_bps=1_000,
    next_commission_bps=1_000,
    next_commission_at=0,
    jailed_until=NOW_S + 3 * DAY_S,
    frozen_until=0,
    in_debt=False,
)


def test_status__stakes_of_a_jailed_node__still_show_names(capsys: pytest.CaptureFixture[str]) -> None:
    coordinator = replace(JAILED, id=1, role=Role.COORDINATOR, profile={"name": "coordinator-1"})
    print_stakes([JAILED, coordinator], 2, 0, 0, 0, 0, NOW_S)
    out = capsys.readouterr().out
    assert "miner-3" in out
    assert "…" not in out


@pytest.mark.parametrize(("later", "said"), [(0, "may end that from "), (3 * DAY_S, "may end that: ")])
def test_rewards__on_a_jailed_node__say_what_ends_that(
    later: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_rewards("0x", [Position(JAILED, 10_780 * CAI, CAI)], [], 0, NOW_S + later)
    out = " ".join(capsys.readouterr().out.split())
    assert f"node 1004 earns nothing while it is jailed; its owner {said}" in out
    assert out.endswith("unjail 1004")
    print_rewards("0x", [Position(replace(JAILED, jailed_until=0), CAI, CAI)], [], 0, NOW_S)
    assert "jailed" not in capsys.readouterr().out
