"""Two files in, their distance out: by a short-lived child process.

The files come from strangers and a decoder is written in C; and reducing a picture takes a second of pure arithmetic.
Neither may hold up a coordinator, so both happen in a process of their own, with limits (``child``).
"""

import os
import sys
from subprocess import DEVNULL
from typing import Final, final

import trio

from node.child_environment import child_environment

CHILD_MODULE: Final = "node.adapters.pictures.child"
TIME_LIMIT_S: Final = 180.0
"""Longest time (s) for two pictures: the largest, of 4096x4096 pixels, take a minute of one core."""


@final
class ChildComparer:
    """Implements ``node.ports.PictureComparer``."""

    def __init__(self, time_limit_s: float = TIME_LIMIT_S) -> None:
        """Start nothing yet; a comparison may take so long (s)."""
        self._time_limit_s = time_limit_s

    async def apart(self, one: bytes, other: bytes) -> int | None:
        """Give the distance of two files (parts per million), ``UNREADABLE`` where one shows no picture.

        None where the child could not say: it ran out of time or memory, could not begin, or has no decoder.
        """
        try:
            with trio.move_on_after(self._time_limit_s):
                done = await trio.run_process(
                    [sys.executable, "-P", "-m", CHILD_MODULE],
                    stdin=len(one).to_bytes(4, "big") + one + other,
                    capture_stdout=True,
                    stderr=DEVNULL,
                    check=False,
                    env=child_environment(1, os.environ),
                )
                said = done.stdout.strip()
                return int(said) if done.returncode == 0 and said.isdigit() else None
        except OSError:  # this machine has no process or memory to spare now
            pass
        return None
