"""All kinds of work by the embedded model and a tiny one of each family, through the real child process."""

import io

import numpy as np
import pytest
from PIL import Image

from node.adapters.engine.ipc import Done, Failed, Loaded
from node.adapters.engine.weights import model_digest
from tests.support.pictures import png

FAMILIES = ["stable-diffusion", "latent-consistency", "stable-diffusion-xl", "stable-diffusion-3", "flux"]
EDGE = 32
COMPANIONS_CHANGE = 2
"""Most by which companions in a batch may change a colour (of 255)."""


@pytest.fixture(scope="module")
def loaded(child, families):
    """The child with the embedded model and a tiny one of each family."""
    for family in FAMILIES:
        place = families / family / "model"
        report = child.load(place, model_digest(place), family, EDGE)
        assert isinstance(report, Loaded), report
    return child


def file(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def edge_of(model: str) -> int:
    return 128 if model == "pocket-emoji" else EDGE


def source_of(model: str, seed: int = 0) -> bytes:
    """A smooth picture of the model's size."""
    edge = edge_of(model)
    rows, columns = np.mgrid[0:edge, 0:edge] / edge
    colours = np.stack([rows, columns, np.full_like(rows, 0.2 + 0.3 * seed)], axis=-1)
    return file(Image.fromarray((colours * 255).astype(np.uint8), "RGB"))


def mask_of(model: str) -> bytes:
    """White in its right half."""
    edge = edge_of(model)
    mask = Image.new("L", (edge, edge), 0)
    mask.paste(255, (edge // 2, 0, edge, edge))
    return file(mask)


def pictures(child, model, wishes, **changes):
    """The pixels of these wishes, drawn together, and what was said meanwhile."""
    chosen = {"width": edge_of(model), "height": edge_of(model), "steps": 4} | changes
    said, ends = child.until_all_end(child.begin_batch(wishes, model=model, **chosen))
    assert all(isinstance(end, Done) for end in ends), ends
    return [np.asarray(Image.open(io.BytesIO(end.data)).convert("RGB")).astype(int) for end in ends], said


def steps_of(said) -> list[int]:
    return [report.step for report in said if report.kind == "progress" and report.state == "step"]


@pytest.mark.parametrize("model", ["pocket-emoji", *FAMILIES])
@pytest.mark.parametrize(("strength", "steps", "drawn"), [(0.5, 4, 2), (0.7, 5, 3), (1.0, 3, 3), (0.34, 3, 1)])
def test_run__image_to_image__takes_just_the_steps_that_are_paid(loaded, model, strength, steps, drawn):
    _, said = pictures(
        loaded,
        model,
        [("red heart", 1)],
        work="image_to_image",
        strength=strength,
        steps=steps,
        sources=[source_of(model)],
    )
    assert steps_of(said) == list(range(1, drawn + 1))
    assert {report.steps for report in said if report.kind == "progress"} == {drawn}


@pytest.mark.parametrize("model", ["pocket-emoji", *FAMILIES])
@pytest.mark.parametrize("work", ["image_to_image", "inpaint"])
def test_run__from_pictures__is_that_of_its_source_and_seed_alone_or_in_company(loaded, model, work):
    wishes = [("red heart", 5), ("green apple", 6), ("blue circle", 7)]
    sources = [source_of(model, seed) for seed in range(3)]
    masks = [mask_of(model)] * 3 if work == "inpaint" else []
    changes = {"work": work, "strength": 0.75}
    together, _ = pictures(loaded, model, wishes, sources=sources, masks=masks, **changes)
    for place, one in enumerate(together):
        only = slice(place, place + 1)
        alone, _ = pictures(loaded, model, wishes[only], sources=sources[only], masks=masks[only], **changes)
        assert np.abs(one - alone[0]).max() <= COMPANIONS_CHANGE
    (other_seed,), _ = pictures(loaded, model, [("red heart", 99)], sources=sources[:1], masks=masks[:1], **changes)
    (other_source,), _ = pictures(loaded, model, wishes[:1], sources=sources[1:2], masks=masks[:1], **changes)
    assert (other_seed != together[0]).any()
    # What untrained weights see of a source is little beside the noise.
    assert np.abs(other_source - together[0]).max() > (10 * COMPANIONS_CHANGE if model == "pocket-emoji" else 0)


@pytest.mark.parametrize("model", ["pocket-emoji", *FAMILIES])
def test_run__inpaint__what_the_mask_leaves_out_stays_as_it_was(loaded, model):
    source, edge = source_of(model), edge_of(model)
    (picture,), said = pictures(
        loaded, model, [("red heart", 1)], work="inpaint", strength=1.0, sources=[source], masks=[mask_of(model)]
    )
    before = np.asarray(Image.open(io.BytesIO(source))).astype(int)
    assert (picture[:, : edge // 2] == before[:, : edge // 2]).all()
    assert (picture[:, edge // 2 :] != before[:, edge // 2 :]).mean() > 0.5
    assert steps_of(said) == [1, 2, 3, 4]


def test_run__image_to_image__more_strength_leaves_less_of_the_source(loaded):
    source = source_of("pocket-emoji")
    before = np.asarray(Image.open(io.BytesIO(source))).astype(int)
    changes = []
    for strength in (0.2, 0.5, 0.9):
        (picture,), _ = pictures(
            loaded, "pocket-emoji", [("red heart", 1)], work="image_to_image", strength=strength, steps=10,
            sources=[source],
        )  # fmt: skip
        changes.append(np.abs(picture - before).mean())
    assert changes == sorted(changes)


@pytest.mark.parametrize(
    "scheduler",
    [
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
    ],
)
def test_run__other_scheduler__draws_with_it_and_the_next_with_its_own_again(loaded, scheduler):
    (own,), _ = pictures(loaded, "pocket-emoji", [("red heart", 1)])
    numbers = loaded.begin_batch([("red heart", 1)], steps=4, scheduler=scheduler)
    said, (end,) = loaded.until_all_end(numbers)
    assert isinstance(end, Done), end
    assert f"Sampler: {scheduler}" in Image.open(io.BytesIO(end.data)).info["parameters"]
    assert steps_of(said) == [1, 2, 3, 4]
    other = np.asarray(Image.open(io.BytesIO(end.data))).astype(int)
    # Euler's steps without noise of their own are DDIM's, by other arithmetic.
    assert (np.abs(own - other).max() > 10) == (scheduler != "EulerDiscreteScheduler")
    (again,), _ = pictures(loaded, "pocket-emoji", [("red heart", 1)])
    assert (again == own).all()


def test_run__every_kind_of_work__loads_no_second_copy_of_the_weights(loaded, model_folder):
    import psutil

    process = psutil.Process(loaded.process.pid)
    source, mask = source_of("pocket-emoji"), mask_of("pocket-emoji")
    report = loaded.load(model_folder, model_digest(model_folder))
    assert isinstance(report, Loaded)
    pictures(loaded, "pocket-emoji", [("red heart", 1)], work="image_to_image", strength=0.5, sources=[source])
    before = process.memory_info().rss
    for work in ("image_to_image", "inpaint"):
        pictures(loaded, "pocket-emoji", [("red heart", 1)], work=work, strength=0.5, sources=[source], masks=[mask])
    assert process.memory_info().rss - before < 40 * 2**20, "the weights alone are 56 MB"


def test_run__source_that_cannot_be_decoded__costs_its_companion_nothing(loaded):
    good, broken = source_of("pocket-emoji"), source_of("pocket-emoji")[:-200]
    jobs = loaded.begin_batch(
        [("red heart", 1), ("green apple", 2)], steps=4, work="image_to_image", strength=0.5, sources=[broken, good]
    )
    _, (first, second) = loaded.until_all_end(jobs)
    assert first == Failed(job=jobs[0], reason="input_invalid")
    assert isinstance(second, Done)


def test_run__mask_of_another_size__is_input_invalid(loaded):
    jobs = loaded.begin_batch(
        [("red heart", 1)], work="inpaint", strength=0.5, sources=[source_of("pocket-emoji")], masks=[png(64, 64)]
    )
    _, (end,) = loaded.until_all_end(jobs)
    assert end == Failed(job=jobs[0], reason="input_invalid")


def test_run__webp__is_one_with_the_prompt_if_asked(loaded):
    jobs = loaded.begin_batch([("red heart", 1)], steps=4, output="webp", quality=80, embed_prompt=True)
    _, (end,) = loaded.until_all_end(jobs)
    assert Image.open(io.BytesIO(end.data)).format == "WEBP"
    assert "red heart".encode("utf-16-be") in end.data
    jobs = loaded.begin_batch([("red heart", 1)], steps=4, output="webp")
    _, (end,) = loaded.until_all_end(jobs)
    assert "red heart".encode("utf-16-be") not in end.data
    (plain,), _ = pictures(loaded, "pocket-emoji", [("red heart", 1)])
    assert (np.asarray(Image.open(io.BytesIO(end.data)).convert("RGB")).astype(int) == plain).all()
