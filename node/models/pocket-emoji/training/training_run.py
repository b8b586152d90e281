"""What both parts of a training share: its clock, its log, and running averages of weights."""

import time

import torch

BEGIN = time.time()


def log(*values):
    """Print with the seconds since the start."""
    print(f"[{time.time() - BEGIN:6.1f}s]", *values, flush=True)


def average_into(average, parameters, step, longest):
    """Move the running average of the parameters on."""
    torch._foreach_lerp_(average, parameters, 1 - min(longest, (1 + step) / (10 + step)))


def copy_back(average, parameters):
    """Let the parameters be their average."""
    with torch.no_grad():
        for parameter, value in zip(parameters, average, strict=True):
            parameter.copy_(value)
