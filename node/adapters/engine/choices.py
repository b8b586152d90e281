"""How a model is laid out on a device: a pure function of the device, the model's weights and a person's choice.

| choice | automatic |
|---|---|
| numbers | the catalog's halves on a GPU (bfloat16 where the card has it, else float16), float32 on a CPU |
| channels_last | on a GPU in 16 bits: its convolutions are fastest so; off elsewhere |
| compile | off: each size and batch is compiled for a minute when it first comes, and batches gain more |
| attention | torch's own scaled dot product; sliced where the model has to be offloaded part by part |
| offload | nothing where weights and work fit; whole parts where the largest may; else layer by layer |
| tiling | pictures are decoded in tiles where anything is offloaded |
"""

from typing import Final, Literal

from node.adapters.engine.device import DeviceDescription
from node.adapters.engine.precision import Numbers, Precision
from protocol.wire.fields import Frozen

Switch = Literal["auto", "on", "off"]
Attention = Literal["auto", "sdpa", "sliced"]
Offload = Literal["auto", "none", "model", "sequential"]

WORK_SHARE: Final = 1.3
"""What a model takes over its weights: activations of a picture, its text encoders' states, the decoder."""
LARGEST_PART: Final = 0.75
"""Share of a model's weights in its largest part, as in SDXL, SD 3.5 and FLUX; less is rare."""
FULL_BYTES: Final = 4
HALF_BYTES: Final = 2


class Wanted(Frozen):
    """What a person chose; everything is automatic unless they did."""

    channels_last: Switch = "auto"
    compile: Switch = "auto"
    attention: Attention = "auto"
    offload: Offload = "auto"
    memory_limit_bytes: int = 0
    """Most memory of the device for all models; 0 for all that is free."""


class Choices(Frozen):
    """What is done."""

    numbers: Numbers
    channels_last: bool
    compile: bool
    attention: Literal["sdpa", "sliced"]
    offload: Literal["none", "model", "sequential"]
    tiling: bool


def choose(device: DeviceDescription, precision: Precision, weights: int, wanted: Wanted) -> Choices:
    """Choose for one model on one device.

    Args:
        device: The device, before the model is on it.
        precision: Numbers that the catalog or the settings ask for.
        weights: How many numbers the model's weights are.
        wanted: What a person chose: it is taken as it is, but on a CPU nothing is offloaded.
    """
    numbers = numbers_on(device, precision)
    is_half = numbers != "float32"
    offload = _offload(device, weights * (HALF_BYTES if is_half else FULL_BYTES), wanted)
    attention = wanted.attention
    if attention == "auto":
        attention = "sliced" if offload == "sequential" else "sdpa"
    return Choices(
        numbers=numbers,
        channels_last=_switched(wanted.channels_last, device.is_gpu and is_half),
        compile=_switched(wanted.compile, False),
        attention=attention,
        offload=offload,
        tiling=offload != "none",
    )


def numbers_on(device: DeviceDescription, precision: Precision) -> Numbers:
    """Give the numbers that a precision means on a device."""
    if precision != "half":
        return precision
    # A CPU that is asked for halves takes bfloat16, whose range is float32's: float16 overflows there as elsewhere.
    return "bfloat16" if device.has_bfloat16 or not device.is_gpu else "float16"


def _offload(device: DeviceDescription, weights_bytes: int, wanted: Wanted) -> Literal["none", "model", "sequential"]:
    """Keep on the device what fits."""
    if not device.is_gpu:
        return "none"
    if wanted.offload != "auto":
        return wanted.offload
    room = min(device.free_bytes, wanted.memory_limit_bytes or device.free_bytes)
    needed = round(weights_bytes * WORK_SHARE)
    if needed <= room:
        return "none"
    return "model" if needed * LARGEST_PART <= room else "sequential"


def _switched(wanted: Switch, automatic: bool) -> bool:
    """Follow a person, else the device."""
    return automatic if wanted == "auto" else wanted == "on"


def memory_share(limit_bytes: int, total_bytes: int) -> float | None:
    """Give the share of a card's memory that torch may take, None for all of it."""
    return None if limit_bytes == 0 or limit_bytes >= total_bytes else limit_bytes / total_bytes
