"""How ``cuckoo doctor`` judges a device that is not to be had here."""

import dataclasses

import pytest

from node.adapters.device.nvidia import Card
from node.adapters.engine.device import DeviceDescription
from node.doctor.device import describe_device, judge_device, judge_memory

GPU = DeviceDescription("cuda", "A card", 24 * 10**9, 20 * 10**9, (8, 9), True, "2.13.0", "CUDA 12.8")
CPU = DeviceDescription("cpu", "CPU with 2 threads", 8 * 10**9, 4 * 10**9, (0, 0), False, "2.13.0+cpu", "")
CARD = Card("A card", "580.1", 24 * 10**9, 20 * 10**9, 60, 93)


@pytest.mark.parametrize(
    ("wanted", "found", "card", "is_good"),
    [
        ("auto", CPU, None, True),
        ("cpu", CPU, None, True),
        ("auto", GPU, CARD, True),
        ("auto", CPU, CARD, False),
        ("cuda", "Torch not compiled with CUDA enabled", CARD, False),
        ("cuda:1", "invalid device ordinal", None, False),
    ],
)
def test_judge_device__as_wanted_and_found__is_judged(wanted, found, card, is_good):
    findings = judge_device(wanted, found, card)
    assert all(finding.is_good for finding in findings) is is_good
    assert findings[-1].name == "device"
    assert is_good is (findings[-1].fix == "")


def test_judge_memory__largest_model__must_fit_into_what_is_free():
    assert judge_memory(GPU, ("sdxl", 7 * 10**9)).is_good
    full = dataclasses.replace(GPU, free_bytes=5 * 10**9)
    finding = judge_memory(full, ("sdxl", 7 * 10**9))
    assert (finding.is_good, finding.name) == (False, "VRAM")
    assert "sdxl needs about 9.10" in finding.detail


async def test_describe_device__cpu_and_one_that_is_not_there__are_told_apart():
    found = await describe_device("cpu")
    assert isinstance(found, DeviceDescription)
    assert (found.device, found.is_gpu) == ("cpu", False)
    assert found.total_bytes >= found.free_bytes > 0
    assert DeviceDescription.from_json(found.to_json()) == found
    absent = await describe_device("cuda:99")
    assert isinstance(absent, str)
    assert absent


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"capability": 5}', "{"])
def test_from_json__what_is_no_description__value_error(text):
    with pytest.raises(ValueError, match=r"."):
        DeviceDescription.from_json(text)
