"""Fingerprints of the latents that a batch goes through, for its miner's commitments. It runs in the child alone."""

import torch
from torch.nn.functional import adaptive_avg_pool1d

from protocol.task.fingerprint import LARGEST, SCALE, VALUES, packed


class Trace:
    """What one batch went through."""

    def __init__(self) -> None:
        """Begin before the first step."""
        self._steps: list[torch.Tensor] = []

    def take(self, latents: torch.Tensor) -> None:
        """Keep the means of what lies there after a step, on the device: reading them would make it wait."""
        self._steps.append(_means(latents))

    def fingerprints(self, place: int, steps: int) -> tuple[bytes, ...]:
        """Give those of all steps of the picture at this place of the batch, the first first.

        None where another number of steps than ``steps`` was seen: nobody could tell which is which.
        """
        if len(self._steps) != steps:
            return ()
        return tuple(_written(torch.stack([step[place] for step in self._steps])))


def fingerprints_of(latents: torch.Tensor) -> list[bytes]:
    """Give the fingerprint of one step for each picture of a batch."""
    return _written(_means(latents))


def _means(latents: torch.Tensor) -> torch.Tensor:
    """Give for each picture the means of the runs that its latents are cut into."""
    flat = latents.float().reshape(len(latents), 1, -1)
    return adaptive_avg_pool1d(flat, VALUES)[:, 0]


def _written(means: torch.Tensor) -> list[bytes]:
    """Write each row of means as a fingerprint."""
    numbers = (means * SCALE).round().nan_to_num(0).clamp(-LARGEST, LARGEST).int()
    return [packed(row) for row in numbers.tolist()]
