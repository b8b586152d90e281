"""What a picture will look like, long before it is there: a linear guess from latents to colours.

The guess is fitted to each model from its own pictures and the latents that they came from, so that it knows no family
by name. It costs a product of two small matrices; decoding would cost a step.
"""

import io
from typing import Any, Final

import numpy as np
from PIL import Image

from protocol.params import MAX_PREVIEW_BYTES
from protocol.task.preview import MAX_PREVIEW_EDGE

PREVIEW_EDGE: Final = 64
"""Longest edge (pixels) of a preview: latents are no larger for most models."""
QUALITY: Final = 70
MEMORY: Final = 0.95
"""How much of what was learnt is kept at each picture: some twenty count, of many colours between them."""
DAMPING: Final = 1e-5
"""Share of the squares that keeps channels of which little is known from running wild."""
FULL_VALUE: Final = 255
assert PREVIEW_EDGE <= MAX_PREVIEW_EDGE

Numbers = np.ndarray[Any, np.dtype[np.floating[Any]]]


class PreviewGuess:
    """The colours that latents of one model stand for, learnt from each picture that it draws."""

    def __init__(self) -> None:
        """Know nothing."""
        self._squares: Numbers | None = None
        self._products: Numbers | None = None
        self._matrix: Numbers | None = None
        self._spread = 1.0

    def learn(self, latents: Numbers, picture: Image.Image) -> None:
        """Take a finished picture and its last latents: least squares over all so far, the latest counting most."""
        grid = _grid(latents, picture.width, picture.height)
        if grid is None or not np.isfinite(grid).all():
            return
        rows, columns, _ = grid.shape
        colours = np.asarray(picture.resize((columns, rows), Image.Resampling.BOX), dtype=np.float32) / FULL_VALUE
        known = _with_one(grid)
        squares, products = known.T @ known, known.T @ colours.reshape(-1, 3)
        spread = float(grid.std()) or 1.0
        if self._squares is not None and self._products is not None:
            squares += MEMORY * self._squares
            products += MEMORY * self._products
            spread = MEMORY * self._spread + (1 - MEMORY) * spread
        self._squares, self._products, self._spread = squares, products, spread
        damping = DAMPING * float(np.trace(squares)) * np.eye(len(squares), dtype=np.float32)
        try:
            self._matrix = np.linalg.solve(squares + damping, products)
        except np.linalg.LinAlgError:
            self._matrix = None
        if self._matrix is None or not np.isfinite(self._matrix).all():
            # A guess that cannot be made costs nobody a picture, and what spoilt it is forgotten.
            self._matrix = self._squares = self._products = None

    def paint(self, latents: Numbers, width: int, height: int) -> bytes | None:
        """Guess a picture of ``width`` × ``height`` pixels from one picture's latents at any step.

        Returns:
            A small WebP file, or None where the guess is no use or does not fit.
        """
        if self._matrix is None or not np.isfinite(latents).all():
            return None
        grid = _grid(latents, width, height)
        if grid is None:
            return None
        # Early latents are flat, or noise that some schedulers scale up: bring them to the spread of finished ones.
        grid = grid * (self._spread / (float(grid.std()) or 1.0))
        colours = (_with_one(grid) @ self._matrix).clip(0, 1).reshape(*grid.shape[:2], 3)
        picture = Image.fromarray((colours * FULL_VALUE).round().astype(np.uint8), "RGB")
        picture.thumbnail((PREVIEW_EDGE, PREVIEW_EDGE))
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=QUALITY)
        data = buffer.getvalue()
        return data if len(data) <= MAX_PREVIEW_BYTES else None


def _grid(latents: Numbers, width: int, height: int) -> Numbers | None:
    """Arrange one picture's latents as rows × columns × channels; None where they have another form.

    They come as channels × rows × columns, or as a sequence of patches in reading order, as in FLUX.
    """
    if latents.ndim == 3:
        return latents.transpose(1, 2, 0)
    rows = max(1, round((len(latents) * height / width) ** 0.5))
    if latents.ndim != 2 or len(latents) % rows:
        return None
    return latents.reshape(rows, -1, latents.shape[-1])


def _with_one(grid: Numbers) -> Numbers:
    """Give a row for each place: its channels and a constant."""
    flat = grid.reshape(-1, grid.shape[-1])
    return np.concatenate([flat, np.ones((len(flat), 1), dtype=flat.dtype)], axis=1)
