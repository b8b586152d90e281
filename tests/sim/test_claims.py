"""Claims per task stay within their budget; ``make sim-claims`` shows it for all sizes, loads and latencies."""

from tests.sim.claims import BUDGET, measure, scenario


def test_measure__sixty_busy_miners_a_tenth_of_them_early__claims_stay_within_the_budget() -> None:
    costs = measure(scenario(60, 0.9, (10, 75), 10, counted=200))
    assert costs.counted >= 190
    assert 1 <= costs.honest <= BUDGET
    assert costs.honest < costs.answered <= BUDGET


def test_measure__slower_than_the_network_was_made_for__slots_follow_and_claims_stay_within_the_budget() -> None:
    costs = measure(scenario(30, 0.5, (100, 300), 0, counted=150))
    assert 1 <= costs.honest <= BUDGET
    assert costs.all == costs.answered == costs.honest
