"""Two files in, their distance out, from a child process: SPEC.md §12.8."""

import subprocess
import sys
import zlib
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from node.adapters.pictures import ChildComparer
from node.adapters.pictures.child import apart, sketched
from protocol.errors import InvalidMessage
from protocol.task.artifact import check_picture
from protocol.task.distance import Raster, distance, sketch_of
from protocol.task.recheck import UNREADABLE
from tests.support.pictures import png, vp8l, webp


def encoded(picture: Image.Image, kind: str, **choices: object) -> bytes:
    written = BytesIO()
    picture.save(written, kind, **choices)  # type: ignore[arg-type]  # Pillow types its choices by format
    return written.getvalue()


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def test_apart__files_of_one_picture__is_nothing_whatever_the_format() -> None:
    picture = gradient()
    assert apart(encoded(picture, "PNG"), encoded(picture, "WEBP", lossless=True)) == 0
    assert apart(encoded(picture, "PNG"), encoded(picture.convert("RGBA"), "PNG")) == 0


def test_apart__two_pictures__is_their_distance() -> None:
    one, other = gradient(), gradient().transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    sketches = [sketch_of(Raster(64, 48, picture.tobytes())) for picture in (one, other)]
    expected = distance(*sketches).total
    assert expected > 0
    assert apart(encoded(one, "PNG"), encoded(other, "PNG")) == expected


def see_through(kind: str) -> bytes:
    """The same pixels, one of them transparent."""
    picture = gradient().convert("RGBA")
    picture.putpixel((5, 5), (*gradient().getpixel((5, 5)), 254))  # type: ignore[misc]  # it has three channels
    return encoded(picture, kind, lossless=True)


HALF = encoded(gradient(), "PNG")[: len(encoded(gradient(), "PNG")) // 2]


@pytest.mark.parametrize(
    "data",
    [
        webp(vp8l(64, 48)),
        b"",
        b"GIF89a",
        HALF,
        encoded(gradient(), "JPEG"),
        png(32, 48),
        see_through("PNG"),
        see_through("WEBP"),
    ],
    ids=["no pixels", "nothing", "another format", "cut off", "JPEG", "another size", "see-through", "so in WebP"],
)
def test_apart__file_that_shows_no_such_picture__is_further_than_any_two_pictures(data: bytes) -> None:
    assert apart(encoded(gradient(), "PNG"), data) == UNREADABLE
    assert apart(data, encoded(gradient(), "PNG")) == UNREADABLE


WEBPS = [encoded(gradient(), "WEBP", quality=80), encoded(gradient(), "WEBP", lossless=True)]
BESIDE = (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"sRGB")


def with_chunks(chunks: list[tuple[bytes, bytes]], *, behind: bool) -> bytes:
    """A good PNG with chunks before or behind its pixels."""
    whole = encoded(gradient(), "PNG")
    at = whole.index(b"IEND" if behind else b"IDAT") - 4
    framed = b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    )
    return whole[:at] + framed + whole[at:]


@given(
    st.sampled_from(WEBPS), st.lists(st.tuples(st.integers(30, 10**6), st.integers(0, 255)), min_size=1, max_size=40)
)
def test_sketched__damaged_webp_that_a_coordinator_takes__is_a_picture_or_none_and_no_fault(
    whole: bytes, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(whole)
    for place, value in changes:
        data[30 + place % (len(data) - 30)] = value
    with suppress(InvalidMessage):
        check_picture(bytes(data), "image/webp", 64, 48)
        sketched(bytes(data))  # a fault would end every recheck of its miner without a word against it


KEYWORDS = [b"parameters", b"Comment", b"interlace", b"transparency", b"bbox", b"exif", b"icc_profile", b""]
TEXTS = [b"", b"text", b"\0" + zlib.compress(bytes(2 * 10**6)), b"\1\0\0\0" + zlib.compress(bytes(2 * 10**6))]
BODIES = st.builds(lambda keyword, text: keyword + b"\0" + text, st.sampled_from(KEYWORDS), st.sampled_from(TEXTS))
BODIES |= st.sampled_from([1, 3, 7, 9]).map(bytes) | st.binary(max_size=40)


@given(st.lists(st.tuples(st.sampled_from(BESIDE), BODIES), max_size=2), st.booleans())
def test_sketched__png_with_anything_beside_it_that_a_coordinator_takes__is_the_same_picture(
    chunks: list[tuple[bytes, bytes]], behind: bool
) -> None:
    data = with_chunks(chunks, behind=behind)
    with suppress(InvalidMessage):
        check_picture(data, "image/png", 64, 48)
        assert apart(data, encoded(gradient(), "PNG")) == 0


async def test_comparer__two_files__has_a_child_say_it() -> None:
    picture = encoded(gradient(), "PNG")
    comparer = ChildComparer()
    assert await comparer.apart(picture, encoded(gradient(), "WEBP", lossless=True)) == 0
    assert await comparer.apart(picture, b"no picture") == UNREADABLE


async def test_comparer__machine_starts_no_process__says_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert await ChildComparer().apart(png(64, 64), png(64, 64, 1)) is None


async def test_comparer__child_takes_too_long__says_that_it_does_not_know() -> None:
    assert await ChildComparer(time_limit_s=0.001).apart(png(64, 64), png(64, 64, 1)) is None


@pytest.mark.parametrize(("limit", "is_said"), [("MEMORY_BYTES = 2**20", False), ("CPU_S = 60", True)])
def test_child__picture_needs_more_memory_than_it_may_have__says_nothing(limit: str, is_said: bool) -> None:
    data = png(1024, 1024)
    program = f"from node.adapters.pictures import child; child.{limit}; child.main()"
    given = len(data).to_bytes(4, "big") + data + data
    done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, check=False)
    assert (done.returncode == 0, done.stdout) == (is_said, b"0\n" if is_said else b"")


async def test_comparer__child_fails__says_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.adapters.pictures.comparer.CHILD_MODULE", "node.adapters.pictures.no_such_module")
    assert await ChildComparer().apart(png(64, 64), png(64, 64, 1)) is None
