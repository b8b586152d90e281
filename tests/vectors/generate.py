"""Writes the vectors: ``python -m tests.vectors.generate``.

Append-only. A stored case whose input or output would change stops it with exit code 1 and nothing is written: what
was once published is what other implementations agree with. A new meaning is a new version and a new case.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.vectors.cases import inputs
from tests.vectors.families import Json, compute

FOLDER = Path(__file__).parent


def stored(folder: Path, family: str) -> list[dict[str, Any]]:
    """Read the cases of a family; none when there is no file yet."""
    path = folder / f"{family}.json"
    return json.loads(path.read_text())["cases"] if path.exists() else []


def extended(family: str, cases: list[dict[str, Any]], wanted: dict[str, Json]) -> list[dict[str, Any]]:
    """Give the stored cases and after them the new ones.

    Raises:
        ValueError: A stored case would change.
    """
    known = {case["name"]: case for case in cases}
    for name, case in known.items():
        if compute(family, case["input"]) != case["output"] or wanted.get(name, case["input"]) != case["input"]:
            raise ValueError(f"{family}: the published case {name!r} would change")
    new = [(name, given) for name, given in wanted.items() if name not in known]
    return [*cases, *({"name": name, "input": given, "output": compute(family, given)} for name, given in new)]


def generate(folder: Path = FOLDER) -> int:
    """Write all files and give how many cases are new; all or nothing."""
    texts, new = {}, 0
    for family, wanted in inputs().items():
        before = stored(folder, family)
        after = extended(family, before, wanted)
        new += len(after) - len(before)
        texts[folder / f"{family}.json"] = json.dumps({"family": family, "cases": after}, indent=1) + "\n"
    for path, text in texts.items():
        path.write_text(text)
    return new


if __name__ == "__main__":
    try:
        print(f"{generate()} new cases")
    except ValueError as error:
        sys.exit(str(error))
