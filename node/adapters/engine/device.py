"""What a device is, in numbers that choices and people go by. Knows nothing of torch, which finds them out."""

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class DeviceDescription:
    """One device as torch sees it."""

    device: str
    """Torch's name: ``cpu``, ``cuda``, ``cuda:1``."""
    name: str
    """What its maker calls it."""
    total_bytes: int
    """Memory: the card's, or of a CPU the machine's."""
    free_bytes: int
    """Memory that nobody has now."""
    capability: tuple[int, int]
    """CUDA's compute capability, (0, 0) elsewhere; AMD's cards have numbers of their own."""
    has_bfloat16: bool
    """Whether it computes with bfloat16 as fast as with float16."""
    torch: str
    """Version of torch."""
    runtime: str
    """``CUDA 12.8``, ``ROCm 6.3``, or empty on a CPU."""

    @property
    def is_gpu(self) -> bool:
        """Whether it is no CPU."""
        return self.device != "cpu"

    def to_json(self) -> str:
        """Write it on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            fields = json.loads(text)
            return cls(**(fields | {"capability": tuple(fields["capability"])}))
        except (TypeError, KeyError) as error:
            raise ValueError(f"no description of a device: {error}") from error
