"""What the driver is asked about a card. NVIDIA's library is played where there is no driver."""

import sys
import types

import pytest

from node.adapters.device.nvidia import CardUnknown, card_of, read_card


class DriverError(Exception):
    pass


def library(**changes):
    """NVIDIA's binding with one card of 80 °C."""

    def by_index(number):
        if number != 0:
            raise DriverError("Invalid Argument")
        return "card"

    def by_uuid(uuid):
        if uuid != "GPU-1":
            raise DriverError("Not Found")
        return "card"

    parts = {
        "NVMLError": DriverError,
        "NVML_TEMPERATURE_GPU": 0,
        "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN": 1,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetHandleByIndex": by_index,
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetMemoryInfo": lambda card: types.SimpleNamespace(total=24 * 10**9, free=20 * 10**9),
        "nvmlDeviceGetName": lambda card: "A card",
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlDeviceGetTemperature": lambda card, which: 80,
        "nvmlDeviceGetTemperatureThreshold": lambda card, which: 93,
    }
    return types.SimpleNamespace(**(parts | changes))


def fails(*_arguments):
    raise DriverError("Not Supported")


@pytest.mark.parametrize("which", ["cuda", "cuda:0", "GPU-1"])
def test_read_card__that_is_there__says_what_it_is(monkeypatch, which):
    monkeypatch.setitem(sys.modules, "pynvml", library())
    card = read_card(which)
    assert (card.name, card.driver, card.celsius, card.limit_celsius) == ("A card", "580.1", 80, 93)
    assert (card.total_bytes, card.free_bytes) == (24 * 10**9, 20 * 10**9)


def test_read_card__that_names_no_limit__has_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetTemperatureThreshold=fails))
    assert read_card("cuda").limit_celsius is None


@pytest.mark.parametrize("which", ["cuda:1", "GPU-2"])
def test_read_card__that_is_not_there__is_unknown(monkeypatch, which):
    monkeypatch.setitem(sys.modules, "pynvml", library())
    with pytest.raises(CardUnknown, match="no such card"):
        read_card(which)


def test_read_card__no_driver__is_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlInit=fails))
    with pytest.raises(CardUnknown, match="no NVIDIA driver"):
        read_card("cuda")


def test_read_card__library_not_installed__says_how_to(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(CardUnknown, match=r"pip install 'cuckoo-overlay\[miner\]'$"):
        read_card("cuda")


@pytest.mark.parametrize(
    ("device", "visible", "card"),
    [
        ("auto", None, "cuda:0"),
        ("cuda", "", "cuda:0"),
        ("cuda:1", None, "cuda:1"),
        ("cuda", "3", "cuda:3"),
        ("cuda:1", "3, 2", "cuda:2"),
        ("auto", "GPU-1,GPU-2", "GPU-1"),
        ("cuda:1", "GPU-1,GPU-2", "GPU-2"),
    ],
)
def test_card_of__device_as_cuda_numbers_it__is_the_drivers(device, visible, card):
    assert card_of(device, visible) == card
