"""Which jobs go together: no device, no child."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.adapters.engine.batching import BATCHES, Batching, batches_to_measure
from node.adapters.engine.ipc import BatchSpeed
from node.model_files.catalog import load_catalog
from protocol.wire.messages import TaskSpecification

MODEL = load_catalog().models["pocket-emoji"]
WANTED = TaskSpecification(model=MODEL.name, prompt="red heart", width=128, height=128, steps=15, guidance=4.0, seed=1)


def wanted(**changes):
    return WANTED.model_copy(update=changes)


@pytest.fixture
def batching():
    """The model measured alone and in fours."""
    known = Batching()
    known.loaded(MODEL, tuple(BatchSpeed(batch=size, pixel_steps_per_s=1000 * size) for size in (1, 4)))
    return known


def test_next_batch__more_of_one_kind_than_fit__takes_the_oldest(batching):
    assert batching.next_batch([wanted(seed=seed) for seed in range(6)]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "other",
    [
        {"steps": 16},
        {"guidance": 4.5},
        {"width": 64},
        {"negative_prompt": "blue"},
        {"model": "other"},
        {"scheduler": "EulerDiscreteScheduler"},
        {"work": "image_to_image", "source": b"s" * 32, "strength": 0.5},
    ],
)
def test_next_batch__another_kind_between__is_left_for_later(batching, other):
    assert batching.next_batch([WANTED, wanted(**other), wanted(seed=9)]) == [0, 2]


def test_next_batch__other_words_and_seeds__go_together(batching):
    assert batching.next_batch([WANTED, wanted(prompt="green apple", seed=7)]) == [0, 1]


def test_next_batch__from_other_pictures_into_other_files__go_together_and_other_strengths_do_not(batching):
    first = wanted(work="inpaint", source=b"s" * 32, mask=b"m" * 32, strength=0.5)
    alike = first.model_copy(update={"source": b"t" * 32, "mask": b"n" * 32, "output": "webp", "quality": 80})
    stronger, other = (first.model_copy(update=changes) for changes in ({"strength": 0.6}, {"work": "image_to_image"}))
    assert batching.next_batch([first, stronger, alike, other]) == [0, 2]


@given(kinds=st.lists(st.sampled_from([8, 15, 30]), max_size=12))
def test_next_batch__any_mix_of_kinds__the_oldest_is_in_it_and_all_end(kinds):
    known = Batching()
    known.loaded(MODEL, tuple(BatchSpeed(batch=size, pixel_steps_per_s=1000) for size in (1, 2)))
    waiting = [wanted(steps=steps) for steps in kinds]
    rounds = 0
    while waiting:
        chosen = known.next_batch(waiting)
        assert chosen[0] == 0
        assert len(chosen) <= 2
        assert len({waiting[place].steps for place in chosen}) == 1
        waiting = [one for place, one in enumerate(waiting) if place not in chosen]
        rounds += 1
    assert rounds <= len(kinds)
    assert known.next_batch([]) == []


def test_most_together__larger_pictures_than_usual__fewer_fit(batching):
    assert batching.most_together(WANTED) == 4
    assert batching.most_together(wanted(width=256)) == 2
    assert batching.most_together(wanted(width=1024, height=1024)) == 1
    assert batching.most_together(wanted(width=64, height=64)) == 4


def test_most_together__did_not_fit__is_what_did(batching):
    batching.too_large(MODEL.name, 128, 128, 3)
    assert batching.most_together(WANTED) == 3
    assert batching.most_together(wanted(width=64, height=64)) == 4


def test_places__several_models__is_the_largest_batch_of_any(batching):
    assert batching.places() == 4
    batching.loaded(MODEL.model_copy(update={"name": "other"}), (BatchSpeed(batch=8, pixel_steps_per_s=1),))
    assert batching.places() == 8
    assert Batching().places() == 0


def test_batches_to_measure__by_choice_and_device__a_cpu_draws_one_by_one():
    assert batches_to_measure(0, "cpu") == (1,)
    assert batches_to_measure(0, "cuda") == BATCHES
    assert batches_to_measure(1, "cuda") == (1,)
    assert batches_to_measure(8, "cpu") == (1, 8)
