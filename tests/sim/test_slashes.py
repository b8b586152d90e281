"""What a slash adds to what cheating costs: tests/bench/AUDITS.md."""

import pytest

from protocol.roles.coordinator.sampling import RecheckPolicy
from tests.sim.cheats import CHEATS, PACES
from tests.sim.slashes import LEAST_STAKE, executed, reporters_gain, reports_needed, upheld

POLICY = RecheckPolicy()
NAMED = {one.name: one for one in CHEATS}


def test_upheld__by_share_of_friends__falls_and_needs_two_thirds() -> None:
    assert upheld(5, 0.0) == 1
    assert upheld(3, 0.5) == pytest.approx(0.5), "two of three"
    chances = [executed(share / 10) for share in range(11)]
    assert chances == sorted(chances, reverse=True)
    assert executed(0.1) > 0.9
    assert executed(0.4) < 0.2, "who has so much stake is hardly ever slashed"


def test_reports_needed__of_what_shows_something_else__one_spell_in_five_is_enough() -> None:
    for pace in PACES:
        assert reports_needed(NAMED["returns noise"], "16 bits", POLICY, pace) < 0.2
        assert reports_needed(NAMED["noise, friends have 10 %"], "16 bits", POLICY, pace) < 0.2


def test_reports_needed__of_what_jurors_call_right__no_number_of_reports_is_enough() -> None:
    for name in ("half the edge, scaled up", "18 of 20 steps"):
        assert reports_needed(NAMED[name], "16 bits", POLICY, PACES[0]) == float("inf")


def test_reporters_gain__of_a_true_report_that_is_appealed__is_a_bounty_at_any_stake() -> None:
    assert reporters_gain(LEAST_STAKE, 0.0) == pytest.approx(40)
    assert reporters_gain(500_000, 0.0) == pytest.approx(1000)
    assert reporters_gain(LEAST_STAKE, 1.0) == -1000, "friends alone judge, and call it right"
