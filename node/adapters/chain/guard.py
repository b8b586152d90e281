"""Runs one command and takes it down when we go: ``python -m node.adapters.chain.guard -- COMMAND …``.

The parent holds the other end of our standard input. It closes when the parent ends, however it ends, kill -9
included; then, or on SIGTERM or SIGINT, the command is stopped. Standard library only: it must start at once and
weigh little.
"""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
from typing import Final

STOP_LIMIT_S: Final = 3.0
"""How long (s) the command may take to stop before it is killed."""
_PR_SET_PDEATHSIG: Final = 1


def _die_with_guard() -> None:
    """Ask Linux to kill the command should even this process be killed; elsewhere nothing is lost but that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Run the command; gives its exit status, or 0 when it was stopped on purpose."""
    if len(arguments) < 2 or arguments[0] != "--":
        sys.stderr.write("usage: python -m node.adapters.chain.guard -- COMMAND [ARGUMENT]…\n")
        return 2
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # the handler matters for waking up the selector only
    # The command is our caller's own; preexec_fn is safe, since this process has one thread.
    child = subprocess.Popen(arguments[1:], stdin=subprocess.DEVNULL, preexec_fn=_die_with_guard)  # noqa: S603
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ, "parent")
        selector.register(reader, selectors.EVENT_READ, "signal")
        while child.poll() is None:
            for key, _ in selector.select():
                data = os.read(key.fd, 64)
                if (key.data == "parent" and not data) or signal.SIGTERM in data or signal.SIGINT in data:
                    return _stop(child)
    return child.returncode


def _stop(child: subprocess.Popen[bytes]) -> int:
    """Stop the command, first by asking."""
    child.terminate()
    try:
        child.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
