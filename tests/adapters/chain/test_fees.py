"""What to pay for gas, at first and when a transaction is stuck."""

from hypothesis import given
from hypothesis import strategies as st

from node.adapters.chain.fees import DEFAULT_TIP_WEI, allowed_gas, bumped, first_fees

WEI = st.integers(0, 10**15)


def test_first_fees__usual__cover_twice_the_base_fee_and_the_tip():
    assert first_fees(30, 2, 1000) == (62, 2)
    assert first_fees(0, None, 10**12) == (DEFAULT_TIP_WEI, DEFAULT_TIP_WEI)


@given(WEI, st.one_of(st.none(), WEI), st.integers(1, 10**15))
def test_first_fees__any_market__stay_within_the_limit(base, tip, limit):
    cap, paid = first_fees(base, tip, limit)
    assert 0 <= paid <= cap <= limit


@given(WEI, WEI, st.tuples(WEI, WEI), st.integers(1, 10**15))
def test_bumped__any_market__both_rise_by_an_eighth_or_the_limit_is_reached(cap, tip, wanted, limit):
    tip = min(cap, tip)
    higher = bumped(cap, tip, wanted, limit)
    if higher is None:
        assert max(-(-cap * 9 // 8), cap + 1) > limit
        return
    assert higher[0] * 8 >= cap * 9
    assert higher[1] * 8 >= tip * 9
    assert higher[0] > cap
    assert higher[1] > tip
    assert higher[1] <= higher[0] <= limit


def test_allowed_gas__estimate__leaves_room_for_the_first_settlement_of_an_epoch():
    assert allowed_gas(200_000) == 350_000
