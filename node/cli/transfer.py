"""Shows how many bytes are done: a bar on a terminal, a line for each thing elsewhere. Always on standard error."""

import sys
from typing import final

from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from node.cli.progress import MovingLine


@final
class Transfer(MovingLine):
    """Tells what is being transferred now. Fits ``node.model_files.pull.Told``."""

    def __init__(self) -> None:
        """Begin on standard error."""
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )

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
