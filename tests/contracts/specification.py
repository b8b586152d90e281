"""The table of contracts/SPEC.md that names the tests of each function."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "contracts" / "SPEC.md").read_text()
ROW = re.compile(r"^\| ((?:`[A-Z]\w+\.\w+` ?)+)\| (.+) \| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One row: what each test of a list shows about some functions of contracts."""

    functions: tuple[tuple[str, str], ...]
    """Contract and function."""
    carried_out: tuple[str, ...]
    """Tests in which each is carried out."""
    refused: tuple[str, ...]
    """Tests in which each refuses."""


@cache
def rows() -> tuple[Row, ...]:
    """Read the table."""
    found = []
    for functions, carried_out, refused in ROW.findall(TEXT):
        pairs = tuple((contract, name) for contract, name in re.findall(r"`(\w+)\.(\w+)`", functions))
        found.append(Row(pairs, *(tuple(re.findall(r"`(test_\w+)`", cell)) for cell in (carried_out, refused))))
    return tuple(found)


@cache
def said_of(test: str) -> frozenset[tuple[str, str, bool]]:
    """Give what the table says of a test: contract, function, and whether it is carried out."""
    told = ((True, "carried_out"), (False, "refused"))
    return frozenset(
        (*function, done)
        for row in rows()
        for done, cell in told
        if test in getattr(row, cell)
        for function in row.functions
    )
