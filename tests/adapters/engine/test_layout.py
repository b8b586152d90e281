"""How a pipeline is laid out. Torch is asked in a process of its own, and no card is there: moves are counted."""

import json
import subprocess
import sys

import pytest

LAY_OUT = """
import json, sys, types, torch
from node.adapters.engine.choices import Choices
from node.adapters.engine.layout import lay_out

def laid_out(changes):
    done = []
    pipeline = types.SimpleNamespace(
        unet=torch.nn.Conv2d(4, 8, 3), vae=torch.nn.Conv2d(4, 8, 3), transformer=torch.nn.Linear(4, 4),
        to=lambda device: done.append(f"to {device}") or pipeline,
        enable_attention_slicing=lambda: done.append("sliced"),
        enable_model_cpu_offload=lambda device: done.append(f"parts to {device}"),
        enable_sequential_cpu_offload=lambda device: done.append(f"layers to {device}"),
    )
    pipeline.vae.enable_tiling = lambda: done.append("tiled")
    assert lay_out(pipeline, Choices(**changes), "cuda") is pipeline
    last = torch.channels_last
    return {
        "done": done,
        "last": [part.weight.is_contiguous(memory_format=last) for part in (pipeline.unet, pipeline.vae)],
        "compiled": [
            part._compiled_call_impl is not None for part in (pipeline.unet, pipeline.transformer, pipeline.vae)
        ],
    }

print(json.dumps([laid_out(changes) for changes in json.loads(sys.argv[1])]))
"""
PLAIN = {
    "numbers": "float32",
    "channels_last": False,
    "compile": False,
    "attention": "sdpa",
    "offload": "none",
    "tiling": False,
}


CASES = [
    ({}, ["to cuda"], False, False),
    ({"channels_last": True}, ["to cuda"], True, False),
    ({"compile": True}, ["to cuda"], False, True),
    ({"offload": "model", "tiling": True}, ["tiled", "parts to cuda"], False, False),
    ({"offload": "sequential", "attention": "sliced"}, ["sliced", "layers to cuda"], False, False),
]
"""Changes to the plain choices, and what is done for them: moves, channels last, compiled."""


@pytest.fixture(scope="module")
def found():
    """What is done in each case; one process does them all, because torch takes seconds to load."""
    cases = json.dumps([PLAIN | changes for changes, *_ in CASES])
    command = [sys.executable, "-W", "ignore", "-c", LAY_OUT, cases]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: "-".join(CASES[number][0]) or "plain")
def test_lay_out__each_choice__is_done(found, number):
    _, done, last, compiled = CASES[number]
    expected = {"done": done, "last": [last, last], "compiled": [compiled, compiled, False]}
    assert found[number] == expected
