"""contracts/SPEC.md names every function, read and event of the contracts, and tests that exist."""

import re
from pathlib import Path

import pytest

from contracts.bindings import CONTRACT_NAMES, load
from tests.contracts.specification import TEXT, rows, said_of
from tests.support.defined_tests import defined_tests

FOLDER = Path(__file__).parent
DEFINED = defined_tests()
OF_LIBRARIES = {
    "CAI": {"OwnershipTransferred", "RoleMinterChanged", "Transfer", "Approval"},
    "Parameters": {"OwnershipTransferred", "OwnershipTransferStarted"},
}
"""Events of snekmate's, which its own documentation explains."""
STANDARDS = {"name", "symbol", "decimals", "totalSupply", "balanceOf", "allowance", "nonces", "DOMAIN_SEPARATOR"}
"""Reads that ERC-20 and EIP-2612 explain."""


def functions(contract: str, *, changing: bool) -> set[str]:
    """Names of a contract's functions that can change something, or of those that cannot."""
    entries = [entry for entry in load(contract).abi if entry["type"] == "function"]
    return {entry["name"] for entry in entries if (entry["stateMutability"] in {"nonpayable", "payable"}) is changing}


@pytest.mark.parametrize("contract", CONTRACT_NAMES)
def test_table__functions_that_can_change_anything__are_all_there_with_both_outcomes(contract: str):
    for tests in ("carried_out", "refused"):
        named = {name for row in rows() if getattr(row, tests) for owner, name in row.functions if owner == contract}
        assert named == functions(contract, changing=True), tests


def test_table__functions_of_no_contract__are_not_there():
    assert {contract for row in rows() for contract, _ in row.functions} == set(CONTRACT_NAMES)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", TEXT))))
def test_specification__test_that_it_names__exists(name: str):
    assert name in DEFINED


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_]+(?:/[a-z_]+)+(?:\.\w+)?)/?`", TEXT))))
def test_specification__file_that_it_names__exists(path: str):
    assert (FOLDER.parents[1] / path).exists()


@pytest.mark.parametrize("contract", CONTRACT_NAMES)
def test_specification__reads_and_events_of_a_contract__stand_in_it(contract: str):
    events = {entry["name"] for entry in load(contract).abi if entry["type"] == "event"}
    named = (functions(contract, changing=False) - STANDARDS) | (events - OF_LIBRARIES.get(contract, set()))
    assert sorted(name for name in named if not re.search(rf"`{name}\b", TEXT)) == []


def test_said_of__a_test_in_two_rows_and_one_in_none():
    test = "test_jail__makes_inactive_until_the_owner_unjails_after_its_time"
    assert said_of(test) == {
        ("Staking", "jail", True),
        ("Staking", "unjail", True),
        ("Staking", "unjail", False),
    }
    assert said_of("test_that_is_nowhere") == set()
