"""Files that makers' tools read again."""

import io

import numpy as np
import pytest
from PIL import Image

from node.adapters.engine.files import EXIF, USER_COMMENT, Parameters, encode_picture
from protocol.task.artifact import check_picture

PICTURE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8), "RGB")
PLAIN = Parameters("tiny", "0123456789", 20, "DDIMScheduler", 7.5, 42)
LINE = "Steps: 20, Sampler: DDIMScheduler, CFG scale: 7.5, Seed: 42, Size: 64x48, Model hash: 0123456789, Model: tiny"


def told(data: bytes) -> str:
    """The parameters in a file, as AUTOMATIC1111's tools look for them."""
    picture = Image.open(io.BytesIO(data))
    if picture.format == "PNG":
        return picture.info["parameters"]
    comment = picture.getexif().get_ifd(EXIF)[USER_COMMENT]
    assert comment.startswith(b"UNICODE\x00")
    return comment[8:].decode("utf-16-be")


@pytest.mark.parametrize(("output", "quality"), [("png", None), ("webp", None), ("webp", 90)])
@pytest.mark.parametrize("prompt", [None, "a red heart", "ein rotes Herz, 赤いハート"])
def test_encode_picture__any_format__tells_parameters_and_prompts_only_if_asked(output, quality, prompt):
    parameters = Parameters(*(PLAIN.model, PLAIN.model_hash, 20, "DDIMScheduler", 7.5, 42), 0.6, prompt, "blue")
    data = encode_picture(PICTURE, output, quality, parameters)
    lines = told(data).split("\n")
    assert lines[-1] == f"{LINE}, Denoising strength: 0.6"
    assert lines[:-1] == ([] if prompt is None else [prompt, "Negative prompt: blue"])
    assert prompt is not None or b"blue" not in data
    check_picture(data, "image/png" if output == "png" else "image/webp", 64, 48)


@pytest.mark.parametrize("output", ["png", "webp"])
def test_encode_picture__without_quality__keeps_every_pixel(output):
    data = encode_picture(PICTURE, output, None, PLAIN)
    assert (np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) == np.asarray(PICTURE)).all()
    assert told(data) == LINE
    assert data == encode_picture(PICTURE, output, None, PLAIN), "no date"


def test_encode_picture__less_quality__is_smaller():
    sizes = [len(encode_picture(PICTURE, "webp", quality, PLAIN)) for quality in (1, 50, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2
