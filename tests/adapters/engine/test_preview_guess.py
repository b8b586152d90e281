"""The guess of a picture from latents costs nobody the picture, whatever form latents have."""

import io

import numpy as np
import pytest
from PIL import Image

from node.adapters.engine.preview import PreviewGuess

RED = Image.new("RGB", (64, 64), (200, 10, 10))


def latents(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(4, 8, 8), (64, 16), (16, 4, 4)])
def test_paint__learnt_from_one_picture__has_its_colour(shape):
    guess = PreviewGuess()
    guess.learn(latents(*shape), RED)
    data = guess.paint(latents(*shape), 64, 64)
    assert data is not None
    mean = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).mean(axis=(0, 1))
    assert mean[0] > 2 * max(mean[1:])


@pytest.mark.parametrize(
    "odd", [latents(63, 16), latents(5), latents(1, 4, 8, 8), np.full((4, 8, 8), np.nan, np.float32)]
)
def test_paint__latents_of_another_form__is_none_and_nothing_is_learnt(odd):
    guess = PreviewGuess()
    guess.learn(odd, RED)
    assert guess.paint(odd, 64, 64) is None
    guess.learn(latents(4, 8, 8), RED)
    assert guess.paint(odd, 64, 64) is None
    assert guess.paint(latents(4, 8, 8), 64, 64) is not None


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_learn__numbers_beyond_all_measure__costs_nobody_a_picture():
    guess = PreviewGuess()
    guess.learn(np.full((4, 8, 8), 3e38, np.float32), RED)
    assert guess.paint(latents(4, 8, 8), 64, 64) is None
    guess.learn(latents(4, 8, 8), RED)
    assert guess.paint(latents(4, 8, 8), 64, 64) is not None
