"""Random faults, and the faults that random runs once found."""

import pytest

from tests.sim.faults import Chaos


@pytest.mark.parametrize("seed", range(8))
def test_chaos__any_faults__every_task_ends_once_and_all_are_paid_what_they_earned(seed: int) -> None:
    Chaos(seed).run()
