"""Fixed seeds and a fresh one, with everything that can go wrong; and that a seed means one run on any machine."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.conftest import FRESH_SEED
from tests.sim.scenario import Run, Scenario
from tests.sim.sweep import ALL_CHEATS, ALL_FAULTS, command, sweep

PINNED = Scenario(seed=3, miners=8, coordinators=3, tasks=12, load=0.5, faults=8)
PINNED_DIGEST = "a16c4232d76b0c45564a8bc0ec49138714e8b2301e3ca1810104a2c1d7ffa636"
"""What this run is on every machine. It changes with the protocol or the simulator, and with nothing else."""


@pytest.mark.parametrize("seed", [1, 1001])
def test_run__fixed_seed_with_all_faults__every_promise_is_kept(seed: int) -> None:
    summary = Run(replace(ALL_FAULTS, seed=seed)).go()
    assert summary.ends["done"] > ALL_FAULTS.tasks // 2
    assert sum(summary.faults.values()) == ALL_FAULTS.faults


@pytest.mark.parametrize("usual", [ALL_FAULTS, ALL_CHEATS], ids=["faults", "cheats"])
def test_run__fresh_seed__every_promise_is_kept(
    usual: Scenario, record_property: Callable[[str, object], None]
) -> None:
    scenario = replace(usual, seed=secrets.randbelow(2**32))
    record_property(FRESH_SEED, command(scenario))
    Run(scenario).go()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_run__pinned_seed__same_digest_on_any_machine(hash_seed: str) -> None:
    _, _, options = command(PINNED).partition("sim ")
    asked = [
        part
        for option in options.split()
        for part in (f"--{option.partition('=')[0].lower()}", option.partition("=")[2])
    ]
    told = subprocess.run(
        [sys.executable, "-m", "tests.sim", *asked],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    digest = next(line.split()[1] for line in told.splitlines() if line.startswith("digest "))
    assert digest == PINNED_DIGEST, "if this change of the protocol or the simulator is meant, pin the new digest"


def test_sweep__seeds_of_which_one_fails__names_that_one() -> None:
    fine = replace(PINNED, tasks=2, faults=0)
    impossible = replace(fine, cheats=("nothing_of_the_kind",))
    told = dict(sweep([fine, impossible], processes=2))
    assert told[fine] == ""
    assert told[impossible].startswith("KeyError")
    assert command(impossible).endswith("FAULTS=0 CHEATS=nothing_of_the_kind")
