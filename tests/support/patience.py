"""How long tests wait, on machines that others use and that stand still now and then, for ten seconds and more."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE_S: Final = 60.0
"""What comes in milliseconds is waited for this long (s): only what never comes fails a test."""
_LOOK_S: Final = 0.02
_NO_STALL_S: Final = 0.05
"""By so much (s) a pause may be longer than asked for on a machine that runs."""


class Stopwatch:
    """Seconds of a test, without those in which this process did not run."""

    def __init__(self) -> None:
        """Stand still."""
        self._begun = 0.0
        self._stood_still = 0.0

    @property
    def seconds(self) -> float:
        """What went by since it was started, as far as this process could have done anything in it."""
        return time.monotonic() - self._begun - self._stood_still

    def look(self, done: threading.Event) -> None:
        """Notice when a pause takes longer than it should, until told that all is done."""
        while True:
            before = time.monotonic()
            if done.wait(_LOOK_S):
                return
            over = time.monotonic() - before - _LOOK_S
            self._stood_still += over if over > _NO_STALL_S else 0.0

    def start(self) -> None:
        """Begin again at nothing."""
        self._begun, self._stood_still = time.monotonic(), 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Measure how long something takes that has a limit: what stops the machine is not held against it."""
    watch, done = Stopwatch(), threading.Event()
    thread = threading.Thread(target=watch.look, args=(done,))
    thread.start()
    try:
        watch.start()
        yield watch
    finally:
        done.set()
        thread.join()
