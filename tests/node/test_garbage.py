"""A node looks for garbage where there may be some."""

import subprocess
import sys

SCRIPT = """
import gc
from node import garbage

garbage.let_pile_up()
assert not gc.isenabled()
kept = [[] for _ in range(1000)]
garbage.collect_from_here_on()
assert gc.isenabled() and gc.get_threshold() == (garbage.YOUNG, garbage.MIDDLE, garbage.OLD)
assert gc.get_freeze_count() > 1000 and not any(one is kept for one in gc.get_objects())

class Cycle:
    alive = 0
    def __init__(self):
        self.me = self
        Cycle.alive += 1
    def __del__(self):
        Cycle.alive -= 1

for _ in range(10 * garbage.YOUNG):
    Cycle()
print(Cycle.alive)
"""


def test_collect_from_here_on__cycles_made_after__are_collected_and_what_was_there_is_let_be() -> None:
    answer = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) <= 10_000
