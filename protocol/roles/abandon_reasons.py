"""Reasons for which a miner gives an attempt back that its coordinator does not take for a lost lease.

Miner and coordinator share these words and nothing else of each other's half. Spec: SPEC.md §9.3.
"""

from typing import Final

NO_CLAIM: Final = "no_claim"
"""The award is for no claim that binds the miner now."""
NO_INPUT: Final = "no_input"
"""The pictures that the task begins from did not come."""
NO_KEY: Final = "no_key"
"""The key of a sealed task did not come."""
INPUT_INVALID: Final = "input_invalid"
"""A picture that the task begins from cannot be decoded; also how the task ends."""
SEALED_INVALID: Final = "sealed_invalid"
"""Key or body of a sealed task cannot be opened; also how the task ends."""
CONTENT_POLICY: Final = "content_policy"
"""The miner's owner does not let such things be drawn; also how a task ends that nobody draws."""
