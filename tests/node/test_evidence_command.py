"""Evidence that a node found, listed, written to a file, checked and sent by anybody, on a real chain."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from node.adapters.store import SqliteStore
from node.network_file import read_network
from node.portal.stakers_desk import ContractsDesk
from node.settings import ChainSection, PortalSection
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, sign
from protocol.justice.evidence import Evidence, Signed, TwoCommitments, name_of
from protocol.records import CaseChanged, CaseState, EvidenceFound, Record
from protocol.units import CAI, Digest, UnixMillis, Wei
from tests.contracts.proofs import BOUNTY_BPS, SLASH_BPS, commitment
from tests.node.test_staker_commands import (
    Cuckoo,
    Town,
    as_,  # noqa: F401 a fixture
    founded,  # noqa: F401 a fixture
    line,
    town,  # noqa: F401 a fixture
)
from tests.support.clock import HandClock

# ruff: noqa: F811 the fixtures

MINER, MINER_KEY = 2, NodeKey(bytes([2]) * 32)
FOUND_AT = UnixMillis(1_800_000_000_000)


def evidence_of(town: Town, key: NodeKey = MINER_KEY) -> Evidence:
    network = read_network(town.folder / "network.toml")
    domain = Domain(network.chain.chain_id, network.staking_address)
    first, second = (commitment(miner=MINER, artifact=letter * 32) for letter in (b"a", b"b"))
    return TwoCommitments(Signed(first, sign(key, domain, first)), Signed(second, sign(key, domain, second)))


async def kept(folder: Path, *records: Record) -> None:
    store = SqliteStore(folder, HandClock())
    async with store.opened():
        await store.persist(records)


def keep(folder: Path, *records: Record) -> None:
    trio.run(kept, folder, *records)


@pytest.fixture
def found(town: Town, tmp_path: Path) -> Evidence:
    """A node's folder with one piece of evidence."""
    evidence = evidence_of(town)
    keep(tmp_path, EvidenceFound(evidence, FOUND_AT))
    return evidence


@pytest.fixture
def file(found: Evidence, cuckoo: Cuckoo, tmp_path: Path) -> Path:
    out = tmp_path / "evidence.json"
    code, _, err = cuckoo("evidence", "export", name_of(found)[:8], "--out", str(out), "--data", str(tmp_path))
    assert code == 0, err
    return out


def test_list__what_a_node_found__is_told_with_what_came_of_it(found: Evidence, cuckoo: Cuckoo, tmp_path: Path) -> None:
    flags = ("--data", str(tmp_path))
    code, out, _ = cuckoo("evidence", "list", *flags)
    assert (code, f"two_commitments of miner {MINER}" in out) == (0, True)
    assert "not shown to the contract" in out
    name = name_of(found)
    assert json.loads(cuckoo("evidence", "list", *flags, "--json")[1])["evidence"] == [
        {
            "name": name,
            "kind": "two_commitments",
            "signer": MINER,
            "found_at": FOUND_AT,
            "state": "found",
            "detail": "",
        }
    ]
    keep(tmp_path, CaseChanged(name, CaseState.GIVEN_UP, FOUND_AT, "respite: slashed lately"))
    assert "given up: respite: slashed lately" in cuckoo("evidence", "list", *flags)[1]
    hash_ = Digest(b"\x0a" * 32)
    keep(tmp_path, CaseChanged(name, CaseState.PROVEN, FOUND_AT, "", hash_, Wei(50 * CAI), Wei(5 * CAI)))
    out = cuckoo("evidence", "list", *flags)[1]
    assert "proven: 50 CAI slashed, 5 CAI to this node's owner" in out
    assert "0x" + hash_.hex() in out
    (told,) = json.loads(cuckoo("evidence", "list", *flags, "--json")[1])["evidence"]
    assert (told["state"], told["slashed_wei"], told["transaction"]) == ("proven", str(50 * CAI), "0x" + hash_.hex())


def test_list__nothing_found__says_so(cuckoo: Cuckoo, town: Town, tmp_path: Path) -> None:
    keep(tmp_path)
    assert cuckoo("evidence", "list", "--data", str(tmp_path))[1].startswith("no evidence")


def test_check__exported_file__proves_offline_whose_key_signed(file: Path, cuckoo: Cuckoo) -> None:
    code, out, err = cuckoo("evidence", "check", str(file))
    assert (code, err) == (0, "")
    assert f"two_commitments of node {MINER}" in out
    assert MINER_KEY.address.hex() in out.lower()
    told = json.loads(cuckoo("evidence", "check", str(file), "--json")[1])
    assert (told["proves"], told["signer"], len(told["keys"])) == (True, MINER, 1)


def changed(file: Path, **changes: Any) -> Path:
    plain = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(plain | changes), encoding="utf-8")
    return file


def test_check__file_that_proves_nothing__exits_with_one_and_says_why(file: Path, cuckoo: Cuckoo) -> None:
    plain = json.loads(file.read_text(encoding="utf-8"))
    first, second = plain["statements"]
    code, out, _ = cuckoo("evidence", "check", str(changed(file, statements=[first, first])))
    assert (code, out) == (1, "it proves nothing: they are the same\n")
    bad = second | {"signature": "0x" + "00" * 65}
    code, out, _ = cuckoo("evidence", "check", str(changed(file, statements=[first, bad])), "--json")
    assert (code, json.loads(out)["proves"]) == (1, False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chain_id": "x"}, "chain_id is no number of a chain"),
        ({"staking": "0x00"}, "staking is no 0x… address"),
        ({"kind": "two_dances"}, "no kind of evidence is called 'two_dances'"),
        ({"statements": []}, "not two statements"),
    ],
)
def test_check__file_of_another_form__is_one_line(
    file: Path, cuckoo: Cuckoo, changes: dict[str, Any], said: str
) -> None:
    code, _, err = cuckoo("evidence", "check", str(changed(file, **changes)))
    assert (code, len(err.splitlines()), said in err, str(file) in err) == (2, 1, True, True)


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "7", "x" * 70_000])
def test_check__any_other_file__is_one_line(tmp_path: Path, cuckoo: Cuckoo, town: Town, content: str) -> None:
    path = tmp_path / "other"
    path.write_text(content, encoding="utf-8")
    code, _, err = cuckoo("evidence", "check", str(path))
    assert (code, len(err.splitlines())) == (2, 1)


def test_check__receipt__says_what_writes_evidence(tmp_path: Path, cuckoo: Cuckoo) -> None:
    path = tmp_path / "receipt.json"
    path.write_text('{"kind": "receipt", "version": 1}', encoding="utf-8")
    code, _, err = cuckoo("evidence", "check", str(path))
    assert (code, err.count("\n"), f"FILE: {path} holds no evidence: write one with" in err) == (2, 1, True)


def test_export__name_that_is_not_there__is_one_line(found: Evidence, cuckoo: Cuckoo, tmp_path: Path) -> None:
    for name, said in (("ffff", "none begins"), ("", "1 begin")):
        code, _, err = cuckoo("evidence", "export", name, "--out", str(tmp_path / "x"), "--data", str(tmp_path))
        assert (code, said in err) == (2, True)


def test_send__by_anybody__slashes_and_pays_him_and_voters_are_told(file: Path, as_: Cuckoo, town: Town) -> None:
    assert as_("alice", "faucet")[0] == 0
    assert as_("bob", "faucet")[0] == 0
    assert as_("bob", "vote", "2", "1000")[0] == 0
    before = int(line(as_, "alice", "rewards")["balance_wei"])
    code, out, _ = as_("alice", "evidence", "send", str(file), "--dry-run")
    assert (code, out.splitlines()[0]) == (0, "would have node 2 slashed for two_commitments")
    assert int(line(as_, "alice", "rewards")["balance_wei"]) == before, "a dry run sends nothing"
    assert as_("alice", "evidence", "send", str(file))[0] == 0
    slashed = 26_000 * CAI * SLASH_BPS // 10_000
    lost = 25_000 * CAI * SLASH_BPS // 10_000  # of its owner, of whose loss alone there is a bounty
    assert int(line(as_, "alice", "rewards")["balance_wei"]) == before + lost * BOUNTY_BPS // 10_000
    told = line(as_, "bob", "rewards")
    (position,) = told["positions"]
    assert int(position["stake_wei"]) == 1000 * CAI * (10_000 - SLASH_BPS) // 10_000
    (slash,) = told["slashes"]
    assert (slash["node"], slash["reason"], slash["slashed_wei"]) == (2, "two_commitments", str(slashed))
    code, out, _ = as_("bob", "rewards")
    assert "node 2 lost 1,300 CAI of all stake on it" in out
    assert "its key signed two results for one award" in out
    assert slash["transaction"] in out
    assert line(as_, "alice", "rewards")["slashes"] == [], "she has nothing there"
    code, _, err = as_("alice", "evidence", "send", str(file))
    assert (code, "somebody has shown this to the contract already" in err) == (2, True)
    trio.run(on_the_page, town, slash)


async def on_the_page(town: Town, slash: dict[str, Any]) -> None:
    """The portal shows it too, however often it asks."""
    network = read_network(town.folder / "network.toml")
    chain = ChainSection(
        rpc_urls=network.chain.rpc_urls, chain_id=network.chain.chain_id, staking=network.contracts.staking
    )
    desk = ContractsDesk(chain, PortalSection(), None)
    async with desk._rpc:
        for _ in range(2):
            listed = {node.id: node for node in await desk.nodes()}
            (shown,) = listed[2].slashes
            assert (shown.reason, shown.wei, shown.at) == (slash["reason"], int(slash["slashed_wei"]), slash["at"])
            assert shown.transaction == slash["transaction"]
            assert listed[1].slashes == listed[3].slashes == ()
            desk._slashes._fresh_until = 0


def test_send__evidence_of_another_network_or_key__is_refused_before_anything_is_sent(
    file: Path, as_: Cuckoo, town: Town
) -> None:
    assert as_("alice", "faucet")[0] == 0
    good = file.read_text(encoding="utf-8")
    code, _, err = as_("alice", "evidence", "send", str(changed(file, chain_id=5)))
    assert (code, "which is not this network" in err) == (2, True)
    file.write_text(good, encoding="utf-8")
    first, second = json.loads(good)["statements"]
    swapped = [first | {"signature": second["signature"]}, second | {"signature": first["signature"]}]
    code, _, err = as_("alice", "evidence", "send", str(changed(file, statements=swapped)))
    assert (code, "is not signed by a key of the node" in err) == (1, True)
    code, _, err = as_("alice", "evidence", "send", str(changed(file, statements=[first, first])))
    assert (code, "it proves nothing: they are the same" in err) == (2, True)
    code, _, err = as_("alice", "evidence", "send", str(file), "--receiver", "0x12")
    assert (code, err.startswith("error: --receiver:")) == (2, True)
