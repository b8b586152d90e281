"""A node asks for as many descriptors as its peers need, and says how many it did not get."""

import resource
import subprocess
import sys

import pytest

from node.descriptors import BESIDE

SCRIPT = """
import resource, sys
from node.descriptors import make_room

soft, hard, peers = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(make_room(peers), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "missing", "soft_then"),
    [
        pytest.param(256, 8000, 0, 1000 + BESIDE, id="raised to what it needs"),
        pytest.param(256, 2000, 536, 2000, id="raised to what there is"),
        pytest.param(4000, 8000, 0, 4000, id="enough already"),
    ],
)
def test_make_room__limits__are_raised_as_far_as_needed_and_allowed(soft, hard, missing, soft_then):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("this machine lets a process open fewer files than the case is about")
    command = [sys.executable, "-c", SCRIPT, str(soft), str(hard), "1000"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.split() == [str(missing), str(soft_then), str(hard)]
