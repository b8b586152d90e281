"""Makes files of pictures: PNG or WebP, with the parameters that makers read out of them again.

The prompts stand in a file only where the app asked for that: pictures are passed on. No date, no maker. The same
picture and parameters give the same bytes.
"""

import io
from dataclasses import dataclass
from typing import Final

from PIL import Image, PngImagePlugin

from protocol.wire.specification import Output

USER_COMMENT: Final = 0x9286
EXIF: Final = 0x8769
"""Where EXIF keeps ``UserComment``, in which makers' tools look for parameters in anything but a PNG."""
LOSSLESS_EFFORT: Final = 20
"""How hard a WebP without loss is made smaller, of 100: beyond it a few per cent cost ten times as long."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How a picture was made, in the words of AUTOMATIC1111's web UI, which most tools read."""

    model: str
    model_hash: str
    """First ten hexadecimal digits of the model's digest."""
    steps: int
    sampler: str
    guidance: float
    seed: int
    strength: float | None = None
    """Of work that begins from a picture."""
    prompt: str | None = None
    """None where the app does not want it told; so also the next."""
    negative_prompt: str = ""
    tokens: int = 0
    """Of the prompt, where they are more than the model reads; 0 otherwise."""
    tokens_read: int = 0

    def text(self, size: tuple[int, int]) -> str:
        """Give them as they stand in a file of a picture of this size (pixels)."""
        lines = []
        if self.prompt is not None:
            lines.append(self.prompt)
            if self.negative_prompt:
                lines.append(f"Negative prompt: {self.negative_prompt}")
        told = {
            "Steps": self.steps,
            "Sampler": self.sampler,
            "CFG scale": f"{self.guidance:g}",
            "Seed": self.seed,
            "Size": f"{size[0]}x{size[1]}",
            "Model hash": self.model_hash,
            "Model": self.model,
        }
        if self.strength is not None:
            told["Denoising strength"] = f"{self.strength:g}"
        if self.tokens:
            told["Prompt tokens"] = f"{self.tokens_read} of {self.tokens} read"
        lines.append(", ".join(f"{name}: {value}" for name, value in told.items()))
        return "\n".join(lines)


def encode_picture(picture: Image.Image, output: Output, quality: int | None, parameters: Parameters) -> bytes:
    """Give the bytes of a file.

    Args:
        picture: The picture, RGB.
        output: The format.
        quality: Of a WebP, 1 to 100; None loses nothing.
        parameters: What the file tells of its making.
    """
    text = parameters.text(picture.size)
    buffer = io.BytesIO()
    if output == "png":
        chunks = PngImagePlugin.PngInfo()
        # Latin-1 is all that the plain kind of text holds.
        (chunks.add_text if text.isascii() else chunks.add_itxt)("parameters", text)
        picture.save(buffer, "PNG", pnginfo=chunks)
        return buffer.getvalue()
    exif = Image.Exif()
    exif.get_ifd(EXIF)[USER_COMMENT] = b"UNICODE\x00" + text.encode("utf-16-be")
    if quality is None:
        picture.save(buffer, "WEBP", lossless=True, quality=LOSSLESS_EFFORT, exif=exif.tobytes())
    else:
        picture.save(buffer, "WEBP", quality=quality, exif=exif.tobytes())
    return buffer.getvalue()
