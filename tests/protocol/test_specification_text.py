"""SPEC.md names rules, functions and tests: all of them exist, and no rule of the code is missing there."""

import importlib
import re
from pathlib import Path

import pytest

from protocol import params

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "protocol" / "SPEC.md").read_text()
LINES = TEXT.splitlines()
COVERED = ("wire", "crypto", "stake", "gossip", "roles")
RULE_NAMED = (
    r"(?:InvalidMessage\(|IgnoredMessage\(|rule=|Offence\.\w+,|row, |own, |coordinator, )\s*\"([a-z_]+\.[a-z_]+)\""
)
"""Where the code names a rule: in an error, a note, a judgement, or a check of a signature."""
FUNCTIONS = sorted(set(re.findall(r"`(protocol(?:\.\w+)+)`", TEXT)))
TESTS = sorted(set(re.findall(r"`(test_\w+)`", TEXT)))
DEFINED = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
}


def resolved(dotted: str) -> object:
    """Import the longest module of a dotted name and walk the rest."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize("dotted", FUNCTIONS)
def test_spec__function_that_it_names__exists(dotted):
    assert resolved(dotted) is not None


@pytest.mark.parametrize("name", TESTS)
def test_spec__test_that_it_names__exists(name):
    assert name in DEFINED


def test_spec__sentence_with_must__has_a_rule_and_a_test():
    bare = []
    heads = 0
    for line in LINES:
        if "**must**" not in line or line.startswith("This page"):
            continue
        if line.startswith("| rule |"):
            heads += 1  # a table whose every row is a must
            continue
        if not (re.match(r"\| `[a-z_.*]+`", line) and "`test_" in line):
            bare.append(line)
    assert bare == []
    assert heads == 1


def test_spec__rule_that_the_code_raises__stands_in_it():
    raised = {
        rule
        for folder in COVERED
        for path in (ROOT / "protocol" / folder).glob("*.py")
        for rule in re.findall(RULE_NAMED, path.read_text())
    }
    raised |= {f"artifact.{name}" for name in ("oversize", "signature", "chunk", "header", "size", "data", "trailing")}
    raised |= {f"receipt.{name}" for name in ("signature", "voucher_signature", "mismatch", "artifact")}
    assert sorted(rule for rule in raised if f"`{rule}`" not in TEXT) == []
    assert len(raised) > 50


def test_spec__sections__are_those_that_the_code_cites():
    numbers = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?) ", TEXT, re.MULTILINE))
    cited = {
        (path.name, number)
        for path in (ROOT / "protocol").rglob("*.py")
        for line in path.read_text().splitlines()
        if "SPEC.md" in line and "contracts/SPEC" not in line
        for number in re.findall(r"§(\d+(?:\.\d+)?)", line)
    }
    assert sorted((name, number) for name, number in cited if number not in numbers) == []


def test_spec__limits__are_those_of_the_code():
    assert "`MAX_MESSAGE_BYTES` (64 KiB)" in TEXT
    assert params.MAX_MESSAGE_BYTES == 64 * 1024
    assert "`MAX_ARTIFACT_BYTES` (24 MiB)" in TEXT
    assert params.MAX_ARTIFACT_BYTES == 24 * 1024 * 1024
    assert "`MAX_PROMPT_CHARACTERS` (2000)" in TEXT
    assert params.MAX_PROMPT_CHARACTERS == 2000
