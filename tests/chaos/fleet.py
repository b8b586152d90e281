"""The processes of a chaos run: killed, frozen and started again by us; whoever ends by itself is a finding."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import trio

ROOT: Final = Path(__file__).parents[2]
STOP_S: Final = 8.0
"""How long (s) a process may take to stop when asked."""


@dataclass
class Member:
    """One process, over all its lives."""

    name: str
    command: list[str]
    log: Path
    lives: int = 0
    process: trio.Process | None = None
    expected: bool = False
    """Its end is our doing."""
    frozen: bool = False
    wrong: list[str] = field(default_factory=list)
    """Ends that were not."""


class Fleet:
    """All processes of a run."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.members: dict[str, Member] = {}

    async def start(self, name: str, command: list[str], log: Path) -> Member:
        """Start a process that may be started again under its name."""
        member = self.members[name] = Member(name, command, log)
        await self.again(name)
        return member

    async def again(self, name: str) -> None:
        """Start one more life."""
        member = self.members[name]
        assert member.process is None or member.process.poll() is not None, f"{name} lives"
        with member.log.open("ab") as log:
            member.process = await trio.lowlevel.open_process(
                [sys.executable, "-m", *member.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        member.lives += 1
        member.expected = member.frozen = False
        self._nursery.start_soon(self._watch, member, member.process)

    async def _watch(self, member: Member, process: trio.Process) -> None:
        code = await process.wait()
        if not member.expected:
            member.wrong.append(f"{member.name} ended by itself with {code} in its life {member.lives}")
        if process.stdin is not None:
            await process.stdin.aclose()

    async def kill(self, name: str) -> None:
        """Kill it as ``kill -9`` does; returns when it is gone."""
        member = self.members[name]
        member.expected = True
        assert member.process is not None
        with suppress(ProcessLookupError):
            os.kill(member.process.pid, signal.SIGKILL)
        await member.process.wait()

    def freeze(self, name: str) -> None:
        """Let it stand still: its sockets are open, and nobody answers at them."""
        member = self.members[name]
        assert member.process is not None
        os.kill(member.process.pid, signal.SIGSTOP)
        member.frozen = True

    def thaw(self, name: str) -> None:
        """Let it go on."""
        member = self.members[name]
        assert member.process is not None
        with suppress(ProcessLookupError):
            os.kill(member.process.pid, signal.SIGCONT)
        member.frozen = False

    def children(self, name: str) -> list[psutil.Process]:
        """Give the processes that it started itself."""
        member = self.members[name]
        assert member.process is not None
        try:
            found: list[psutil.Process] = psutil.Process(member.process.pid).children()
        except psutil.NoSuchProcess:
            return []
        return found

    async def finish(self, name: str, within_s: float) -> bool:
        """Ask it to stop and wait for that; says whether it did."""
        member = self.members[name]
        member.expected = True
        assert member.process is not None
        if member.process.poll() is None:
            member.process.send_signal(signal.SIGTERM)
        with trio.move_on_after(within_s):
            await member.process.wait()
            return True
        return False

    async def stop_all(self) -> None:
        """End everything; also when we are being cancelled."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for member in self.members.values():
                    nursery.start_soon(self._stop, member)

    async def _stop(self, member: Member) -> None:
        self.thaw(member.name)
        if not await self.finish(member.name, STOP_S):
            await self.kill(member.name)


def pid_of_chain() -> int:
    """Give the pid of the chain node that this process started."""
    children = psutil.Process().children(recursive=True)
    return next(child.pid for child in children if Path(child.exe()).name == "anvil")
