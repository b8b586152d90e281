"""The real child with the embedded model. One process serves the whole file, faults included."""

import hashlib
import io
import json
import resource
import shutil
import signal
import struct
import subprocess
import sys

import numpy as np
import psutil
import pytest
from PIL import Image

from node.adapters.engine.ipc import Cancel, Done, Failed, Loaded, Ping, Pong
from node.adapters.engine.weights import model_digest
from protocol.params import MAX_PREVIEW_BYTES
from protocol.task.preview import check_preview
from tests.support.devnet import wait_until
from tests.support.patience import PATIENCE_S, stopwatch

COMPANIONS_CHANGE = 2
"""Most by which companions in a batch may change a colour (of 255): kernels add in another order for another size."""


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def average_colour_of_the_subject(data):
    """Mean red, green, blue where the picture is not its white background."""
    values = pixels(data)
    subject = values[values.min(axis=2) < 200]
    assert len(subject) > 1000, "the picture is nearly empty"
    return subject.mean(axis=0)


def drawn(child, prompt="red heart", **changes):
    child.begin(prompt, **changes)
    _, end = child.until_end()
    assert isinstance(end, Done), end
    return end.data


@pytest.fixture
def broken_copy(tmp_path, model_folder):
    """A copy of the embedded model for a fault to be put in."""
    copy = tmp_path / "model"
    shutil.copytree(model_folder, copy, ignore=shutil.ignore_patterns("training", "*.png", "*.md", "LICENSE*"))
    return copy


def test_run__red_heart__is_a_png_of_the_asked_size_with_its_parameters_and_no_prompt(child):
    child.begin("red heart")
    _, end = child.until_end()
    picture = Image.open(io.BytesIO(end.data))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (128, 128), "RGB")
    assert picture.info == {
        "parameters": "Steps: 8, Sampler: DDIMScheduler, CFG scale: 4, Seed: 1, Size: 128x128, "
        "Model hash: c59b43de6a, Model: pocket-emoji"
    }
    assert b"heart" not in end.data
    assert end.digest == hashlib.sha256(end.data).digest()


@pytest.mark.skipif(not hasattr(psutil.Process, "memory_maps"), reason="this system tells nothing of it")
def test_load__embedded_model__comes_without_what_libraries_load_of_scipy_for_others(child):
    mapped = [one.path for one in psutil.Process(child.process.pid).memory_maps()]
    assert any("/torch/" in path for path in mapped)
    assert not [path for path in mapped if "/scipy/stats/" in path or "/scipy/optimize/" in path]


def test_run__longer_prompt_than_the_model_reads__says_how_much_and_the_rest_changes_nothing(child, model_folder):
    assert isinstance(child.load(model_folder, model_digest(model_folder), max_prompt_tokens=30), Loaded)
    pictures = []
    for times in (10, 11):
        child.begin("a red heart " * times)
        pictures.append(Image.open(io.BytesIO(child.until_end()[1].data)))
    assert "Prompt tokens" not in pictures[0].info["parameters"]
    assert pictures[1].info["parameters"].endswith(", Prompt tokens: 30 of 33 read")
    assert (np.asarray(pictures[0]) == np.asarray(pictures[1])).all()


def test_run__longer_prompt_than_the_model_reads__stands_in_no_log(child, log_of_child):
    secret = "zanzibar"
    assert drawn(child, f"{'red heart ' * 40} {secret}", steps=1)
    assert log_of_child.exists()
    assert secret not in log_of_child.read_text(encoding="utf-8")


@pytest.mark.parametrize(("prompt", "strongest"), [("red heart", 0), ("green apple", 1), ("blue circle", 2)])
def test_run__prompt_with_a_colour__the_subject_has_that_colour(child, prompt, strongest):
    colour = average_colour_of_the_subject(drawn(child, prompt))
    others = [colour[channel] for channel in range(3) if channel != strongest]
    assert colour[strongest] > 1.3 * max(others)


def test_run__same_seed_twice__gives_the_same_bytes_and_another_seed_others(child):
    first, again, other = (drawn(child, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_run__eight_steps__reports_each_with_its_time(child):
    child.begin(steps=8)
    progress, _ = child.until_end()
    assert [(report.state, report.step) for report in progress] == [
        ("loading", 0),
        *(("step", step) for step in range(1, 9)),
        ("encoding", 8),
    ]
    assert all(report.step_ms > 0 for report in progress)


def test_run__slow_picture__is_previewed_by_small_files_that_resemble_it(child):
    for prompt in ("green apple", "red heart"):  # previews learn a model's colours from its pictures
        drawn(child, prompt, steps=8)
    child.begin("red heart", steps=50, seed=3)
    progress, end = child.until_end()
    previews = [report.previews[0] for report in progress if report.previews]
    assert 1 <= len(previews) <= 50
    for preview in previews:
        check_preview(preview)
        assert len(preview) <= MAX_PREVIEW_BYTES
    guess = Image.open(io.BytesIO(previews[-1])).convert("RGB")
    picture = Image.open(io.BytesIO(end.data)).resize(guess.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(guess).astype(int) - np.asarray(picture).astype(int)).mean()
    other = np.abs(np.asarray(guess).astype(int) - 255).mean()
    assert difference < other, "nearer to the picture than to a white sheet"


def test_cancel__after_the_first_step__stops_before_the_next_few(child):
    job = child.begin(steps=50)
    while child.receive().state != "step":
        pass
    child.send(Cancel(job=job))
    progress, end = child.until_end()
    assert end == Failed(job=job, reason="cancelled")
    assert len(progress) < 10


def test_cancel__sent_with_the_job__is_not_lost(child):
    job = child.begin(steps=50)
    child.send(Cancel(job=job))
    progress, end = child.until_end()
    assert end == Failed(job=job, reason="cancelled")
    assert len(progress) < 10


def test_cancel__of_an_ended_job__does_not_stop_the_next(child):
    job = child.begin(steps=1)
    child.until_end()
    child.send(Cancel(job=job))
    assert drawn(child, steps=2)


# Batches

WISHES = [("red heart", 5), ("green apple", 6), ("blue circle", 7)]


def test_run__several_together__each_is_what_it_is_alone(child):
    alone = [drawn(child, prompt, seed=seed, steps=6) for prompt, seed in WISHES]
    _, ends = child.until_all_end(child.begin_batch(WISHES, steps=6))
    for one, end in zip(alone, ends, strict=True):
        assert isinstance(end, Done)
        difference = np.abs(pixels(one) - pixels(end.data))
        assert difference.max() <= COMPANIONS_CHANGE


def test_run__several_together__are_told_of_together_until_each_ends(child):
    jobs = child.begin_batch(WISHES, steps=3)
    said, _ = child.until_all_end(jobs)
    progress = [report for report in said if report.kind == "progress"]
    assert [(report.state, report.step) for report in progress] == [
        ("loading", 0),
        *(("step", step) for step in range(1, 4)),
        ("encoding", 3),
    ]
    assert all(report.jobs == tuple(jobs) for report in progress)


def test_cancel__one_of_a_batch__the_others_get_their_pictures(child):
    jobs = child.begin_batch(WISHES, steps=30)
    while child.receive().state != "step":
        pass
    child.send(Cancel(job=jobs[1]))
    said, ends = child.until_all_end(jobs)
    assert [end.kind for end in ends] == ["done", "failed", "done"]
    assert ends[1].reason == "cancelled"
    assert said.index(ends[1]) < 10, "at once, not with the others"
    assert said[-3].jobs == (jobs[0], jobs[2])


def test_cancel__all_of_a_batch__stops_it(child):
    jobs = child.begin_batch(WISHES, steps=50)
    for job in jobs:
        child.send(Cancel(job=job))
    said, ends = child.until_all_end(jobs)
    assert {end.reason for end in ends} == {"cancelled"}
    assert len(said) < 10


def test_ping__during_a_job__is_answered_at_once(child):
    child.begin(steps=20)
    child.receive()
    with stopwatch() as watch:
        child.send(Ping(number=9))
        while child.receive() != Pong(number=9):
            pass
        assert watch.seconds < 1
    child.until_end()


def test_load__weights_with_one_bit_flipped__is_model_corrupt(child, broken_copy):
    digest = model_digest(broken_copy)
    with (broken_copy / "vae" / "diffusion_pytorch_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    assert child.load(broken_copy, digest, "broken").reason == "model_corrupt"


def test_load__weights_cut_off_but_digest_right__is_model_corrupt(child, broken_copy):
    with (broken_copy / "vae" / "diffusion_pytorch_model.safetensors").open("r+b") as file:
        file.truncate(1_000_000)
    assert child.load(broken_copy, model_digest(broken_copy), "broken").reason == "model_corrupt"


def test_load__part_missing__is_model_missing(child, broken_copy):
    digest = model_digest(broken_copy)
    shutil.rmtree(broken_copy / "unet")
    assert child.load(broken_copy, digest, "broken").reason == "model_missing"


def test_load__no_such_folder__is_model_missing(child, tmp_path):
    assert child.load(tmp_path / "nowhere", bytes(32), "broken").reason == "model_missing"


def test_load__class_that_is_no_picture_pipeline__is_model_corrupt(child, broken_copy):
    index = json.loads((broken_copy / "model_index.json").read_text())
    (broken_copy / "model_index.json").write_text(json.dumps(index | {"_class_name": "NoSuchPipeline"}))
    assert child.load(broken_copy, model_digest(broken_copy), "broken").reason == "model_corrupt"


def test_load__weights_that_are_not_numbers__is_nan_picture(child, broken_copy):
    path = broken_copy / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    header = struct.unpack("<Q", data[:8])[0]
    start, end = json.loads(data[8 : 8 + header])["decoder.conv_in.bias"]["data_offsets"]
    data[8 + header + start : 8 + header + end] = struct.pack("<H", 0x7E00) * ((end - start) // 2)  # NaN in float16
    path.write_bytes(data)
    assert child.load(broken_copy, model_digest(broken_copy), "broken").reason == "nan_picture"


def test_run__model_that_is_not_loaded__is_model_missing(child, broken_copy):
    shutil.rmtree(broken_copy)
    job = child.begin(model="other")
    _, end = child.until_end()
    assert end == Failed(job=job, reason="model_missing")


def test_run__memory_is_refused__is_out_of_memory_and_the_next_job_works(child):
    memory = psutil.Process(child.process.pid).memory_info().vms
    before = resource.prlimit(child.process.pid, resource.RLIMIT_AS)
    resource.prlimit(child.process.pid, resource.RLIMIT_AS, (memory + 16 * 2**20, before[1]))
    try:
        job = child.begin(width=2048, height=2048, steps=1)
        _, end = child.until_end()
    finally:
        resource.prlimit(child.process.pid, resource.RLIMIT_AS, before)
    assert end == Failed(job=job, reason="out_of_memory")
    assert drawn(child, steps=2)


def test_main__asked_for_stacks_by_a_signal__writes_them_into_its_log_and_goes_on(child, log_of_child):
    told = log_of_child.stat().st_size
    child.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: b" in read_commands\n" in log_of_child.read_bytes()[told:], "what its threads are at")
    assert drawn(child, steps=1)


def test_run__every_fault_above__left_the_same_process_alive(child):
    assert child.process.poll() is None
    assert drawn(child, seed=5) == drawn(child, seed=5)


def test_interrupt__from_the_terminal__is_left_to_the_parent(child):
    child.process.send_signal(signal.SIGINT)
    assert drawn(child, steps=2)


def test_read_commands__parent_closes_the_pipe_mid_job__the_child_ends_at_once(child):
    child.begin(steps=50)
    child.receive()
    child.process.stdin.close()
    with stopwatch() as watch:
        assert child.process.wait(timeout=PATIENCE_S) == 0
        assert watch.seconds < 2


def test_private_pipes__library_that_prints__does_not_reach_the_frames():
    code = (
        "import os; from node.adapters.engine import child\n"
        "commands, reports = child._private_pipes()\n"
        "print('progress: 50 %', flush=True); os.system('echo from a subprocess')\n"
        "os.write(reports, os.read(commands, 100)); assert os.read(0, 1) == b''"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], input=b"frame", capture_output=True, timeout=PATIENCE_S, check=True
    )
    assert ran.stdout == b"frame"
    assert ran.stderr == b"progress: 50 %\nfrom a subprocess\n"
