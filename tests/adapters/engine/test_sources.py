"""What pictures of strangers become before a pipeline sees them."""

import io
import struct
import zlib

import pytest
from PIL import Image

from node.adapters.engine.sources import SourceFault, read_mask, read_source
from protocol.params import MAX_INPUT_BYTES
from protocol.task.inputs import check_input
from tests.support.pictures import jpeg, png, vp8x, webp

ORIENTATION = 0x0112


def file(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(size=(64, 64), left="red", right="blue") -> Image.Image:
    picture = Image.new("RGB", size, left)
    picture.paste(right, (size[0] // 2, 0, size[0], size[1]))
    return picture


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 100})])
def test_read_source__any_format__is_rgb_of_the_size(kind, options):
    picture = read_source(file(halves(), kind, **options), 32, 32)
    assert (picture.mode, picture.size) == ("RGB", (32, 32))
    assert picture.getpixel((4, 16))[0] > 200
    assert picture.getpixel((28, 16))[2] > 200


def test_read_source__other_proportions__is_cut_around_its_middle():
    wide = Image.new("RGB", (96, 32), "red")
    wide.paste("blue", (32, 0, 64, 32))
    picture = read_source(file(wide), 64, 64)
    assert picture.size == (64, 64)
    assert min(picture.getpixel((column, 32))[2] for column in range(4, 60)) > 250, "red is cut off on both sides"


def test_read_source__transparent__becomes_white():
    picture = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    assert read_source(file(picture), 32, 32).getcolors() == [(32 * 32, (255, 255, 255))]


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "I;16", "CMYK"])
def test_read_source__any_colours__is_rgb(mode):
    picture = Image.new(mode, (32, 32))
    assert read_source(file(picture, "JPEG" if mode == "CMYK" else "PNG"), 32, 32).mode == "RGB"


def test_read_source__camera_held_upright__is_turned():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = file(halves((64, 32)), "JPEG", exif=exif.tobytes(), quality=100)
    assert check_input(data) == (64, 32)
    picture = read_source(data, 32, 64)
    assert picture.getpixel((16, 8))[0] > 200, "its left is its top now"
    assert picture.getpixel((16, 56))[2] > 200


def test_read_mask__transparent_somewhere__that_is_where_to_draw():
    mask = Image.new("RGBA", (32, 32), (255, 255, 255, 255))
    mask.paste((0, 0, 0, 0), (16, 0, 32, 32))
    where = read_mask(file(mask), file(halves((32, 32))), 32, 32)
    assert (where.getpixel((4, 16)), where.getpixel((28, 16))) == (0, 255)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
def test_read_mask__opaque__what_is_light_is_where_to_draw(mode):
    mask = Image.new(mode, (32, 32), "black" if mode != "1" else 0)
    mask.paste("white" if mode != "1" else 1, (16, 0, 32, 32))
    where = read_mask(file(mask), file(halves((32, 32))), 64, 64)
    assert where.size == (64, 64)
    assert sorted(colour for _, colour in where.getcolors()) == [0, 255]
    assert (where.getpixel((8, 32)), where.getpixel((56, 32))) == (0, 255)


def test_read_mask__as_large_as_the_turned_source__is_taken_and_any_other_refused():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    source = file(halves((64, 32)), "JPEG", exif=exif.tobytes())
    assert read_mask(file(Image.new("L", (32, 64), 255)), source, 32, 64).getcolors() == [(32 * 64, 255)]
    with pytest.raises(SourceFault, match="another size"):
        read_mask(file(Image.new("L", (64, 32), 255)), source, 32, 64)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def noted(old: bytes, new: bytes) -> bytes:
    """A picture to be turned, of whose camera's notes one entry is of another kind than it says."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010E], exif[0x011A] = 6, "hello", 1.5
    data = file(halves(), "JPEG", exif=exif.tobytes())
    assert data.count(old) == 1
    return data.replace(old, new)


WHOLE = file(halves((256, 256)))
FORGED = {
    "empty": b"",
    "cut off": WHOLE[: len(WHOLE) // 2],
    "header alone": jpeg(64, 48),
    "not what it says it is": b"\x89PNG\r\n\x1a\n" + file(halves(), "JPEG"),
    "gif": file(halves(), "GIF"),
    "tiff": file(halves(), "TIFF"),
    "pixels that do not inflate": WHOLE[:33] + chunk(b"IDAT", b"garbage") + chunk(b"IEND", b""),
    "too many pixels": png(64, 64).replace((64).to_bytes(4, "big") * 2, (60_000).to_bytes(4, "big") * 2),
    "webp that promises another size": webp(vp8x(200, 100), (b"VP8L", file(halves(), "WEBP", lossless=True)[20:])),
    "text that unpacks to 64 MiB": WHOLE[:33] + chunk(b"zTXt", b"x\x00\x00" + zlib.compress(bytes(2**26))) + WHOLE[33:],
    "larger than any": b"\x89PNG\r\n\x1a\n" + bytes(MAX_INPUT_BYTES),
    "height among its notes that is text": noted(b"\x01\x0e\x00\x02", b"\x01\x01\x00\x02"),
    "number among its notes that is text": noted(b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x02"),
    "animation": file(halves(), "WEBP", save_all=True, append_images=[halves(left="green")]),
}


@pytest.mark.parametrize("name", FORGED)
def test_read_source__forged__is_refused(name):
    with pytest.raises(SourceFault):
        read_source(FORGED[name], 64, 64)


def test_read_source__small_file_of_many_pixels__costs_no_more_than_the_limit():
    import tracemalloc

    data = file(Image.new("L", (4096, 4096), 7))
    assert len(data) < 100_000
    tracemalloc.start()
    try:
        assert read_source(data, 64, 64).size == (64, 64)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20, "Python's own part: the pixels are Pillow's"
    finally:
        tracemalloc.stop()
