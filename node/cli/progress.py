"""Shows what is going on: a moving line on a terminal, plain lines elsewhere. Always on standard error."""

import base64
import binascii
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self, final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from node.cli.picture import preview_of

FRAMES_PER_S: Final = 10
"""How often (1/s) the moving line is drawn."""
STAGE_WORDS: Final = {
    "queued": "queued",
    "offered": "offered to the miners",
    "claimed": "claimed",
    "ready": "drawn; taking it",
    "done": "done",
    "failed": "failed",
}


class MovingLine:
    """One line of rich at the foot of a terminal."""

    def __init__(self, *columns: ProgressColumn) -> None:
        """Begin on standard error; ``columns`` are what the line shows."""
        self._console = Console(stderr=True, highlight=False)
        self._columns = columns
        self._progress: Progress | None = None
        self._live: Live | None = None
        self._line: Any = None  # rich's TaskID, a NewType that it does not export everywhere

    @contextmanager
    def shown(self) -> Iterator[Self]:
        """Show the line for as long as this is open, if there is a terminal."""
        if not self._console.is_terminal:
            yield self
            return
        progress = Progress(*self._columns, console=self._console)
        live = Live(
            get_renderable=lambda: Group(*self.above(), progress),
            console=self._console,
            transient=True,
            refresh_per_second=FRAMES_PER_S,
        )
        self._progress, self._live = progress, live
        self._line = progress.add_task("", total=None)
        with live:
            try:
                yield self
            finally:
                self._progress = None

    def above(self) -> tuple[RenderableType, ...]:
        """Give what stands above the line."""
        return ()


@final
class Counter(MovingLine):
    """Tells how many of a known number of things are done."""

    def __init__(self, total: int) -> None:
        """Begin on standard error with a bar of so many."""
        super().__init__(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._total = total

    def say(self, text: str) -> None:
        """Tell what is being done."""
        if self._progress is not None:
            self._progress.update(self._line, description=text, total=self._total)
        else:
            print(text, file=sys.stderr, flush=True)

    def done(self, count: int) -> None:
        """Tell how many are done."""
        if self._progress is not None:
            self._progress.update(self._line, completed=count)


@final
class Reporter(MovingLine):
    """Tells what is being done now."""

    def __init__(self) -> None:
        """Begin on standard error."""
        super().__init__(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
        )
        self._last = ""
        self._preview: RenderableType | None = None

    def above(self) -> tuple[RenderableType, ...]:
        """Give the preview, once there is one."""
        return () if self._preview is None else (self._preview,)

    def say(self, text: str) -> None:
        """Tell what is done from now on."""
        self._show(text, None, None)

    def stop(self) -> None:
        """Take the moving line away; what is told later becomes lines that stay."""
        if self._live is not None:
            self._live.stop()
        self._progress = self._live = None

    def update(self, news: dict[str, Any]) -> None:  # Any: decoded JSON
        """Tell one update of a task."""
        stage = str(news["stage"])
        if self._progress is not None and news.get("preview"):
            self._preview = preview_of(_bytes_of(news["preview"]), self._console) or self._preview
        if stage == "progress":
            what = news.get("reason") or "step"
            self._show(f"miner {news.get('miner')}: {what}", news.get("step"), news.get("steps"))
            return
        words = STAGE_WORDS.get(stage, stage)
        if stage == "claimed":
            words = f"claimed by miner {news.get('miner')}"
        elif news.get("reason"):
            words = f"{words}: {news['reason']}"
        self._show(words, None, None)

    def _show(self, text: str, step: int | None, steps: int | None) -> None:
        """Move the line, or write one where it differs from the last."""
        if self._progress is not None:
            self._progress.update(self._line, description=text, completed=step or 0, total=steps)
        elif text != self._last:
            print(text, file=sys.stderr, flush=True)
        self._last = text


def _bytes_of(preview: object) -> bytes:
    """Give the bytes of a preview: as they came, or in a data URL; none where it is neither."""
    if isinstance(preview, bytes):
        return preview
    try:
        return base64.b64decode(str(preview).partition(",")[2], validate=True)
    except binascii.Error:
        return b""
