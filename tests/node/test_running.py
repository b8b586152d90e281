"""A long-lived command stops however it is told to, in time, and lets what runs end first where it should."""

import signal
import subprocess
import sys
import time

import pytest

from tests.support.patience import PATIENCE_S

RUNNER = """
import signal, sys, time, trio
from node.cli.running import run_until_stopped
from protocol.errors import ConfigError

async def forever():
    print("ready", flush=True)
    await trio.sleep_forever()

async def stubborn():
    with trio.CancelScope(shield=True):
        await forever()

async def draining():
    print("draining", file=sys.stderr, flush=True)
    await trio.sleep({draining})

async def held_up():
    print("ready", flush=True)
    time.sleep({limit})

async def mistaken():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forever)
        await trio.lowlevel.checkpoint()
        raise ConfigError("mend this")

if not {ignoring}:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
try:
    drain = draining if {draining} else None
    options = dict(stop_seconds=0.5, exit_with_stdin={stdin}, drain=drain, drain_seconds={limit})
    sys.exit(run_until_stopped({main}, **options))
except ConfigError as error:
    sys.exit(str(error))
"""


def start_runner(
    main: str, *, stdin: bool = False, ignoring: bool = False, draining: float = 0, limit: float = 2 * PATIENCE_S
) -> subprocess.Popen[bytes]:
    code = RUNNER.format(main=main, stdin=stdin, ignoring=ignoring, draining=draining, limit=limit)
    command = [sys.executable, "-c", code]
    if ignoring:  # as a shell starts what runs in the background
        command = ["sh", "-c", 'trap "" INT TERM HUP; exec "$0" "$@"', *command]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    with process:
        try:
            _, errors = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()  # whatever did not stop: leaving the context waits for it
        return process.returncode, errors.decode()


@pytest.mark.parametrize("ignoring", [False, True])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_run_until_stopped__signal__stops_without_traceback(number, code, ignoring):
    process = start_runner("forever", ignoring=ignoring)
    process.send_signal(number)
    assert finish(process) == (code, "stopping…\n")


def test_run_until_stopped__terminal_closes__stops():
    process = start_runner("forever")
    process.send_signal(signal.SIGHUP)
    assert finish(process) == (0, "stopping…\n")


def test_run_until_stopped__under_nohup__outlives_the_terminal():
    process = start_runner("forever", ignoring=True)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (0, "stopping…\n")


def test_run_until_stopped__will_not_stop__leaves_after_its_time():
    process = start_runner("stubborn")
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, errors = finish(process)
    assert code == 0, "and not the code of a process that had to be killed"
    assert "did not stop in time" in errors
    assert time.monotonic() - begun > 0.4


def test_run_until_stopped__second_signal__leaves_at_once():
    process = start_runner("stubborn")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline().decode() == "stopping…\n"
    process.send_signal(signal.SIGINT)
    assert finish(process) == (130, "")


@pytest.mark.parametrize(("draining", "limit", "at_least"), [(0.2, 2 * PATIENCE_S, 0.2), (2 * PATIENCE_S, 2.0, 2.0)])
def test_run_until_stopped__something_to_drain__waits_for_it_within_its_limit(draining, limit, at_least):
    process = start_runner("forever", draining=draining, limit=limit)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (0, "stopping…\ndraining\n")
    assert at_least <= time.monotonic() - begun, "and not the other of the two, in which it would have been killed"


def test_run_until_stopped__second_signal_while_draining__stops_in_good_order():
    process = start_runner("forever", draining=2 * PATIENCE_S)
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    assert [process.stderr.readline().decode() for _ in range(2)] == ["stopping…\n", "draining\n"]
    process.send_signal(signal.SIGINT)
    assert finish(process) == (130, ""), "long before what it drains ends, or its time"


@pytest.mark.parametrize("main", ["forever", "stubborn"])
def test_run_until_stopped__standard_input_closes__stops(main):
    process = start_runner(main, stdin=True)
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    code, errors = finish(process)
    assert code == 0
    assert errors.startswith("standard input has ended: stopping, as exit_with_stdin asks\n")


def test_run_until_stopped__asked_for_stacks__tells_them_and_goes_on():
    process = start_runner("forever")
    process.send_signal(signal.SIGUSR1)
    assert process.stderr is not None
    told = []
    while not told or "in forever\n" not in told[-1]:
        told.append(process.stderr.readline().decode())
        assert told[-1], told
    assert told[0] == f"stacks of process {process.pid}, as SIGUSR1 asks:\n"
    assert "thread MainThread:\n" in told
    process.send_signal(signal.SIGTERM)
    code, errors = finish(process)
    assert code == 0
    assert errors.endswith("stopping…\n")


def test_run_until_stopped__asked_for_stacks_while_trio_is_held_up__tells_where():
    process = start_runner("held_up")
    process.send_signal(signal.SIGUSR1)
    assert process.stderr is not None
    while "in held_up\n" not in (line := process.stderr.readline().decode()):
        assert line
    process.kill()
    finish(process)


def test_run_until_stopped__expected_error_in_a_nursery__comes_out_alone():
    process = start_runner("mistaken")
    assert finish(process) == (1, "mend this\n")
