"""Every family of models that the catalog may name, through the real child: tiny random weights, the real classes."""

import io
import json
import subprocess
import sys

import numpy as np
import psutil
import pytest
from PIL import Image

from node.adapters.engine.choices import Wanted
from node.adapters.engine.ipc import Cancel, Done, Failed, Loaded, LoadFailed
from node.adapters.engine.weights import model_digest

EDGE = 32
FAMILIES = ["stable-diffusion", "latent-consistency", "stable-diffusion-xl", "stable-diffusion-3", "flux"]
WISHES = [("red heart", 5), ("green apple", 6), ("blue circle", 7)]
HALF_CHANGE = 16
"""Most by which 16 bits may change a colour (of 255) on average, with weights that nobody trained."""
LEAK_BYTES = 4 * 2**20
"""Less growth over 150 jobs is noise: a graph or a batch that is kept has as much within some dozens."""
COMPANIONS_CHANGE = 2
"""Most by which companions in a batch may change a colour (of 255)."""


@pytest.fixture(scope="module")
def folders(families):
    """A folder with a tiny model of each family."""
    return {family: families / family / "model" for family in FAMILIES}


BY_DIFFUSERS = """
import gc, json, sys
from pathlib import Path
gc.disable()
from node.adapters.engine import batch_runner
from node.adapters.engine.families import USUAL, folder_class, made_for

folder_class(Path(sys.argv[1], "stable-diffusion", "model"))
assert "diffusers.pipelines.auto_pipeline" not in sys.modules, "a child with a usual model does without"
assert "diffusers.pipelines.flux.pipeline_flux" not in sys.modules
from diffusers.pipelines import auto_pipeline

found = {}
tables = {
    "text_to_image": auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    "image_to_image": auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    "inpaint": auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING,
}
for family, known in tables["text_to_image"].items():
    if known.__name__ in USUAL:
        other = {work: table[family].__name__ for work, table in tables.items() if family in table}
        assert other == {"text_to_image": known.__name__} | USUAL[known.__name__], family
        found[known.__name__] = family
assert found.keys() == USUAL.keys()

automatic = {
    "image_to_image": auto_pipeline.AutoPipelineForImage2Image,
    "inpaint": auto_pipeline.AutoPipelineForInpainting,
}
made = []
for folder in sorted(Path(sys.argv[1]).glob("*/model")):
    pipeline = folder_class(folder).from_pretrained(str(folder), use_safetensors=True, local_files_only=True)
    for work, kind in automatic.items():
        ours, theirs = made_for(pipeline, work), kind.from_pipe(pipeline)
        assert type(ours) is type(theirs)
        assert ours.components.keys() == theirs.components.keys()
        assert all(part is theirs.components[name] for name, part in ours.components.items())
        said = [{name: one for name, one in each.config.items() if name[0] != "_"} for each in (ours, theirs)]
        assert said[0] == said[1]
        made.append(type(ours).__name__)
print(json.dumps(made))
"""


def test_made_for__every_family__is_what_diffusers_would_choose_once_it_has_imported_all(families):
    command = [sys.executable, "-W", "ignore", "-c", BY_DIFFUSERS, str(families)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    assert len(set(json.loads(told.stdout))) == 8, "two kinds of work in four classes"


@pytest.fixture(scope="module")
def loaded(child, folders):
    """The child with all of them in memory."""
    for family, folder in folders.items():
        report = child.load(folder, model_digest(folder), family, EDGE)
        assert isinstance(report, Loaded), report
    return child


def pictures(child, model, wishes, **changes):
    """The pixels of these wishes, drawn together."""
    chosen = {"width": EDGE, "height": EDGE, "steps": 3} | changes
    _, ends = child.until_all_end(child.begin_batch(wishes, model=model, **chosen))
    assert all(isinstance(end, Done) for end in ends), ends
    return [np.asarray(Image.open(io.BytesIO(end.data))).astype(int) for end in ends]


@pytest.mark.parametrize("family", FAMILIES)
def test_run__any_family__a_picture_is_that_of_its_seed_alone_or_in_company(loaded, family):
    alone = [pictures(loaded, family, [wish])[0] for wish in WISHES]
    together = pictures(loaded, family, WISHES)
    for one, other in zip(alone, together, strict=True):
        assert one.shape == (EDGE, EDGE, 3)
        assert np.abs(one - other).max() <= COMPANIONS_CHANGE
    another = pictures(loaded, family, [("red heart", 99)])[0]
    assert np.abs(alone[0] - another).max() > 10 * COMPANIONS_CHANGE


@pytest.mark.parametrize("family", FAMILIES)
def test_run__any_family__reports_its_steps_and_stops_between_them(loaded, family):
    (job,) = loaded.begin_batch([("red heart", 1)], model=family, width=EDGE, height=EDGE, steps=50)
    while (report := loaded.receive()).state != "step":
        pass
    assert (report.steps, report.jobs) == (50, (job,))
    loaded.send(Cancel(job=job))
    _, (end,) = loaded.until_all_end([job])
    assert end == Failed(job=job, reason="cancelled")


@pytest.mark.parametrize("wanted", [Wanted(channels_last="on"), Wanted(attention="sliced")], ids=["last", "sliced"])
@pytest.mark.parametrize("family", ["stable-diffusion", "stable-diffusion-xl", "flux"])
def test_load__laid_out_otherwise__draws_the_same(loaded, folders, family, wanted):
    digest = model_digest(folders[family])
    report = loaded.load(folders[family], digest, "other", EDGE, wanted=wanted)
    assert isinstance(report, Loaded), report
    (one,), (other,) = pictures(loaded, family, WISHES[:1]), pictures(loaded, "other", WISHES[:1])
    assert np.abs(one - other).max() <= COMPANIONS_CHANGE


def test_run__model_that_left_the_device__is_brought_back_and_draws_the_same(loaded, folders):
    """Last but for those that say so: the child holds one model less each time."""
    (before,) = pictures(loaded, "flux", WISHES[:1])
    held = loaded.in_memory
    report = loaded.load(
        folders["stable-diffusion"], model_digest(folders["stable-diffusion"]), "newcomer", EDGE, in_memory=1
    )
    assert isinstance(report, Loaded), report
    assert len(held) > 1
    assert loaded.in_memory == ("newcomer",)
    said, (end,) = loaded.until_all_end(loaded.begin_batch(WISHES[:1], model="flux", width=EDGE, height=EDGE, steps=3))
    assert isinstance(end, Done), end
    assert [report.models for report in said if report.kind == "in_memory"] == [("newcomer", "flux")]
    assert said[0].kind == "progress"
    assert said[0].state == "loading", "said before the device is busy with it"
    again = np.asarray(Image.open(io.BytesIO(end.data))).astype(int)
    assert (before == again).all()


def test_run__hundreds_of_jobs__memory_stays_as_it_is(loaded):
    """Two hundred of the smallest model, in batches of changing sizes and lengths; ``make soak-engine`` runs more."""
    process = psutil.Process(loaded.process.pid)

    def draw(batches):
        for number in range(batches):
            wishes = [(f"heart {number}", number)] * (1 + number % 3)
            loaded.until_all_end(
                loaded.begin_batch(wishes, model="stable-diffusion", width=EDGE, height=EDGE, steps=1 + number % 2)
            )

    draw(25)  # allocators and caches have their size then
    before = process.memory_info().rss
    draw(75)
    assert process.memory_info().rss - before < LEAK_BYTES


@pytest.fixture(scope="module")
def single(families):
    """Tiny models as people publish checkpoints: whole.safetensors, holed.safetensors, and their configuration."""
    return families / "single"


@pytest.mark.parametrize("family", ["stable-diffusion", "stable-diffusion-xl"])
def test_load__checkpoint_in_one_file__draws_what_the_folder_draws(loaded, single, family):
    checkpoint, configuration = single / family / "whole.safetensors", single / family / "configuration"
    digest = model_digest(configuration, checkpoint)
    report = loaded.load(configuration, digest, "single", EDGE, checkpoint)
    assert isinstance(report, Loaded), report
    (one,) = pictures(loaded, "single", WISHES[:1])
    (other,) = pictures(loaded, family, WISHES[:1])
    assert (one == other).all()


def test_load__checkpoint_without_one_tensor__is_model_corrupt(loaded, single):
    folder = single / "stable-diffusion"
    checkpoint, configuration = folder / "holed.safetensors", folder / "configuration"
    report = loaded.load(configuration, model_digest(configuration, checkpoint), "holed", EDGE, checkpoint)
    assert report == LoadFailed(model="holed", reason="model_corrupt")


def test_load__checkpoint_with_another_digest__is_model_corrupt(loaded, single):
    folder = single / "stable-diffusion"
    checkpoint, configuration = folder / "holed.safetensors", folder / "configuration"
    digest = model_digest(configuration, folder / "whole.safetensors")
    report = loaded.load(configuration, digest, "holed", EDGE, checkpoint)
    assert report == LoadFailed(model="holed", reason="model_corrupt")


@pytest.mark.parametrize("family", FAMILIES)
def test_load__half_precision__draws_nearly_the_same(loaded, folders, family):
    report = loaded.load(folders[family], model_digest(folders[family]), f"{family}-half", EDGE, precision="half")
    assert isinstance(report, Loaded), report
    assert report.numbers == "bfloat16", "what half means here; the class of arithmetic that it states is made of this"
    whole = pictures(loaded, family, WISHES[:1])[0]
    half = pictures(loaded, f"{family}-half", WISHES[:1])[0]
    assert 0 < np.abs(whole - half).mean() < HALF_CHANGE
