"""What ATTACKS.md says of disputes is played: each row names tests that exist, or says that it is open."""

import re
from pathlib import Path

import pytest

from tests.support.defined_tests import defined_tests

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "protocol" / "justice" / "ATTACKS.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| attack")
]
DEFINED = defined_tests()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_page__any_row__names_tests_that_exist_or_says_that_it_is_open(row: list[str]):
    attack, outcome, tests = row
    named = re.findall(r"`(test_\w+)`", tests)
    assert attack
    assert bool(named) is not outcome.startswith("*open*")
    assert set(named) <= DEFINED
