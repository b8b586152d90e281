"""The fingerprints of steps, of latents that are made here.

Torch is imported by the tests: each process that shares them collects this file.
"""

import pytest

from protocol.task.fingerprint import packed

RISING = [round(1024 * (2 * place + 0.5) / 100) for place in range(64)]


@pytest.fixture
def trace():
    from node.adapters.engine.trace import Trace

    return Trace()


def latents_of(pictures):
    """Two latents for each number of a fingerprint: 0.00, 0.01, 0.02, … times the picture's factor."""
    import torch

    return torch.stack([factor * torch.arange(128).reshape(2, 8, 8) / 100 for factor in pictures])


def test_fingerprints__of_each_picture__are_the_means_of_its_own_steps(trace):
    trace.take(latents_of([1, -1]))
    trace.take(latents_of([0, 1]))
    falling = [-value for value in RISING]
    assert trace.fingerprints(0, 2) == (packed(RISING), packed([0] * 64))
    assert trace.fingerprints(1, 2) == (packed(falling), packed(RISING))


@pytest.mark.parametrize("shape", [(1, 128), (128, 1), (4, 4, 8)])
def test_fingerprints__latents_of_any_shape__are_read_as_they_lie_in_memory(trace, shape):
    trace.take(latents_of([1]).reshape(1, *shape))
    assert trace.fingerprints(0, 1) == (packed(RISING),)


def test_fingerprints__numbers_that_do_not_fit_or_are_none__are_cut_or_nothing(trace):
    import torch

    latents = torch.zeros(1, 64)
    latents[0, :4] = torch.tensor([100.0, -100.0, float("nan"), float("inf")])
    trace.take(latents)
    assert trace.fingerprints(0, 1) == (packed([32_767, -32_767, 0, 32_767] + [0] * 60),)


def test_fingerprints__pipeline_that_shows_another_number_of_steps__are_none(trace):
    assert trace.fingerprints(0, 1) == ()
    trace.take(latents_of([1]))
    assert trace.fingerprints(0, 2) == ()
