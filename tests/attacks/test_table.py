"""The table of attacks names tests that exist and rules that the specification has, and leaves out no attack."""

import re
from pathlib import Path

import pytest

from tests.support.defined_tests import defined_tests

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "node" / "adapters" / "libp2p" / "ATTACKS.md").read_text()
SPECIFICATION = (ROOT / "protocol" / "SPEC.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line[:2] == "| "][1:]


ATTACKS = {name for name in defined_tests("attacks") if not name.startswith("test_table__")}
REAL_SOCKETS = ATTACKS | defined_tests("adapters/libp2p")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_table__any_row__names_tests_on_real_sockets_and_rules_of_the_specification(row: list[str]) -> None:
    attack, stock, outcome, rules, tests = row
    assert attack
    assert stock
    assert outcome
    named = re.findall(r"`(test_\w+)`", tests)
    assert named
    assert set(named) <= REAL_SOCKETS
    for rule in re.findall(r"`([^`]+)`", rules):
        assert f"`{rule}`" in SPECIFICATION


def test_table__every_attack_that_is_played__stands_in_it() -> None:
    named = {name for row in ROWS for name in re.findall(r"`(test_\w+)`", row[4])}
    # What an honest peer may do is no attack: these show that it is not taken for one.
    honest = {
        "test_judge__ignored_message_comes_again__accepted_then",
        "test_gossip__ignored_bulletins_of_a_registered_signer__never_count",
        "test_submit__nobody_serves_apps__stream_is_refused_and_nobody_is_blamed",
    }
    assert sorted(ATTACKS - named - honest) == []
