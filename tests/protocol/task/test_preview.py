"""Previews: what a miner may show of a picture on its way."""

import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from protocol.errors import InvalidMessage
from protocol.task.preview import MAX_PREVIEW_EDGE, check_preview


def webp(width: int = 64, height: int = 64, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(buffer, "WEBP", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (MAX_PREVIEW_EDGE, MAX_PREVIEW_EDGE), (16, 64)])
def test_check_preview__small_webp__passes(size: tuple[int, int]) -> None:
    check_preview(webp(*size))


@pytest.mark.parametrize(
    "data",
    [
        webp(MAX_PREVIEW_EDGE + 1, 16),
        webp(16, MAX_PREVIEW_EDGE + 1),
        webp(16383, 16),
        webp(lossless=True),
        webp() + b"more",
        webp()[:-1],
        webp()[:29],
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"<svg onload='alert(1)'/>" + bytes(20),
    ],
)
def test_check_preview__anything_else__is_refused_by_name(data: bytes) -> None:
    with pytest.raises(InvalidMessage) as refused:
        check_preview(data)
    assert refused.value.rule == "preview.picture"


@given(data=st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: webp()[:20] + tail))
def test_check_preview__any_bytes__pass_or_are_refused(data: bytes) -> None:
    with suppress(InvalidMessage):
        check_preview(data)
