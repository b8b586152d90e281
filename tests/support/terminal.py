"""Runs a command in a terminal: a pseudo-terminal whose screen is kept as it would be seen."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyte

COLUMNS, ROWS = 110, 40
OWN_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes its input the terminal that Ctrl-C reaches it through, then becomes the command.

In a process of its own: what Python does between a fork and an exec may wait for ever for a lock of another thread.
Ctrl-C is heeded also where the tests run in the background of a shell, which lets all that it starts there ignore it.
"""


@dataclass
class Seen:
    """What stood on the screen in the end, and all that was written."""

    screen: pyte.Screen
    written: bytes
    code: int

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def colors(self) -> set[str]:
        """Colours of the foreground of half blocks on the screen."""
        return {cell.fg for row in self.screen.buffer.values() for cell in row.values() if cell.data == "▀"}


def in_terminal(
    command: Sequence[str],
    *,
    until: Callable[[Seen], bool] | None = None,
    limit_s: float = 60.0,
    environment: dict[str, str] | None = None,
) -> Seen:
    """Run a command to its end, or interrupt it by Ctrl-C once ``until`` holds."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    terminal, other_end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name != "XTERM_VERSION"}
    variables |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | (environment or {})
    child = subprocess.Popen(
        [sys.executable, "-ISc", OWN_TERMINAL, *command],
        env=variables,
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
    )
    os.close(other_end)
    seen = Seen(screen, b"", 0)
    end = time.monotonic() + limit_s
    try:
        while time.monotonic() < end:
            if until is not None and until(seen):
                os.write(terminal, b"\x03")
                until = None
            readable, _, _ = select.select([terminal], [], [], 0.1)
            if not readable:
                continue
            try:
                data = os.read(terminal, 65536)
            except OSError:  # Linux says so when the last one has closed the other end
                break
            seen.written += data
            stream.feed(data)
        else:
            child.kill()
            raise AssertionError(f"not over within {limit_s:.0f} s:\n{seen.text}")
    finally:
        os.close(terminal)
        seen.code = child.wait()
    return seen
