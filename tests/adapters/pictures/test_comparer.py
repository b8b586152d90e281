"""Two files in, their distance out, from a child process: SPEC.md §12.8."""

import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from node.adapters.pictures import ChildComparer
from node.adapters.pictures.child import apart
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


async def test_comparer__two_files__has_a_child_say_it() -> None:
    picture = encoded(gradient(), "PNG")
    comparer = ChildComparer()
    assert await comparer.apart(picture, encoded(gradient(), "WEBP", lossless=True)) == 0
    assert await comparer.apart(picture, b"no picture") == UNREADABLE


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
