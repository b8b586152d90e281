"""The stopwatch by which tests hold a limit on machines that stand still."""

import os
import signal
import subprocess
import sys
import time

from tests.support.patience import PATIENCE_S, stopwatch

STOPPED = """
import time
from tests.support.patience import stopwatch
with stopwatch() as watch:
    print("ready", flush=True)
    while input():
        print(watch.seconds, flush=True)
"""


def test_stopwatch__process_runs__is_what_went_by():
    with stopwatch() as watch:
        time.sleep(0.5)
        seconds = watch.seconds
        watch.start()
        again = watch.seconds
    assert seconds > 0.1, "less where this machine stood still"
    assert again < seconds


def test_stopwatch__process_stood_still__leaves_that_out():
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(2)
        os.kill(process.pid, signal.SIGCONT)
        left_out = 0.0
        while left_out < 1.5:  # until it has noticed
            assert time.monotonic() - begun < PATIENCE_S
            process.stdin.write("how long?\n")
            process.stdin.flush()
            seconds = float(process.stdout.readline())
            left_out = time.monotonic() - begun - seconds
        process.stdin.write("\n")
