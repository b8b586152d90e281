"""One life of the engine's child, as seen by the node: pipes, pings, and its end."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from subprocess import PIPE
from typing import Final

import trio

from node.adapters.engine.ipc import (
    MAX_REPORT_BYTES,
    Command,
    FrameError,
    FrameReader,
    Ping,
    Pong,
    Report,
    Started,
    decode_report,
    encode,
)
from node.child_environment import child_environment

PING_INTERVAL_S: Final = 0.5
MISSED_PINGS_LIMIT: Final = 6
"""Intervals without a pong after which the child is frozen: 3 s, the lease of a task. Intervals are counted, not
seconds, so that a node which was itself suspended does not blame its child."""
COMMAND_LIMIT: Final = 1024
"""Commands on their way to the child; jobs are bounded far below, so that only a fault of ours reaches it."""
READ_BYTES: Final = 256 * 1024
STOP_LIMIT_S: Final = 1.0
"""How long (s) a child whose input was closed may take to end; it does so at once unless the device holds it."""
KILL_LIMIT_S: Final = 5.0
"""How long (s) we wait for a killed child; one that a driver holds in the kernel is left behind."""
STARTUP_LIMIT_S: Final = 120.0
"""Longest time (s) for a child to import its libraries and find its device: half a minute on a cold disk."""
CHILD_MODULE: Final = "node.adapters.engine.child"


class ChildProcess:
    """A running child. ``serve`` ends when the child does, or when it must be given up."""

    def __init__(self, process: trio.Process) -> None:
        """Take over a process whose two pipes are trio streams."""
        self._process = process
        self._send, self._outgoing = trio.open_memory_channel[Command](COMMAND_LIMIT)
        self._started = False
        self.is_loaded = False
        """Whether its models are loaded; until whoever loads them says so, pings need no answer: what imports and loads
        holds Python's lock for seconds, on a busy or slow machine for many, and the deadline alone counts."""
        self._missed = 0
        self._numbers = 0
        self.lost_reason = "engine_down"
        """Stable name of why ``serve`` ended."""
        self._given_up = False
        self.deadline = trio.current_time() + STARTUP_LIMIT_S
        """Moment (trio time) by which the child must have reached its next stage; whoever gives it work moves it."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def answering(self) -> bool:
        """Whether the last ping or the one before it was answered."""
        return self._started and self._missed <= 2

    def send(self, command: Command) -> None:
        """Queue a command; never blocks."""
        self._send.send_nowait(command)

    async def serve(self, on_report: Callable[[Report], None], on_tick: Callable[[], None]) -> None:
        """Pass reports on until the child is lost, then say why in ``lost_reason``.

        Args:
            on_report: Told of everything but pongs.
            on_tick: Called every ``PING_INTERVAL_S``.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self._watch, on_tick, nursery.cancel_scope)
            await self._read(on_report)
            nursery.cancel_scope.cancel()

    def give_up(self, reason: str) -> None:
        """End this life for a reason of the caller's, at the next tick or report, whatever the deadline becomes."""
        self.lost_reason = reason
        self._given_up = True

    async def stop(self) -> None:
        """Make sure that the process is gone, in a few seconds at most."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with trio.CancelScope(shield=True):
            await self._process.stdin.aclose()
            await self._process.stdout.aclose()
            if self.answering:
                with trio.move_on_after(STOP_LIMIT_S):
                    await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
                with trio.move_on_after(KILL_LIMIT_S):
                    await self._process.wait()

    async def _write(self) -> None:
        """Move commands to the pipe; a broken pipe is noticed by the reader."""
        assert self._process.stdin is not None
        async for command in self._outgoing:
            try:
                await self._process.stdin.send_all(encode(command))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def _read(self, on_report: Callable[[Report], None]) -> None:
        """Read reports until the pipe ends or holds what is no report."""
        assert self._process.stdout is not None
        frames = FrameReader(MAX_REPORT_BYTES)
        while True:
            try:
                data = await self._process.stdout.receive_some(READ_BYTES)
            except trio.BrokenResourceError:
                return
            if not data:
                return
            try:
                reports = [decode_report(body) for body in frames.feed(bytes(data))]
            except FrameError:
                self.lost_reason = "engine_garbled"
                return
            for report in reports:
                if isinstance(report, Pong):
                    self._missed = 0
                    continue
                if isinstance(report, Started):
                    self._started = True
                    self._missed = 0
                on_report(report)
            if self._given_up:
                return

    async def _watch(self, on_tick: Callable[[], None], scope: trio.CancelScope) -> None:
        """Ping, and give up a child that is frozen or past its deadline."""
        while True:
            self._numbers += 1
            self.send(Ping(number=self._numbers))
            await trio.sleep(PING_INTERVAL_S)
            if self.is_loaded:
                self._missed += 1
            if self._given_up:
                scope.cancel()
            elif self._missed > MISSED_PINGS_LIMIT:
                self.lost_reason = "engine_frozen"
                scope.cancel()
            elif trio.current_time() > self.deadline:
                self.lost_reason = "engine_stalled"
                scope.cancel()
            else:
                on_tick()


@asynccontextmanager
async def open_child(device: str, threads: int) -> AsyncIterator[ChildProcess]:
    """Start a child; it is gone when the block is left, however that happens."""
    command = [sys.executable, "-P", "-m", CHILD_MODULE, "--device", device, "--threads", str(threads)]
    process = await trio.lowlevel.open_process(
        command, stdin=PIPE, stdout=PIPE, env=child_environment(threads, os.environ)
    )
    child = ChildProcess(process)
    try:
        yield child
    finally:
        await child.stop()
