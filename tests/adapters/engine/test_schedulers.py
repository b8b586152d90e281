"""What catalogs may offer, a miner can draw with: diffusers puts a dummy in the place of what lacks a library."""

import ast
from importlib.metadata import packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement

from protocol.task.schedulers import SchedulerName


def brought_by(distribution: str, extra: str = "", known: set[str] | None = None) -> set[str]:
    """Names of all distributions that installing one brings."""
    known = {distribution} if known is None else known
    for line in requires(distribution) or []:
        needed = Requirement(line)
        if needed.name not in known and (needed.marker is None or needed.marker.evaluate({"extra": extra})):
            known.add(needed.name)
            brought_by(needed.name, known=known)
    return known


def libraries_of(scheduler: str) -> set[str]:
    """Top-level modules that the file of a scheduler imports, read without importing it."""
    package = find_spec("diffusers")
    assert package is not None
    assert package.submodule_search_locations is not None
    folder = Path(package.submodule_search_locations[0]) / "schedulers"
    (source,) = [text for path in folder.glob("*.py") if f"class {scheduler}(" in (text := path.read_text())]
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found.update(one.name.partition(".")[0] for one in names)
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module.partition(".")[0])
    return found


@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
def test_schedulers__of_catalogs__need_nothing_that_a_miner_has_not(scheduler: str) -> None:
    brought = brought_by("cuckoo-overlay", "miner")
    owners = packages_distributions()
    needed = {owners[name][0] for name in libraries_of(scheduler) if name in owners}
    assert {"torch", "numpy"} <= needed
    assert needed <= brought
