"""What cheating brings, by formula and by simulation: tests/bench/AUDITS.md."""

import pytest

from protocol.roles.coordinator.sampling import LATE_QUESTIONS, QUESTIONS, RecheckPolicy
from tests.sim.cheats import CHEATS, PACES, TIPPED, Cheat, careful, formula, kinds, simulated, steady_chance

POLICY = RecheckPolicy()
SURE = [
    (cheat, kind)
    for cheat in CHEATS
    for kind in kinds(cheat)
    if cheat.detected(kind) > 0.5 and not cheat.friends and cheat.one_in == 1
]


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize(("cheat", "kind"), SURE, ids=lambda value: getattr(value, "name", value))
def test_cheating__in_each_task_and_found_out_more_often_than_not__does_not_pay(
    cheat: Cheat, kind: str, pace: float
) -> None:
    expected, gain, loss = formula(cheat, kind, POLICY, pace)
    seen, same_gain, lost, _ = simulated(cheat, kind, POLICY, pace, trials=40, seed=5)
    assert gain == same_gain
    assert gain < loss
    assert gain < lost
    assert 0.4 < seen / expected < 1.7


@pytest.mark.parametrize("cheat", [cheat for cheat in CHEATS if cheat.one_in > 1 or 0 < cheat.friends <= 0.1])
def test_cheating__now_and_then_or_with_a_few_friends__does_not_pay(cheat: Cheat) -> None:
    for pace in PACES:
        _, gain, lost, _ = simulated(cheat, "16 bits", POLICY, pace, trials=40, seed=5)
        assert gain < lost


def test_cheating__that_is_not_detected__pays_what_it_saves() -> None:
    cheat = next(one for one in CHEATS if one.name == "16 of 20 steps")
    assert formula(cheat, "16 bits", POLICY, 200) == (float("inf"), 0.1, 0.0)


@pytest.mark.parametrize("name", ["3/4 of the edge, scaled up", "3/4 of the edge, shows no steps"])
def test_cheating__seen_by_steps_or_their_absence_where_pictures_say_nothing__does_not_pay(name: str) -> None:
    cheat = next(one for one in CHEATS if one.name == name)
    for pace in PACES:
        _, gain, lost, honest = simulated(cheat, "16 bits, lossy", POLICY, pace, trials=20, seed=5)
        assert gain < lost
        assert honest == 0


def test_steady_chance__of_a_miner_with_few_tasks__is_higher_so_that_it_is_looked_at_every_few_days() -> None:
    chances = [steady_chance(POLICY, pace) for pace in (1, 10, 100)]
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] == POLICY.share
    assert all(1 / (pace * chance) < 7 for pace, chance in zip((1, 10, 100), chances, strict=True))


def test_simulated__honest_miner_whose_arithmetic_nobody_shares__is_not_left_out() -> None:
    for pace in PACES:
        cheated, _, lost, honest = simulated(TIPPED, "16 bits", POLICY, pace, trials=20, seed=5)
        assert cheated > 0
        assert (lost, honest) == (0, 0)


def test_careful__rests_whenever_it_is_asked__cheats_seldom_only_since_others_are_asked_too() -> None:
    alike = QUESTIONS * min(LATE_QUESTIONS, 1 - LATE_QUESTIONS)
    for pace in PACES:
        assert careful(0, alike, pace, trials=10) == (10, 1.0)
        out, share = careful(30, 0.0, pace, trials=10)
        assert (out, share > 0.35) == (0, True), "a question would be a warning"
        assert careful(30, alike, pace, trials=10)[1] < 0.15
