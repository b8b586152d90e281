"""Shows how many bytes are done: a bar on a terminal, a line for each thing elsewhere. Always on standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


@final
class Transfer:
    """Tells what is being transferred now. Fits ``node.model_pull.Told``."""

    def __init__(self) -> None:
        """Begin on standard error."""
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        self._line: Any = None  # rich's TaskID, a NewType that it does not export everywhere

    @contextmanager
    def shown(self) -> Iterator["Transfer"]:
        """Show a bar for as long as this is open, if there is a terminal."""
        if not self._console.is_terminal:
            yield self
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            self._progress = progress
            self._line = progress.add_task("", total=None)
            try:
                yield self
            finally:
                self._progress = None

    def begin(self, what: str, total: int, done: int) -> None:
        """Say what is being done, and how many bytes of a whole are done."""
        if self._progress is not None:
            self._progress.reset(self._line, description=what, completed=done, total=total)
            return
        print(f"{what}: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB", file=sys.stderr, flush=True)

    def advance(self, count: int) -> None:
        """Say that so many more bytes are done."""
        if self._progress is not None:
            self._progress.advance(self._line, count)
