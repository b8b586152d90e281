"""Nodes as child processes: start, wait until ready, stop, and tell the end of a log when one died.

A child holds a pipe as standard input and stops when it closes (``exit_with_stdin``), so that none outlives this
process, not even when it is killed. Children have sessions of their own: Ctrl-C in a terminal reaches us alone, and
we stop them in order.
"""

import json
import os
import signal
import subprocess
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import trio

from node.own_command import own_command
from protocol.errors import Unavailable

READY_SECONDS: Final = 90.0
"""How long (s) a node may take to say that it is ready. Four that load libraries at once on one slow core take 30."""

MAX_READY_LINE_BYTES: Final = 64 * 1024
"""Longest line (bytes) that we read from a child's standard output."""

TAIL_LINES: Final = 12
"""Lines of a dead child's log that are shown."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a child said of itself in its ready line."""

    role: str
    peer_id: str
    address: str
    addresses: tuple[str, ...]
    staking_id: int | None
    http_url: str | None


@final
class Child:
    """One ``cuckoo node`` process."""

    def __init__(self, name: str, config: Path, log: Path, process: trio.Process) -> None:
        self.name = name
        self.config = config
        self.log = log
        self._process = process
        self.stopping = False

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @classmethod
    async def start(cls, name: str, role: str, config: Path, log: Path) -> "Child":
        """Start a node; its role and settings stand in its command line, and so in ``ps``.

        That it ends with this process stands there, too, and not in its settings: by these a person starts it again.
        """
        command = [*own_command(), "node", "--role", role, "--config", str(config), "--json", "--exit-with-stdin"]
        with log.open("ab") as output:
            process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        return cls(name, config, log, process)

    async def ready(self) -> Readiness:
        """Wait for the ready line.

        Raises:
            Unavailable: When the child ends before, or takes too long; the text holds the end of its log.
        """
        stdout = self._process.stdout
        assert stdout is not None
        received = bytearray()
        with trio.move_on_after(READY_SECONDS):
            while b"\n" not in received and len(received) < MAX_READY_LINE_BYTES:
                chunk = await stdout.receive_some()
                if not chunk:
                    code = await self._process.wait()
                    raise Unavailable(f"{self.name} ended before it was ready, with {outcome(code)}{self.tail()}")
                received += chunk
            said = json.loads(received.partition(b"\n")[0])
            return Readiness(
                role=said["role"],
                peer_id=said["peer_id"],
                address=said["address"],
                addresses=tuple(said["addresses"]),
                staking_id=said["staking_id"],
                http_url=said["http_url"],
            )
        raise Unavailable(f"{self.name} was not ready within {READY_SECONDS:.0f} s{self.tail()}")

    async def ended(self) -> str:
        """Wait until the child ends, and say how."""
        return outcome(await self._process.wait())

    async def stop(self, within_s: float) -> None:
        """Ask the child to stop, and kill it when it does not. Returns when it is gone. May be called twice."""
        self.stopping = True
        with trio.CancelScope(shield=True):
            if self._process.stdin is not None:
                await self._process.stdin.aclose()
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
            with trio.move_on_after(within_s):
                await self._process.wait()
            if self._process.poll() is None:
                self._process.kill()
                await self._process.wait()
            if self._process.stdout is not None:
                await self._process.stdout.aclose()

    def resident_bytes(self) -> dict[str, int]:
        """Give the resident memory of this process and its own children, by command, from /proc; empty elsewhere."""
        found: dict[str, int] = {}
        for pid in (self.pid, *_children(self.pid)):
            try:
                pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
            except (OSError, IndexError, ValueError):
                continue  # it ended meanwhile, or this is no Linux
            found["node" if pid == self.pid else "engine"] = pages * os.sysconf("SC_PAGE_SIZE")
        return found

    def tail(self) -> str:
        """Give the end of the child's log, to stand behind a sentence."""
        try:
            with self.log.open(encoding="utf-8", errors="replace") as file:
                lines = list(deque(file, maxlen=TAIL_LINES))
        except OSError:
            lines = []
        indented = "".join(f"\n  | {line.rstrip()}" for line in lines)
        return f"; the end of its log, {self.log}:{indented}" if indented else f"; its log {self.log} is empty"


def outcome(code: int) -> str:
    """Say how a process ended."""
    return f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"


def _children(pid: int) -> list[int]:
    """List the direct children of a process, whichever of its threads started them."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(text) for text in listing.read_text(encoding="ascii").split()]
        except (OSError, ValueError):
            continue  # the thread ended meanwhile: its children are another thread's now
    return found
