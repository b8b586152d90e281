"""Shows pictures in a terminal, where it can: by its own graphics (kitty, sixel), else in coloured half blocks.

What reads and draws them comes with the extra ``terminal``. Without it, without a terminal, or in one with few colours,
nothing is shown and nothing is missed.
"""

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style

if TYPE_CHECKING:
    from PIL.Image import Image

PREVIEW_CELLS: Final = (32, 16)
"""Most columns and rows of a preview, which has 128 pixels an edge at most."""
PICTURE_CELLS: Final = (48, 24)
"""Most columns and rows of a picture."""
GRAPHIC_TERMINALS: Final = {
    "TERM": ("kitty", "foot", "mlterm", "contour", "wezterm", "ghostty"),
    "TERM_PROGRAM": ("wezterm", "iterm", "ghostty", "vscode", "mintty"),
    "KITTY_WINDOW_ID": ("",),
    "KONSOLE_VERSION": ("",),
    "WT_SESSION": ("",),
    "XTERM_VERSION": ("",),
}
"""Variables by which terminals with graphics are known, and what stands in them: others are not asked what they can,
since some write the question on the screen."""


def can_show(console: Console) -> bool:
    """Say whether pictures are to be shown: to a person, in colour, with what reads them."""
    from importlib.util import find_spec

    if not console.is_terminal or console.is_dumb_terminal or console.no_color:
        return False
    return console.color_system in {"256", "truecolor"} and find_spec("PIL") is not None


def preview_of(data: bytes, console: Console) -> RenderableType | None:
    """Give what a picture may become as half blocks, which can be drawn over and over; None where it cannot be shown.

    Args:
        data: A small picture, as a miner made it: perhaps none at all.
        console: Where it is to be shown.
    """
    picture = _read(data) if can_show(console) else None
    return None if picture is None else HalfBlocks(picture, *PREVIEW_CELLS)


def show_picture(data: bytes, console: Console, environment: Mapping[str, str] = os.environ) -> None:
    """Show a picture as well as the terminal can, if it can."""
    picture = _read(data) if can_show(console) else None
    if picture is None:
        return
    drawer = _graphics_of_terminal(environment)
    if drawer is None:
        console.print(HalfBlocks(picture, *PICTURE_CELLS))
    else:
        console.print(drawer(picture, width=_fitting(picture, *PICTURE_CELLS)[0], height="auto"))


class HalfBlocks:
    """A picture as characters whose upper and lower halves have two colours."""

    def __init__(self, picture: "Image", columns: int, rows: int) -> None:
        """Draw it within so many columns and rows."""
        self._picture = picture.resize(_fitting(picture, columns, rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Give a row of characters for each two rows of pixels."""
        width, pixels = self._picture.width, self._picture.tobytes()

        def color(x: int, y: int) -> Color:
            start = 3 * (y * width + x)
            return Color.from_rgb(*pixels[start : start + 3])

        for top in range(0, self._picture.height, 2):
            for x in range(min(width, options.max_width)):
                yield Segment("▀", Style(color=color(x, top), bgcolor=color(x, top + 1)))
            yield Segment.line()


def _fitting(picture: "Image", columns: int, rows: int) -> tuple[int, int]:
    """Give the size (columns, rows of half blocks, which are even) at which a picture fits, in its own proportions."""
    scale = min(columns / picture.width, 2 * rows / picture.height)
    return max(1, round(picture.width * scale)), max(2, 2 * round(picture.height * scale / 2))


def _read(data: bytes) -> "Image | None":
    """Decode a picture; None where it is none."""
    from PIL import Image, UnidentifiedImageError

    faults = (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError)
    with suppress(*faults), Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as opened:
        return opened.convert("RGB")
    return None


def _graphics_of_terminal(environment: Mapping[str, str]) -> Callable[..., RenderableType] | None:
    """Give what draws by the terminal's own graphics; None where it has none, or does not say."""
    is_known = any(
        name in environment and any(part in environment[name].lower() for part in parts)
        for name, parts in GRAPHIC_TERMINALS.items()
    )
    # textual-image asks when it is imported, through standard input and output; a pipe cannot answer.
    if not is_known or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    logging.getLogger("textual_image").setLevel(logging.CRITICAL)
    try:
        from textual_image.renderable import Image, SixelImage, TGPImage
    except (ImportError, OSError):
        return None
    return Image if Image in {SixelImage, TGPImage} else None
