"""Which tests there are, by name: pages that name tests are held to it."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def defined_tests(*folders: str) -> frozenset[str]:
    """The names of all tests in these folders and below, of the whole suite where none is named."""
    paths = [path for folder in folders or (".",) for path in (TESTS / folder).rglob("test_*.py")]
    return frozenset(
        name
        for path in paths
        if "node_modules" not in path.parts
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    )
