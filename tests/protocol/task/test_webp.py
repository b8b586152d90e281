import struct

import pytest

from node.adapters.engine.picture import solid_webp
from protocol.errors import InvalidMessage
from protocol.params import MAX_ARTIFACT_BYTES
from protocol.task.artifact import check_picture, largest_picture
from protocol.task.webp import check_webp
from tests.support.pictures import png, vp8, vp8l, vp8x, webp


def rule_of(data: bytes) -> str:
    with pytest.raises(InvalidMessage) as caught:
        check_webp(data, 64, 48)
    return caught.value.rule


@pytest.mark.parametrize(
    "data",
    [
        webp(vp8(64, 48)),
        webp(vp8l(64, 48)),
        webp(vp8x(64, 48, flags=8), vp8l(64, 48), (b"EXIF", b"steps")),
        webp(vp8x(64, 48), (b"EXIF", bytes(10)), vp8(64, 48), (b"XMP ", b"<x/>")),
    ],
)
def test_check_webp__still_picture_of_the_size__is_passed(data):
    check_webp(data, 64, 48)
    check_picture(data, "image/webp", 64, 48)
    assert len(data) <= largest_picture(64, 48)


def test_check_webp__another_format__is_rejected():
    assert rule_of(png(64, 48)) == "artifact.signature"
    with pytest.raises(InvalidMessage):
        check_picture(webp(vp8(64, 48)), "image/png", 64, 48)


@pytest.mark.parametrize("data", [webp(vp8(48, 64)), webp(vp8x(48, 64), vp8(64, 48)), webp(vp8x(64, 48), vp8l(64, 47))])
def test_check_webp__another_size__is_rejected(data):
    assert rule_of(data) == "artifact.size"


def test_check_webp__size_in_its_header_is_not_the_files__is_rejected():
    assert rule_of(webp(vp8(64, 48)) + b"\x00\x00") == "artifact.trailing"
    assert rule_of(webp(vp8(64, 48))[:-2]) == "artifact.trailing"


@pytest.mark.parametrize(
    "data",
    [
        webp(vp8x(64, 48), (b"ALPH", bytes(8)), vp8(64, 48)),
        webp(vp8x(64, 48), (b"ICCP", bytes(10)), vp8(64, 48)),
        webp(vp8(64, 48), vp8x(64, 48)),
        webp(vp8(64, 48), (b"EXIF", bytes(65_537))),
        webp(vp8(64, 48), *((b"EXIF", b""),) * 20),
        webp(vp8(64, 48))[:4] + struct.pack("<I", 28) + webp(vp8(64, 48))[8:] + b"EXIF\xff\xff",
    ],
)
def test_check_webp__chunks_that_no_plain_picture_has__is_rejected(data):
    assert rule_of(data) == "artifact.chunk"


@pytest.mark.parametrize("data", [webp(vp8x(64, 48, flags=2), vp8(64, 48)), webp((b"EXIF", b"x" * 12), vp8(64, 48))])
def test_check_webp__animation_or_another_header__is_rejected(data):
    assert rule_of(data) == "artifact.header"


@pytest.mark.parametrize("data", [webp(vp8x(64, 48)), webp(vp8(64, 48), vp8(64, 48))])
def test_check_webp__not_exactly_one_picture__is_rejected(data):
    assert rule_of(data) == "artifact.data"


def test_check_webp__larger_than_any_artifact__is_rejected():
    assert rule_of(bytes(MAX_ARTIFACT_BYTES + 1)) == "artifact.oversize"


@pytest.mark.parametrize("size", [(16, 16), (128, 96), (4096, 17)])
def test_solid_webp__any_size_and_colour__is_what_decoders_see(size):
    from io import BytesIO

    from PIL import Image

    data = solid_webp(*size, bytes([200, 3, 77]))
    check_webp(data, *size)
    picture = Image.open(BytesIO(data))
    assert (picture.format, picture.size) == ("WEBP", size)
    assert picture.convert("RGB").getcolors() == [(size[0] * size[1], (200, 3, 77))]
