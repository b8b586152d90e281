"""How models are laid out, chosen for devices that are not here."""

import dataclasses

import pytest

from node.adapters.engine.choices import Wanted, choose, memory_share
from node.adapters.engine.device import DeviceDescription

GB = 10**9
ADA = DeviceDescription("cuda", "RTX 4090", 24 * GB, 23 * GB, (8, 9), True, "2.13.0", "CUDA 12.8")
TURING = DeviceDescription("cuda", "RTX 2060", 6 * GB, 5 * GB, (7, 5), False, "2.13.0", "CUDA 12.8")
RADEON = DeviceDescription("cuda:1", "RX 7900 XTX", 24 * GB, 23 * GB, (0, 0), True, "2.13.0", "ROCm 6.3")
CPU = DeviceDescription("cpu", "CPU with 8 threads", 16 * GB, 8 * GB, (0, 0), False, "2.13.0+cpu", "")
SD, SDXL, FLUX = 1_066_000_000, 3_470_000_000, 16_800_000_000
"""Numbers in the weights of the families, all parts together."""


@pytest.mark.parametrize(
    ("device", "precision", "weights", "expected"),
    [
        (ADA, "half", SD, ("bfloat16", True, False, "sdpa", "none", False)),
        (ADA, "half", SDXL, ("bfloat16", True, False, "sdpa", "none", False)),
        (ADA, "half", FLUX, ("bfloat16", True, False, "sliced", "sequential", True)),
        (ADA, "float32", SD, ("float32", False, False, "sdpa", "none", False)),
        (TURING, "half", SD, ("float16", True, False, "sdpa", "none", False)),
        (TURING, "half", SDXL, ("float16", True, False, "sliced", "sequential", True)),
        (RADEON, "half", SDXL, ("bfloat16", True, False, "sdpa", "none", False)),
        (CPU, "float32", SD, ("float32", False, False, "sdpa", "none", False)),
        (CPU, "half", SDXL, ("bfloat16", False, False, "sdpa", "none", False)),
        (CPU, "float32", FLUX, ("float32", False, False, "sdpa", "none", False)),
    ],
)
def test_choose__nothing_wanted__goes_by_the_device(device, precision, weights, expected):
    choices = choose(device, precision, weights, Wanted())
    found = (choices.numbers, choices.channels_last, choices.compile, choices.attention, choices.offload)
    assert (*found, choices.tiling) == expected


def test_choose__model_a_little_too_large__keeps_whole_parts_on_the_card():
    almost = dataclasses.replace(ADA, free_bytes=8 * GB)
    choices = choose(almost, "half", SDXL, Wanted())
    assert (choices.offload, choices.attention, choices.tiling) == ("model", "sdpa", True)


def test_choose__limit_of_memory__counts_as_what_is_free():
    assert choose(ADA, "half", SDXL, Wanted(memory_limit_bytes=8 * GB)).offload == "model"
    assert choose(ADA, "half", SDXL, Wanted(memory_limit_bytes=100 * GB)).offload == "none"


@pytest.mark.parametrize(
    ("wanted", "name", "value"),
    [
        ({"channels_last": "off"}, "channels_last", False),
        ({"compile": "on"}, "compile", True),
        ({"attention": "sliced"}, "attention", "sliced"),
        ({"offload": "model"}, "offload", "model"),
        ({"offload": "sequential"}, "offload", "sequential"),
    ],
)
def test_choose__wanted__is_done(wanted, name, value):
    assert getattr(choose(ADA, "half", SD, Wanted(**wanted)), name) == value


def test_choose__offload_wanted_on_a_cpu__there_is_nowhere_to():
    assert choose(CPU, "float32", SD, Wanted(offload="model")).offload == "none"


def test_choose__channels_last_wanted_on_a_cpu__is_done():
    assert choose(CPU, "float32", SD, Wanted(channels_last="on")).channels_last


@pytest.mark.parametrize(
    ("limit", "total", "share"), [(0, 24 * GB, None), (12 * GB, 24 * GB, 0.5), (24 * GB, 24 * GB, None)]
)
def test_memory_share__limit__is_the_share_of_the_card(limit, total, share):
    assert memory_share(limit, total) == share
