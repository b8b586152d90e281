"""What every thread and trio task of this process is at, for whoever asks a process that seems to stand still.

Places in the code alone, never the values of variables: a prompt or a key may be among them.
"""

import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import trio

ASKED_BY: Final = signal.SIGUSR1
"""What asks: ``kill -USR1 PID``."""


@contextmanager
def told_when_asked() -> Iterator[None]:
    """Write all stacks to standard error at each SIGUSR1, which would end the process otherwise.

    For the main thread, which it interrupts between two steps: so it is answered also where trio is held up. Only what
    never comes back from a library in C holds it up, too.
    """

    def tell(_number: int, _frame: FrameType | None) -> None:
        try:
            told = stacks()
        except Exception as error:  # noqa: BLE001  # to be asked ends nothing, also where recursion has no end
            told = f"stacks of process {os.getpid()} cannot be told: {type(error).__name__}: {error}\n"
        with suppress(OSError):  # of a terminal that is gone
            _write(told.encode(errors="replace"))

    before = signal.signal(ASKED_BY, tell)
    try:
        yield
    finally:
        signal.signal(ASKED_BY, before)


def stacks() -> str:
    """Say what each thread is at, and each task of trio where this thread runs it; equal ones once and counted."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [f"stacks of process {os.getpid()}, as {ASKED_BY.name} asks:"]
    for ident, frame in sys._current_frames().items():
        lines = traceback.format_list(traceback.extract_stack(frame))
        parts.append(f"thread {names.get(ident, ident)}:\n{''.join(lines)}".rstrip())
    equal = Counter(_tasks())
    parts += [
        f"{task}{f', {count:,} times' if count > 1 else ''}:\n{at}".rstrip() for (task, at), count in equal.items()
    ]
    return "\n".join(parts) + "\n"


def _tasks() -> Iterator[tuple[str, str]]:
    """Give the name of each task with where it is."""
    try:
        waiting = [trio.lowlevel.current_root_task()]
    except RuntimeError:  # trio does not run in this thread
        return
    while waiting:
        task = waiting.pop()
        if task is None:
            continue
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        at = traceback.StackSummary.extract(task.iter_await_frames())
        yield f"task {task.name}", "".join(at.format())


def _write(data: bytes) -> None:
    """Write past Python's buffers: what was interrupted may be writing there itself."""
    while data:
        data = data[os.write(2, data) :]
