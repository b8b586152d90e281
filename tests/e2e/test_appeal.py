"""Jurors err, the accused appeals, and a larger jury finds for it: real processes and chain, painted pictures.

An appeal of three jurors takes eleven miners of as many owners, more engines than a machine for tests draws with.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from eth_utils import to_checksum_address

from protocol.crypto.keys import keccak256
from protocol.units import CAI
from tests.e2e.test_disputes import (
    BOND,
    PATIENCE_S,
    SEATS,
    account_of,
    an_honest_picture,
    by_id,
    dispute,
    ended,
    ordered,
    rechecks,
    rpc,
    said,
    seed_is_known,
)
from tests.e2e.test_justice import registered
from tests.e2e.test_payments import cuckoo
from tests.support.devnet import Running, devnet, wait_until
from tests.support.tampered_node import ERRING

pytestmark = pytest.mark.e2e
APPEAL_SEATS = 2 * SEATS + 1
APPEAL_BOND = 5_000 * CAI
TRANSFER = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
NOBODY = to_checksum_address("0x" + 40 * "0")


def moved(network: Running, *, out: bool) -> dict[str, int]:
    """What the Disputes contract paid (or burnt, to nobody), or took, by whom, in wei."""
    chain = network.description["chain"]
    own = "0x" + chain["disputes"][2:].lower().rjust(64, "0")
    asked = {"address": chain["cai"], "fromBlock": "0x0", "topics": [TRANSFER, *([own] if out else [None, own])]}
    sums: Counter[str] = Counter()
    for log in rpc(network, "eth_getLogs", asked):
        sums[to_checksum_address("0x" + log["topics"][2 if out else 1][-40:])] += int(log["data"], 16)
    return dict(sums)


def owner_of(network: Running, node: dict[str, Any]) -> str:
    return str(registered(network, node)["owner"])


def test_appeal__jurors_of_the_first_jury_erred__a_larger_one_finds_it_right_and_money_goes_to_whom_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erring = tmp_path / "erring"
    monkeypatch.setenv(ERRING, str(erring))
    flags = ("--miners", str(SEATS + APPEAL_SEATS + 1), "--engine", "instant")
    with devnet(tmp_path, *flags, module="tests.support.disputed_devnet") as network:
        (coordinator,) = network.nodes("coordinator")
        account = account_of(tmp_path, coordinator)
        cuckoo(network, "faucet", *account)
        ordered(network)
        wait_until(lambda: bool(rechecks(network, coordinator, "agreed")), "two pictures agree", PATIENCE_S)
        evidence, number = an_honest_picture(coordinator)
        accused = by_id(network, number)
        its_account = account_of(tmp_path, accused)
        cuckoo(network, "faucet", *its_account)

        erring.touch()
        cuckoo(network, "dispute", "report", str(evidence), *account)
        seed_is_known(network)
        wait_until(lambda: dispute(network, 1)["status"] == "upheld", "the first jury has judged", PATIENCE_S)
        first = said(network, 1)
        assert first == dict.fromkeys(first, "wrong")
        erring.unlink()

        cuckoo(network, "dispute", "appeal", "1", *its_account)
        seed_is_known(network)
        told = ended(network, 1, "dismissed")
        assert (told["round"], told["seats"], told["right"], told["wrong"]) == (1, APPEAL_SEATS, APPEAL_SEATS, 0)
        second = [juror["juror"] for juror in told["jurors"] if juror["round"] == 1]
        assert len(first) == SEATS
        assert len(second) == APPEAL_SEATS
        assert len({number, *first, *second}) == len(network.nodes("miner")), "no juror of the first is one again"
        assert registered(network, accused)["state"] == "active"

        fee = BOND // (3 * SEATS)
        reporter, appellant = owner_of(network, coordinator), owner_of(network, accused)
        assert moved(network, out=False) == {reporter: BOND, appellant: APPEAL_BOND}
        paid = dict.fromkeys((owner_of(network, by_id(network, one)) for one in second), fee)
        burnt = BOND - APPEAL_SEATS * fee
        assert moved(network, out=True) == paid | {appellant: APPEAL_BOND, NOBODY: burnt}, (
            "who was wrong pays the jurors who were right, those who erred are paid nothing, the accused loses nothing"
        )
