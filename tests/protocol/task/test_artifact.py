import io
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from protocol.errors import InvalidMessage
from protocol.params import MAX_ARTIFACT_BYTES
from protocol.task.artifact import check_png

SIGNATURE = b"\x89PNG\r\n\x1a\n"
WIDTH, HEIGHT = 5, 3
ROWS = b"\0" + b"\x10\x20\x30" * WIDTH


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width=WIDTH, height=HEIGHT, depth=8, colour=2, compression=0, filtering=0, interlace=0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, compression, filtering, interlace))


def png(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks)


PIXELS = chunk(b"IDAT", zlib.compress(ROWS * HEIGHT))
END = chunk(b"IEND")
GOOD = png(header(), PIXELS, END)


def rule_of(data: bytes, width: int = WIDTH, height: int = HEIGHT) -> str:
    with pytest.raises(InvalidMessage) as caught:
        check_png(data, width, height)
    return caught.value.rule


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (128, 128), (200, 64), (513, 77)])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_check_png__as_pillow_writes_it__passes(mode, size, level):
    picture = Image.effect_noise(size, 80).convert(mode)
    written = io.BytesIO()
    picture.save(written, "PNG", compress_level=level)
    check_png(written.getvalue(), *size)


def test_check_png__smallest_by_hand__passes_here_and_in_pillow():
    check_png(GOOD, WIDTH, HEIGHT)
    assert Image.open(io.BytesIO(GOOD)).getpixel((4, 2)) == (0x10, 0x20, 0x30)


def test_check_png__pixels_in_several_chunks_and_some_text__passes():
    compressed = zlib.compress(ROWS * HEIGHT)
    pieces = [chunk(b"IDAT", compressed[place : place + 3]) for place in range(0, len(compressed), 3)]
    check_png(png(header(), chunk(b"tEXt", b"Software\0cuckoo"), *pieces, END), WIDTH, HEIGHT)


def test_check_png__text_beside_the_picture__is_bounded_to_the_byte():
    text = b"Comment\0".ljust(65_536, b"x")
    check_png(png(header(), chunk(b"tEXt", text), PIXELS, END), WIDTH, HEIGHT)
    assert rule_of(png(header(), chunk(b"tEXt", text + b"x"), PIXELS, END)) == "artifact.chunk"


@pytest.mark.parametrize(
    "beside",
    [
        (b"tEXt", b"parameters\0a red heart"),
        (b"iTXt", b"parameters\0\0\0\0\0" + "ein rötliches Herz".encode()),
        (b"tIME", bytes(7)),
        (b"pHYs", bytes(9)),
        (b"sRGB", bytes(1)),
    ],
)
def test_check_png__what_writers_put_beside_a_picture__passes_and_is_a_picture_in_pillow(beside):
    data = png(header(), chunk(*beside), PIXELS, END)
    check_png(data, WIDTH, HEIGHT)
    assert Image.open(io.BytesIO(data)).convert("RGB").getpixel((4, 2)) == (0x10, 0x20, 0x30)


@pytest.mark.parametrize(
    "beside",
    [
        (b"tIME", bytes(6)),
        (b"pHYs", bytes(3)),
        (b"pHYs", bytes(10)),
        (b"sRGB", b""),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**21))),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(2**21))),
        (b"iTXt", b"Comment\0"),
        (b"tEXt", b"interlace\0yes"),
        (b"iTXt", b"transparency\0\0\0\0\0yes"),
        (b"tEXt", b""),
    ],
)
def test_check_png__chunk_by_which_a_decoder_shows_no_picture_or_another_one__is_rejected(beside):
    assert rule_of(png(header(), chunk(*beside), PIXELS, END)) == "artifact.chunk"


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"GIF89a" + bytes(40), b"\xff\xd8\xff" + bytes(40)])
def test_check_png__another_format__is_rejected(data):
    assert rule_of(data) == "artifact.signature"


def test_check_png__larger_than_any_artifact__is_rejected():
    assert rule_of(SIGNATURE + bytes(MAX_ARTIFACT_BYTES)) == "artifact.oversize"


@pytest.mark.parametrize(("width", "height"), [(WIDTH + 1, HEIGHT), (WIDTH, HEIGHT - 1), (HEIGHT, WIDTH)])
def test_check_png__another_size__is_rejected(width, height):
    assert rule_of(GOOD, width, height) == "artifact.size"


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 16},
        {"depth": 1},
        {"colour": 3},
        {"colour": 4},
        {"colour": 7},
        {"compression": 1},
        {"filtering": 1},
        {"interlace": 1},
    ],
    ids=str,
)
def test_check_png__not_a_plain_picture__is_rejected(changes):
    assert rule_of(png(header(**changes), PIXELS, END)) == "artifact.header"


@pytest.mark.parametrize(
    "chunks",
    [
        (),
        (header(),),
        (header(), PIXELS),
        (PIXELS, header(), END),
        (header(), header(), PIXELS, END),
        (header(), PIXELS, chunk(b"tIME", bytes(7)), PIXELS, END),
        (header(), chunk(b"PLTE", bytes(3)), PIXELS, END),
        (header(), chunk(b"acTL", bytes(8)), PIXELS, END),
        (header(), PIXELS, chunk(b"fdAT", bytes(8)), END),
        (header(), chunk(b"tRNS", bytes(6)), PIXELS, END),
        (header(), chunk(b"gAMA", bytes(4)), PIXELS, END),
        (header(), chunk(b"iCCP", bytes(9)), PIXELS, END),
        (header(), chunk(b"1234"), PIXELS, END),
        (header(), *[chunk(b"tEXt", b"Comment\0".ljust(40_000))] * 2, PIXELS, END),
        (header(), PIXELS, *[chunk(b"IDAT")] * 17_000, END),
        (header(), PIXELS, END[:-1]),
        (header(), PIXELS, END[:-1] + b"\0"),
    ],
    ids=[
        "nothing", "header only", "no end", "header late", "two headers", "pixels apart", "palette", "frames",
        "a frame", "transparency", "another gamma", "colour profile", "no name", "much text", "many chunks", "cut",
        "checksum",
    ],
)  # fmt: skip
def test_check_png__broken_chunks__is_rejected(chunks):
    assert rule_of(png(*chunks)) == "artifact.chunk"


def test_check_png__header_of_another_length__is_rejected():
    assert rule_of(png(chunk(b"IHDR", bytes(12)), PIXELS, END)) == "artifact.header"


@pytest.mark.parametrize(
    "data",
    [GOOD + b"\0", GOOD + GOOD, png(header(), PIXELS, chunk(b"IEND", b"x"))],
    ids=["byte", "picture", "full end"],
)
def test_check_png__bytes_after_the_end__is_rejected(data):
    assert rule_of(data) == "artifact.trailing"


@pytest.mark.parametrize(
    "pixels",
    [
        (),
        (zlib.compress(ROWS * (HEIGHT - 1)),),
        (zlib.compress(ROWS * HEIGHT + b"\0"),),
        (zlib.compress(ROWS * (HEIGHT + 1)),),
        (zlib.compress(ROWS * HEIGHT)[:-1],),
        (zlib.compress(ROWS * HEIGHT) + b"\0",),
        (zlib.compress(ROWS * HEIGHT), b"\0"),
        (b"not deflated",),
        (b"",),
        (zlib.compress(b"\5" + ROWS[1:] + ROWS * (HEIGHT - 1)),),
        (zlib.compress(ROWS * (HEIGHT - 1) + b"\xff" + ROWS[1:]),),
    ],
    ids=[
        "none", "row short", "byte over", "row over", "cut", "tail", "tail chunk", "garbage", "empty", "first filter",
        "last filter",
    ],
)  # fmt: skip
def test_check_png__pixels_not_exactly_all__is_rejected(pixels):
    assert rule_of(png(header(), *(chunk(b"IDAT", body) for body in pixels), END)) == "artifact.data"


def test_check_png__file_that_inflates_without_bound__is_rejected_with_little_memory():
    bomb = png(header(), chunk(b"IDAT", zlib.compress(bytes(200_000_000), 9)), END)
    assert len(bomb) < 250_000
    tracemalloc.start()
    try:
        assert rule_of(bomb) == "artifact.data"
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_check_png__largest_picture__is_checked_with_little_memory():
    side = 4096
    data = png(header(side, side), chunk(b"IDAT", zlib.compress(bytes((1 + 3 * side) * side), 1)), END)
    tracemalloc.start()
    try:
        check_png(data, side, side)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_check_png__one_byte_changed__is_rejected(place, difference):
    changed = bytearray(GOOD)
    changed[place] ^= difference
    assert rule_of(bytes(changed)).startswith("artifact.")


@given(st.integers(0, len(GOOD) - 1))
def test_check_png__cut_anywhere__is_rejected(end):
    assert rule_of(GOOD[:end]) in {"artifact.signature", "artifact.chunk"}
