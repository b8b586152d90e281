"""Runs a long-lived command until it ends or is told to stop, and makes sure that it does stop.

A first SIGINT or SIGTERM, a terminal that closes (SIGHUP), or the end of standard input where asked for, cancels
everything; a second signal, or a stop that takes too long, ends the process at once. Where something is to end by
itself before, the first signal waits for that and the second does not. State on disk is safe at any instant, so this
loses nothing. SIGUSR1 stops nothing: it has all stacks written to standard error (``node.stacks``).
"""

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final, final

import trio

from node.stacks import told_when_asked
from protocol.errors import OverlayError

STOP_SECONDS: Final = 3.0
"""How long (s) a node may take to stop: a devnet waits for its children within its own five seconds."""


def run_until_stopped(
    main: Callable[[], Awaitable[None]],
    *,
    stop_seconds: float = STOP_SECONDS,
    exit_with_stdin: bool = False,
    drain: Callable[[], Awaitable[None]] | None = None,
    drain_seconds: float = 0.0,
) -> int:
    """Run ``main`` under trio until it returns or a signal comes.

    Signals are taken also when they were inherited as ignored, as a shell does for what runs in the background; but
    not SIGHUP, since whoever ignores it (``nohup``) wants the node to outlive the terminal.

    Args:
        main: What to run; it must end soon after it is cancelled.
        stop_seconds: How long it may take to stop (s) before the process ends regardless.
        exit_with_stdin: Take the end of standard input as a request to stop, at once.
        drain: What is to end by itself after the first signal, before ``main`` is cancelled; another signal cuts it
            short.
        drain_seconds: How long that may take (s).

    Returns:
        Exit code: 0 when it returned, was terminated or its parent left; 130 after Ctrl-C.

    Raises:
        OverlayError: The first expected error that ``main`` ended with, out of its exception group.
    """
    stopping = _Stopping(stop_seconds)
    try:
        with told_when_asked():
            trio.run(_run, main, stopping, exit_with_stdin, drain, drain_seconds)
    except BaseExceptionGroup as group:
        expected, rest = group.split(OverlayError)
        if expected is None or rest is not None:
            raise
        raise _first(expected) from None
    finally:
        stopping.finished()
    return stopping.code


async def _run(
    main: Callable[[], Awaitable[None]],
    stopping: "_Stopping",
    exit_with_stdin: bool,
    drain: Callable[[], Awaitable[None]] | None,
    drain_seconds: float,
) -> None:
    """Run ``main`` in a scope that signals cancel, while listening for them to the very end."""
    hung_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, *hung_up) as signals:
        async with trio.open_nursery() as nursery:

            async def drain_and_stop(code: int, drain: Callable[[], Awaitable[None]]) -> None:
                with trio.move_on_after(drain_seconds):
                    await drain()
                stopping.begin(code, "signal")

            def begin(code: int) -> None:
                if drain is None:
                    stopping.begin(code, "signal")
                else:
                    nursery.start_soon(drain_and_stop, code, drain)

            nursery.start_soon(_listen, signals, stopping, begin)
            if exit_with_stdin:
                stopping.watch_stdin(trio.lowlevel.current_trio_token())
            with stopping.scope:
                await main()
            nursery.cancel_scope.cancel()


async def _listen(signals: AsyncIterator[int], stopping: "_Stopping", begin: Callable[[int], None]) -> None:
    """Let what runs end on the first signal, stop on another, leave on one more."""
    draining = False
    async for number in signals:
        if stopping.begun:
            os._exit(128 + number)
        code = 128 + number if number == signal.SIGINT else 0
        if draining:
            stopping.begin(code, "signal")
            continue
        with suppress(OSError):  # of a terminal that is gone
            print("stopping…", file=sys.stderr, flush=True)
        draining = True
        begin(code)


def _first(group: BaseExceptionGroup[OverlayError]) -> OverlayError:
    """Give the first error of a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, OverlayError)
    return error


@final
class _Stopping:
    """Whether the process is stopping, and the timer that ends it when that takes too long."""

    def __init__(self, stop_seconds: float) -> None:
        self.scope = trio.CancelScope()
        self.begun = False
        self.code = 0
        self._stop_seconds = stop_seconds
        self._timer: threading.Timer | None = None

    def begin(self, code: int, reason: str) -> None:
        """Cancel what runs, for a reason that it may note, and set the timer. Once is enough."""
        if not self.begun:
            self.begun = True
            self.code = code
            self._start_timer(code)
            self.scope.cancel(reason)

    def finished(self) -> None:
        """Everything stopped in time."""
        if self._timer is not None:
            self._timer.cancel()

    def watch_stdin(self, token: trio.lowlevel.TrioToken) -> None:
        """Begin to stop when standard input ends. A thread of its own sees that even while trio is held up."""

        def read_to_end() -> None:
            try:
                while os.read(0, 4096):
                    pass
            except OSError:
                pass  # a closed standard input has ended as well
            with suppress(OSError):  # of a terminal that is gone
                print("standard input has ended: stopping, as exit_with_stdin asks", file=sys.stderr, flush=True)
            try:
                token.run_sync_soon(self.begin, 0, "input_closed")
            except trio.RunFinishedError:
                return
            self._start_timer(0)

        threading.Thread(target=read_to_end, name="standard input", daemon=True).start()

    def _start_timer(self, code: int) -> None:
        """Leave the process in a while, whatever is still running."""
        if self._timer is None:
            self._timer = threading.Timer(self._stop_seconds, _leave, (code,))
            self._timer.daemon = True
            self._timer.start()


def _leave(code: int) -> None:
    """End the process at once."""
    with suppress(OSError):  # of a terminal that is gone
        print("some parts did not stop in time; leaving without them", file=sys.stderr, flush=True)
    os._exit(code)
