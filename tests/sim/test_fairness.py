"""The draw of whole runs is fair, whoever is in the fields; the best-ranked free claimant wins: SPEC.md §7."""

import pytest

from tests.sim.fairness import Fairness
from tests.sim.scenario import Run, Scenario

SIGNIFICANCE = 0.01
"""Seeds are fixed: these runs give the same figures every time."""


def watched(scenario: Scenario) -> Fairness:
    run = Run(scenario)
    fairness = Fairness(run.world)
    run.go()
    return fairness


PASSED_OVER = 0.01
"""Share of awards that may leave out a better-ranked miner which was free and had heard the offer."""


@pytest.mark.parametrize(("load", "seed"), [(0.1, 1), (0.6, 2), (0.9, 3)])
def test_run__any_load__is_drawn_by_stake_and_won_by_the_best_ranked_that_is_free(load: float, seed: int) -> None:
    fairness = watched(Scenario(seed, miners=20, coordinators=3, tasks=400, load=load))
    assert fairness.offers > 100, "there was something to draw"
    assert fairness.chi_square() > SIGNIFICANCE
    assert fairness.variation() <= fairness.most_variation()
    assert fairness.awards == 400
    assert len(fairness.passed_over) <= PASSED_OVER * fairness.awards


def test_chi_square__chances_that_are_not_by_stake__are_refuted() -> None:
    fairness = watched(Scenario(1, miners=20, coordinators=3, tasks=300, load=0.1))
    for miner in fairness.due:
        fairness.due[miner] = fairness.offers / len(fairness.due)
    assert fairness.chi_square() < SIGNIFICANCE
    assert fairness.variation() > fairness.most_variation()


def test_passed_over__coordinator_that_is_deaf_to_all_but_its_friends__shows() -> None:
    fairness = watched(Scenario(1, miners=20, coordinators=1, tasks=60, load=0.1, cheats=("steering:1",)))
    assert len(fairness.passed_over) > PASSED_OVER * fairness.awards
