"""Runs a command in a terminal: a pseudo-terminal whose screen is kept as it would be seen."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyte

COLUMNS, ROWS = 110, 40


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
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update({"TERM": "xterm-256color", "COLORTERM": "truecolor"} | (environment or {}))
        os.environ.pop("XTERM_VERSION", None)
        os.execv(command[0], list(command))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
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
            os.kill(child, signal.SIGKILL)
            raise AssertionError(f"not over within {limit_s:.0f} s:\n{seen.text}")
    finally:
        os.close(terminal)
        _, status = os.waitpid(child, 0)
        seen.code = os.waitstatus_to_exitcode(status)
    return seen
