"""How far apart two pictures of one size look, in whole numbers that are the same on every machine.

An audit draws a task again and compares. Honest pictures of one specification differ by the order of additions, by
16-bit numbers, by a re-encoding; pictures of another prompt, model or seed differ in what they show. Pure arithmetic on
pixels: whoever calls decodes the files. Spec: SPEC.md §12.6.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

MILLION: Final = 1_000_000
"""Distances are parts per million."""
CHANNELS: Final = 3
GRID: Final = 64
"""Most cells along an edge. Finer structure is noise in one honest picture of two; ``detail`` alone looks at it."""
FINE: Final = 16
"""Steps of a cell's value for each step of a pixel's: cells are means."""
LARGEST: Final = 255 * FINE
WINDOW: Final = 8
"""Cells along an edge of the windows in which structure is compared, and half of it between two of them: as in SSIM."""
BLOCK: Final = 4
"""Cells along an edge of the blocks in which colour is compared."""
WORST_WINDOWS: Final = 10
WORST_BLOCKS: Final = 32
"""One in so many windows or blocks counts, the worst ones: a changed part is not hidden by a large white background."""
LEVEL: Final = (LARGEST // 100) ** 2
CONTRAST: Final = (LARGEST * 6 // 100) ** 2
"""What keeps SSIM's fractions from magnifying dark and flat windows. The contrast is twice the usual, since faint waves
on a flat background are what re-encoding leaves."""
FLAT_ENERGY: Final = 1920
"""Energy of detail (eighths of a pixel's value, squared) that every pixel has for free: faint noise is no detail."""
COLOUR_SHARE: Final = 2
DETAIL_SHARE: Final = 25
"""By how much colour and detail are divided to stand beside structure: so much more do honest ones differ in them."""

SAME_NUMERICS: Final = 200
"""Largest distance of two honest files without loss from 32-bit numbers: only the order of additions differs."""
OTHER_NUMERICS: Final = 10_000
"""The same where 16-bit numbers are on one side or both, but for rare pictures that such numbers tip over."""
RE_ENCODED: Final = 20_000
"""The same where a file has gone through JPEG or WebP of quality 70 or more, or has noise of two values."""
ANOTHER_PICTURE: Final = 120_000
"""So far away is no honest picture, but where arithmetic alone decides: this one shows something else."""

LEAST_EDGE: Final = WINDOW
"""Smallest edge (pixels) of pictures that can be compared; no task orders one below 16."""


@dataclass(frozen=True, slots=True)
class Raster:
    """The pixels of a picture: rows from the top, three bytes (red, green, blue) for each pixel."""

    width: int
    height: int
    data: bytes

    def __post_init__(self) -> None:
        """Refuse what is no picture that can be compared: a fault of whoever decoded it.

        Raises:
            ValueError: An edge below ``LEAST_EDGE``, or not exactly all bytes.
        """
        if min(self.width, self.height) < LEAST_EDGE:
            raise ValueError(f"{self.width}x{self.height} pixels are too few")
        if len(self.data) != CHANNELS * self.width * self.height:
            raise ValueError(f"{len(self.data)} bytes for {self.width}x{self.height} pixels")


Cells = tuple[tuple[int, ...], ...]
"""Rows of cells, each value 0 … ``LARGEST``."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """All of a picture that a comparison looks at: some 100 KB, made once however many it is compared with."""

    width: int
    height: int
    red: Cells
    green: Cells
    blue: Cells
    light: Cells
    energy: int
    """Sum of the squared second differences between neighbours, of ``2 red + 5 green + blue``."""


@dataclass(frozen=True, slots=True)
class Distance:
    """How two pictures differ, in parts per million each; 0 for equal pictures."""

    structure: int
    """Lack of common structure in the windows that have least in common: 0 to 2,000,000."""
    colour: int
    """Difference of mean colour in the blocks that differ most: 0 to 1,000,000."""
    detail: int
    """Difference of sharpness: 0 to 1,000,000."""

    @property
    def total(self) -> int:
        """The distance: the largest of the three, each at its share."""
        return max(self.structure, self.colour // COLOUR_SHARE, self.detail // DETAIL_SHARE)


def sketch_of(picture: Raster) -> Sketch:
    """Reduce a picture to what comparisons look at. A picture of 512x512 pixels takes a tenth of a second.

    Spec: SPEC.md §12.6
    """
    rows = [picture.data[start : start + 3 * picture.width] for start in range(0, len(picture.data), 3 * picture.width)]
    across, down = _bounds(picture.width), _bounds(picture.height)
    channels: tuple[list[tuple[int, ...]], ...] = ([], [], [])
    for top, bottom in down:
        columns = [sum(column) for column in zip(*rows[top:bottom], strict=True)]
        for channel, cells in enumerate(channels):
            cells.append(
                tuple(
                    FINE
                    * sum(columns[CHANNELS * left + channel : CHANNELS * right : CHANNELS])
                    // ((right - left) * (bottom - top))
                    for left, right in across
                )
            )
    red, green, blue = (tuple(cells) for cells in channels)
    light = tuple(
        tuple((2 * r + 5 * g + b) // 8 for r, g, b in zip(*lines, strict=True))
        for lines in zip(red, green, blue, strict=True)
    )
    return Sketch(picture.width, picture.height, red, green, blue, light, _energy(rows))


def distance(one: Sketch, other: Sketch) -> Distance:
    """Compare two pictures of one size. The order of the two does not matter.

    Raises:
        ValueError: Their sizes differ: the specification fixes a size, and ``check_png`` passes no other.
    """
    if (one.width, one.height) != (other.width, other.height):
        raise ValueError(f"{one.width}x{one.height} and {other.width}x{other.height} pixels cannot be compared")
    flat = FLAT_ENERGY * one.width * one.height
    detail = MILLION * abs(one.energy - other.energy) // (max(one.energy, other.energy) + flat)
    return Distance(_structure(one.light, other.light), _colour(one, other), detail)


def _bounds(edge: int) -> list[tuple[int, int]]:
    """Cut an edge (pixels) into cells: first pixel and the one after the last of each."""
    cells = min(GRID, edge)
    return [(place * edge // cells, (place + 1) * edge // cells) for place in range(cells)]


def _energy(rows: Sequence[bytes]) -> int:
    """Sum up how sharply the picture bends, across and down."""
    light = [[2 * r + 5 * g + b for r, g, b in zip(row[::3], row[1::3], row[2::3], strict=True)] for row in rows]
    across = sum(
        (bend := 2 * here - before - after) * bend
        for row in light
        for before, here, after in zip(row, row[1:], row[2:], strict=False)
    )
    down = sum(
        (bend := 2 * here - before - after) * bend
        for three in zip(light, light[1:], light[2:], strict=False)
        for before, here, after in zip(*three, strict=True)
    )
    return across + down


def _places(cells: int, size: int, stride: int) -> list[int]:
    """Say where squares of ``size`` cells begin along an edge, so that they cover all of it."""
    return sorted({*range(0, cells - size, stride), cells - size})


def _squares(cells: Cells, size: int, stride: int) -> Iterator[list[int]]:
    """Give the values of each square, in reading order."""
    for top, left in product(_places(len(cells), size, stride), _places(len(cells[0]), size, stride)):
        yield [value for row in cells[top : top + size] for value in row[left : left + size]]


def _structure(one: Cells, other: Cells) -> int:
    """Compare light in windows, by what SSIM leaves to 1."""
    windows = zip(_squares(one, WINDOW, WINDOW // 2), _squares(other, WINDOW, WINDOW // 2), strict=True)
    return _worst([_dissimilarity(mine, theirs) for mine, theirs in windows], WORST_WINDOWS)


def _dissimilarity(mine: Sequence[int], theirs: Sequence[int]) -> int:
    """Give 1 - SSIM of two windows (Wang et al. 2004, eq. 13) without dividing before the end."""
    count = len(mine)
    level, contrast = LEVEL * count * count, CONTRAST * count * count
    sum_mine, sum_theirs = sum(mine), sum(theirs)
    together = count * sum(a * b for a, b in zip(mine, theirs, strict=True)) - sum_mine * sum_theirs
    spread = (
        count * sum(a * a + b * b for a, b in zip(mine, theirs, strict=True))
        - sum_mine * sum_mine
        - sum_theirs * sum_theirs
    )
    alike = (2 * sum_mine * sum_theirs + level) * (2 * together + contrast)
    most = (sum_mine * sum_mine + sum_theirs * sum_theirs + level) * (spread + contrast)
    return MILLION * (most - alike) // most


def _colour(one: Sketch, other: Sketch) -> int:
    """Compare mean colours in blocks."""
    differences = [
        [abs(sum(mine) - sum(theirs)) for mine, theirs in zip(_blocks(a), _blocks(b), strict=True)]
        for a, b in ((one.red, other.red), (one.green, other.green), (one.blue, other.blue))
    ]
    most = CHANNELS * LARGEST * BLOCK * BLOCK
    return _worst([MILLION * sum(block) // most for block in zip(*differences, strict=True)], WORST_BLOCKS)


def _blocks(cells: Cells) -> Iterator[list[int]]:
    return _squares(cells, BLOCK, BLOCK)


def _worst(values: Sequence[int], one_in: int) -> int:
    """Give the mean of the largest values, one in so many of all and one at least."""
    count = -(-len(values) // one_in)
    return sum(sorted(values)[-count:]) // count
