"""``cuckoo bench engine``: its table, and what it does not measure."""

import json

import pytest

from node import engine_bench
from node.adapters.engine import child_process
from node.adapters.engine.settings import EngineSettings
from node.engine_bench import BATCHES, BenchOptions, count_rows


def test_bench__model_that_does_not_fit_many_times__has_figures_up_to_there(cuckoo, monkeypatch):
    """The real child with the embedded model, which has memory for two pictures of such a prompt together."""
    monkeypatch.setattr(child_process, "CHILD_MODULE", "tests.support.faulty_engine")
    monkeypatch.setattr(engine_bench, "PROMPT", "greedy heart")
    arguments = "--device cpu --threads 1 --steps 2 --seconds 0.01 --batch 8 --batch 1 --batch 4 --json"
    code, out, err = cuckoo("bench", "engine", *arguments.split())
    assert code == 0
    one, four = json.loads(out)["rows"]
    assert (one["model"], one["batch"], one["steps"], one["fault"]) == ("pocket-emoji", 1, 2, "")
    assert (one["width"], one["height"], one["device"], one["precision"]) == (128, 128, "cpu", "float32")
    assert one["pictures_per_s"] > 0
    assert one["pixel_steps_per_s"] == pytest.approx(one["pictures_per_s"] * 128 * 128 * 2, rel=0.01)
    assert 10**8 < one["memory_bytes"] < 10**10
    assert 0 < one["load_s"] < 60
    assert (four["batch"], four["fault"], four["pictures_per_s"]) == (4, "out_of_memory", 0.0)
    assert err.splitlines() == [
        "pocket-emoji: loading",
        "pocket-emoji: 128x128, 1 together",
        "pocket-emoji: 128x128, 4 together",
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--size", "512"], "error: --size: '512' is no size: write 512x512"),
        (["--size", "100x100"], "error: --size: '100x100' is no size"),
        (["--size", "4096x64"], "error: --size: '4096x64' is no size"),
        (["--batch", "65"], "error: --batch: 65 pictures together: give 1 to 64"),
        (["--batch", "0"], "error: --batch: 0 pictures together"),
        (["--steps", "201"], "error: --steps: 201: give 1 to 200"),
        (["--seconds", "0"], "error: --seconds: 0: give more than 0"),
        (["--model", "nothing"], "error: engine.models: there is no model 'nothing' in the catalog"),
        (["--model", "sd-1.5"], "error: engine.models: the catalog names no digest of sd-1.5"),
    ],
)
def test_bench__what_no_engine_does__is_one_line(cuckoo, arguments, line):
    code, out, error = cuckoo("bench", "engine", *arguments)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert error.startswith(line)


def test_count_rows__device_and_choice__are_the_rows_of_the_bar():
    settings = EngineSettings(models=("a", "b"))
    assert count_rows(settings, BenchOptions(), on_cpu=False) == 2 * len(BATCHES)
    assert count_rows(settings, BenchOptions(), on_cpu=True) == 4
    assert count_rows(settings, BenchOptions(sizes=((8, 8), (16, 16)), batches=(1,)), on_cpu=True) == 4
