"""Decodes the pictures that jobs begin from, in the engine's child process: they are what strangers sent.

Their headers were checked by the coordinator and by the node (``protocol.task.inputs``), with the limits that stand
here again: what says one thing to a reader of headers and another to a decoder is refused.
"""

import io
import struct
import warnings
import zlib
from typing import Final

from PIL import Image, ImageOps, PngImagePlugin

from protocol.errors import InvalidMessage
from protocol.params import MAX_INPUT_EDGE
from protocol.task.inputs import check_input

FORMATS: Final = ("PNG", "JPEG", "WEBP")
"""Decoders that a stranger's bytes may reach at all."""
MAX_METADATA_BYTES: Final = 1024 * 1024
"""Text in a PNG, unpacked (bytes)."""
HALF: Final = 128
"""Masks are yes or no: this and lighter is yes, as inpainting pipelines round."""
OPAQUE: Final = 255

UNREADABLE: Final = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    SyntaxError,
    ArithmeticError,
    LookupError,
    Warning,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for bytes that are no picture, or whose camera wrote nonsense of it."""

Image.MAX_IMAGE_PIXELS = MAX_INPUT_EDGE * MAX_INPUT_EDGE
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_METADATA_BYTES


class SourceFault(Exception):
    """A picture that cannot be decoded."""


def read_source(data: bytes, width: int, height: int) -> Image.Image:
    """Decode a picture, turn it as its camera noted, and bring it to this size (pixels).

    It is cut to the ordered proportions around its middle and scaled; what is transparent becomes white.

    Raises:
        SourceFault: It is none, or not what its header says.
    """
    picture = _decode(data)
    if "A" in picture.getbands():
        flat = Image.new("RGBA", picture.size, "white")
        flat.alpha_composite(picture)
        picture = flat
    return _fitted(picture.convert("RGB"), width, height)


def read_mask(data: bytes, source: bytes, width: int, height: int) -> Image.Image:
    """Decode a mask and bring it to this size (pixels) as its source: white where to draw anew, else black.

    Where something of it is transparent, that is where to draw anew, as OpenAI's clients mean it; else what is light.

    Raises:
        SourceFault: It is no picture, or of another size than its source.
    """
    mask = _decode(data)
    if mask.size != _decode(source).size:
        raise SourceFault("the mask is of another size than its source")
    if "A" in mask.getbands() and mask.getchannel("A").getextrema()[0] != OPAQUE:
        where = ImageOps.invert(mask.getchannel("A"))
    else:
        where = mask.convert("L")
    return _fitted(where, width, height).point([0] * HALF + [OPAQUE] * HALF)


def _decode(data: bytes) -> Image.Image:
    """Decode to RGB or RGBA, upright."""
    try:
        stored = check_input(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a picture that Pillow has doubts about (a bomb, broken EXIF) is none
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                if opened.size != stored:
                    raise SourceFault(f"the header says {stored}, the decoder {opened.size}")
                has_alpha = "A" in opened.getbands() or "transparency" in opened.info
                upright = ImageOps.exif_transpose(opened.convert("RGBA" if has_alpha else "RGB"))
    except InvalidMessage as problem:
        raise SourceFault(str(problem)) from problem
    except UNREADABLE as error:
        raise SourceFault(f"{type(error).__name__}: {error}") from error
    return upright


def _fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Cut to the proportions of this size, around the middle, and scale to it."""
    if picture.size == (width, height):
        return picture
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
