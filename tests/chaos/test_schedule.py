"""A plan of blows: the same for the same seed, and whoever is down is not struck again."""

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.schedule import REST_S, Blow, Target, plan

BOTH = (Blow.KILL, Blow.FREEZE)
TARGETS = (
    Target("coordinator-1", BOTH, 6.0, 3),
    Target("miner-1", BOTH, 8.0),
    Target("miner-2", BOTH, 8.0),
    Target("chain", (Blow.FREEZE,), 8.0),
)


def test_plan__same_seed__is_the_same_and_another_is_not() -> None:
    assert plan(7, 60, TARGETS, (0.5, 3.0)) == plan(7, 60, TARGETS, (0.5, 3.0))
    assert plan(7, 60, TARGETS, (0.5, 3.0)) != plan(8, 60, TARGETS, (0.5, 3.0))


@given(st.integers(0, 2**32))
def test_plan__any_seed__strikes_everybody_in_each_way_and_nobody_who_is_down(seed: int) -> None:
    strikes = plan(seed, 120, TARGETS, (0.5, 3.0))
    assert {(one.target, one.blow) for one in strikes} == {(one.name, blow) for one in TARGETS for blow in one.blows}
    back: dict[str, float] = {}
    for strike in strikes:
        assert strike.at >= back.get(strike.target, 0.0)
        assert strike.at + strike.for_s <= 120.01, "everybody is back at the end"
        back[strike.target] = strike.at + strike.for_s + REST_S - 0.02
