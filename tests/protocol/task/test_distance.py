"""The distance of pictures: pure properties, and the pictures of the pocket model's own sample sheet."""

import io
import time
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from protocol.task.distance import ANOTHER_PICTURE, RE_ENCODED, Distance, Raster, distance, sketch_of

SHEET = Path(__file__).parents[3] / "node" / "models" / "pocket-emoji" / "samples.png"
EDGE = 128
RE_ENCODINGS = [(form, quality) for form in ("JPEG", "WEBP") for quality in (95, 80, 70)]


def raster(picture):
    picture = picture.convert("RGB")
    return Raster(picture.width, picture.height, picture.tobytes())


def sketch(picture):
    return sketch_of(raster(picture))


def between(one, other):
    return distance(sketch(one), sketch(other))


def re_encoded(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return Image.open(file).convert("RGB")


@pytest.fixture(scope="module")
def pictures():
    """The 48 pictures of the sample sheet, all of other prompts."""
    sheet = Image.open(SHEET).convert("RGB")
    corners = [(4 + 136 * (index % 8), 3 + 152 * (index // 8)) for index in range(48)]
    return [sheet.crop((left, top, left + EDGE, top + EDGE)) for left, top in corners]


@pytest.fixture(scope="module")
def sketches(pictures):
    return [sketch(picture) for picture in pictures]


@st.composite
def pairs(draw):
    """Two pictures of one size: flat, coloured stripes, or noise."""
    width, height = draw(st.tuples(st.integers(8, 80), st.integers(8, 80)))
    count = 3 * width * height
    data = st.one_of(
        st.binary(min_size=3, max_size=3).map(lambda pixel: pixel * (count // 3)),
        st.binary(min_size=1, max_size=97).map(lambda some: (some * count)[:count]),
    )
    return Raster(width, height, draw(data)), Raster(width, height, draw(data))


@given(pairs())
def test_distance__any_pictures__is_bounded_symmetric_and_nothing_for_equal_ones(pair):
    one, other = map(sketch_of, pair)
    found = distance(one, other)
    assert distance(other, one) == found
    assert 0 <= found.structure <= 2_000_000
    assert 0 <= found.colour <= 1_000_000
    assert 0 <= found.detail <= 1_000_000
    assert distance(one, one) == Distance(0, 0, 0)


def test_distance__re_encodings_against_other_prompts__do_not_overlap(pictures, sketches):
    honest = [
        distance(mine, sketch(re_encoded(picture, form, quality=quality))).total
        for picture, mine in zip(pictures, sketches, strict=True)
        for form, quality in RE_ENCODINGS
    ]
    others = [distance(one, other).total for one, other in combinations(sketches[::2], 2)]
    assert (len(honest), len(others)) == (288, 276)
    assert max(honest) <= RE_ENCODED
    assert min(others) > ANOTHER_PICTURE


@pytest.mark.parametrize("parts", [(30, 0, 0), (0, 60, 0), (0, 0, 750), (30, 59, 749), (29, 61, 0), (29, 0, 751)])
def test_total__of_three_parts__is_the_largest_at_its_share(parts):
    assert Distance(*parts).total == 30


def test_distance__file_without_loss__is_none(pictures):
    assert between(pictures[0], re_encoded(pictures[0], "PNG", optimize=True)).total == 0
    assert between(pictures[0], re_encoded(pictures[0], "WEBP", lossless=True)).total == 0


def test_distance__slight_noise__is_within_that_of_re_encodings(pictures, sketches):
    dice = np.random.default_rng(1)
    for picture, mine in zip(pictures[::4], sketches[::4], strict=True):
        noisy = np.asarray(picture) + dice.normal(0, 2, (EDGE, EDGE, 3))
        found = distance(mine, sketch(Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8), "RGB")))
        assert 0 < found.total <= RE_ENCODED


def test_distance__half_the_resolution_scaled_up__is_seen_by_its_detail_alone(pictures, sketches):
    small = [picture.resize((64, 64), Image.Resampling.BOX) for picture in pictures]
    for mine, less in zip(sketches, small, strict=True):
        found = distance(mine, sketch(less.resize((EDGE, EDGE), Image.Resampling.LANCZOS)))
        assert found.detail > 4 * found.structure


def test_distance__other_colours_of_equal_light__are_seen_by_their_colour(pictures):
    picture = np.full((EDGE, EDGE, 3), 100, dtype=np.uint8)
    other = picture.copy()
    picture[32:64, 32:64] = (100, 120, 0)
    other[32:64, 32:64] = (0, 120, 200)
    found = between(Image.fromarray(picture, "RGB"), Image.fromarray(other, "RGB"))
    assert found.structure < 1000
    assert found.colour > 300_000


def test_distance__small_part_changed__is_not_hidden_by_the_rest(pictures):
    changed = pictures[0].copy()
    changed.paste(pictures[1].crop((40, 40, 72, 72)), (40, 40))
    assert between(pictures[0], changed).total > RE_ENCODED


@pytest.mark.parametrize("size", [(16, 16), (17, 64), (21, 23), (640, 448), (100, 130)])
def test_distance__any_size__compares_all_of_the_picture(pictures, size):
    picture = pictures[0].resize(size)
    width, height = (-(-edge // 64) for edge in size)  # one cell
    for left, top in product((0, size[0] - width), (0, size[1] - height)):
        changed = picture.copy()
        changed.paste((0, 80, 160), (left, top, left + width, top + height))
        found = between(picture, changed)
        assert min(found.structure, found.colour, found.detail) > 0


def test_distance__pictures_of_two_sizes__is_a_fault_of_the_caller(pictures, sketches):
    with pytest.raises(ValueError, match=r"^128x128 and 64x128 pixels cannot be compared$"):
        distance(sketches[0], sketch(pictures[0].resize((64, EDGE))))


@pytest.mark.parametrize(("width", "height", "count"), [(16, 16, 767), (16, 16, 769), (7, 16, 336), (16, 0, 0)])
def test_raster__not_exactly_the_pixels_of_a_picture__is_a_fault_of_the_caller(width, height, count):
    with pytest.raises(ValueError, match="pixels"):
        Raster(width, height, bytes(count))


def test_distance__half_a_megapixel__takes_no_second(pictures):
    picture = raster(pictures[0].resize((512, 512)))
    begin = time.process_time()
    distance(sketch_of(picture), sketch_of(picture))
    assert time.process_time() - begin < 1
