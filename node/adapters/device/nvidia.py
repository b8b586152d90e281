"""Asks NVIDIA's management library about a card. It is loaded where it is asked; without it nothing is known."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

ABSENT: Final = "there is no NVIDIA driver, or it has no such card"


class CardUnknown(Exception):
    """Nobody can say anything of the card; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Card:
    """What the driver says of one card."""

    name: str
    driver: str
    total_bytes: int
    free_bytes: int
    """Memory that no process has."""
    celsius: int
    limit_celsius: int | None
    """Where the card slows itself down; None where it does not say."""


def read_card(which: str) -> Card:
    """Ask for one card. Takes milliseconds, or seconds while a driver wakes: call it in a thread.

    Args:
        which: ``cuda`` for the first, ``cuda:1`` for the second …, or its UUID (``GPU-…``), which is surest: the order
            of numbers is the driver's, and CUDA's may be another.

    Raises:
        CardUnknown: There is no driver, no library or no such card.
    """
    with _library() as nvml:
        try:
            if which.startswith("GPU-"):
                handle = nvml.nvmlDeviceGetHandleByUUID(which)
            else:
                handle = nvml.nvmlDeviceGetHandleByIndex(int(which.partition(":")[2] or 0))
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            return Card(
                name=str(nvml.nvmlDeviceGetName(handle)),
                driver=str(nvml.nvmlSystemGetDriverVersion()),
                total_bytes=int(memory.total),
                free_bytes=int(memory.free),
                celsius=int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
                limit_celsius=_limit(nvml, handle),
            )
        except nvml.NVMLError as error:
            raise CardUnknown(f"{ABSENT} ({error})") from error


def card_of(device: str, visible: str | None) -> str:
    """Give the driver's name of the card that CUDA knows under a device's name.

    Args:
        device: ``auto``, ``cuda`` or ``cuda:1``.
        visible: ``CUDA_VISIBLE_DEVICES``, which lets CUDA see some cards alone, and numbers those; None where not set.
    """
    number = int(device.partition(":")[2] or 0)
    cards = [one.strip() for one in (visible or "").split(",") if one.strip()]
    if not cards:
        return f"cuda:{number}"
    chosen = cards[min(number, len(cards) - 1)]
    return chosen if chosen.startswith("GPU-") else f"cuda:{chosen}"


@contextmanager
def _library() -> Iterator[Any]:  # Any: NVIDIA's binding has no types
    """Have the library open for one question: a driver that was updated meanwhile is found the next time."""
    try:
        import pynvml  # type: ignore[import-untyped]  # untyped upstream
    except ImportError as error:
        raise CardUnknown("nvidia-ml-py is not installed: pip install 'cuckoo-overlay[miner]'") from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise CardUnknown(f"{ABSENT} ({error})") from error
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _limit(nvml: Any, handle: Any) -> int | None:  # noqa: ANN401  as above
    """Give the temperature at which a card slows down."""
    try:
        return int(nvml.nvmlDeviceGetTemperatureThreshold(handle, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN))
    except nvml.NVMLError:  # passively cooled and virtual ones do not say
        return None
