"""What surprises people at the commands of stakers: names that look like markup, notes, races, half-done plans."""

import json

import pytest
import trio

from node import keystore
from node.adapters.chain.answers import Json
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.sender import TransactionRefused
from node.network_file import read_network
from node.owner.wallet import Plan, Step, open_wallet
from protocol.errors import Unavailable
from protocol.units import CAI
from tests.node.test_staker_commands import (
    PASSWORD,
    Cuckoo,
    Town,
    as_,  # noqa: F401 a fixture
    founded,  # noqa: F401 a fixture
    line,
    registered,
    town,  # noqa: F401 a fixture
)

# ruff: noqa: F811 the fixtures


def test_tables__name_with_markup__show_it_as_it_stands(as_: Cuckoo, cuckoo: Cuckoo, town: Town):
    registered(as_, cuckoo, town)
    assert as_("alice", "profile", "4", "--name", "[/red] :bug:")[0] == 0
    assert "[/red] :bug:" in cuckoo("status", "--stakes")[1]
    assert "[/red] :bug:" in as_("alice", "rewards")[1]


def test_profile__empty_text__takes_it_away(as_: Cuckoo, cuckoo: Cuckoo, town: Town):
    registered(as_, cuckoo, town)
    assert as_("alice", "profile", "4", "--name", "", "--site", "https://example.org")[0] == 0
    assert json.loads(cuckoo("status", "--json")[1])["nodes"][3]["profile"] == {"site": "https://example.org"}


def test_rewards__stake_on_some_nodes__lists_these(as_: Cuckoo, town: Town):
    assert as_("bob", "faucet")[0] == 0
    assert as_("bob", "vote", "3", "7")[0] == 0
    assert as_("bob", "vote", "1", "5")[0] == 0
    told = [(item["node"], int(item["stake_wei"])) for item in line(as_, "bob", "rewards")["positions"]]
    assert told == [(1, 5 * CAI), (3, 7 * CAI)]


def test_escrow_deposit__of_somebody_else__says_who_can_take_it_back(as_: Cuckoo, town: Town):
    assert as_("bob", "faucet")[0] == 0
    (note,) = line(as_, "bob", "escrow", "deposit", "1", "5", "--dry-run")["notes"]
    assert note.startswith("only its owner can take it back, 0x")


def test_key_prove__owner_is_the_key_itself__is_refused(cuckoo: Cuckoo, town: Town):
    code, out, err = cuckoo(
        *("key", "prove", "--owner", town.address("alice-node"), "--role", "miner"),
        *("--keystore", str(town.keystore("alice-node")), "--password-file", str(town.folder / "password")),
    )
    assert (code, out) == (2, "")
    assert err == "error: --owner: this is the node's own key, and a node never owns itself: give your account\n"


def test_carry_out__another_command_takes_its_place__says_so(as_: Cuckoo, town: Town, monkeypatch: pytest.MonkeyPatch):
    assert as_("bob", "faucet")[0] == 0
    network = read_network(town.folder / "network.toml")
    secret = keystore.load(town.keystore("bob"), PASSWORD)

    async def race() -> None:
        async with open_wallet(network, secret=secret) as wallet:
            town.anvil.impersonate(wallet.address)

            async def overtaken(rpc: JsonRpc, method: str, *params: Json) -> Json:
                """The other's transaction comes after ours was given its place, and pays more."""
                if method == "eth_sendRawTransaction" and not other:
                    fields = {"from": wallet.address, "to": wallet.address, "maxFeePerGas": hex(10**12)}
                    other.append(town.anvil.rpc("eth_sendTransaction", fields))
                return await call(rpc, method, *params)

            call = JsonRpc.call
            monkeypatch.setattr(JsonRpc, "call", overtaken)
            town.anvil.rpc("evm_setAutomine", False)
            plan = Plan("", (Step("let it", wallet.call("CAI", "approve", wallet.address, 1)),))
            await wallet.carry_out(plan, lambda _: None)

    other: list[str] = []
    try:
        with pytest.raises(Unavailable, match="another transaction of this account is under way: wait for it"):
            trio.run(race)
    finally:
        town.anvil.rpc("evm_setAutomine", True)


def test_carry_out__second_step_refused__says_what_was_done_before(as_: Cuckoo, town: Town):
    assert as_("bob", "faucet")[0] == 0
    network = read_network(town.folder / "network.toml")
    secret = keystore.load(town.keystore("bob"), PASSWORD)

    async def go() -> None:
        async with open_wallet(network, secret=secret) as wallet:
            approve = Step("let Staking take 1 CAI", wallet.call("CAI", "approve", wallet.address, CAI))
            vote = Step("vote", wallet.call("Staking", "vote", 99, CAI))
            await wallet.carry_out(Plan("", (approve, vote)), lambda _: None)

    with pytest.raises(TransactionRefused, match=r"; done before that: let Staking take 1 CAI$"):
        trio.run(go)
