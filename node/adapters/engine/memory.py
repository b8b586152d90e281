"""How much memory a device gives to models, in the engine's child process."""

import os
from pathlib import Path

import torch


def forget_peak(device: str) -> None:
    """Begin to look for the most memory anew."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: str) -> int:
    """Give the most memory (bytes) of the device since the peak was forgotten; on a CPU what this process has now."""
    if device != "cpu":
        return torch.cuda.max_memory_reserved(device)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # another system
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
