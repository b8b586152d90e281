"""Asks torch what a device is: ``python -m node.adapters.engine.describing --device auto`` prints it as JSON.

A process of its own, because torch takes seconds to load and never leaves again.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

import torch

from node.adapters.engine.device import DeviceDescription

FIRST_BFLOAT16: Final = 8
"""CUDA's first major capability with bfloat16 of its own; older cards only imitate it, slowly."""


def chosen_device(wanted: str) -> str:
    """Give the device that ``auto`` or a name means here; CUDA is also what AMD's cards go by in torch."""
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def describe(device: str) -> DeviceDescription:
    """Describe a torch device that is there.

    Raises:
        RuntimeError: There is no such device.
    """
    torch.empty(1, device=device)  # fails here, with torch's own text, where there is no such device
    if device == "cpu":
        total, free = _memory()
        name = f"CPU with {os.cpu_count()} threads"
        return DeviceDescription("cpu", name, total, free, (0, 0), False, torch.__version__, "")
    properties = torch.cuda.get_device_properties(device)
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    is_amd = torch.version.hip is not None
    return DeviceDescription(
        device=device,
        name=properties.name,
        total_bytes=total_bytes,
        free_bytes=free_bytes,
        capability=(0, 0) if is_amd else (properties.major, properties.minor),
        has_bfloat16=torch.cuda.is_bf16_supported() and (is_amd or properties.major >= FIRST_BFLOAT16),
        torch=torch.__version__,
        runtime=f"ROCm {torch.version.hip}" if is_amd else f"CUDA {torch.version.cuda}",
    )


def _memory() -> tuple[int, int]:
    """Give the machine's memory (bytes), and what of it programs may have now: Linux gives up caches for them."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return total, next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # another system
        return total, total


def main() -> None:
    """Print the description of one device."""
    parser = argparse.ArgumentParser(prog="cuckoo-device", description="Describe a device of a cuckoo miner.")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, …")
    sys.stdout.write(describe(chosen_device(parser.parse_args().device)).to_json() + "\n")


if __name__ == "__main__":
    main()
