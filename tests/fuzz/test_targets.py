"""The targets of ``make fuzz`` hold for their seeds and for some mutations of each: so they still are what is read."""

import random

import pytest

from tests.fuzz.targets import TARGETS
from tests.fuzz.test_decoders import mutated

MUTATIONS = 60


@pytest.mark.parametrize("name", TARGETS)
async def test_target__seeds_and_mutations__give_a_value_or_a_named_error(name: str) -> None:
    target, dice = TARGETS[name], random.Random(name)
    for seed in target.seeds:
        target.read(seed)
        for _ in range(MUTATIONS // len(target.seeds) + 1):
            target.read(mutated(seed, dice))


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 64, bytes(1024)])
@pytest.mark.parametrize("name", TARGETS)
async def test_target__no_valid_bytes_at_all__give_a_value_or_a_named_error(name: str, data: bytes) -> None:
    TARGETS[name].read(data)
