"""SPEC.md names rules, functions and tests: all of them exist, and no rule or reason of the code is missing there."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from protocol import params
from tests.support.defined_tests import defined_tests

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "protocol" / "SPEC.md").read_text()
LINES = TEXT.splitlines()
RULE = re.compile(r"[a-z]+(?:_[a-z]+)*\.[a-z]+(?:_[a-z]+)*")
REASON = re.compile(r"[a-z]+(?:_[a-z]+)*")
SPEAKING = ("protocol", "node/adapters/libp2p")
"""Folders where every text of the shape of a rule that is handed to a call is one."""
NAMING = {"InvalidMessage", "IgnoredMessage", "Judge"}
REASONED = {"abandon", "cancel", "reject", "stop", "fail", "take_back", "_decline", "_end", "Refused"}
"""Methods of the roles that say no, with the reason among their arguments."""
SKIPPING = ("on_award", "_fault_of_offer", "_fault_of_coordinator", "_had_already", "_reason_to_decline", "_why_unfit")
"""Methods that give the reason for which a miner skips an offer, or gives an award back, or is declined."""
FUNCTIONS = sorted(set(re.findall(r"`((?:protocol|node)(?:\.\w+)+)`", TEXT)))
TESTS = sorted(set(re.findall(r"`(test_\w+)`", TEXT)))
DEFINED = defined_tests()


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


def calls(folder: str) -> list[ast.Call]:
    """Every call in the code of a folder."""
    sources = [path.read_text() for path in (ROOT / folder).rglob("*.py") if "training" not in path.parts]
    return [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]


def called(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def texts(*arguments: ast.expr) -> set[str]:
    """Every text that stands in these arguments."""
    nodes = [node for argument in arguments for node in ast.walk(argument)]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_spec__rule_that_the_code_names__stands_in_it():
    given = [
        texts(*call.args, *(word.value for word in call.keywords)) for folder in SPEAKING for call in calls(folder)
    ]
    for call in calls("node"):
        given.append(texts(*(word.value for word in call.keywords if word.arg == "rule")))
        given.append(texts(*call.args) if called(call) in NAMING else set())
    named = {text for some in given for text in some if RULE.fullmatch(text)}
    assert sorted(rule for rule in named if f"`{rule}`" not in TEXT) == []
    assert {"work.flood", "receipt.artifact", "artifact.chunk", "hello.voucher_signature", "http.connection"} <= named
    assert len(named) > 70


def returned_by(name: str) -> list[ast.expr]:
    """What the methods of this name in the roles return."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "protocol" / "roles").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    methods = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == name]
    returns = [node for method in methods for node in ast.walk(method) if isinstance(node, ast.Return)]
    return [node.value for node in returns if node.value is not None]


def test_spec__reason_that_a_role_gives__stands_in_it():
    given = [texts(*call.args) for call in calls("protocol/roles") if called(call) in REASONED]
    reasons = {text for some in given for text in some if REASON.fullmatch(text)}
    returned = [value for name in SKIPPING for value in returned_by(name)]
    skips = {text for value in returned for text in texts(value) if REASON.fullmatch(text)}
    closures = {"failed"}  # not a reason but how the task's end is announced
    assert sorted(name for name in (reasons | skips) - closures if f"`{name}`" not in TEXT) == []
    assert {"lease_expired", "no_place", "not_served", "busy", "in_hand", "price", "unpaid"} <= reasons | skips


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


def module_of(dotted: str) -> Path:
    """The file that holds a function, class or method."""
    parts = dotted.split(".")
    files = [ROOT.joinpath(*parts[:end]).with_suffix(".py") for end in range(1, len(parts) + 1)]
    return next(file for file in files if file.is_file())


def sections_of_modules() -> dict[Path, set[str]]:
    """The sections that name functions of each module of the protocol."""
    found: dict[Path, set[str]] = {}
    section = ""
    for line in LINES:
        section = match[1] if (match := re.match(r"#{2,3} (\d+(?:\.\d+)?) ", line)) else section
        for dotted in re.findall(r"`(protocol(?:\.\w+)+)`", line):
            found.setdefault(module_of(dotted), set()).add(section)
    return found


@pytest.mark.parametrize(
    ("module", "sections"), [pytest.param(*found, id=found[0].stem) for found in sections_of_modules().items()]
)
def test_spec__module_whose_functions_it_names__cites_a_section_that_does(module: Path, sections: set[str]):
    said = ast.get_docstring(ast.parse(module.read_text())) or ""
    cited = set(re.findall(r"§(\d+(?:\.\d+)?)", said))
    assert sections & cited or {section.split(".")[0] for section in sections} & cited, f"{cited} and not {sections}"


def test_spec__limits__are_those_of_the_code():
    assert "`MAX_MESSAGE_BYTES` (64 KiB)" in TEXT
    assert params.MAX_MESSAGE_BYTES == 64 * 1024
    assert "`MAX_ARTIFACT_BYTES` (24 MiB)" in TEXT
    assert params.MAX_ARTIFACT_BYTES == 24 * 1024 * 1024
    assert "`MAX_INPUT_BYTES` (8 MiB)" in TEXT
    assert params.MAX_INPUT_BYTES == 8 * 1024 * 1024
    assert "`MAX_INPUT_EDGE` (4096 pixels)" in TEXT
    assert params.MAX_INPUT_EDGE == 4096
    assert "`MAX_PROMPT_CHARACTERS` (2000)" in TEXT
    assert params.MAX_PROMPT_CHARACTERS == 2000


def test_spec__streams__are_those_of_the_code():
    sources = [path.read_text() for folder in SPEAKING for path in (ROOT / folder).rglob("*.py")]
    named = {found for source in sources for found in re.findall(r'"(/cuckoo/1/\w+)"', source)}
    places = TEXT.split("### 4.1 ")[1].split("### 4.2 ")[0]
    assert {found for found in named if f"`{found}`" not in places} == set()
    assert len(named) == 4


FAILURES = [line.strip("|").split("|") for line in TEXT.split("### 9.7 ")[1].split("\n##")[0].splitlines()[6:] if line]


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row[0].strip())
def test_spec__row_of_the_failure_table__is_simulated_and_played_for_real(row: list[str]) -> None:
    _, then, simulated, real = (cell.strip() for cell in row)
    assert then
    played = set(re.findall(r"`(test_\w+)`", simulated))
    assert played
    assert played <= defined_tests("sim", "protocol")
    assert played & defined_tests("sim")
    if not re.match(r"one process: \w+", real):
        assert set(re.findall(r"`(test_\w+)`", real)) <= defined_tests("e2e", "adapters")
        assert "`test_" in real


def test_spec__failure_table__has_every_row() -> None:
    assert len(FAILURES) == 28


THREATS = [
    line.strip("|").split("|") for line in TEXT.split("### 12.11 ")[1].split("\n##")[0].splitlines() if line[:1] == "|"
][2:]
RULES = {rule for line in LINES if line.startswith("| `") for rule in re.findall(r"`([a-z_.*]+)`", line.split("|")[1])}
STOPPED_BY_NOBODY = "nothing prevents this"


@pytest.mark.parametrize("row", THREATS, ids=lambda row: row[0].strip()[:60])
def test_spec__row_of_the_threats__rests_on_rules_and_tests_or_says_that_nothing_does(row: list[str]) -> None:
    wanted, stops, left = (cell.strip() for cell in row)
    assert wanted
    assert left
    named = {name for name in re.findall(r"`([a-z_]+\.[a-z_*]+)`", stops + left) if not name.endswith(".md")}
    settings = {"http.require_key", "submit.require_key"}
    assert named - settings <= RULES
    if not stops.lower().startswith(STOPPED_BY_NOBODY):
        assert "`test_" in stops or named & RULES, "a claim without a rule or test"


def test_spec__threats__are_of_everybody_who_takes_part() -> None:
    who = {found for row in THREATS for found in re.findall(r"^\s*\*\*([^*]+)\*\*", row[0])}
    assert who == {
        "Stranger", "App", "Miner", "Coordinator", "Voter", "Relay", "Bootstrap", "Chain node", "Block producer",
        "Many together", "Local user", "Who deployed the contracts",
    }  # fmt: skip
