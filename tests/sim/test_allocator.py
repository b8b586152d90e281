"""That a process is begun anew once for its allocator, with what it was given."""

import os
import subprocess
import sys

from tests.sim.allocator import CHOICE

PROGRAM = """
import os, sys
from tests.sim.allocator import CHOICE, with_system_allocator
print("begun", flush=True)
with_system_allocator()
print(os.environ[CHOICE], *sys.argv[1:])
"""


def told(**chosen: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name != CHOICE} | chosen
    command = [sys.executable, "-c", PROGRAM, "--seed", "7"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return ran.stdout.splitlines()


def test_with_system_allocator__none_chosen__begins_anew_once_with_the_same_arguments() -> None:
    assert told() == ["begun", "begun", "malloc --seed 7"]


def test_with_system_allocator__one_chosen__goes_on_with_it() -> None:
    assert told(PYTHONMALLOC="pymalloc") == ["begun", "pymalloc --seed 7"]
