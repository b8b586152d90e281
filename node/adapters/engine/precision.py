"""Names of the numbers in which models draw."""

from typing import Literal

Numbers = Literal["float32", "float16", "bfloat16"]
Precision = Literal["float32", "float16", "bfloat16", "half"]
"""``half`` is bfloat16 where the device has it, else float16."""
